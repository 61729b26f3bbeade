"""Each check of the product says both: that a sound state is sound, and what the smallest change of it is."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from aepipe.cli import doctor as verb
from aepipe.store.backends.folder import Folder
from tests.checks import doctor, gate, releases
from tests.checks.world import Check, World

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "concepts" / "reliability.md"
CHECKS = [*releases.CHECKS, *gate.CHECKS, *doctor.CHECKS]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a collection, and where a copy of it belongs: files of a store name the folder of its source."""
    base = tmp_path_factory.mktemp("checks")
    with pytest.MonkeyPatch.context() as patched:
        World.make(base / "held", patched)
    (base / "held").rename(base / "kept")
    return base / "kept", base / "held"


@pytest.fixture
def world(made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A copy of the collection."""
    kept, held = made
    shutil.copytree(kept, held)
    monkeypatch.setattr("aepipe.cli.doctor.packages", lambda: iter(()))
    yield World(held, monkeypatch)
    shutil.rmtree(held)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_says_both(check: Check, world: World) -> None:
    sound, changed = check.tried(world)
    assert sound.passed, sound.words
    assert check.says not in sound.words
    assert not changed.passed, changed.words
    assert check.says in changed.words


def test_each_finding_of_doctor_is_one_of_the_checks() -> None:
    tree = ast.parse(Path(verb.__file__).read_text(encoding="utf-8"))
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding"
    ]
    levels = [one.args[0] for one in found if not (isinstance(one.args[0], ast.Constant) and one.args[0].value == "ok")]
    told = [one for one in levels if not isinstance(one, ast.Name)]
    assert len(levels) - len(told) == 1, "one finding has the level that the place of the store says"
    states = re.findall(r'return "(?:note|bad)"', inspect.getsource(Folder.state))
    assert len(told) + len(states) == len(doctor.CHECKS)


def test_the_page_lists_the_checks() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text("utf-8").splitlines()]
    listed = {row[0]: tuple(row[1:]) for row in rows if len(row) == 3}
    for check in CHECKS:
        assert listed.get(check.name) == (check.passes, check.names), check.name


def test_the_tests_that_the_page_names_are_there() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for file, name in NAMED.findall(page.read_text(encoding="utf-8")):
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            assert name in {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}, f"{page}: {name}"

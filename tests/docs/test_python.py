"""The Python examples of the pages run, one after the other, on a small release."""

from __future__ import annotations

from pathlib import Path

import pytest

import aepipe
from aepipe.store.artifacts import Store
from tests.docs.blocks import blocks
from tests.support.releases import make_release, pictures_of

PAGES = ("README.md", "docs/quickstart.md", "docs/guide/python.md")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a store, and with the pictures that the examples name."""
    store = Store(tmp_path / ".aepipe")
    make_release(store, name="boots", n=50)
    picture = next(pictures_of(store, "boots").rglob("*.png")).read_bytes()
    for name in ("image.png", "holiday.jpg"):
        (tmp_path / name).write_bytes(picture)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AEPIPE_HOME", raising=False)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("page", PAGES)
def test_the_examples_run(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    examples = list(blocks(page))
    assert examples
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example.text, page, "exec"), names)
    assert [one for one in names.values() if isinstance(one, aepipe.Collection)]
    assert capsys.readouterr().out


def test_every_page_with_python_is_tested() -> None:
    """Pages that show how to use the library; those for contributors and for other systems have tests of their own."""
    root = Path(__file__).parents[2]
    found = {
        str(file.relative_to(root))
        for file in [root / "README.md", *(root / "docs").rglob("*.md")]
        if list(blocks(str(file.relative_to(root))))
    }
    elsewhere = {"docs/contributing/extending.md", "docs/guide/systems.md", "docs/guide/scale.md"}
    elsewhere |= {"docs/reference/api.md"}
    assert found - elsewhere == set(PAGES)

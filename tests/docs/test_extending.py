"""What docs/contributing/extending.md adds works: in a copy of the project, where all of it is put in place."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.docs.blocks import ROOT, blocks

PAGE = "docs/contributing/extending.md"


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and of what tests are made of, with every example of the page in its place."""
    clone = tmp_path_factory.mktemp("extended")
    for folder in ("aepipe", "flows", "tests"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for block in blocks(PAGE):
        name, _, table = block.title.partition(": ")
        file = clone / name
        if table.startswith("before "):
            text, found, rest = file.read_text(encoding="utf-8").partition(f"\n{table.removeprefix('before ')}")
            file.write_text(f"{text}\n{block.text}\n{found}{rest}", encoding="utf-8")
        elif table:
            file.write_text(_inserted(file.read_text(encoding="utf-8"), table, block.text), encoding="utf-8")
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
    return clone


def _inserted(text: str, table: str, lines: str) -> str:
    """Return a module with lines at the beginning of a table; a class that the page adds stands before it."""
    found, count = re.subn(rf"^({table}\b[^=\n]*= *[^\n]*[{{(\[])$", rf"\1\n{lines.rstrip()}", text, flags=re.MULTILINE)
    assert count == 1, f"there is no table {table}"
    return found


def _python(clone: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


RECIPE = """
name = "extended"

[source]
kind = "dna"
path = "source"
label = "parent"
split = "top"

[views]
evaluation = 10

[[layers]]
net = { kind = "gated", width = 16 }
objective = { kind = "small", weight = 0.01 }
corruption = { kind = "brightness", spread = 0.3 }
fit = { epochs = 3, batch = 16 }

[code]
bits = 16
fit = { epochs = 2, batch = 16 }

[finetune]
epochs = 1

[index]
kind = "weights"
"""


def _write_sequences(folder: Path) -> None:
    """Write sequences of three families; each is its family's ancestor with some letters changed."""
    rng = np.random.default_rng(0)
    ancestors = rng.integers(0, 4, (3, 200))
    for number in range(60):
        family, split = number % 3, "test" if number >= 48 else "train"
        letters = np.where(rng.random(200) < 0.1, rng.integers(0, 4, 200), ancestors[family])
        file = folder / split / f"family{family}" / f"{number:02}.dna"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join("ACGT"[letter] for letter in letters), encoding="ascii")
    (folder / "notes.txt").write_text("not a sequence", encoding="utf-8")


@pytest.fixture(scope="module")
def collection(extended: Path) -> Path:
    """The copy with a collection in service; every choice of its recipe is an example of the page."""
    _write_sequences(extended / "source")
    (extended / "extended.toml").write_text(RECIPE, encoding="utf-8")
    curve = json.loads(_python(extended, "-m", "tests.docs.extended", "extended.toml", ".aepipe"))
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert all(epoch["sparsity"] > 0 for epoch in curve)
    return extended


def test_the_examples_pass_the_linter(extended: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", extended)
    files = sorted({block.title.partition(":")[0] for block in blocks(PAGE)})
    ruff = Path(sys.executable).parent / "ruff"
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([ruff, *command, *files], cwd=extended, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_verb_counts(collection: Path) -> None:
    assert _python(collection, "-m", "aepipe", "count") == "extended: 60 rows\n"
    assert "Print how many rows" in _python(collection, "-m", "aepipe", "--help")


def test_the_index_answers_as_a_scan_does(collection: Path) -> None:
    script = """
import numpy as np
from aepipe.index import hamming as index
from aepipe.codes.bitcodes import BitCodes
rng = np.random.default_rng(0)
codes = BitCodes.from_bits(rng.random((500, 32)) < 0.5, "f" * 64)
ids = np.arange(500)
for radius in (0, 3, 9, 32):
    mine, scan = (index.build(codes, ids, kind=kind).within(codes[:20], radius) for kind in ("weights", "flat"))
    for field in ("ids", "distances", "offsets"):
        np.testing.assert_array_equal(getattr(mine, field), getattr(scan, field))
print(len(mine.ids))
"""
    assert _python(collection, "-c", script) == "10000\n"
    hits = json.loads(_python(collection, "-m", "aepipe", "query", "--id", "3", "--radius", "2", "--json"))["hits"]
    assert hits[0]["id"] == 3


def test_both_forms_of_the_corruption_are_equal_in_distribution(collection: Path) -> None:
    """The test of all corruptions, with the example among them, as the page asks for."""
    tests = collection / "tests" / "learn" / "test_corruption.py"
    text = _inserted(
        tests.read_text(encoding="utf-8"), "OPTIONS", '    "brightness": corruptions.Brightness(spread=0.3),'
    )
    tests.write_text(text, encoding="utf-8")
    _python(collection, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), "-k", "brightness or every_kind")


def test_the_source_is_found_by_files_and_by_sequences(collection: Path) -> None:
    file = next((collection / "source" / "test").rglob("*.dna"))
    for question in (str(file), file.read_text(encoding="ascii")):
        hits = json.loads(_python(collection, "-m", "aepipe", "query", question, "-k", "1", "--json"))["hits"]
        assert hits[0]["key"] == str(file.relative_to(collection / "source"))
        assert hits[0]["distance"] == 0


def test_a_recipe_is_suggested_for_a_folder_of_the_new_kind(collection: Path) -> None:
    script = """
from pathlib import Path
from aepipe.pipeline.suggest import suggest
name, text, held = suggest("source", folder=Path.cwd())
print(text)
print(held.strangers, held.kinds.most_common())
"""
    text = _python(collection, "-c", script)
    assert text.startswith("# Derived from 60 sequences. ")
    assert '[source]\nkind = "dna"\npath = "source"\nlabel = "parent"  # 3 folders; for evaluation only' in text
    assert 'split = "top"' in text
    assert "[] [('dna', 60), ('text', 1)]" in text


def test_all_that_is_added_is_in_the_reference(collection: Path) -> None:
    """The pages are generated from the code, so they have each example without further ado."""
    script = "from docs.generate import cli, recipe; print(cli.page(), recipe.page())"
    shutil.copytree(ROOT / "docs", collection / "docs")
    text = _python(collection, "-c", script)
    for added in ("## count", '### `kind = "dna"`', "**`gated`**", "**`small`**", "**`weights`**", "**`brightness`**"):
        assert added in text

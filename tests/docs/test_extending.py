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
def said(extended: Path) -> dict[str, str]:
    """What a process says that makes a collection, and does with it what users do; its recipe has every example."""
    _write_sequences(extended / "source")
    (extended / "extended.toml").write_text(RECIPE, encoding="utf-8")
    shutil.copytree(ROOT / "docs", extended / "docs")
    tests = extended / "tests" / "learn" / "test_corruption.py"
    option = '    "brightness": corruptions.Brightness(spread=0.3),'
    tests.write_text(_inserted(tests.read_text(encoding="utf-8"), "OPTIONS", option), encoding="utf-8")
    found: dict[str, str] = json.loads(_python(extended, "-m", "tests.docs.extended").splitlines()[-1])
    return found


def test_the_examples_pass_the_linter(extended: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", extended)
    files = sorted({block.title.partition(":")[0] for block in blocks(PAGE)})
    ruff = Path(sys.executable).parent / "ruff"
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([ruff, *command, *files], cwd=extended, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_layer_learns(said: dict[str, str]) -> None:
    curve = json.loads(said["curve"])
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert all(epoch["sparsity"] > 0 for epoch in curve)


def test_the_verb_counts(said: dict[str, str]) -> None:
    assert said["count"] == "extended: 60 rows\n"
    assert "Print how many rows" in said["help"]


def test_the_index_answers_as_a_scan_does(said: dict[str, str]) -> None:
    assert said["index"] == "10000"
    assert json.loads(said["within"])["hits"][0]["id"] == 3


def test_both_forms_of_the_corruption_are_equal_in_distribution(said: dict[str, str]) -> None:
    """The test of all corruptions, with the example among them, as the page asks for."""
    assert said["corruption"] == "0"


@pytest.mark.parametrize("form", ["by file", "by letters"])
def test_the_source_is_found_by_files_and_by_sequences(said: dict[str, str], form: str) -> None:
    hit = json.loads(said[form])["hits"][0]
    assert (hit["key"], hit["distance"]) == (said["key"], 0)


def test_a_recipe_is_suggested_for_a_folder_of_the_new_kind(said: dict[str, str]) -> None:
    text = said["suggested"]
    assert text.startswith("# Derived from 60 sequences. ")
    assert '[source]\nkind = "dna"\npath = "source"\nlabel = "parent"  # 3 folders; for evaluation only' in text
    assert 'split = "top"' in text
    assert "[] [('dna', 60), ('text', 1)]" in text


def test_all_that_is_added_is_in_the_reference(said: dict[str, str]) -> None:
    """The pages are generated from the code, so they have each example without further ado."""
    for added in ("## count", '### `kind = "dna"`', "**`gated`**", "**`small`**", "**`weights`**", "**`brightness`**"):
        assert added in said["pages"]

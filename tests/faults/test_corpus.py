"""Each fuzz target takes its sound inputs, the inputs that are kept for it, and a few hundred mangled ones.

``make fuzz`` tries millions, guided by the lines that they reach.
"""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path

import pytest

from aepipe.errors import AepipeError
from tests.faults import test_fuzz
from tests.faults.targets import CORPUS, FAST, MORE, TARGETS, corpus

NEEDS = {
    **dict.fromkeys(("t.pdf", "t.docx", "t.html", "t.rtf", "t.eml"), "kreuzberg"),
    "a.heic": "pillow_heif",
    "a.avif": "pillow_heif",
    "a.jxl": "pylibjxl",
    "table.xlsx": "python_calamine",
    "where": "duckdb",
}
FEW, MANY = 8, 300
"""Mangled inputs of a target that reads a file, and of one of pure Python."""


def mangled(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with a few changes."""
    kinds = ("bit", "byte", "word", "cut", "drop", "twice")
    changes = [
        (how := rng.choice(kinds), rng.random(), rng.choice(test_fuzz.WORDS) if how == "word" else rng.randrange(8))
        for _ in range(rng.randint(1, 4))
    ]
    return test_fuzz.mangled(data, changes)


@pytest.mark.parametrize("name", [*FAST, *MORE, "where"])
def test_nothing_but_our_errors(name: str, tmp_path: Path) -> None:
    if name in NEEDS and not find_spec(NEEDS[name]):
        pytest.skip(f"needs {NEEDS[name]}")
    read, seeds = TARGETS[name](tmp_path)
    read(seeds[0])  # a sound one is read
    rng = random.Random(name)
    tried = [*seeds, *corpus(name), *(mangled(rng.choice(seeds), rng) for _ in range(MANY if name in FAST else FEW))]
    for data in tried:
        try:
            read(data)
        except AepipeError as error:
            test_fuzz.check(error)


def test_what_is_kept_belongs_to_a_target() -> None:
    assert {one.name for one in CORPUS.iterdir()} <= set(TARGETS)

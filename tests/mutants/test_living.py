"""Mutants that are left out, and the list of those that live: each has a reason, and changes a line that is there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.mutants.run import Mutant

ROOT = Path(__file__).parents[2]


def test_each_mutant_that_lives_is_a_change_of_a_line() -> None:
    listed = tomllib.loads(Path(__file__).with_name("living.toml").read_text(encoding="utf-8"))["mutant"]
    assert len({(one["file"], one["before"], one["after"]) for one in listed}) == len(listed)
    for one in listed:
        assert one["before"] in " ".join((ROOT / one["file"]).read_text(encoding="utf-8").split()), one
        assert one["after"] != one["before"]
        assert one["reason"].endswith(".")


@pytest.mark.parametrize(
    ("before", "after", "quiet"),
    [
        ('f("one")', 'f("XXoneXX")', True),
        ("zip(a, b, strict=True)", "zip(a, b, )", True),
        ("x = False", "x = None", True),
        ("x = True", "x = None", False),
        ("cast(Any, codes).use_heap = a > b", "cast(None, codes).use_heap = a > b", True),
        ("cast(nn.Linear, cast(nn.Sequential, half)[0])", "cast(nn.Linear, cast(None, half)[0])", True),
        ("cast(Any, codes).use_heap = a > b", "cast(Any, None).use_heap = a > b", False),
        ("cast(Any, codes).use_heap = a > b", "cast(Any, codes).use_heap = a >= b", False),
    ],
)
def test_changes_of_texts_and_types_are_left_out(before: str, after: str, quiet: bool) -> None:
    assert Mutant("name", "file.py", before, after).is_quiet is quiet

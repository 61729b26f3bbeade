"""The list of mutants that live: each has a reason, and is a change of a line that is there."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_mutant_that_lives_is_a_change_of_a_line() -> None:
    listed = tomllib.loads(Path(__file__).with_name("living.toml").read_text(encoding="utf-8"))["mutant"]
    assert len({(one["file"], one["before"], one["after"]) for one in listed}) == len(listed)
    for one in listed:
        assert one["before"] in " ".join((ROOT / one["file"]).read_text(encoding="utf-8").split()), one
        assert one["after"] != one["before"]
        assert one["reason"].endswith(".")

"""The verb plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aepipe.index import sizing
from tests.cli.conftest import Aepipe


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every machine be as fast."""
    monkeypatch.setattr(sizing, "time_scan", lambda n_bits: sizing.Machine(1.0))


def test_a_kind_is_chosen_and_shown_as_a_recipe(aepipe: Aepipe) -> None:
    found = aepipe("plan", "--rows", "20M", "--ram", "2GB", "--p95", "50ms")
    assert found.exit_code == 0
    assert found.stdout.startswith("20,000,000 rows of 64 bits; by the codes of pictures: ")
    assert "chosen" in found.stdout
    assert "in the recipe:  [index]" in found.stdout
    told = json.loads(aepipe("plan", "--rows", "20M", "--json").stdout)
    assert (told["rows"], told["bits"], told["machines"]) == (20_000_000, 64, 1)
    assert told["chosen"]["kind"] in {"flat", "multihash"}


def test_rows_that_fit_on_no_machine_are_spread_over_several(aepipe: Aepipe, tmp_path: Path) -> None:
    wanted = ("--bits", 128, "--ram", "1GB", "--p95", "100ms", "--home", tmp_path / "none")
    found = aepipe("plan", "--rows", "1B", *wanted)
    assert found.exit_code == 0
    assert "no collection is in service" in found.stdout
    assert "shards on" in found.stdout
    assert "aepipe serve --shards URL,URL,..." in found.stdout
    told = json.loads(aepipe("plan", "--rows", "1_000_000_000", *wanted, "--json").stdout)
    assert told["machines"] == told["shards"] == told["chosen"]["shards"] >= 16
    assert f"shards = {told['shards']}" in found.stdout
    assert told["chosen"]["p95"] <= 100
    assert told["chosen"]["shard"]["memory"] <= 10**9
    assert {"memory", "disk", "build", "median", "recall", "kind"} <= told["chosen"].keys()


@pytest.mark.parametrize(("said", "rows"), [("10B", 10**10), ("10_000_000_000", 10**10), ("2.5M", 2_500_000)])
def test_numbers_as_people_write_them(aepipe: Aepipe, tmp_path: Path, said: str, rows: int) -> None:
    told = json.loads(aepipe("plan", "--rows", said, "--home", tmp_path / "none", "--json").stdout)
    assert told["rows"] == rows
    assert told["shards"] == max(1, rows // 10**9)


def test_where_no_kind_fits_a_remedy_is_shown(aepipe: Aepipe, tmp_path: Path) -> None:
    found = aepipe("plan", "--rows", "1B", "--p95", "1us", "--home", tmp_path / "none")
    assert found.exit_code == 0
    assert "none of these fits; what helps: more memory, fewer bits, a lower --recall" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rows", "fifty"], "--rows 'fifty': a number is wanted, and after it nothing or one of k, m"),
        (["--rows", "5", "--ram", "2 apples"], "--ram '2 apples'"),
        (["--rows", "0"], "--rows 0: at least 1"),
        (["--rows", "5", "--name", "nobody"], "nobody"),
    ],
)
def test_mistakes_are_one_line(aepipe: Aepipe, arguments: list[str], says: str) -> None:
    found = aepipe("plan", *arguments)
    assert found.exit_code == 2
    assert says in found.stderr
    assert found.stderr.count("\n") == 1

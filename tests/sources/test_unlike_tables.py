"""Folders of mixed tables: those that belong together stay, the others are named with their reasons."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from aepipe import recipe, sources
from aepipe.errors import SourceError
from aepipe.pipeline.suggest import suggest

SALES = "Tag;Art;Betrag\n" + "".join(f"{n % 28 + 1:02d}.11.2026;{'AB'[n % 2]};{n * 7 % 50},5\n" for n in range(30))
STAFF = "Name;Age;Team\n" + "".join(f"P{n % 3};{20 + n};{'XY'[n % 2]}\n" for n in range(9))
ROWS = "".join(f"{n * 3 % 11};{n / 7:.3f};{n * 5 % 13}\n" for n in range(40))


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def derived(folder: Path, settings: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    _, text, _ = suggest(str(folder), folder=folder.parent, settings=settings)
    source: dict[str, Any] = tomllib.loads(text)["source"]
    return text, source


def test_tables_of_other_columns_and_damaged_ones_are_left_out_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    write(folder, q1=SALES, q2=SALES, q3=SALES.replace("\n", ";x\n"), rows=ROWS, **{"staff [old]": STAFF})
    (folder / "bad.parquet").write_bytes(b"PAR1" + bytes(90))
    text, source = derived(folder)
    assert sorted(source["exclude"]) == ["/bad.parquet", "/rows.csv", "/staff \\[old\\].csv"]
    assert "#   staff [old].csv: other columns: Age, Name, Team\n" in text
    assert "#   rows.csv: its first line is a row\n" in text
    assert "#   bad.parquet: not a readable Parquet file" in text
    (tmp_path / "t.toml").write_text(text)
    found = sources.resolve(recipe.load(tmp_path / "t.toml"))
    assert {item.place.partition("#")[0] for item in found.items()} == {"q1.csv", "q2.csv", "q3.csv"}
    [said] = found.passed_over.facts()
    assert (said["count"], said["reason"]) == (3, "left out by exclude")


def test_tables_that_share_most_of_their_columns_stay_together(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    more = SALES.replace("Betrag", "Betrag;Land").replace(",5\n", ",5;DE\n")
    _, source = derived(write(folder, y2025=SALES, y2026=more))
    assert "exclude" not in source


def test_most_tables_without_names_have_none(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    text, source = derived(write(folder, a=ROWS, b=ROWS, c=SALES))
    assert source["header"] is False
    assert source["exclude"] == ["/c.csv"]
    assert "its first line has names, and those of others are rows" in text


def test_tables_without_common_columns_are_asked_about(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    write(folder, sales=SALES, staff=STAFF)
    with pytest.raises(SourceError, match=r"tables of different columns: sales.csv \(.*staff.csv \(.*Say which"):
        derived(folder)
    _, source = derived(folder, {"source.exclude": ["staff.csv"]})
    assert source["exclude"] == ["staff.csv"]


def test_what_is_left_out_is_added_to_what_was_asked_to_be(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    write(folder, q1=SALES, q2=SALES, q3=SALES, staff=STAFF)
    _, source = derived(folder, {"source.exclude": "q3.csv"})
    assert source["exclude"] == ["q3.csv", "/staff.csv"]

"""Dates as people write them, in columns of text: which order they tell, and how a recipe says it."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from aepipe.pipeline.suggest import suggest
from aepipe.recipe import parse
from aepipe.sources import resolve
from aepipe.sources.dates import Written
from aepipe.sources.formats.values import Column, converter, type_said

SAID = {
    ("03.11.2026", "04.12.2026"): "date",
    ("31.12.2026", "04.11.2026"): "date",
    ("12.31.2026", "04.11.2026"): "date-mdy",
    ("3.11.26", "31.1.26"): "date-dmy",
    ("3.11.26", "4.11.26"): "",  # may be numbers of a version
    ("1/2/2026", "3/2/2026"): "",
    ("1/2/2026", "13/2/2026"): "date-dmy",
    ("1/2/2026", "2/13/2026"): "date-mdy",
    ("13/2/2026", "2/13/2026"): "",
    ("2026/02/01", "2026/02/02"): "date",
    ("2026-02", "2026-03"): "",
    ("03.11.2026 14:30", "04.11.2026 09:00"): "timestamp",
    ("13/2/2026 14:30", "1/2/2026 09:00"): "timestamp-dmy",
    ("2026-02-01T10:00:00Z", "2026-02-02T10:00:00Z"): "",
    ("03.11.2026",): "",
}


@pytest.mark.parametrize("texts", SAID)
def test_all_texts_of_a_column_tell_how_its_dates_are_read(texts: tuple[str, ...]) -> None:
    found = Written()
    assert all(map(found.add, texts))
    assert found.said() == SAID[texts]


def test_only_an_undecided_order_is_unsure() -> None:
    slashes, versions = Written(), Written()
    assert slashes.add("1/2/2026") and slashes.add("3/2/2026")  # noqa: PT018
    assert versions.add("3.11.26")
    assert slashes.unsure()
    assert not versions.unsure()


def test_one_other_text_makes_a_column_one_of_texts() -> None:
    column = Column()
    column.add(f"{day}.11.2026" for day in range(1, 29))
    assert not column.closed
    assert column.dates() is not None
    column.add(["tomorrow"])
    assert column.dates() is None
    assert Column().dates() is None


def test_dates_of_two_files_tell_together() -> None:
    one, two = Column(), Column()
    one.add(["1/2/2026", "2/2/2026"])
    two.add(["2026-02-01", "30/1/2026"])
    found = one.merged(two).dates()
    assert found is not None
    assert found.said() == "date-dmy"


def test_a_type_with_an_order_reads_what_may_be_two_dates() -> None:
    kind = type_said("day", "date-mdy", Column())
    american, european = (converter(kind, comma=False, order=order) for order in ("mdy", "dmy"))
    assert american is not None
    assert european is not None
    assert american("1/2/2026") == datetime.date(2026, 1, 2)
    assert european("1/2/2026") == datetime.date(2026, 2, 1)
    assert european("3.11.26") == datetime.date(2026, 11, 3)
    with pytest.raises(ValueError, match="time of day"):
        european("1/2/2026 10:00")


def _derived(folder: Path, settings: dict[str, object] | None = None) -> str:
    _, text, _ = suggest(str(folder), folder=folder, settings=settings)
    return text


def _table(folder: Path) -> Path:
    rows = [f"{n % 28 + 1:02d}.{n % 12 + 1:02d}.2026;{n % 12 + 1}/{n % 28 + 1}/2026;{n * 7 % 90}" for n in range(60)]
    (folder / "bills.csv").write_text("\n".join(["Datum;paid on;Betrag", *rows, ""]), encoding="utf-8")
    return folder


def test_a_derived_recipe_says_how_dates_are_read(tmp_path: Path) -> None:
    text = _derived(_table(tmp_path))
    assert "types.Datum = \"date\"  # the day is first, as '01.01.2026'\n" in text
    assert 'types."paid on" = "date-mdy"  # the month is first, as \'1/1/2026\'' in text


def test_dates_that_a_recipe_says_are_stored_and_learned_as_such(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("day,n\n1.2.26,5\n2.2.26,7\n28.2.26,11\nsoon,13\n")
    source = {"kind": "table", "path": "t.csv", "types": {"day": "date-dmy"}, "max_stray_share": 0.5}
    data = {"name": "t", "source": source, "layers": [{"net": {"kind": "dense"}}]}
    table = resolve(parse(data, tmp_path / "t.toml")).fitted(None)
    items = list(table.items())
    assert [item.columns["day"] for item in items] == [*(datetime.date(2026, 2, day) for day in (1, 2, 28)), None]
    [day, _] = table.features()["columns"]
    assert (day["kind"], day["order"], day["short"]) == ("date", "dmy", True)
    row = table.row(json.dumps({"day": "28.2.26", "n": 9}).encode(), "asked")
    assert row[0] > 1.0


def test_types_that_are_asked_for_stand_next_to_those_that_are_found(tmp_path: Path) -> None:
    settings: list[dict[str, object]] = [{"source.types.paid on": "text"}, {"source.types": {"paid on": "text"}}]
    for asked in settings:
        text = _derived(_table(tmp_path), asked)
        assert text.count("types.") == 2
        assert 'types.Datum = "date"' in text
        assert 'types."paid on" = "text"  # as asked' in text

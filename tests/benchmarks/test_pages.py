"""Pages of the benchmarks: no table differs from its result, none is left out, and no column is empty."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import common, pages
from benchmarks.tables import HEADLINES, TABLES, Table

TEXTS = {file.name: file.read_text(encoding="utf-8") for file in sorted(pages.PAGES.glob("*.md"))}
SHOWN = [name for text in TEXTS.values() for name in re.findall(r"<!-- table: ([\w-]+) -->", text)]


def test_pages_are_up_to_date() -> None:
    old = [str(file.relative_to(common.ROOT)) for file in pages.outdated()]
    assert not old, f"{', '.join(old)}: run `{pages.COMMAND}`"


def test_every_table_stands_on_a_page_once() -> None:
    assert sorted(SHOWN) == sorted([*TABLES, "headlines"])


def test_every_result_is_shown() -> None:
    used = {source for table in TABLES.values() for source in table.sources}
    assert used == {file.stem for file in common.RESULTS.glob("*.json")}
    assert {one.source for one in HEADLINES} <= used


@pytest.mark.parametrize("name", TABLES)
def test_every_column_has_a_figure(name: str) -> None:
    rows = list(pages.rows_of(TABLES[name]))
    assert rows
    for title, column in TABLES[name].columns.items():
        assert any(pages.cell(column, row) != pages.NONE for row in rows), title


@pytest.mark.parametrize("name", TEXTS)
def test_links_and_images_of_a_page_are_there(name: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]*)?\)", TEXTS[name]):
        assert (pages.PAGES / target).exists(), target


def test_a_changed_figure_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = pages.result("query") | {"rows": [{"process": "query", "median_s": 9.5}], "date": "2030-01-02"}
    monkeypatch.setattr(pages, "result", lambda name: changed)
    text = pages.rendered("before\n<!-- table: query -->\nold\n<!-- end -->\nafter\n")
    assert text.startswith("before\n<!-- table: query -->\n\n| process |")
    assert "| query | 9.500 | – |" in text
    assert "*2030-01-02, " in text
    assert "old" not in text
    assert text.endswith("\n\n<!-- end -->\nafter\n")


def test_rows_are_joined_by_what_they_agree_in() -> None:
    rows = [{"n": 1, "arm": "a", "x": 1.0}, {"n": 1, "arm": "b", "x": 2.0}, {"n": 2, "arm": "a", "x": 3.0}]
    joined = list(pages.spread(rows, "arm", ["n"]))
    assert [pages.cell("{n}: {a[x]:.1f} {b[x]:.1f}", row) for row in joined] == ["1: 1.0 2.0", pages.NONE]
    by_number = list(pages.spread([{"arm": "a", "threads": 2, "x": 1.5}], "threads", ["arm"]))
    assert pages.cell("{arm} {threads_2[x]}", by_number[0]) == "a 1.5"


def test_a_column_takes_the_first_template_that_fits() -> None:
    row: dict[str, Any] = {"mean": 0.5, "sd": None, "count": 1_740_000}
    assert pages.cell(("{mean:.1f} ± {sd:.1f}", "{mean:.2f}"), row) == "0.50"
    assert pages.cell("{sd:.1f}", row) == pages.NONE
    assert [pages.cell("{count:si}", {"count": n}) for n in (1_740_000, 110_000)] == ["1.74M", "110k"]


def test_only_rows_with_the_field_and_the_values_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"a": 1, "k": 10}, {"a": 2, "k": 1}, {"b": 3, "k": 10}]
    monkeypatch.setattr(pages, "result", lambda name: {"settings": {"bits": 8}, "rows": rows})
    assert list(pages.rows_of(Table(("x",), "a", {}, only={"k": 10}))) == [{"a": 1, "k": 10, "bits": 8}]


def test_a_page_that_asks_for_an_unknown_table_fails() -> None:
    with pytest.raises(KeyError, match="nothing"):
        pages.rendered("<!-- table: nothing -->\n<!-- end -->\n")


def test_check_names_the_pages_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "search.md"
    page.write_text("<!-- table: query -->\n<!-- end -->\n")
    monkeypatch.setattr(pages, "PAGES", tmp_path)
    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["pages", "--check"])
    with pytest.raises(SystemExit, match="1"):
        pages.main()
    assert capsys.readouterr().out == "search.md\n"
    assert page.read_text() == "<!-- table: query -->\n<!-- end -->\n"
    monkeypatch.setattr("sys.argv", ["pages"])
    with pytest.raises(SystemExit, match="0"):
        pages.main()
    assert "| query |" in page.read_text()

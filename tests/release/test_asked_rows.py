"""Rows of tables that are asked with: which columns they may have, and how a wrong one is named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aepipe.errors import QueryError
from aepipe.release.asked_rows import check_rows, unknown_column, why_not_asked


def table(count: int = 3, kind: str = "table") -> Any:
    """Return what a release of so many learned columns says of itself."""
    learned = [{"name": f"cell{number}"} for number in range(count)]
    source = {"kind": kind, "label": "class", "keys": ["number"], "more": {"split": "fold"}}
    card = SimpleNamespace(features={"columns": learned})
    return SimpleNamespace(
        name="adult", encoder=SimpleNamespace(card=card), columns=["town"], recipe={"source": source}
    )


def test_all_columns_of_the_source_may_be_given() -> None:
    known = ["cell0", "cell2", "town", "class", "number", "fold"]
    assert unknown_column(table(), known) is None
    assert unknown_column(table(), []) is None
    assert unknown_column(table(), [*known, "cel2"]) == "no column 'cel2': is 'cell2' meant?"
    assert unknown_column(table(), ["zz", "yy"]) == "no column 'zz'; there are: cell0, cell1, cell2"


@pytest.mark.parametrize(("count", "more"), [(11, ""), (12, ""), (13, ", ...")])
def test_twelve_columns_are_named_at_most(count: int, more: str) -> None:
    listed = ", ".join(f"cell{number}" for number in range(min(count, 12)))
    assert unknown_column(table(count), ["?"]) == f"no column '?'; there are: {listed}{more}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"cell0": 1}', None),
        ('{"zz": 1, "cell0": 2}', "no column 'zz'; there are: cell0, cell1, cell2"),
        (' {"zz": 1} ', "no column 'zz'; there are: cell0, cell1, cell2"),
        ('{"zz": 1, "zz": 2}', "column 'zz' is given twice"),
        ('["zz"]', None),
        (' ["zz"] ', None),
        (' [["zz", 1]] ', None),
        ('"zz"', None),
        ("{zz", None),
    ],
)
def test_what_is_no_row_is_judged_elsewhere(text: str, said: str | None) -> None:
    assert why_not_asked(table(), text) == said


def test_only_tables_are_asked_with_rows() -> None:
    check_rows(table())
    with pytest.raises(QueryError, match="adult was learned from images, so a row of a table is no question for it"):
        check_rows(table(kind="images"))

"""Columns of hits: their names."""

from __future__ import annotations

from typing import Any

import pytest

from aepipe.errors import QueryError
from aepipe.report.hits import FIXED, chosen, names, source_columns
from aepipe.store.column_names import sql_names


class Shelf:
    """A collection with columns, and no rows."""

    fingerprint = "f"

    def __init__(self, *columns: str) -> None:
        self.columns = columns

    def path_of(self, place: str) -> None:
        """Return none."""


def test_columns_are_called_as_in_conditions() -> None:
    shelf = Shelf("id", "year", "Label", "snippet")
    assert source_columns(shelf) == {"source_id": "id", "year": "year", "source_Label": "Label"}
    assert source_columns(shelf) == {new: name for name, new in sql_names(["id", "year", "Label"]).items()}
    assert names(shelf) == (*FIXED, "source_id", "year", "source_Label")


def test_a_column_with_the_name_of_a_measure_gets_another_one() -> None:
    assert source_columns(Shelf("rank", "source_rank")) == {"source_source_rank": "rank", "source_rank": "source_rank"}


@pytest.mark.parametrize(("text", "found"), [("rank, source_id", ("rank", "source_id")), ("Label", ("Label",))])
def test_both_names_of_a_column_are_taken(text: str, found: Any) -> None:
    assert chosen(Shelf("id", "Label"), text) == found


@pytest.mark.parametrize("text", ["nope", ""])
def test_unknown_columns_are_named(text: str) -> None:
    with pytest.raises(QueryError, match=r"there are: rank, .*source_id"):
        chosen(Shelf("id"), text)

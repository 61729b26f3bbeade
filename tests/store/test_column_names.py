"""Columns of a source have one name each in SQL, which no engine takes for another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aepipe.store.column_names import EXPORTED, OURS, renamed, sql_names


def test_only_what_an_engine_would_confuse_is_renamed() -> None:
    names = ["ID", "year", "Year", "", "Label", "Code", "größe", 'odd "name"', "source_ID"]
    assert sql_names(names) == {
        "ID": "source_source_ID",
        "year": "year",
        "Year": "Year_2",
        "": "column_4",
        "Label": "source_Label",
        "Code": "source_Code",
        "größe": "größe",
        'odd "name"': 'odd "name"',
        "source_ID": "source_ID",
    }
    assert renamed(["year"]) == []
    (said,) = renamed(["Key", "year"])
    assert said.startswith("the column 'Key' is called source_Key in conditions")


@given(st.lists(st.text("iIdDkKeyY _1", max_size=4) | st.sampled_from(OURS + EXPORTED[:3]), unique=True, max_size=8))
def test_every_column_has_a_name_that_no_other_has(names: list[str]) -> None:
    found = sql_names(names)
    assert list(found) == names
    lower = [new.casefold() for new in found.values()]
    assert len(set(lower)) == len(lower)
    assert not set(lower) & {name.casefold() for name in (*OURS, *EXPORTED)}
    assert all(new.strip() for new in found.values())
    assert sql_names(found.values()) == {new: new for new in found.values()}

"""Groups of rows: their order, and their counts in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aepipe.release.groups import CONTENT, COPY, FIRST, IDENTICAL, Alike, Groups, arranged


def groups(sizes: list[int], relations: tuple[str, ...] = (), **more: Any) -> Groups:
    count = sum(sizes)
    offsets = np.cumsum([0, *sizes])
    given = {"radius": 3, "rows": 1234, **more}
    return Groups(np.arange(count), np.zeros(count, np.uint16), offsets, relations=relations, **given)


def test_the_largest_group_comes_first_and_the_nearest_row_in_it() -> None:
    """Equally large ones stay in the order of their first rows; equally near rows in that of their ids."""
    founder = np.array([0, 1, 1, 2, 2, 1, 0, 3])
    distances = np.array([0, 0, 5, 0, 1, 5, 2, 0], np.uint16)
    ids = np.array([1, 2, 9, 4, 5, 6, 7, 8])
    order, offsets = arranged(founder, distances, ids)
    assert ids[order].tolist() == [2, 6, 9, 1, 7, 4, 5, 8]
    assert offsets.tolist() == [0, 3, 5, 7, 8]
    none = np.zeros(0, np.int64)
    order, offsets = arranged(none, none.astype(np.uint16), none)
    assert (order.tolist(), offsets.tolist()) == ([], [0])


@pytest.mark.parametrize(
    ("alike", "said"),
    [("identical", "identical"), ("copies", "copies of one picture"), ("content", "at most 3 bits apart")],
)
def test_no_group_in_words(alike: Alike, said: str) -> None:
    assert groups([], alike=alike).summary() == f"no two of 1,234 rows are {said}"
    assert groups([], alike=alike, remark="9 gone").summary() == f"no two of 1,234 rows are {said}; 9 gone"


def test_groups_in_words() -> None:
    found = groups([3, 2, 2], (FIRST, IDENTICAL, COPY, FIRST, COPY, FIRST, CONTENT), remark="a remark")
    assert found.summary() == (
        "7 of 1,234 rows are in 3 groups (1 identical, 2 edited copies, 1 alike in content); "
        "to keep one of each would remove 4; a remark"
    )
    assert [found.relations_of(place) for place in range(3)] == [
        [FIRST, IDENTICAL, COPY],
        [FIRST, COPY],
        [FIRST, CONTENT],
    ]
    assert [ids.tolist() for ids, _ in found] == [[0, 1, 2], [3, 4], [5, 6]]
    many = groups([1500], (FIRST, *[IDENTICAL] * 1499), rows=2000)
    assert (
        many.summary()
        == "1,500 of 2,000 rows are in 1 groups (1,499 identical); to keep one of each would remove 1,499"
    )
    assert (
        groups([2], ("first", "edited copy")).summary().startswith("2 of 1,234 rows are in 1 groups (1 edited copy);")
    )

"""Distinct values of a column: the same as those of a look at each text, also where hashes collide."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aepipe.store import distinct, strings
from aepipe.store.strings import Strings

few = st.one_of(st.none(), st.sampled_from(["", "a", "b", "ab", "ba", "\0", "é", "a\x1fb"]), st.text(max_size=3))


def one_hash(stored: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the same hash for all texts."""
    return np.zeros(len(starts), np.uint64)


def values(texts: list[str | None]) -> list[str | None]:
    """Return each text by its number among the distinct ones."""
    with TemporaryDirectory() as folder:
        Strings.write(Path(folder), "label", texts)
        numbers: dict[str | None, int] = {}
        blocks = list(Strings.open(Path(folder), "label").numbered(numbers))
    assert set(numbers) == set(texts)
    known = list(numbers)
    return [known[number] for _, block in blocks for number in block.tolist()]


@given(st.lists(few, max_size=30), st.integers(1, 9))
@settings(deadline=None, max_examples=60)
def test_each_text_has_the_number_of_its_value(texts: list[str | None], block: int) -> None:
    with patch.object(strings, "NUMBERED", block):
        assert values(texts) == texts


@pytest.mark.parametrize("texts", [["ab", "ba", "ab"], ["a", "abc", ""], ["x", "x"]])
def test_texts_of_one_hash_stay_apart(texts: list[str | None]) -> None:
    with patch.object(distinct, "_hashes", one_hash):
        assert values(texts) == texts


def test_equal_texts_are_looked_at_once_wherever_they_stand() -> None:
    texts = [b"ab", b"", b"ba", b"ab", b"\0", b"", b"a" * 300, b"ab", b"a" * 300]
    sizes = np.array([len(text) for text in texts])
    starts = np.cumsum(sizes) - sizes
    firsts, which = distinct.alike(np.frombuffer(b"".join(texts), np.uint8), starts, sizes)
    assert sorted(firsts.tolist()) == [0, 1, 2, 4, 6]
    assert [texts[first] for first in firsts[which]] == texts

"""Strings and items: written and read unchanged, found by id and by key."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepipe.errors import CorruptError, QueryError
from aepipe.store.item_segments import ItemSegments
from aepipe.store.segments import FEW, Items, Row, positions
from aepipe.store.strings import Strings

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KEYS = ["b/2.png", "a/1.png", "ä.png", "c", "b/10.png"]


def write_items(folder: Path, keys: list[str] = KEYS) -> Items:
    """Write items with ids 3, 13, 23, ... and two own columns."""
    n = len(keys)
    strings: dict[str, list[str | None]] = {
        "key": [*keys],
        "place": [f"{key}#0" for key in keys],
        "label": [None if i % 2 else f"label{i}" for i in range(n)],
        "split": ["train"] * n,
        "column.0": [str(i) for i in range(n)],
        "column.1": [None] * n,
    }
    ids = np.arange(3, 3 + 10 * n, 10)
    Items.write(folder, ids, strings, columns=["../price", "empty"], root=Path("/photos"))
    return Items(folder)


@given(st.lists(st.none() | texts | st.just("\udcff\udc80 not UTF-8")))
@settings(deadline=None)
def test_strings_are_read_as_written(values: list[str | None]) -> None:
    with TemporaryDirectory() as folder:
        Strings.write(Path(folder), "some", iter(values))
        strings = Strings.open(Path(folder), "some")
        assert len(strings) == len(values)
        assert [strings[i] for i in range(len(values))] == values
        assert [strings.text(i) for i in range(len(values))] == [value or "" for value in values]
        assert list(strings) == values
        assert strings.all_bytes() == [(value or "").encode("utf-8", "surrogateescape") for value in values]


def test_opening_strings_reads_nothing(tmp_path: Path) -> None:
    Strings.write(tmp_path, "big", ["x" * 1000] * 100)
    strings = Strings.open(tmp_path, "big")
    assert isinstance(strings._blob.base, np.memmap)
    assert isinstance(strings._offsets.base, np.memmap)


@pytest.mark.parametrize(("written", "asked"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_key_is_found_in_the_other_normal_form_of_unicode(tmp_path: Path, written: str, asked: str) -> None:
    keys = [unicodedata.normalize(written, key) for key in ("a", "café/müsli.png")]  # type: ignore[arg-type]
    items = ItemSegments([write_items(tmp_path, keys)], np.zeros(0, np.int64))
    assert items.id_of(unicodedata.normalize(asked, "café/müsli.png")) == 13  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="no row has the key"):
        items.id_of("tée.png")


@given(st.integers(0, 9), st.integers(0, 9), st.lists(st.integers(0, 30), max_size=6), st.integers(-1, 9))
@settings(deadline=None)
def test_ids_without_a_gap_are_found_as_others_are(first: int, count: int, asked: list[int], gap: int) -> None:
    own, ids = np.delete(np.arange(first, first + count), [gap] if 0 <= gap < count else []), np.array(asked, np.int64)
    assert positions(own, ids).tolist() == np.searchsorted(own, ids).tolist()


def test_items_are_found_by_id(tmp_path: Path) -> None:
    items = write_items(tmp_path)
    places, known = items.places(np.array([43, 3, 2, 13, 44, -1, 3]))
    assert known.tolist() == [True, True, False, True, False, False, True]
    assert places[known].tolist() == [4, 0, 1, 0]
    own = {"../price": "0", "empty": None}
    first, second = ItemSegments([items], np.zeros(0, np.int64)).rows(items.ids[:2])
    assert first == Row(3, "b/2.png", "label0", "train", "b/2.png#0", own, ("label0",))
    assert second.label is None
    assert (len(items), items.root) == (5, Path("/photos"))


@given(st.lists(texts, unique=True, max_size=20), texts)
@settings(deadline=None)
def test_items_are_found_by_key(keys: list[str], other: str) -> None:
    with TemporaryDirectory() as folder:
        items = write_items(Path(folder), keys)
        assert [items.find(key) for key in keys] == items.ids.tolist()
        if other not in keys:
            assert items.find(other) is None


def test_items_in_several_segments(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "more").mkdir()
    base = write_items(tmp_path / "base")
    names = ["key", "place", "label", "split", "column.0", "column.1"]
    strings = {name: ["z", "b/2.png"] for name in names}
    Items.write(tmp_path / "more", np.array([60, 61]), strings, columns=[], root=Path())
    items = ItemSegments([base, Items(tmp_path / "more")], np.array([3, 13]))
    assert (len(items), items.ids.tolist()) == (5, [23, 33, 43, 60, 61])
    assert [row.key for row in items.rows([61, 23])] == ["b/2.png", KEYS[2]]
    assert items.texts("key", np.array([60, 33])) == ["z", KEYS[3]]
    assert list(items.column("key")) == [*KEYS[2:], "z", "b/2.png"]
    assert items.find("b/2.png") == 61, "the key of a removed row can be given again"
    assert items.find(KEYS[1]) is None
    for unknown in (-1, 2, 3, 13, 44, 62):
        with pytest.raises(QueryError, match=f"id {unknown}: .* 5 rows with ids from 23 to 61, not all of them"):
            items.check(np.array([23, unknown]))
    with pytest.raises(QueryError, match=f"no row has the key {KEYS[1]!r}.* keys are like {KEYS[2]!r}"):
        items.id_of(KEYS[1])


def test_a_release_without_rows(tmp_path: Path) -> None:
    items = ItemSegments([write_items(tmp_path, [])], np.zeros(0, np.int64))
    with pytest.raises(QueryError, match="the release has no rows"):
        items.rows([0])
    with pytest.raises(QueryError, match="the release has no rows"):
        items.id_of("x")


@pytest.mark.parametrize("metadata", ["", "[]", "{}", json.dumps({"columns": []})])
def test_damaged_metadata_are_an_error(tmp_path: Path, metadata: str) -> None:
    write_items(tmp_path)
    (tmp_path / "items.json").write_text(metadata)
    with pytest.raises(CorruptError, match=str(tmp_path)):
        Items(tmp_path)


def test_a_column_of_few_values_is_read_as_before_once_its_values_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    items = ItemSegments([write_items(tmp_path)], np.zeros(0, np.int64))
    ids = np.array([43, 3, 13, 3])
    before = items.table(("label", "split", "key"), ids)
    values, numbers = items.values("label")
    assert [values[number] for number in numbers.tolist()] == list(items.column("label"))
    with patch.object(Strings, "some", side_effect=AssertionError):
        assert items.table(("label",), ids) == before[:1]
    assert items.table(("label", "split", "key"), ids) == before
    many = ItemSegments([write_items(tmp_path / "many", [f"{i:05}" for i in range(FEW + 1)])], np.zeros(0, np.int64))
    assert len(many.values("key")[0]) == FEW + 1
    assert many.table(("key",), many.ids[-1:]) == [[f"{FEW:05}"]]
    assert not many._parts[0]._few

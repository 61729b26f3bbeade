"""Segments of codes and of items: rows in any order from several folders, and what is missing or damaged in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.errors import CorruptError, FingerprintError, QueryError
from aepipe.store import segments, strings
from aepipe.store.artifacts import Store
from aepipe.store.item_segments import ItemSegments
from aepipe.store.segments import CodeSegments, Items, ids_of
from aepipe.store.strings import Strings

F = "f" * 64
NONE = np.zeros(0, np.int64)


def write_codes(folder: Path, ids: list[int], *, embeddings: bool = True) -> tuple[Path, NDArray[np.uint8]]:
    """Write codes of 12 bits, each of its id, and embeddings of 3 numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = np.array([[one % 251, one % 16 << 4] for one in ids], np.uint8).reshape(-1, 2)
    np.save(folder / "ids.npy", np.array(ids, np.int64))
    np.save(folder / "codes.npy", packed)
    if embeddings:
        np.save(folder / "embedding.npy", np.array([[one % 100, -(one % 7), 1] for one in ids], np.int8).reshape(-1, 3))
    return folder, packed


@pytest.fixture
def codes(tmp_path: Path) -> CodeSegments:
    """Four segments: one without gaps, one with gaps, an empty one, and one whose rows lie among the others."""
    parts: list[list[int]] = [[3, 4, 5, 6], [20, 25, 30], [], [8, 26]]
    return CodeSegments([write_codes(tmp_path / str(n), ids)[0] for n, ids in enumerate(parts)], 12, F)


@pytest.mark.parametrize("ids", [[26, 3, 8, 30, 20, 6, 3], [25], [], [5, 4]])
def test_codes_come_in_the_order_that_is_asked_for(codes: CodeSegments, ids: list[int], tmp_path: Path) -> None:
    asked = np.array(ids, np.int64)
    found = codes.of(asked)
    assert found.packed.tolist() == [[one % 251, one % 16 << 4] for one in ids]
    assert (found.n_bits, found.fingerprint, len(codes.lazily(asked))) == (12, F, len(ids))
    lazily = codes.lazily(asked)
    assert lazily[1:3].packed.tolist() == found.packed[1:3].tolist()
    assert (lazily.n_bits, lazily.fingerprint) == (12, F)
    expected = [[one % 100, -(one % 7), 1] for one in ids]
    vectors = codes.embeddings_of(asked)
    assert (vectors.dtype.name, vectors.tolist(), codes.width) == ("int8", expected, 3)
    segments_before, segments.BLOCK = segments.BLOCK, 2
    try:
        written = codes.embeddings_in(tmp_path / "some.npy", asked)
    finally:
        segments.BLOCK = segments_before
    assert (written.tolist(), np.load(tmp_path / "some.npy").tolist()) == (expected, expected)


@pytest.mark.parametrize(
    ("ids", "first", "count"), [([7], 7, 1), ([3, 7, 1000, 21], 7, 3), ([2], 2, 1), ([31, 3], 31, 1)]
)
def test_a_row_without_a_code_is_damage(codes: CodeSegments, ids: list[int], first: int, count: int) -> None:
    for ask in (codes.of, codes.embeddings_of):
        with pytest.raises(CorruptError, match=rf"no segment has the code of row {first} \({count} such\): run again"):
            ask(np.array(ids))


def test_the_oldest_segment_that_has_a_row_gives_its_code(tmp_path: Path) -> None:
    one, packed = write_codes(tmp_path / "one", [1, 2, 3])
    other, _ = write_codes(tmp_path / "other", [2, 3, 4])
    np.save(other / "codes.npy", np.full((3, 2), 0xF0, np.uint8))
    found = CodeSegments([one, other], 12, F).of(np.array([4, 3, 2, 1]))
    assert found.packed.tolist() == [[0xF0, 0xF0], *packed[::-1].tolist()]


def test_embeddings_that_a_segment_lacks_are_none(tmp_path: Path) -> None:
    folders = [
        write_codes(tmp_path / name, ids, embeddings=name == "one")[0] for name, ids in (("one", [1]), ("two", [2]))
    ]
    assert CodeSegments(folders, 12, F).width is None
    assert CodeSegments(folders[:1], 12, F).width == 3


def test_segments_of_two_encoders_are_never_mixed(store: Store) -> None:
    refs = []
    for number, print_ in enumerate((F, F, "0" * 64)):
        with store.draft("segment") as draft:
            write_codes(draft.path, [number])
            refs.append(draft.finish({"number": number}, {"fingerprint": print_, "n_bits": 12}))
    opened = CodeSegments.open(store, refs[:2])
    assert (opened.n_bits, opened.fingerprint) == (12, F)
    assert opened.of(np.array([1, 0])).packed[:, 0].tolist() == [1, 0]
    with pytest.raises(FingerprintError, match=r"made by 2 different encoders: 0{12}, f{12}$"):
        CodeSegments.open(store, refs)


def test_ids_beyond_what_a_row_can_have() -> None:
    assert ids_of([1, 2]).dtype == np.int64
    for given in ([1, 1 << 63, 5], [1, -(1 << 70)]):
        largest = max(given, key=abs)
        with pytest.raises(QueryError, match=f"^no row has the id {largest}: ids are below 2\\^63$"):
            ids_of(given)


def write_items(folder: Path, ids: list[int], *, label: str | None = "cat", roots: tuple[str, ...] = ()) -> Items:
    """Write items with keys ``k<id>`` and one own column."""
    folder.mkdir(parents=True)
    texts: dict[str, list[str | None]] = {
        "key": [f"k{one:03d}" for one in ids],
        "place": [None if one % 5 == 0 else f"p{one}" for one in ids],
        "label": [label if one % 2 else None for one in ids],
        "split": ["test" if one % 3 == 0 else "train" for one in ids],
        "column.0": [str(one) for one in ids],
    }
    Items.write(folder, np.array(ids, np.int64), texts, columns=["price"], root=Path("/photos"), roots=roots)
    return Items(folder)


@pytest.fixture
def items(tmp_path: Path) -> ItemSegments:
    """Two segments of which three rows were removed."""
    parts = [
        write_items(tmp_path / "a", [3, 4, 5, 6, 7], roots=("/x", "/y")),
        write_items(tmp_path / "b", [10, 12, 15], label="dog", roots=("/y", "/z")),
    ]
    return ItemSegments(parts, np.array([4, 7, 12]))


def test_rows_of_several_segments_without_removed_ones(items: ItemSegments) -> None:
    assert (len(items), items.ids.tolist(), items.ids.dtype.name) == (5, [3, 5, 6, 10, 15], "int64")
    assert (items.root, items.roots) == (Path("/photos"), (Path("/x"), Path("/y"), Path("/z")))
    rows = items.rows([15, 3, 10])
    assert [(row.id, row.key, row.label, row.split, row.place) for row in rows] == [
        (15, "k015", "dog", "test", ""),
        (3, "k003", "cat", "test", "p3"),
        (10, "k010", None, "train", ""),
    ]
    assert [(row.columns, row.labels) for row in rows] == [
        ({"price": "15"}, ("dog",)),
        ({"price": "3"}, ("cat",)),
        ({"price": "10"}, ()),
    ]
    assert (items.own_columns, items.columns) == (("column.0",), ["price"])
    assert items.rows([]) == []
    assert items.table(("split", "key"), np.array([6, 10])) == [["test", "train"], ["k006", "k010"]]
    assert items.texts("label", [15, 6]) == ["dog", None]
    assert list(items.column("key")) == ["k003", "k005", "k006", "k010", "k015"]
    assert list(items.keys_from("k00")) == ["k003", "k005", "k006"]
    assert list(items.keys_from("k01")) == ["k010", "k015"]
    assert list(items.keys_from("x")) == []
    assert [items.find(key) for key in ("k005", "k015", "k004", "k012", "none")] == [5, 15, None, None, None]
    assert items.id_of("k010") == 10


@pytest.mark.parametrize("removed", [NONE, np.array([4])])
def test_values_are_numbered_in_the_order_of_rows(tmp_path: Path, removed: NDArray[np.int64]) -> None:
    one = write_items(tmp_path / "a", [3, 4, 5, 6, 7])
    for parts in ([one], [one, write_items(tmp_path / "b", [10, 12, 15], label="dog")]):
        several = ItemSegments(parts, removed)
        for name in ("label", "split", "key"):
            known, numbers = several.values(name)
            assert numbers.dtype == np.int32
            assert [known[number] for number in numbers] == list(several.column(name))
            assert len(set(known)) == len(known)
    assert ItemSegments([one], removed).texts("label", np.array([7, 3, 6])) == ["cat", "cat", None]


def test_columns_of_few_values_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, asked = write_items(tmp_path / "a", [3, 4, 5, 6, 7]), list[str]()
    monkeypatch.setattr(segments, "FEW", 2)
    one.values("label"), one.values("key")
    plain = Items.strings

    def counted(self: Items, name: str) -> Strings:
        asked.append(name)
        return plain(self, name)

    monkeypatch.setattr(Items, "strings", counted)
    assert one.some("label", np.array([4, 1, 0])) == ["cat", None, "cat"]
    assert one.values("label")[0] == ["cat", None]
    assert asked == [], "two values are few"
    assert one.some("key", np.array([4, 1])) == ["k007", "k004"]
    one.values("key")
    assert asked == ["key", "key"]


def in_parts(folder: Path, parts: list[list[int]], removed: list[int]) -> ItemSegments:
    """Return segments as those of parts are opened: by the first and the last id that their facts say."""
    held = []
    for number, ids in enumerate(parts):
        made = write_items(folder / str(number), ids, label=f"of {number}", roots=() if number else ("/x",))
        held.append(Items(folder / str(number), json.loads(json.dumps(made.facts | {"rows": len(ids)}))))
    return ItemSegments(held, np.array(removed, np.int64))


@pytest.mark.parametrize("removed", [[], [5, 12]])
def test_segments_of_parts_have_ids_of_each_others_range(tmp_path: Path, removed: list[int]) -> None:
    """They answer as one segment of all rows does; an empty one is among them."""
    parts = [[3, 4, 14], [], [5, 6, 12], [7, 10, 11, 13]]
    found, left = in_parts(tmp_path, parts, removed), sorted({one for ids in parts for one in ids} - set(removed))
    labels = {row: f"of {number}" if row % 2 else None for number, ids in enumerate(parts) for row in ids}
    assert (len(found), found.ids.tolist(), found.roots) == (len(left), left, (Path("/x"),))
    assert list(found.column("key")) == [f"k{one:03d}" for one in left]
    asked = [left[place] for place in (-1, 0, 4, 1, 0)]
    assert [(row.id, row.key, row.label) for row in found.rows(asked)] == [
        (one, f"k{one:03d}", labels[one]) for one in asked
    ]
    for name in ("label", "split", "key"):
        known, numbers = found.values(name)
        assert [known[number] for number in numbers] == list(found.column(name))
    assert [found.find(f"k{one:03d}") for one in range(16)] == [one if one in left else None for one in range(16)]
    assert sorted(found.keys_from("k01")) == [f"k{one:03d}" for one in left if one >= 10]
    for missing in ([8], [3, 15], [-1], *([one] for one in removed)):
        with pytest.raises(QueryError, match=f"no row has the id {missing[-1]}: the release has {len(left)} rows"):
            found.check(np.array(missing))


def test_rows_of_a_part_are_read_without_opening_the_others(tmp_path: Path) -> None:
    found = in_parts(tmp_path, [[3, 4, 14], [5, 6], [7, 10]], [])
    for gone in (tmp_path / "2").iterdir():
        gone.unlink()
    assert [row.key for row in found.rows([5, 14])] == ["k005", "k014"]
    assert (len(found), found.find("k006")) == (7, 6)
    with pytest.raises(CorruptError, match=r"ids\.npy"):
        found.rows([7])


@pytest.mark.parametrize(("ids", "missing"), [([3, 4], 4), ([99, 3], 99), ([11], 11), ([-1], -1), ([2], 2)])
def test_a_row_that_is_not_there_is_said_with_those_that_are(items: ItemSegments, ids: list[int], missing: int) -> None:
    said = rf"^no row has the id {missing}: the release has 5 rows with ids from 3 to 15, not all of them$"
    for ask in (items.rows, lambda some: items.check(np.array(some)), lambda some: items.texts("key", some)):
        with pytest.raises(QueryError, match=said):
            ask(ids)


def test_ids_without_gaps_are_not_said_to_have_some(tmp_path: Path) -> None:
    whole = ItemSegments([write_items(tmp_path / "a", [3, 4, 5])], NONE)
    with pytest.raises(QueryError, match=r"the release has 3 rows with ids from 3 to 5$"):
        whole.rows([6])
    gap = ItemSegments([write_items(tmp_path / "b", [3, 5])], NONE)
    with pytest.raises(QueryError, match=r"2 rows with ids from 3 to 5, not all of them$"):
        gap.rows([4])
    with pytest.raises(
        QueryError, match=r"^no row has the key 'x': the release has 3 rows .*, and keys are like 'k003'$"
    ):
        whole.id_of("x")
    empty = ItemSegments([write_items(tmp_path / "c", [])], NONE)
    with pytest.raises(QueryError, match=r"^no row has the id 1: the release has no rows$"):
        empty.rows([1])
    with pytest.raises(QueryError, match=r"no row has the key 'x': the release has no rows, and keys are like ''$"):
        empty.id_of("x")


@pytest.mark.parametrize("change", [{"columns": None}, {"root": None}, {"root": 3}, {"roots": 3}])
def test_a_damaged_card_of_items_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    write_items(tmp_path / "a", [1])
    file = tmp_path / "a" / "items.json"
    card = json.loads(file.read_text())
    assert card == {"schema": 1, "columns": ["price"], "root": "/photos"}
    changed = {name: value for name, value in (card | change).items() if value is not None}
    file.write_text(json.dumps(changed))
    with pytest.raises(CorruptError, match=f"{tmp_path / 'a'}: corrupt, not the items of a release: .*; delete it and"):
        Items(tmp_path / "a")


@pytest.mark.parametrize("row", [-1, 3])
def test_an_order_of_keys_that_cannot_be_is_damage(tmp_path: Path, row: int) -> None:
    write_items(tmp_path / "a", [3, 4, 5])
    assert np.load(tmp_path / "a" / "key.order.npy").tolist() == [0, 1, 2]
    np.save(tmp_path / "a" / "key.order.npy", np.array([row] * 3))
    with pytest.raises(CorruptError, match=rf"key\.order\.npy: corrupt, there is no row {row}; delete"):
        Items(tmp_path / "a").find("k004")


def some_strings(folder: Path, *offsets: int, blob: bytes = b"abcdef") -> Strings:
    np.save(folder / "s.offsets.npy", np.array(offsets, np.int64))
    np.save(folder / "s.blob.npy", np.frombuffer(blob, np.uint8))
    return Strings.open(folder, "s")


def test_strings_that_lie_where_they_can_are_read(tmp_path: Path) -> None:
    found = some_strings(tmp_path, 0, 2, -3, 2, 6)
    expected = ["ab", "", None, "cdef"]
    assert [found[one] for one in range(4)] == list(found) == found.some(np.arange(4)) == ["ab", *expected[1:]]
    assert [found.raw(one) for one in range(4)] == found.all_bytes() == [b"ab", b"", b"", b"cdef"]


@pytest.mark.parametrize("offsets", [(0, 3, 2, 6), (0, 2, 7), (0, -8, 7), (0, 2, -8, 7)])
def test_strings_that_end_before_they_begin_or_after_the_file_are_damage(
    tmp_path: Path, offsets: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strings, "NUMBERED", 100)
    broken = some_strings(tmp_path, *offsets)
    said = r"s\.offsets\.npy: corrupt, a string ends before it begins, or after the file; delete"
    everything = np.arange(len(broken))
    with pytest.raises(CorruptError, match=said):
        list(broken.numbered({}))
    with pytest.raises(CorruptError, match=said):
        broken.all_bytes()
    if all(one >= 0 for one in offsets):
        with pytest.raises(CorruptError, match=said):
            broken.some(everything)
        with pytest.raises(CorruptError, match=said):
            [broken.raw(one) for one in everything.tolist()]


def test_arrays_of_other_types_are_no_strings(tmp_path: Path) -> None:
    some_strings(tmp_path, 0, 6)
    np.save(tmp_path / "s.blob.npy", np.zeros(6, np.int8))
    with pytest.raises(CorruptError, match=r"s\.offsets\.npy: corrupt, not the strings of a column"):
        Strings.open(tmp_path, "s")
    np.save(tmp_path / "s.blob.npy", np.zeros(6, np.uint8))
    np.save(tmp_path / "s.offsets.npy", np.array([0, 6], np.int32))
    with pytest.raises(CorruptError, match="not the strings of a column"):
        Strings.open(tmp_path, "s")


def test_blocks_of_numbered_strings_begin_where_the_last_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strings, "NUMBERED", 2)
    Strings.write(tmp_path, "s", ["b", None, "a", "b", None])
    numbers: dict[str | None, int] = {"a": 0}
    blocks = [(first, own.dtype.name, own.tolist()) for first, own in Strings.open(tmp_path, "s").numbered(numbers)]
    assert blocks == [(0, "int32", [1, 2]), (2, "int32", [0, 1]), (4, "int32", [2])]
    assert numbers == {"a": 0, "b": 1, None: 2}

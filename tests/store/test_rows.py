"""Rows in Parquet: read as written, for any size of parts, row groups and batches."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from aepipe.errors import CorruptError, QueryError
from aepipe.store import rows_writer
from aepipe.store.labels import SEPARATOR
from aepipe.store.rows import Finder, Rejected, Row, Rows, _view, gather, read_quarantine, write_quarantine
from aepipe.store.rows_writer import RowsWriter

SHAPE = (3, 4, 2)
SCHEMA = pa.schema({"price": pa.float64(), "label": pa.string(), "tags": pa.list_(pa.string())})


def row(number: int, dtype: str = "uint8", shape: tuple[int, ...] = SHAPE) -> Row:
    rng = np.random.default_rng(number)
    return Row(
        id=1000 + 3 * number,
        key=f"k/{number}.jpg",
        sha256=hashlib.sha256(bytes([number % 50])).digest(),
        place=f"part.parquet#{number}",
        split="test" if number % 4 == 0 else "train",
        features=rng.integers(0, 256, shape).astype(dtype),
        label=None if number % 7 == 0 else f"c{number % 3}",
        columns={"price": number / 4, "label": "the source's", "tags": ["a"] * (number % 3)},
    )


def write(folder: Path, rows: list[Row], schema: pa.Schema = SCHEMA, **options: Any) -> Rows:
    folder.mkdir(parents=True, exist_ok=True)
    with RowsWriter(folder, **{"shape": SHAPE, "columns": schema, **options}) as writer:
        for one in rows:
            writer.append(one)
        writer.close(source="abc", next_id=5000, rejected=[Rejected("bad.jpg", "bad.jpg", "truncated")])
    return Rows(folder)


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of 8 rows, parts of 24."""
    monkeypatch.setattr(rows_writer, "_GROUP_ROWS", 8)
    monkeypatch.setattr(rows_writer, "_PART_ROWS", 30)


@pytest.fixture
def made(tmp_path: Path, small_groups: None) -> tuple[Rows, list[Row]]:
    rows = [row(number) for number in range(61)]
    return write(tmp_path / "rows", rows), rows


def test_columns_are_read_as_written(made: tuple[Rows, list[Row]]) -> None:
    table, rows = made
    assert len(table) == 61
    assert (table.shape, table.dtype.name, table.next_id) == (SHAPE, "uint8", 5000)
    assert table.ids().dtype == np.int64
    assert table.ids().tolist() == [one.id for one in rows]
    assert table.keys() == [one.key for one in rows]
    assert table.places() == [one.place for one in rows]
    assert table.splits() == [one.split for one in rows]
    assert table.labels() == [one.label for one in rows]
    assert [digest.tobytes() for digest in table.sha256()] == [one.sha256 for one in rows]
    assert table.quarantine() == [Rejected("bad.jpg", "bad.jpg", "truncated")]


def test_the_sources_own_columns_keep_their_names_unless_they_are_ours(made: tuple[Rows, list[Row]]) -> None:
    table, rows = made
    assert table.columns == ["price", "source_label", "tags"]
    assert table.table(["price", "source_label"]).to_pylist() == [
        {"price": one.columns["price"], "source_label": "the source's"} for one in rows
    ]
    records = list(table.records())
    assert [record.columns for record in records] == [one.columns for one in rows]


def test_names_that_clash_twice(tmp_path: Path) -> None:
    schema = pa.schema({"id": pa.int64(), "source_id": pa.int64(), "features": pa.int64()})
    columns = {"id": 1, "source_id": 2, "features": 3}
    one = Row(0, "k", bytes(32), "p", "train", np.zeros(SHAPE, np.uint8), columns=columns)
    table = write(tmp_path, [one], schema)
    assert table.columns == ["source_source_id", "source_id", "source_features"]
    assert next(iter(table.records())).columns == columns


def test_features(made: tuple[Rows, list[Row]]) -> None:
    table, rows = made
    expected = np.stack([one.features for one in rows])
    test = np.array([one.split == "test" for one in rows])
    mask = np.arange(61) % 5 == 1
    found = table.features()
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert found.flags.writeable
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(table.features("test"), expected[test])
    np.testing.assert_array_equal(table.features(mask=mask), expected[mask])
    np.testing.assert_array_equal(table.features("train", mask=mask), expected[mask & ~test])
    assert table.features("nothing").shape == (0, *SHAPE)
    for number in (0, 60, 7, 8, 23, 24, 59, 0):
        np.testing.assert_array_equal(table.feature(number), expected[number])
    np.testing.assert_array_equal(np.stack([one.features for one in table.rows()]), expected)


@pytest.mark.parametrize("size", [1, 3, 8, 24, 25, 60, 61, 200])
@pytest.mark.parametrize("split", [None, "test"])
def test_batches(made: tuple[Rows, list[Row]], size: int, split: str | None) -> None:
    table, rows = made
    wanted = [one for one in rows if split in (None, one.split)]
    batches = list(table.batches(size, split))
    assert [len(ids) for ids, _ in batches[:-1]] == [size] * (len(batches) - 1)
    assert 0 < len(batches[-1][0]) <= size
    assert np.concatenate([ids for ids, _ in batches]).tolist() == [one.id for one in wanted]
    features = np.concatenate([features for _, features in batches])
    np.testing.assert_array_equal(features, np.stack([one.features for one in wanted]))


def test_batches_read_one_row_group_at_a_time(made: tuple[Rows, list[Row]], monkeypatch: pytest.MonkeyPatch) -> None:
    table, _ = made
    read: list[int] = []
    plain = pq.ParquetFile.read_row_group

    def counted(*args: Any, **options: Any) -> pa.Table:
        read.append(1)
        return plain(*args, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    for number, _ in enumerate(table.batches(8)):
        assert len(read) <= number + 1


def test_the_layout_on_disk(made: tuple[Rows, list[Row]], tmp_path: Path) -> None:
    parts = sorted(path.name for path in (tmp_path / "rows").iterdir())
    assert parts == ["quarantine.parquet", *(f"rows-{n:05d}.parquet" for n in range(3)), "rows.json"]
    schema = pq.read_schema(tmp_path / "rows" / "rows-00000.parquet")
    assert schema.field("id").type == pa.int64()
    assert schema.field("sha256").type == pa.binary(32)
    assert schema.field("features").type == pa.binary(24)
    facts = json.loads((tmp_path / "rows" / "rows.json").read_text())
    assert facts["rows"] == 61
    assert facts["splits"] == {"test": 16, "train": 45}
    assert facts["distinct"] == 50
    assert facts["labels"] is True
    assert facts["labelled"] == 61 - 9
    assert facts["quarantined"] == 1
    assert facts["source"] == "abc"


def test_equal_rows_make_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, [row(number) for number in range(20)])
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_no_labels_no_rows_and_other_types(tmp_path: Path) -> None:
    bare = Row(0, "k", bytes(32), "p", "train", np.zeros(SHAPE, np.uint8))
    assert write(tmp_path / "bare", [bare], pa.schema([])).labels() is None
    empty = write(tmp_path / "empty", [])
    assert (len(empty), empty.features().shape, list(empty.batches(3))) == (0, (0, *SHAPE), [])
    assert empty.sha256().shape == (0, 32)
    rows = [row(number, "float32", (5,)) for number in range(3)]
    floats = write(tmp_path / "floats", rows, shape=(5,), dtype="float32")
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats.features(), np.stack([one.features for one in rows]))


def test_memory_of_the_writer_is_one_row_group(tmp_path: Path, small_groups: None) -> None:
    tmp_path.joinpath("rows").mkdir()
    with RowsWriter(tmp_path / "rows", shape=SHAPE, columns=SCHEMA) as writer:
        for number in range(100):
            writer.append(row(number))
            assert len(writer._pending) < 8


def test_the_finder_compares_whole_digests() -> None:
    rng = np.random.default_rng(0)
    digests = rng.integers(0, 256, (500, 32), np.uint8)
    digests[100:200, :8] = digests[100, :8]  # heads that agree
    digests[300] = digests[10]
    finder = Finder(digests)
    expected: NDArray[np.int64] = np.arange(500)
    expected[300] = 10
    assert [finder(digest.tobytes()) for digest in digests] == expected.tolist()
    assert finder(bytes(32)) == -1
    assert finder(digests[100, :8].tobytes() + bytes(24)) == -1
    assert Finder(np.empty((0, 32), np.uint8))(bytes(32)) == -1


def test_a_slice_of_a_column_is_viewed_from_its_own_start() -> None:
    values = [bytes([number] * 3) for number in range(9)]
    whole = pa.array(values, pa.binary(3))
    assert _view(whole.slice(4, 2), 3).tolist() == [[4] * 3, [5] * 3]


@pytest.mark.parametrize(
    ("width", "group", "per_part"),
    [
        (24, 4096, 12 * 4096),
        (1 << 12, 4096, 12 * 4096),
        (1 << 13, 2048, 16 * 2048),
        ((1 << 12) + 1, 4095, 12 * 4095),
        (1 << 24, 1, 16),
        (1 << 25, 1, 8),
        (1 << 29, 1, 1),
    ],
)
def test_a_row_group_has_16_megabytes_at_most_and_a_file_256(
    tmp_path: Path, width: int, group: int, per_part: int
) -> None:
    """And 4,096 and 50,000 rows; a file has whole groups."""
    with RowsWriter(tmp_path, shape=(width,), columns=pa.schema([])) as writer:
        assert (writer.group, writer._per_part) == (group, per_part)
    with RowsWriter(tmp_path, shape=(width // 4, 1), columns=pa.schema([]), dtype="float32") as writer:
        assert writer.group == (group if width % 4 == 0 else 4096)
    assert list(tmp_path.iterdir()) == []


def test_rows_of_another_table_are_added_in_groups(made: tuple[Rows, list[Row]], tmp_path: Path) -> None:
    """Between others, with all that is counted of them."""
    table, rows = made
    several = row(70)
    several = replace(several, label=f"a{SEPARATOR}b")
    (tmp_path / "new").mkdir()
    with RowsWriter(tmp_path / "new", shape=SHAPE, columns=SCHEMA) as writer:
        assert writer.names == ["price", "source_label", "tags"]
        writer.append(rows[0])
        for some in table.tables():
            writer.extend(some)
        writer.extend(pa.concat_tables(table.tables()))
        writer.append(several)
        writer.close(source="abc", next_id=1)
    found = Rows(tmp_path / "new")
    ids = [one.id for one in rows]
    assert found.ids().tolist() == [ids[0], *ids, *ids, several.id]
    sizes = [
        pq.ParquetFile(path).metadata.row_group(number).num_rows
        for path in sorted((tmp_path / "new").glob("rows-*.parquet"))
        for number in range(pq.ParquetFile(path).metadata.num_row_groups)
    ]
    assert sizes == [1] + [8] * 7 + [5] + [8] * 7 + [5, 1]
    facts = found.facts
    assert (facts["rows"], facts["splits"]) == (124, {"test": 2 * 16 + 1, "train": 2 * 45 + 1})
    assert (facts["labelled"], facts["distinct"], facts["several_labels"]) == (2 * 52 + 1, 50, 1)
    assert (facts["next_id"], facts["quarantined"], facts["schema"], facts["dtype"]) == (1, 0, 1, "uint8")
    assert found.several_labels
    assert not table.several_labels
    assert "several_labels" not in table.facts
    assert (
        found.features().tolist()
        == np.stack([rows[0].features] + [o.features for o in [*rows, *rows, several]]).tolist()
    )


def test_files_are_compressed_and_told_apart(made: tuple[Rows, list[Row]], tmp_path: Path) -> None:
    """Columns whose values are all different have no dictionary; two have no smallest and largest."""
    for path in sorted((tmp_path / "rows").glob("rows-*.parquet")):
        metadata = pq.ParquetFile(path).metadata
        columns = [metadata.row_group(0).column(number) for number in range(metadata.num_columns)]
        columns = [column for column in columns if "." not in column.path_in_schema]
        assert {column.compression for column in columns} == {"ZSTD"}
        unique = {column.path_in_schema for column in columns if "RLE_DICTIONARY" not in column.encodings}
        assert unique == {"id", "key", "sha256", "place", "features"}
        assert {column.path_in_schema for column in columns if not column.is_stats_set} == {"features", "sha256"}
    schema = pq.read_schema(tmp_path / "rows" / "rows-00000.parquet")
    assert [name for name in schema.names if not schema.field(name).nullable] == [
        "id",
        "key",
        "sha256",
        "place",
        "split",
        "features",
    ]
    assert schema.names == [
        "id",
        "key",
        "sha256",
        "place",
        "label",
        "split",
        "price",
        "source_label",
        "tags",
        "features",
    ]


def test_a_few_row_groups_are_kept(made: tuple[Rows, list[Row]], monkeypatch: pytest.MonkeyPatch) -> None:
    table, rows = made
    expected = np.stack([one.features for one in rows])
    read: list[int] = []
    plain = Rows._group

    def counted(self: Rows, number: int) -> NDArray[Any]:
        read.append(number)
        return plain(self, number)

    monkeypatch.setattr(Rows, "_group", counted)
    table = Rows(table.folders[0])
    for place in (0, 7, 8, 16, 24, 0, 24, 31):
        np.testing.assert_array_equal(table.feature(place), expected[place])
    assert read == [0, 1, 2, 3], "four groups are kept"
    table.feature(32)
    table.feature(8)
    assert read == [0, 1, 2, 3, 4, 1], "the one that was not asked for lately made room"
    asked = np.array([60, 0, 59, 33, 33])
    np.testing.assert_array_equal(table.features_at(asked), expected[asked])
    assert table.features_at(asked).dtype == np.uint8
    assert table.features_at(np.zeros(0, np.int64)).shape == (0, *SHAPE)


def test_facts_of_some_rows(made: tuple[Rows, list[Row]]) -> None:
    table, rows = made
    assert table.own_schema == pa.schema({"price": pa.float64(), "label": pa.string(), "tags": pa.list_(pa.string())})
    wanted = np.array([rows[60].id, 5, rows[3].id])
    assert table.digests_of(wanted) == {rows[at].id: rows[at].sha256 for at in (3, 60)}
    assert table.ids("test").tolist() == [one.id for one in rows if one.split == "test"]
    assert (table.parts, table.part_names, table.is_listed) == ([table], [], False)
    assert table.runs().tolist() == [[1000 + 3 * number, 1] for number in range(61)]
    other = Rows(table.folders[0], ids=np.arange(61))
    assert (other.ids().tolist(), other.is_listed) == (list(range(61)), True)
    assert [one.id for one in other.records()] == list(range(61))
    assert other.runs().tolist() == [[0, 61]]
    assert [block.column("id").to_pylist() for block in other.tables()][:2] == [list(range(8)), list(range(8, 16))]
    assert list(other.each_key()) == other.keys() == [one.key for one in rows]
    batches = [ids.tolist() for ids, _ in other.batches(40)]
    assert batches == [list(range(40)), list(range(40, 61))]


def test_the_quarantine_tells_items_from_files(tmp_path: Path) -> None:
    rejected = [Rejected("a", "x/a", "truncated"), Rejected("b", "x/b", "too large")]
    assert write_quarantine(tmp_path / "q", rejected, [("notes.txt", "not a picture", 1), ("", "hidden", 7)]) == 2
    assert read_quarantine(tmp_path / "q") == [
        {"key": "a", "place": "x/a", "reason": "truncated", "what": "unreadable", "count": 1},
        {"key": "b", "place": "x/b", "reason": "too large", "what": "unreadable", "count": 1},
        {"key": "", "place": "notes.txt", "reason": "not a picture", "what": "passed over", "count": 1},
        {"key": "", "place": "", "reason": "hidden", "what": "passed over", "count": 7},
    ]
    assert write_quarantine(tmp_path / "none", []) == 0
    assert read_quarantine(tmp_path / "none") == []
    texts = {name: pa.string() for name in ("key", "place", "reason", "what")}
    for name in ("q", "none"):
        assert pq.read_schema(tmp_path / name) == pa.schema({**texts, "count": pa.int64()})
    pq.write_table(pa.table({"key": ["a"], "place": ["x"], "reason": ["old"]}), tmp_path / "old")
    assert read_quarantine(tmp_path / "old") == [
        {"key": "a", "place": "x", "reason": "old", "what": "unreadable", "count": 1}
    ]
    (tmp_path / "old").write_bytes(b"no table")
    with pytest.raises(CorruptError, match=rf"^{tmp_path / 'old'}: corrupt, not readable \([^\n]+\)$"):
        read_quarantine(tmp_path / "old")


@pytest.mark.parametrize("held", [1, 24 * 5, 24 * 5 + 23, 24 * 100])
def test_selections_are_gathered_in_blocks(
    made: tuple[Rows, list[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    table, rows = made
    monkeypatch.setattr("aepipe.store.rows.BLOCK_BYTES", held)
    asked, told = {"one": np.array([60, 0, 7, 7]), "two": np.array([24, 23])}, list[int]()
    found = gather(table, asked, tmp_path, told.append)
    for name, places in asked.items():
        np.testing.assert_array_equal(found[name], np.stack([rows[at].features for at in places]))
    size = max(1, held // 24)
    assert told == [*range(size, 61, size), 61]
    floats = write(
        tmp_path / "floats", [row(number, "float32", (5,)) for number in range(9)], shape=(5,), dtype="float32"
    )
    monkeypatch.setattr("aepipe.store.rows.BLOCK_BYTES", 4 * 5 * 4)
    told.clear()
    assert gather(floats, {"some": np.array([8])}, tmp_path, told.append)["some"].dtype == np.float32
    assert told == [4, 8, 9]


@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_rows_without_features_are_counted(kept: float) -> None:
    has = np.array([True, False, True, False, False])
    given: Any = SimpleNamespace(kept=kept, with_features=has)
    for rows in (np.array([0, 2]), np.array([True, False, True, False, False]), slice(0, 1)):
        Rows.check_features(given, rows)
    for rows, said in ((slice(None), "3 of 5"), (np.array([1]), "1 of 1"), (np.array([0, 1, 2, 3]), "2 of 4")):
        if kept == 1:
            Rows.check_features(given, rows)
            continue
        with pytest.raises(QueryError, match=f"^{said} rows have no features .* keeps those of 50.00% of all"):
            Rows.check_features(given, rows)


def test_only_rows_that_are_a_sample_say_their_share(tmp_path: Path) -> None:
    whole = write(tmp_path / "rows", [row(1)])
    assert "kept" not in whole.facts
    assert whole.kept == 1
    (tmp_path / "none").mkdir()
    with RowsWriter(tmp_path / "none", shape=SHAPE, columns=SCHEMA, kept=0.5) as writer:
        writer.close(source="abc", next_id=5000)
    assert Rows(tmp_path / "none").facts["kept"] == 0.5


def test_features_are_written_in_the_type_of_the_rows(tmp_path: Path) -> None:
    given = [row(number, "float64") for number in (1, 2)]
    found = write(tmp_path / "rows", given, dtype="float16")
    assert found.feature(1).dtype == np.float16
    assert found.feature(1).tolist() == given[1].features.astype(np.float16).tolist()

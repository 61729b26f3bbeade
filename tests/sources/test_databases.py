"""SQLite and DuckDB files: tables and queries of all kinds of items, read only."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from PIL import Image

from aepipe import sources
from aepipe.errors import ExtraError, RecipeError, SourceError
from aepipe.pipeline.suggest import suggest
from aepipe.recipe import Choice, LayerRecipe, Recipe
from aepipe.sources.item import Item, Select, Source
from aepipe.sources.loader import read_all

VECTORS = np.arange(24, dtype=np.float32).reshape(3, 8)
WORDS = ["the cat sat on the mat", "a dog ran in the park", "the cat ran on the mat"]


def png(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 90)).save(out, "PNG")
    return out.getvalue()


ITEMS = [(number, png(number), WORDS[number], VECTORS[number].tobytes(), number * 1.5) for number in range(3)]
COLUMNS = "id INTEGER, image BLOB, text TEXT, embedding BLOB, price REAL"


def sqlite(path: Path, columns: str = COLUMNS, rows: Sequence[Sequence[Any]] = ITEMS, table: str = "items") -> Path:
    database = sqlite3.connect(path)
    database.execute(f'CREATE TABLE "{table}" ({columns})')
    database.executemany(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(rows[0]))})', rows)
    database.commit()
    database.close()
    return path


def duck(path: Path) -> Path:
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE items (id INTEGER, image BLOB, text VARCHAR, embedding FLOAT[8], price DOUBLE)")
        rows = [[*row[:3], VECTORS[row[0]].tolist(), row[4]] for row in ITEMS]
        database.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", rows)
    return path


def source(path: Path, kind: str = "images", **options: Any) -> Source:
    chosen: dict[str, dict[str, Any]] = {"images": {"size": [4, 4]}, "text": {"least": 1, "most": 1.0}}
    features = chosen.get(kind, {})
    layers = (LayerRecipe(net=Choice(kind="dense")),)
    given = Choice(kind=kind, options={"path": str(path), **options})
    return sources.resolve(Recipe(name="x", source=given, features=features, layers=layers)).fitted(None)


def items(path: Path, kind: str = "images", **options: Any) -> list[Item]:
    return list(source(path, kind, **options).items())


@pytest.fixture(params=["shop.db", "shop.duckdb"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return (sqlite if request.param == "shop.db" else duck)(tmp_path / request.param)


@pytest.mark.parametrize("kind", ["images", "text", "vectors", "table"])
def test_a_table_holds_items_of_every_kind(shop: Path, kind: str) -> None:
    query = "SELECT id, price, text FROM items" if kind == "table" else None
    found = list(read_all(source(shop, kind, **({"query": query} if query else {}))))
    assert [one.reason for one in found] == [None] * 3
    assert [one.item.key for one in found] == [f"{shop.name}#{row}" for row in range(3)]
    assert [one.item.columns["price"] for one in found] == [0.0, 1.5, 3.0]
    if kind == "images":
        assert [sources.preview(shop.parent, one.item.place) for one in found] == [row[1] for row in ITEMS]
    if kind == "text":
        assert [sources.preview(shop.parent, one.item.place).decode() for one in found] == WORDS


def test_bytes_that_are_not_kept_are_named(shop: Path) -> None:
    assert set(source(shop).left_out) == ({"embedding"} if shop.suffix == ".db" else set())


def test_a_query_decides_rows_columns_and_their_order(shop: Path) -> None:
    query = "SELECT image, id FROM items WHERE id > 0 ORDER BY id DESC -- the newest;"
    found = items(shop, query=query, key="id")
    assert [(item.key, dict(item.columns)) for item in found] == [("2", {"id": 2}), ("1", {"id": 1})]
    assert [sources.preview(shop.parent, item.place) for item in found] == [png(2), png(1)]


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE items",
        "SELECT 1; SELECT 2",
        "SELECT FROM",
        "SELECT * FROM elsewhere",
        "ATTACH 'other.db' AS other",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT load_extension('x')",
        "PRAGMA table_info(items)",
        "",
    ],
)
def test_a_query_that_is_no_select_of_this_file_is_refused(shop: Path, query: str) -> None:
    before = shop.read_bytes()
    with pytest.raises((SourceError, RecipeError), match="query"):
        items(shop, query=query or " ")
    assert shop.read_bytes() == before
    assert [path.name for path in shop.parent.iterdir()] == [shop.name]


def test_several_tables_are_listed_and_one_is_chosen(shop: Path) -> None:
    connect: Any = sqlite3.connect if shop.suffix == ".db" else duckdb.connect
    database = connect(str(shop))
    database.execute("CREATE VIEW cheap AS SELECT * FROM items WHERE price < 2")
    database.commit()
    database.close()
    assert len(items(shop)) == 3  # a view is no other table
    database = connect(str(shop))
    database.execute('CREATE TABLE "o ther#1" (id INTEGER)')
    database.commit()
    database.close()
    with pytest.raises(
        SourceError, match=r'has 2 tables and 1 view: .*; say which with --set source.table=NAME, .* query = "SELECT …"'
    ):
        items(shop)
    with pytest.raises(SourceError, match=r"no table 'nothing'; it has: .*items"):
        items(shop, table="nothing")
    with pytest.raises(RecipeError, match="allowed: one of them"):
        items(shop, table="items", query="SELECT 1")
    assert len(items(shop, table="items")) == 3
    found = items(shop, table="cheap")
    assert [sources.preview(shop.parent, item.place) for item in found] == [png(0), png(1)]


def test_table_and_query_are_for_databases(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nx\n")
    with pytest.raises(SourceError, match=r"table and query under .source. are for SQLite and DuckDB files"):
        items(tmp_path / "a.csv", "text", table="a")


def test_types_are_told_by_all_values_of_sqlite(tmp_path: Path) -> None:
    rows = [(1, 1, None, "a"), (2, 0.5, None, "b"), (3, None, None, None)]
    path = sqlite(tmp_path / "a.sqlite", "id, x, hole, c", rows)
    found = [dict(item.columns) for item in items(path, "table")]
    assert [one["x"] for one in found] == [1.0, 0.5, None]
    assert isinstance(found[0]["x"], float)
    path = sqlite(tmp_path / "b.sqlite", "id, x", [(1, 1), (2, "n/a"), (3, 5)])
    mixed = source(path, "table")
    assert [item.columns["x"] for item in mixed.items()] == ["1", "n/a", "5"]
    assert "column 'x' holds integer and text: all of it is taken for text" in mixed.notes
    known = source(path, "table", types={"x": "number"})
    assert [item.columns["x"] for item in known.items()] == [1.0, None, 5.0]
    path = sqlite(tmp_path / "d.sqlite", "id, x", [(1, b"1"), (2, "n/a"), (3, 5)])
    with pytest.raises(SourceError, match=r"column 'x' holds blob and integer and text; .*query = .*CAST\("):
        items(path, "table")
    query = "SELECT id, CAST(x AS TEXT) AS x FROM items"
    assert [item.columns["x"] for item in items(path, "table", query=query)] == ["1", "n/a", "5"]
    path = sqlite(tmp_path / "c.sqlite", "id, x", [(1, 0.5), (2, 2**53 + 1)])
    with pytest.raises(SourceError, match=r"c\.sqlite: column 'x' holds 9,?007,?199,?254,?740,?993 and fractions"):
        items(path, "table")


def test_a_table_without_row_numbers_and_a_search_index_are_read(tmp_path: Path) -> None:
    path = sqlite(tmp_path / "a.db", "id TEXT PRIMARY KEY, n INTEGER", [("b", 1), ("a", 2)], table="kept")
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE ordered (id TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID")
    database.execute("INSERT INTO ordered SELECT * FROM kept")
    database.execute("CREATE VIRTUAL TABLE found USING fts5(text)")
    database.execute("INSERT INTO found VALUES ('the cat'), ('the dog')")
    database.commit()
    database.close()
    assert [item.columns["id"] for item in items(path, "table", table="ordered")] == ["a", "b"]
    assert [item.columns["id"] for item in items(path, "table", table="kept")] == ["b", "a"]
    assert [item.read() for item in items(path, "text", table="found")] == [b"the cat", b"the dog"]
    query = "SELECT text FROM found WHERE found MATCH 'dog'"
    assert [item.read() for item in items(path, "text", query=query)] == [b"the dog"]
    with pytest.raises(SourceError, match=r"has 3 tables: kept, ordered, found; "):
        items(path, "table")


@pytest.mark.parametrize("in_use", [False, True])
def test_reading_a_database_with_a_log_leaves_nothing_behind(tmp_path: Path, in_use: bool) -> None:
    path = tmp_path / "a.db"
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = wal")
    database.execute("CREATE TABLE items (a INTEGER, b INTEGER)")
    database.executemany("INSERT INTO items VALUES (?, ?)", [(1, 2), (3, 4)])
    database.commit()
    if not in_use:
        database.close()
    before = sorted(path.name for path in tmp_path.iterdir())
    assert [item.columns["a"] for item in items(path, "table")] == [1, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    database.close()


def test_a_damaged_database_is_named_and_a_file_with_its_name_passed_over(tmp_path: Path) -> None:
    (tmp_path / "bad.db").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with pytest.raises(SourceError, match=r"bad\.db: not a readable SQLite file"):
        items(tmp_path / "bad.db", "table")
    (tmp_path / "bad.db").write_bytes(bytes(8) + b"DUCK" + b"x" * 5000)
    with pytest.raises(SourceError, match=r"bad\.db: not a readable DuckDB file"):
        items(tmp_path / "bad.db", "table")
    (tmp_path / "bad.db").write_bytes(b"thumbnails")
    (tmp_path / "a.csv").write_text("x,c\n1,a\n2,b\n")
    held = source(tmp_path, "table")
    assert len(list(held.items())) == 2
    assert held.passed_over.counts == {"not a table": 1}


def test_a_missing_duckdb_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = duck(tmp_path / "a.duckdb")
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(ExtraError, match=r"pip install 'aepipe\[sql\]'"):
        items(path)


@pytest.mark.parametrize(("kind", "columns"), [("images", "image"), ("text", "text"), ("vectors", "embedding")])
def test_a_recipe_is_derived_from_what_a_table_holds(tmp_path: Path, kind: str, columns: str) -> None:
    names = COLUMNS.split(", ")
    place = next(place for place, name in enumerate(names) if name.startswith(columns))
    words = [f"{word} and then it went home with number {number % 4}" for number, word in enumerate(WORDS * 4)]
    held = [(number, png(number), words[number], VECTORS[number % 3].tobytes()) for number in range(12)]
    rows = [(row[0], row[place]) for row in held]
    path = sqlite(tmp_path / "a.db", f"id INTEGER, {names[place]}", rows)
    _, text, found = suggest(str(path), folder=tmp_path)
    assert found.kind == kind
    assert f'kind = "{kind}"' in text


def test_what_is_read_survives_as_part_of_a_place() -> None:
    for select in (Select(), Select("o ther#1@=ü"), Select(query="SELECT '#@%' AS \"x\"")):
        assert Select.of(select.mark()) == select
        assert not set(select.mark()) & set("#@")

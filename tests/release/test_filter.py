"""Conditions in SQL: which rows they choose, and what they cannot reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("duckdb", reason="needs the extra sql")

from aepipe.errors import CorruptError, QueryError
from aepipe.release.filter import ids_where, rows_named
from aepipe.release.query import answer
from aepipe.release.release import Release
from aepipe.release.search import SearchOptions
from aepipe.store.artifacts import Store
from aepipe.store.segments import Row
from tests.support.releases import bare_plan, make_release, pictures_of, publish_rows, put_encoder, write_pictures


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    store = Store(tmp_path_factory.mktemp("where") / "store")
    return Release.open(store, ref=make_release(store, n=200))


def test_the_rows_are_those_for_which_it_holds(release: Release) -> None:
    rows = release.describe(release.items.ids)
    chosen: dict[str, Callable[[Row], bool]] = {
        "label = 'class2'": lambda row: row.label == "class2",
        "label = 'class2' AND split = 'train'": lambda row: row.label == "class2" and row.split == "train",
        "id BETWEEN 20 AND 29 OR key LIKE '%00007.png'": lambda row: 20 <= row.id < 30 or "00007.png" in row.key,
        "label IS NULL": lambda row: False,
        "true -- all of them": lambda row: True,
    }
    for condition, holds in chosen.items():
        assert ids_where(release, condition).tolist() == [row.id for row in rows if holds(row)]


def test_columns_keep_their_types_and_names(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from aepipe.pipeline.ingest import ingest

    store = Store(tmp_path / "store")
    folder = pictures_of(store)
    write_pictures(folder, 20, (28, 28, 1))
    pictures = [file.read_bytes() for file in sorted(folder.rglob("*.png"))]
    table = {"image": pictures, "year": list(range(2010, 2030)), 'odd "name"': [n % 2 == 1 for n in range(20)]}
    for file in sorted(folder.rglob("*.png")):
        file.unlink()
    pq.write_table(pa.table(table | {"split": ["train"] * 20}), folder / "x.parquet")
    plan = bare_plan(store, labelled=False)
    rows = ingest(store, plan.source)
    release = Release.open(store, ref=publish_rows(store, plan, rows, put_encoder(store, plan)))
    assert ids_where(release, "year > 2024").tolist() == list(range(15, 20))
    assert ids_where(release, 'year >= 2026 AND "odd ""name"""').tolist() == [17, 19]
    with pytest.raises(QueryError, match=r"there are: id, key, label, split, year, odd \"name\""):
        ids_where(release, "colour = 1")


def with_columns(store: Store, columns: Mapping[str, Sequence[object]]) -> Release:
    """Return a release of 20 pictures with columns of its own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from aepipe.pipeline.ingest import ingest

    folder = pictures_of(store)
    write_pictures(folder, 20, (28, 28, 1))
    files = sorted(folder.rglob("*.png"))
    table = {"image": [file.read_bytes() for file in files], **columns, "split": ["train"] * 20}
    for file in files:
        file.unlink()
    pq.write_table(pa.table(table), folder / "x.parquet")
    plan = bare_plan(store, labelled=False)
    rows = ingest(store, plan.source)
    notes = store.manifest(rows).facts["notes"]
    assert [name for name in columns if any(f"the column {name!r} is called" in note for note in notes)] == [
        name for name in columns if name != "year"
    ]
    return Release.open(store, ref=publish_rows(store, plan, rows, put_encoder(store, plan)))


def test_columns_that_sql_would_confuse_have_names_of_their_own(store: Store) -> None:
    numbers = list(range(20))
    columns: dict[str, Sequence[object]] = {
        "ID": [1000 + n for n in range(20)],
        "year": numbers,
        "YEAR": numbers[::-1],
        "": [str(n) for n in numbers],
    }
    release = with_columns(store, columns)
    assert ids_where(release, "source_ID < 1010 AND id >= 5").tolist() == [5, 6, 7, 8, 9]
    assert ids_where(release, "YEAR_2 = 3 OR year = 2").tolist() == [2, 16]
    assert ids_where(release, "column_4 = '7'").tolist() == [7]
    for asked, name in (("ID < 10", "source_ID"), ('"YEAR" = 1', "YEAR_2"), ('"" = 1', "column_4")):
        with pytest.raises(QueryError, match=rf"of the source is called {name} here"):
            ids_where(release, asked)
    assert ids_where(release, "id < 2 AND 'ID' = 'ID' -- ID").tolist() == [0, 1]


def test_rows_are_named_by_key_id_and_condition(release: Release) -> None:
    first = release.describe([0])[0].key
    assert rows_named(release, [first, first], ids=[7], where="id IN (7, 3)").tolist() == [0, 3, 7]
    with pytest.raises(QueryError, match="where 'id < 0': no row of pictures fits"):
        rows_named(release, [first], where="id < 0")
    with pytest.raises(QueryError, match="no row has the id 777"):
        rows_named(release, ids=[777])


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("colour = 'red'", 'column "colour" not found'),
        ("label = ", "Parser Error"),
        ("label", "Conversion Error|Binder Error|Could not convert"),
        (" ", "an empty condition"),
        ("label = '\udcff'", "not in UTF-8: byte 0xff at 9"),
        ("id IN (SELECT 1 FROM read_csv('/etc/passwd'))", "disabled"),
        ("id IN (SELECT 1 FROM '/etc/passwd')", "disabled|does not exist"),
        ("id IN (SELECT 1 FROM read_parquet('https://example.org/x.parquet'))", "disabled|not|Missing"),
        ("true); DROP VIEW items; SELECT (1", "not several statements"),
        ("true); COPY items TO '/tmp/x.csv'; SELECT (1", "not several statements"),
        ("id IN (SELECT a FROM release)", "does not exist"),
        ("1=1) or (1=1", "Parser Error: syntax error"),
        ("id = 0) UNION SELECT 1 WHERE (1=1", "Parser Error: syntax error"),
    ],
)
def test_other_sql_than_a_condition_is_refused(release: Release, condition: str, says: str) -> None:
    with pytest.raises(QueryError, match=says) as caught:
        ids_where(release, condition)
    assert "\n" not in str(caught.value).replace(condition, "")


@pytest.mark.parametrize("condition", ["label = 'class1'", "id = 77", "id > 20", "label = 'none'"])
def test_answers_are_exact_among_the_rows_that_are_left(release: Release, condition: str) -> None:
    from aepipe.release import query as queries

    allowed = ids_where(release, condition)
    questions = list(queries.questions_from_rows(release, [3, 50], []))
    found = answer(release, questions, SearchOptions(7, where=allowed))
    for question, one in zip(questions, found, strict=True):
        assert question.code is not None
        distances = question.code.distances(release.codes_of(allowed))[0] if len(allowed) else np.zeros(0)
        expected = sorted(zip(distances.tolist(), allowed.tolist(), strict=True))[:7]
        assert [(hit.distance, hit.row.id) for hit in one.hits] == expected


def test_others_and_distinct_leave_rows_out_of_the_hits(release: Release) -> None:
    from aepipe.release import query as queries

    (row,) = queries.questions_from_rows(release, [0], [])
    assert row.code is not None
    distances = row.code.distances(release.codes_of(release.items.ids))[0]
    ranked = sorted(zip(distances.tolist(), release.items.ids.tolist(), strict=True))
    (others,) = answer(release, [row], SearchOptions(30, others=True))
    assert [(hit.distance, hit.row.id) for hit in others.hits] == [pair for pair in ranked if pair[1] != 0][:30]
    seen, firsts = set(), []
    for far, row_id in ranked:
        code = release.codes_of([row_id]).hex()[0]
        if code not in seen:
            firsts.append((far, row_id))
        seen.add(code)
    for limits in (SearchOptions(30, distinct=True), SearchOptions(30, radius=64, distinct=True)):
        (distinct,) = answer(release, [row], limits)
        assert [(hit.distance, hit.row.id) for hit in distinct.hits] == firsts[:30]
    (everything,) = answer(release, [row], SearchOptions(500, distinct=True))
    assert len(everything.hits) == len(firsts) < len(release)


def test_a_damaged_file_of_rows_is_named(store: Store) -> None:
    make_release(store, n=12)
    release = Release.open(store)
    assert ids_where(release, "id < 3").tolist() == [0, 1, 2]
    (file,) = (store.root / "rows").rglob("rows-*.parquet")
    damaged = bytearray(file.read_bytes())
    damaged[-4:] = b"none"
    file.write_bytes(damaged)
    with pytest.raises(CorruptError, match=r"rows-00000\.parquet: corrupt, it cannot be read"):
        ids_where(Release.open(store), "id < 3")


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("id IN (SELECT 1)", "a query within a condition is not allowed here"),
        ("hash(id) > 3", "the function hash is not allowed here"),
        ("length(repeat(key, 9)) > 3", "the function repeat is not allowed here"),
    ],
)
def test_a_plain_condition_is_one_over_the_columns(release: Release, condition: str, said: str) -> None:
    assert ids_where(release, condition).dtype == np.int64, "else it is a condition as others"
    with pytest.raises(QueryError) as caught:
        ids_where(release, condition, plain=True)
    assert str(caught.value) == f"where {condition!r}: {said}"
    usual = "length(key) > 3 AND id < 5"
    assert ids_where(release, usual, plain=True).tolist() == ids_where(release, usual).tolist()


def test_conditions_hold_for_rows_in_parts(store: Store) -> None:
    """Rows of a part have ids of their own on the disk."""
    release = Release.open(store, ref=make_release(store, n=10, shape=(4, 4, 1), part=4))
    rows = release.describe(release.items.ids)
    assert len({row.label for row in rows}) > 1
    chosen: dict[str, Callable[[Row], bool]] = {
        "id >= 3 AND id < 9": lambda row: 3 <= row.id < 9,
        "label = 'class1'": lambda row: row.label == "class1",
        "id > 2 AND label <> 'class1'": lambda row: row.id > 2 and row.label != "class1",
        f"key = '{rows[7].key}'": lambda row: row.key == rows[7].key,
    }
    for condition, holds in chosen.items():
        assert ids_where(release, condition).tolist() == [row.id for row in rows if holds(row)], condition

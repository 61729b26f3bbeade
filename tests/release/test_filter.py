"""Conditions in SQL: which rows they choose, and what they cannot reach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("duckdb", reason="needs the extra sql")

from aepipe.errors import QueryError
from aepipe.release.filter import ids_where
from aepipe.release.query import SearchOptions, answer
from aepipe.release.release import Release
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


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("colour = 'red'", 'column "colour" not found'),
        ("label = ", "Parser Error"),
        ("label", "Conversion Error|Binder Error|Could not convert"),
        (" ", "an empty condition"),
        ("id IN (SELECT 1 FROM read_csv('/etc/passwd'))", "disabled"),
        ("id IN (SELECT 1 FROM '/etc/passwd')", "disabled|does not exist"),
        ("id IN (SELECT 1 FROM read_parquet('https://example.org/x.parquet'))", "disabled|not|Missing"),
        ("true); DROP VIEW items; SELECT (1", "not several statements"),
        ("true); COPY items TO '/tmp/x.csv'; SELECT (1", "not several statements"),
        ("id IN (SELECT a FROM release)", "does not exist"),
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

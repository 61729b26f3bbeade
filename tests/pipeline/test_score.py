"""Scores of a release: queries, database, labels, and reused baselines."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aepipe.evaluate import baselines
from aepipe.evaluate import scores as evaluation
from aepipe.evaluate.scores import Scores
from aepipe.pipeline import score as scoring
from aepipe.pipeline.encode import encode
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Row, Rows
from aepipe.store.rows_writer import RowsWriter
from tests.support.releases import BarePlan, bare_plan, pictures_of, put_encoder, write_pictures

SHAPE = (3, 3, 1)


@pytest.fixture
def plan(store: Store) -> BarePlan:
    """A resolved recipe; its pictures are not read."""
    write_pictures(pictures_of(store), 10, SHAPE)
    return bare_plan(store, shape=SHAPE, n_bits=16)


def put_rows(store: Store, splits: list[str], labels: list[str | None]) -> Ref:
    """Write rows of noise in descending order of id; the first cell of each holds its position."""
    rng = np.random.default_rng(0)
    with store.draft("rows") as draft, RowsWriter(draft.path, shape=SHAPE, columns=pa.schema([])) as writer:
        for i in reversed(range(len(splits))):
            pixels = rng.integers(0, 256, SHAPE, dtype=np.uint8)
            pixels[0, 0, 0] = i
            writer.append(Row(10 * i, f"k{i}", bytes(32), f"p{i}", splits[i], pixels, labels[i]))
        writer.close(source="s", next_id=10 * len(splits))
        return draft.finish({"splits": splits, "labels": labels})


def scored(store: Store, plan: BarePlan, rows: Ref) -> Scores:
    """Encode and score rows."""
    model = put_encoder(store, plan, n_bits=16)
    ref = scoring.score(store, plan, rows, model, [encode(store, model, rows)])  # type: ignore[arg-type]
    assert store.manifest(ref).facts["kind"] == "scores"
    assert sorted(store.manifest(ref).outputs) == sorted(
        [layout.Scores.SCORES, layout.Scores.BASELINES, layout.Scores.SPACE, layout.Scores.SEEN]
    ), "the features that were laid out are not kept"
    return Scores.from_dict(json.loads((store.path(ref) / layout.Scores.SCORES).read_text()))


def seen(store: Store, plan: BarePlan, rows: Ref, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Score rows, and return what the evaluator was given as database and queries."""
    found: dict[str, Any] = {}
    real = evaluation.score

    def spy(database: Any, queries: Any, **options: Any) -> Scores:
        for name, side in (("database", database), ("queries", queries)):
            found[name] = np.asarray(side.features)[:, 0].tolist()
            found[f"{name} labels"] = None if side.labels is None else side.labels.tolist()
            found[f"{name} codes"] = side.codes.hex()
        return real(database, queries, **options)

    monkeypatch.setattr(evaluation, "score", spy)
    scored(store, plan, rows)
    return found


def test_test_rows_are_the_queries(store: Store, plan: BarePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = ["test" if i % 3 == 0 else "train" for i in range(30)]
    rows = put_rows(store, splits, [f"l{i % 2}" for i in range(30)])
    found = seen(store, plan, rows, monkeypatch)
    assert found["queries"] == list(range(0, 30, 3))
    assert found["database"] == [i for i in range(30) if i % 3]
    assert found["queries labels"] == [i % 2 for i in range(0, 30, 3)]
    assert found["database labels"] == [i % 2 for i in range(30) if i % 3]
    by_place = {int(one[0, 0, 0]): one for one in Rows(store.path(rows)).features()}
    encoder = scoring_encoder(store, plan)
    for place, code in zip(found["queries"], found["queries codes"], strict=True):
        assert encoder.encode(by_place[place][None]).codes.hex() == [code]


def scoring_encoder(store: Store, plan: BarePlan) -> Any:
    """Return the encoder that made the codes."""
    from aepipe.codes.encoder import Encoder

    return Encoder.open(store.path(put_encoder(store, plan, n_bits=16)))


@pytest.mark.parametrize("splits", [["train"] * 40, ["test"] * 40, ["train"] * 39 + ["test"], ["val"] * 40])
def test_without_two_splits_a_sample_of_the_rows_are_the_queries(
    store: Store, plan: BarePlan, monkeypatch: pytest.MonkeyPatch, splits: list[str]
) -> None:
    rows = put_rows(store, splits, [None] * 40)
    found = seen(store, plan, rows, monkeypatch)
    assert len(found["queries"]) == 4
    assert sorted(found["queries"] + found["database"]) == list(range(40))
    assert found["queries labels"] is None


def test_rows_without_a_label_are_relevant_to_no_query_and_are_no_queries(
    store: Store, plan: BarePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [None if i in {1, 2, 25} else f"l{i % 2}" for i in range(30)]
    rows = put_rows(store, ["train"] * 20 + ["test"] * 10, labels)
    found = seen(store, plan, rows, monkeypatch)
    assert found["queries"] == [i for i in range(20, 30) if i != 25]
    unlabelled = [found["database labels"][i] for i in (1, 2)]
    assert unlabelled[0] != unlabelled[1]
    assert max(unlabelled) < 0


def test_too_few_labels_count_as_none(store: Store, plan: BarePlan) -> None:
    rows = put_rows(store, ["train"] * 20 + ["test"] * 10, ["l"] * 21 + [None] * 9)
    scores = scored(store, plan, rows)
    assert not scores.protocol.labelled
    assert scores.protocol.n_queries == 10


def test_scores_are_those_of_the_evaluator(store: Store, plan: BarePlan) -> None:
    rows = put_rows(store, ["train"] * 90 + ["test"] * 10, [f"l{i % 3}" for i in range(100)])
    scores = scored(store, plan, rows)
    assert (scores.protocol.n_database, scores.protocol.n_queries) == (90, 10)
    assert {row.system for row in scores.rows} >= {"ours", "lsh", "float"}
    assert scored(store, plan, rows) == scores


def test_earlier_baselines_are_used_again(store: Store, plan: BarePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    """For other rows under the same model, nothing is fitted again."""
    model = put_encoder(store, plan, n_bits=4)
    then, now = (
        put_rows(store, ["test" if i % 3 == 0 else "train" for i in range(n)], ["a", "b"] * (n // 2)) for n in (30, 60)
    )
    before = scoring.score(store, plan, then, model, [encode(store, model, then)])  # type: ignore[arg-type]
    fits = []
    monkeypatch.setattr(baselines, "itq_rotation", lambda *args, **_: fits.append(1))
    ref = scoring.score(store, plan, now, model, [encode(store, model, now)], before=before)  # type: ignore[arg-type]
    assert not fits
    assert store.manifest(ref).inputs["baselines"] == str(before)
    kept = [(store.path(one) / layout.Scores.BASELINES).read_bytes() for one in (before, ref)]
    assert kept[0] == kept[1]
    assert {row["system"] for row in json.loads((store.path(ref) / layout.Scores.SCORES).read_text())["rows"]} >= {
        "ours",
        "itq",
        "float",
    }


def test_unusable_baselines_are_fitted_again(store: Store, plan: BarePlan) -> None:
    """Baselines of another model, or damaged ones, do not stop a run."""
    rows = put_rows(store, ["test" if i % 3 == 0 else "train" for i in range(30)], ["a", "b"] * 15)
    model = put_encoder(store, plan, n_bits=4)
    codes = [encode(store, model, rows)]
    before = scoring.score(store, plan, rows, model, codes)  # type: ignore[arg-type]
    (store.path(before) / layout.Scores.BASELINES).write_bytes(b"torn")
    again = scoring.score(store, plan, rows, model, codes, before=before)  # type: ignore[arg-type]
    assert "baselines" not in store.manifest(again).inputs


def test_other_systems_are_measured_once_for_all_encoders_of_the_same_rows(
    store: Store, plan: BarePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = put_rows(store, ["train"] * 40 + ["test"] * 10, [f"class{i % 3}" for i in range(50)])
    measured: list[str] = []
    real = evaluation._measure

    def spy(*given: Any) -> Any:
        measured.append("once")
        return real(*given)

    monkeypatch.setattr(evaluation, "_measure", spy)
    monkeypatch.setattr(scoring, "_KEPT", {})
    found, counts = [], []
    for seed in (1, 2):
        before = len(measured)
        model = put_encoder(store, plan, n_bits=16, seed=seed)
        codes = [encode(store, model, rows)]
        found.append(scoring.score(store, plan, rows, model, codes))  # type: ignore[arg-type]
        counts.append(len(measured) - before)
    assert counts[0] > counts[1] == 1
    monkeypatch.setattr(scoring, "_KEPT", {})
    store.path(found[1]).rename(store.root / "aside")
    again = scoring.score(store, plan, rows, model, codes)  # type: ignore[arg-type]
    for name in (layout.Scores.SCORES, layout.Scores.BASELINES):
        assert (store.path(again) / name).read_bytes() == (store.root / "aside" / name).read_bytes()

"""Scores of a release: rows, metrics, notes, and the JSON form."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CodeError
from aepipe.evaluate.baselines import BASELINES, Baseline, fit_pca_sign
from aepipe.evaluate.retrieval import METRICS, retrieval
from aepipe.evaluate.scores import Others, Sample, Scores, first_queries, score
from aepipe.log import Progress


def samples(n_bits: int = 8, d: int = 10, labelled: bool = True) -> tuple[Sample, Sample]:
    """Return a database of 300 and 40 queries in three clusters, coded by PCA-sign or at random."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 340)
    x = (rng.normal(size=(3, d)) * 3)[label] + rng.normal(size=(340, d))
    bits = fit_pca_sign(x, n_bits, 0).codes(x).unpack() if n_bits <= d else rng.integers(0, 2, (340, n_bits))
    codes = BitCodes.from_bits(bits)
    parts = (slice(None, 300), slice(300, None))
    database, queries = (Sample(codes[part], x[part], label[part] if labelled else None) for part in parts)
    return database, queries


def test_labelled_table() -> None:
    """It has all systems and metrics, float search without a ball; equal codes have equal metrics."""
    scores = score(*samples(), seed=1)
    assert [row.system for row in scores.rows] == ["ours", "itq", "lsh", "pca-sign", "spectral", "float"]
    assert all(tuple(row.metrics) == METRICS for row in scores.rows[:-1])
    assert set(METRICS) - set(scores.rows[-1].metrics) == {"precision_r2", "ball2"}
    for row in scores.rows:
        assert all(0 <= found.low <= found.value <= found.high <= 1 for found in row.metrics.values())
    own = scores.metric("recall_at_10", "float")
    assert own is not None
    assert own.value == 1.0
    assert scores.metric("map", "no such system") is None
    assert scores.metric("no such metric") is None


def test_codes_of_a_baseline_score_like_the_baseline() -> None:
    """Codes of a baseline fitted on the database have exactly the scores of its row."""
    database, queries = samples()
    fitted = fit_pca_sign(database.features, 8, 1)
    same = [Sample(fitted.codes(part.features), part.features, part.labels) for part in (database, queries)]
    rows = {row.system: row.metrics for row in score(same[0], same[1], seed=1).rows}
    assert rows["ours"] == rows["pca-sign"]


def test_fitted_baselines_are_reused() -> None:
    """Given baselines are used as they are, and newly fitted ones are added."""
    database, queries = samples()
    fitted: dict[str, Baseline] = {"itq": fit_pca_sign(database.features, 8, 1)}
    rows = {row.system: row.metrics for row in score(database, queries, seed=1, fitted=fitted).rows}
    assert rows["itq"] == rows["pca-sign"]
    assert list(fitted) == ["itq", "lsh", "pca-sign", "spectral"]
    kept = dict(fitted)
    again = score(database, queries, seed=1, fitted=fitted)
    assert {row.system: row.metrics for row in again.rows} == rows
    assert fitted == kept


def test_features_are_not_changed() -> None:
    """No system changes the features of the next one."""
    database, queries = samples()
    before = database.features.copy(), queries.features.copy()
    score(database, queries, seed=1)
    assert np.array_equal(database.features, before[0])
    assert np.array_equal(queries.features, before[1])


def test_without_labels() -> None:
    """Only the recall of float neighbours is measured; labels on one side only do not count."""
    database, queries = samples(labelled=False)
    scores = score(database, queries, seed=1)
    assert not scores.protocol.labelled
    assert all(list(row.metrics) == ["recall_at_10", "walk_map"] for row in scores.rows)
    assert not score(samples()[0], queries, seed=1).protocol.labelled


def test_more_bits_than_features() -> None:
    """ITQ and PCA-sign are left out, with the reason in the notes."""
    scores = score(*samples(n_bits=16, d=10), seed=1)
    assert [row.system for row in scores.rows] == ["ours", "lsh", "spectral", "float"]
    assert len(scores.notes) == 2
    assert "10 features give no 16 bits" in scores.notes[0]


def test_queries_are_sampled_as_the_protocol_says() -> None:
    """Of more queries, those of default_rng(0).choice are measured."""
    database, queries = samples()
    picked = queries[np.random.default_rng(0).choice(40, 15, replace=False)]
    scores = score(database, queries, seed=1, n_queries=15)
    assert scores.protocol.n_queries == 15
    assert scores == score(database, picked, seed=1)


def test_as_many_queries_as_wanted_are_all_asked_in_their_order() -> None:
    _, queries = samples()
    assert first_queries(queries, 40) is queries
    assert len(first_queries(queries, 39)) == 39


def test_what_is_known_of_other_systems_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and reasons are kept by system, but for our codes; the second encoder's scores are as if alone."""
    database, queries = samples(n_bits=16, d=10)
    known = Others()
    first = score(database, queries, seed=1, others=known)
    assert list(known.rows) == ["itq", "lsh", "pca-sign", "spectral", "float"]
    assert known.exact is not None
    other = [
        Sample(BitCodes.from_bits(part.codes.unpack() ^ 1), part.features, part.labels) for part in (database, queries)
    ]
    expected = score(other[0], other[1], seed=1)

    def fails(*_: object) -> None:
        raise AssertionError("it is known")

    for name in ("retrieval_by", "nearest"):
        monkeypatch.setattr(f"aepipe.evaluate.scores.{name}", fails)
    monkeypatch.setattr("aepipe.evaluate.scores.BASELINES", dict.fromkeys(BASELINES, fails))
    assert score(database, queries, seed=1, others=known) == first
    assert score(other[0], other[1], seed=1, others=known) == expected


def test_a_row_has_precision_and_recall_by_radius() -> None:
    database, queries = samples()
    assert database.labels is not None
    assert queries.labels is not None
    ours = score(database, queries, seed=1).rows[0]
    found = retrieval(database.codes, queries.codes, database.labels, queries.labels)
    assert found.within is not None
    assert ours.precision == tuple(found.within[0].round(6).tolist())
    assert ours.recall == tuple(found.within[1].round(6).tolist())
    assert {name: one.value for name, one in ours.metrics.items() if name in found.named()} == pytest.approx(
        {name: float(values.mean()) for name, values in found.named().items()}
    )


def test_embeddings_and_errors_are_measured_where_both_sides_have_them() -> None:
    database, queries = samples()
    rng, known = np.random.default_rng(0), Others()
    whole = [
        replace(part, embeddings=rng.integers(-127, 128, (len(part), 6), dtype=np.int8)) for part in (database, queries)
    ]
    found = score(whole[0], replace(whole[1], errors=np.linspace(0, 1, 40, dtype=np.float32)), seed=1, others=known)
    assert found.reranking is not None
    assert found.reranking.target == 0.9
    assert found.calibration is not None
    assert found.calibration.usual_error == 1.0
    again = score(whole[0], whole[1], seed=1, others=known, rerank_recall=0.5)
    assert again.reranking is not None
    assert again.reranking.target == 0.5
    for sides in ((whole[0], queries), (database, whole[1])):
        assert score(*sides, seed=1, others=known).reranking is None


def test_some_rows_of_a_sample_keep_all_that_is_known_of_them() -> None:
    rng, rows = np.random.default_rng(0), np.array([3, 0, 2])
    sample = Sample(
        BitCodes.from_bits(rng.integers(0, 2, (4, 8))),
        rng.random((4, 2)),
        np.arange(4),
        np.array(list("abcd")),
        rng.integers(0, 9, (4, 3), dtype=np.int8),
        rng.random(4, np.float32),
    )
    found = sample[rows]
    for name in ("features", "labels", "keys", "embeddings", "errors"):
        assert np.array_equal(getattr(found, name), getattr(sample, name)[rows])
    assert found.codes.hex() == sample.codes[rows].hex()
    assert Sample(sample.codes, sample.features)[rows].labels is None


def test_through_json() -> None:
    """The JSON form loses nothing, notes and health included."""
    scores = score(*samples(n_bits=16), seed=1)
    found = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert Scores.from_dict(found) == scores
    del found["duplicates"]
    assert Scores.from_dict(found).duplicates == 0, "earlier versions did not count them"


def test_progress(caplog: pytest.LogCaptureFixture) -> None:
    """One step per system, up to the total."""
    with caplog.at_level(logging.INFO, logger="aepipe.progress"):
        score(*samples(), seed=1)
    steps = [step for record in caplog.records if (step := Progress.of(record))]
    assert [step.done for step in steps] == [1, 2, 3, 4, 5, 6]
    assert steps[-1].finished


def test_refusals() -> None:
    """Codes, features and labels must have the same number of rows."""
    database, queries = samples()
    with pytest.raises(CodeError, match="300 codes need 300 labels, not 299"):
        Sample(database.codes, database.features, np.zeros(299))
    with pytest.raises(CodeError, match="need 300 features, not 40"):
        Sample(database.codes, queries.features)
    with pytest.raises(CodeError, match="0 queries"):
        score(database, queries[np.empty(0, np.int64)], seed=0)

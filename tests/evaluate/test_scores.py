"""Scores of a release: rows, metrics, notes, and the JSON form."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CodeError
from aepipe.evaluate.baselines import Baseline, fit_pca_sign
from aepipe.evaluate.retrieval import METRICS
from aepipe.evaluate.scores import Sample, Scores, score
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

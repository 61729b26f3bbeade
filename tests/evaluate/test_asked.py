"""Questions of held-out items: against a sort of all rows; and confidence, measured and told to others of its kind."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import quantize
from aepipe.evaluate.asked import IN_BIN, LATER_RANKS, Answers, _by_cosine, ask, ask_some, curve_of
from aepipe.evaluate.calibration import ITEMS, ITEMS_WHERE, LATER, WORDS, WORDS_WHERE, Confidence
from aepipe.evaluate.scores import Sample

MOST = 0.05
"""The expected calibration error that is promised."""


def sample(rng: np.random.Generator, count: int, noise: float = 1.0, labels: bool = True) -> Sample:
    """Rows around eight centres, which lie close enough to be mixed up."""
    centres = np.random.default_rng(7).normal(size=(8, 16))
    label = rng.integers(0, 8, count)
    features = (centres[label] + noise * rng.normal(size=(count, 16))).astype(np.float32)
    axes = np.random.default_rng(8).normal(size=(16, 32))
    return Sample(
        BitCodes.from_bits(features @ axes > 0), features, label if labels else None, embeddings=quantize(features)
    )


def error(confidence: np.ndarray, relevant: np.ndarray) -> float:
    place = np.minimum((confidence * 10).astype(int), 9)
    parts = [(confidence[place == one], relevant[place == one]) for one in range(10)]
    return float(sum(len(told) * abs(told.mean() - was.mean()) for told, was in parts if len(told)) / len(confidence))


def test_hits_are_those_of_a_sort() -> None:
    rng = np.random.default_rng(0)
    rows, asked = sample(rng, 300), sample(rng, 20)
    found = ask(rows, asked, 3)
    assert rows.embeddings is not None
    assert asked.embeddings is not None
    assert isinstance(rows.labels, np.ndarray)
    assert isinstance(asked.labels, np.ndarray)
    for query in range(20):
        far = asked.codes[query : query + 1].distances(rows.codes)[0]
        near = np.argsort(far, kind="stable")[:30]
        here = slice(10 * query, 10 * query + 10)
        assert found.distance[here].tolist() == far[near[:10]].tolist()
        assert found.relevant[here].tolist() == (rows.labels[near[:10]] == asked.labels[query]).tolist()
        own, theirs = asked.embeddings[query].astype(float), rows.embeddings[near].astype(float)
        cosine = theirs @ own / np.linalg.norm(own) / np.linalg.norm(theirs, axis=1)
        assert np.sort(found.apart[here]) == pytest.approx(np.sort(1 - cosine)[:10], abs=1e-5)
        assert found.nearest[query] == pytest.approx(cosine.max(), abs=1e-5)
        assert found.nearest_code[query] == far.min()


@pytest.mark.parametrize(
    ("kind", "labels"),
    [(kind, labels) for kind in ("items", "later", "fast") for labels in (True, False)] + [("where", True)],
)
def test_confidence_is_what_new_questions_get(kind: str, labels: bool) -> None:
    rng = np.random.default_rng(1)
    rows, held, new = (sample(rng, count, labels=labels) for count in (3000, 400, 400))
    told, asked = (_answers(kind, rows, some, seed) for seed, some in enumerate((held, new)))
    curve = curve_of(told, [0.0] * 33)
    if kind == "fast":
        assert error(np.array(curve.distance)[asked.distance], asked.relevant) <= MOST
        return
    confidence = np.array([curve.at(0, 1 - one) for one in asked.apart])
    assert error(confidence, asked.relevant_apart) <= MOST
    assert np.ptp(confidence) > 0.1 or kind == "later", "it tells good hits from bad ones"


def _answers(kind: str, rows: Sample, asked: Sample, seed: int) -> Answers:
    if kind == "where":
        return ask_some(rows, asked, 3, seed)
    return ask(rows, asked, 3, LATER_RANKS) if kind == "later" else ask(rows, asked, 3)


def test_conditions_leave_some_rows_only() -> None:
    rng = np.random.default_rng(2)
    rows, asked = sample(rng, 400), sample(rng, 30)
    found = ask_some(rows, asked, 3, 0)
    assert found.n_queries == 30
    assert len(found.distance) == 10 * 20 * 30, "few queries ask several times"
    assert found.distance.mean() > ask(rows, asked, 3).distance.mean()


def test_a_curve_is_told_for_its_kind_of_question_only() -> None:
    scores = {
        "protocol": {"n_queries": 300},
        "calibration": {
            "meaning": "label",
            "probability": [0.9, 0.5, 0.1],
            "usual": 1,
            "curves": {
                ITEMS: {"n_queries": 300, "distance": [1.0, 0.8, 0.6], "apart": [0.1, 0.2], "cosine": [0.9, 0.7]},
                WORDS_WHERE: {"n_queries": 300, "distance": [0.3, 0.2, 0.1], "apart": [], "cosine": []},
                ITEMS_WHERE: {"n_queries": 99, "distance": [1.0, 0.8, 0.6], "apart": [], "cosine": []},
                LATER: {"n_queries": 300, "distance": [0.5, 0.4, 0.3], "apart": [0.2], "cosine": [0.5]},
            },
        },
    }
    known = Confidence.of("boots", scores, 2)
    assert known is not None
    curve = known.curve(words=False, where=False)
    assert curve is not None
    assert known.curve(words=False, where=True) is None, "99 questions are too few"
    assert known.curve(words=True, where=False) is None, f"{WORDS} were not measured"
    assert [curve.at(1, cosine) for cosine in (0.95, 0.85, 0.5, None)] == [0.9, 0.7, 0.7, 0.8]
    assert curve.at(2, 0.5) == 0.6, "beyond all hits that were seen, the distance may say less"
    assert [known.of_hit(curve, rank, 0, 0.95) for rank in (10, 11)] == [0.9, 0.5]
    assert known.of_hit(curve, 11, 2, None) == 0.3, "later hits of items have their own curve"
    others = known.curve(words=True, where=True)
    assert others is not None
    assert known.of_hit(others, 11, 0, None) == 0.3, "of other questions they are no better than the first"
    assert Confidence.of("boots", scores, 3) is None
    older = {"protocol": {"n_queries": 300}, "calibration": {**scores["calibration"], "curves": {}}}  # type: ignore[dict-item]
    before = Confidence.of("boots", older, 2)
    assert before is not None
    plain = before.curve(words=False, where=False)
    assert plain is not None
    assert plain.at(1, 0.95) == 0.5
    assert before.curve(words=False, where=True) is None


@pytest.mark.parametrize(("count", "limits"), [(0, 0), (1, 1), (IN_BIN, 1), (2 * IN_BIN, 2)])
def test_few_hits_make_few_limits(count: int, limits: int) -> None:
    """Each limit has 25 hits below it; all relevant up to the first, none later, so that no two are pooled."""
    found = _by_cosine(np.arange(count) / 100, np.arange(count) < IN_BIN)
    assert [len(part) for part in found] == [limits, limits]
    assert found[1] == (1.0, 0.0)[:limits]

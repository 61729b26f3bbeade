"""Questions of held-out items: against a sort of all rows; and confidence, measured and told to others of its kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import cosines, quantize
from aepipe.evaluate import asked as asked_of
from aepipe.evaluate.asked import (
    FEWEST,
    FILTERS,
    FIRST_RANKS,
    IN_BIN,
    LATER_RANKS,
    SMALLEST,
    Answers,
    _by_cosine,
    _subsets,
    ask,
    ask_some,
    curve_of,
)
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


KINDS = ("one label", "several", "on one side", "no labels", "known neighbours", "few rows")


def labelled(kind: str, rng: np.random.Generator, count: int, side: int) -> Sample:
    """Return rows with labels of a kind; ``side`` is 0 for the database and 1 for the queries."""
    made = sample(rng, 6 if kind == "few rows" and not side else count)
    plain = made.labels
    assert plain is not None
    several = np.fromiter((frozenset({int(one), int(one) % 3 + 10}) for one in plain.tolist()), np.object_, len(made))
    kept: dict[str, Any] = {
        "one label": plain,
        "several": several,
        "on one side": several if side else plain,
        "no labels": plain if side else None,
        "known neighbours": None if side else plain,
        "few rows": None,
    }
    return replace(made, labels=kept[kind])


def is_relevant(kind: str, rows: Sample, asked: Sample, known: np.ndarray) -> np.ndarray:
    """Return bool[Q, N], from the definition."""
    given = [part.labels.tolist() for part in (rows, asked) if part.labels is not None]
    if len(given) == 2:
        sides = [[one if isinstance(one, frozenset) else {one} for one in labels] for labels in given]
        return np.array([[bool(one & own) for one in sides[0]] for own in sides[1]])
    far = np.square(rows.features[None].astype(float) - asked.features[:, None].astype(float)).sum(axis=2)
    near = known if kind == "known neighbours" else np.argsort(far, axis=1)[:, :10]
    found = np.zeros((len(asked), len(rows)), bool)
    np.put_along_axis(found, near, True, axis=1)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("factor", "ranks"), [(None, FIRST_RANKS), (1, FIRST_RANKS), (2, LATER_RANKS)])
def test_answers_are_those_of_the_definition(kind: str, factor: int | None, ranks: slice) -> None:
    rng = np.random.default_rng(5)
    rows, asked = labelled(kind, rng, 260, 0), labelled(kind, rng, 5, 1)
    known = rng.permutation(len(rows))[: 5 * 3].reshape(5, 3) if kind == "known neighbours" else None
    found = ask(rows, asked, factor, ranks, known)
    relevant = is_relevant(kind, rows, asked, np.zeros((5, 0), np.int64) if known is None else known)
    told: list[list[Any]] = [[] for _ in range(6)]
    for query in range(5):
        far = asked.codes[query : query + 1].distances(rows.codes)[0].astype(int)
        near = np.argsort(far, kind="stable")[: ranks.stop * (factor or 1)]
        told[0] += far[near[ranks]].tolist()
        told[1] += relevant[query, near[ranks]].tolist()
        told[5].append(far.min())
        if factor is None:
            told[4].append(np.nan)
            continue
        assert rows.embeddings is not None
        assert asked.embeddings is not None
        cosine = cosines(asked.embeddings[query], rows.embeddings[near]).astype(float)
        order = np.argsort(-cosine, kind="stable")
        told[2] += (1 - cosine[order[ranks]]).tolist()
        told[3] += relevant[query, near[order[ranks]]].tolist()
        told[4].append(cosine.max())
    columns = (found.distance, found.relevant, found.apart, found.relevant_apart, found.nearest, found.nearest_code)
    assert found.n_queries == 5
    for column, expected in zip(columns, told, strict=True):
        np.testing.assert_array_equal(column, np.array(expected, column.dtype))


def test_without_embeddings_there_are_hits_by_code_only() -> None:
    rng = np.random.default_rng(6)
    rows, asked = sample(rng, 40), sample(rng, 3)
    for one, other in ((replace(rows, embeddings=None), asked), (rows, replace(asked, embeddings=None))):
        found = ask(one, other, 3)
        assert (len(found.distance), len(found.apart), len(found.relevant_apart)) == (30, 0, 0)
        assert np.isnan(found.nearest).all()


@pytest.mark.parametrize(("count", "times"), [(2, 20), (25, 2), (26, 1), (51, 1)])
def test_few_queries_ask_several_times_under_conditions(
    count: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_of, "ASKED", 50)
    rng = np.random.default_rng(3)
    rows, asked = sample(rng, 60), sample(rng, count)
    found = ask_some(rows, asked, None, 0)
    assert (found.n_queries, len(found.nearest_code)) == (count, times * count)
    assert len(found.distance) == 10 * times * count
    again = ask_some(rows, asked, None, 0)
    assert found.distance.tolist() == again.distance.tolist()
    assert found.distance.tolist() != ask_some(rows, asked, None, 1).distance.tolist()


@pytest.mark.parametrize("several", [False, True])
def test_conditions_are_random_shares_and_whole_labels_in_turn(several: bool) -> None:
    rows = labelled("several" if several else "one label", np.random.default_rng(4), 1000, 0)
    assert rows.labels is not None
    sets = [one if isinstance(one, frozenset) else frozenset([one]) for one in rows.labels.tolist()]
    every = frozenset().union(*sets)
    left = list(_subsets(rows, np.random.default_rng(0)))
    shares = np.array([len(one) for one in left]) / len(rows)
    assert len(left) == FILTERS
    assert all((np.diff(one) > 0).all() for one in left), "ascending, each row once"
    for chosen in left[1::2]:
        out = np.setdiff1d(np.arange(len(rows)), chosen)
        wanted = every - frozenset().union(*(sets[row] for row in out))
        assert wanted
        assert chosen.tolist() == [row for row, one in enumerate(sets) if one & wanted]
    assert len({len(one) for one in left[1::2]}) > 3
    # Shares are even in their logarithm, from a fiftieth to all.
    plain = np.log(shares[::2])
    assert plain.min() > np.log(SMALLEST) - 0.3
    assert plain.mean() == pytest.approx(np.log(SMALLEST) / 2, abs=0.7)
    assert plain.std() == pytest.approx(-np.log(SMALLEST) / np.sqrt(12), abs=0.4)


def test_a_condition_leaves_at_least_some_rows() -> None:
    rows = replace(sample(np.random.default_rng(4), 70), labels=np.arange(70))
    for chosen in _subsets(rows, np.random.default_rng(0)):
        assert len(chosen) >= FEWEST
        assert (np.diff(chosen) > 0).all()


def test_beyond_the_farthest_hit_the_curve_is_that_of_all_rows() -> None:
    distance, relevant = np.array([0, 0, 0, 2, 2, 3]), np.array([True, True, False, True, False, False])
    nothing = np.empty(0), np.empty(0, bool)
    found = Answers(7, distance, relevant, *nothing, np.empty(0), np.empty(0, np.int64))
    curve = curve_of(found, [0.9, 0.8, 0.7, 0.6, 0.5, 0.0, 0.0])
    assert curve.n_queries == 7
    assert curve.distance == (0.666667, 0.666667, 0.5, 0, 0, 0, 0), "no row beyond is likelier than the farthest hit"
    close = Answers(7, distance[:3], relevant[:3], *nothing, np.empty(0), np.empty(0, np.int64))
    assert curve_of(close, [0.9, 0.8, 0.5, 0.4]).distance == (0.666667, 0.666667, 0.5, 0.4)
    assert (curve.apart, curve.cosine) == ((), ())


def test_hits_are_cut_into_forty_parts_at_most_and_equal_ones_joined() -> None:
    """Each part has fifty hits; part i has i relevant ones less than the first, but for two that are alike."""
    counts = np.arange(48, 8, -1)
    counts[7] = counts[6]
    apart = np.random.default_rng(0).permutation(2000)
    relevant = apart % 50 < counts[apart // 50]
    limits, probability = _by_cosine(apart / 3000, relevant)
    kept = np.delete(np.arange(40), 6)
    assert limits == tuple(round((50 * one + 49) / 3000, 6) for one in kept.tolist())
    assert probability == tuple(round(counts[one] / 50, 6) for one in kept.tolist())

"""Average precision of walks: against brute force, and whether it tells good codes from bad ones without labels."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CodeError
from aepipe.evaluate import walks
from aepipe.evaluate.relevance import NamedRows
from aepipe.evaluate.retrieval import distance_counts
from aepipe.evaluate.walks import Walks

GROUPS = 8


def groups(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of eight groups in sixteen dimensions, of which most vary with the row alone, and the groups."""
    rng = np.random.default_rng(seed)
    group = np.arange(count) % GROUPS
    centres = np.random.default_rng(5).normal(size=(GROUPS, 16)) * 2
    return centres[group] + rng.normal(size=(count, 16)), group


def of_groups(group: np.ndarray, wrong: float, seed: int) -> BitCodes:
    """Return codes of 32 bits that are those of the group, but for a share of wrong bits."""
    own = np.random.default_rng(9).integers(0, 2, (GROUPS, 32))[group]
    return BitCodes.from_bits(own ^ (np.random.default_rng(seed).random(own.shape) < wrong))


def test_better_codes_have_a_higher_figure_and_labels_are_not_asked() -> None:
    (rows, of_rows), (asked, of_asked) = groups(400), groups(80, seed=1)
    found = Walks.of(rows, asked)
    figures = [
        found.of_codes(of_groups(of_rows, wrong, 1), of_groups(of_asked, wrong, 2)).mean()
        for wrong in (0, 0.2, 0.35, 0.5)
    ]
    assert figures == sorted(figures, reverse=True)
    assert figures[0] > 0.6
    assert figures[-1] < 0.3
    assert 0.5 < found.of_floats(rows, asked).mean() <= 1


def test_what_walks_reach_is_of_the_same_group() -> None:
    (rows, of_rows), (asked, of_asked) = groups(400), groups(80, seed=1)
    small = Walks.of(rows, asked).relevant[0]
    same = [(of_rows[small.rows(query)] == of_asked[query]).mean() for query in range(len(asked))]
    assert np.mean(same) > 0.9


def test_precision_is_that_of_brute_force_with_ties_in_all_orders() -> None:
    rng = np.random.default_rng(3)
    known, asked = (BitCodes.from_bits(rng.integers(0, 2, (count, 4))) for count in (7, 3))
    found = Walks.of(rng.normal(size=(7, 5)), rng.normal(size=(3, 5)))
    bits = [one.unpack().astype(int) for one in (known, asked)]
    for query, value in enumerate(found.of_codes(known, asked)):
        far = np.abs(bits[0] - bits[1][query]).sum(1)
        means = []
        for relevant in found.relevant:
            wanted = np.isin(np.arange(7), relevant.rows(query))
            drawn = []
            for _ in range(4000):
                order = np.lexsort((rng.random(7), far))
                hits = wanted[order]
                drawn.append((np.cumsum(hits) / np.arange(1, 8))[hits].mean())
            means.append(np.mean(drawn))
        assert value == pytest.approx(np.mean(means), abs=0.02)


def test_many_rows_are_a_sample_that_is_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "ROWS", 100)
    monkeypatch.setattr(walks, "QUERIES", 10)
    rows, asked = groups(300)[0], groups(40, seed=1)[0]
    one, two = Walks.of(rows, asked), Walks.of(rows, asked)
    assert len(one.rows) == 100
    assert len(one.queries) == 10
    assert np.array_equal(one.relevant[1].wanted, two.relevant[1].wanted)
    assert one.relevant[1].wanted.max() < 100
    codes = of_groups(np.arange(300) % GROUPS, 0.1, 1), of_groups(np.arange(40) % GROUPS, 0.1, 2)
    assert one.of_codes(*codes).shape == (10,)


@pytest.mark.parametrize(("rows", "asked"), [(1, 1), (2, 3), (40, 1)])
def test_few_rows_and_equal_rows(rows: int, asked: int) -> None:
    """Nothing divides by zero, and a row that all others equal is no error."""
    found = Walks.of(np.zeros((rows, 3), np.uint8), np.zeros((asked, 3), np.uint8))
    codes = [BitCodes.from_bits(np.zeros((count, 8))) for count in (rows, asked)]
    assert np.isfinite(found.of_codes(*codes)).all()


def test_features_that_are_not_finite_are_refused() -> None:
    with pytest.raises(CodeError, match="not finite"):
        Walks.of(np.full((5, 2), np.nan), np.zeros((2, 2)))


def test_named_rows_count_as_relevant_in_every_block() -> None:
    known, asked = BitCodes.from_bits(np.eye(6, 8)), BitCodes.from_bits(np.zeros((2, 8)))
    size, relevant = distance_counts(known, asked, NamedRows(np.arange(6), np.array([[0, 3], [1, 5]])))
    assert size[:, 1].tolist() == [6, 6]
    assert relevant[:, 1].tolist() == [2, 2]
    named = NamedRows(np.arange(6), np.array([[0, 3], [1, 5]]))
    assert named.inside(1, 2, 6).tolist() == [3]
    assert named.of_queries(slice(1, 2)).rows(0).tolist() == [1, 5]

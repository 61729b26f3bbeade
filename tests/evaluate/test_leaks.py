"""Near-duplicates between queries and database rows: found, named, and none reported where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.evaluate.exact_search import nearest
from aepipe.evaluate.scores import Sample, describe_leaks, near_duplicates, score


def pixels(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 30), np.uint8)


@pytest.mark.parametrize("scale", [None, 1.0, 1e-3])
def test_a_row_saved_again_is_found(scale: float | None) -> None:
    database, queries = pixels(80, 0), pixels(20, 1)
    noise = np.random.default_rng(2).integers(-3, 4, 30)
    queries[3] = database[50]
    queries[7] = np.clip(database[11].astype(int) + noise, 0, 255)
    if scale is not None:
        database, queries = (one * scale / 255 for one in (database, queries))
    found = near_duplicates(database, queries, nearest(database, queries, 10))
    assert found[[3, 7]].tolist() == [50, 11]
    assert (found >= 0).sum() == 2


@pytest.mark.parametrize(("share", "found"), [(0.055, True), (0.065, False)])
def test_how_far_a_near_duplicate_may_be(share: float, found: bool) -> None:
    """Up to six per cent of the usual distance of two rows, which is that of all pairs of queries."""
    rng = np.random.default_rng(3)
    database, queries = rng.normal(size=(200, 40)), rng.normal(size=(60, 40))
    pairs = np.square(queries[:, None] - queries[None]).mean(axis=2)
    usual = np.sqrt(pairs.sum() / (60 * 60))
    step = rng.normal(size=40)
    step *= share * usual / np.sqrt(np.square(step).mean())
    database[[30, 31, 32]] = queries[4] + step[None] * np.array([[1.1], [1], [-1.05]])
    near = np.tile([30, 31, 32, 5], (60, 1))
    twins = near_duplicates(database, queries, near)
    assert twins[4] == (31 if found else -1)
    assert (np.delete(twins, 4) == -1).all()


@pytest.mark.parametrize(("count", "named"), [(1, 1), (3, 3), (4, 3)])
def test_a_note_names_three_of_them(count: int, named: int) -> None:
    twins = np.full(1200, -1)
    twins[100 : 100 + count] = np.arange(count) + 7
    keys = np.array([str(one) for one in range(1200)])
    (note,) = describe_leaks(twins, keys, keys)
    pairs = ", ".join(f"{100 + one} ~ {7 + one}" for one in range(named))
    assert note.startswith(f"{count} of 1,200 queries nearly equal")
    assert note.endswith(f"better than they are: {pairs}{', ...' if count > named else ''}")
    for given in ((keys, None), (None, keys)):
        assert describe_leaks(twins, *given)[0].endswith("better than they are")


def test_scores_count_and_name_near_duplicates() -> None:
    database, queries = pixels(80, 0), pixels(20, 1)
    queries[:5] = database[10:15]
    rng = np.random.default_rng(0)

    def sample(rows: np.ndarray, name: str) -> Sample:
        codes = BitCodes.from_bits(rng.random((len(rows), 12)) < 0.5)
        return Sample(codes, rows, keys=np.array([f"{name}/{i}" for i in range(len(rows))]))

    scores = score(sample(database, "train"), sample(queries, "test"), seed=0)
    assert scores.duplicates == 5
    (note,) = [one for one in scores.notes if "nearly equal" in one]
    assert note.startswith(
        "5 of 20 queries nearly equal a database row (they differ by less than 6% of the usual difference of two rows)"
    )
    assert note.endswith(": test/0 ~ train/10, test/1 ~ train/11, test/2 ~ train/12, ...")
    assert describe_leaks(np.full(20, -1), None, None) == []
    assert describe_leaks(np.array([-1, 3]), None, None)[0].endswith("look better than they are")

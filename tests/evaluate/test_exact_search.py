"""Exact search: distances and nearest rows against plain NumPy, in blocks of any size; what cannot be read is named."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.errors import CodeError
from aepipe.evaluate import exact_search
from aepipe.evaluate.exact_search import check_matrix, distance_rows, feature_blocks, nearest, smallest_of


def squared(rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return all squared distances, float64[Q, N], one pair after another."""
    return np.array([[((one.astype(float) - row.astype(float)) ** 2).sum() for row in rows] for one in asked])


def matrix(kind: str, count: int, seed: int) -> np.ndarray:
    """Return rows with ten features, of bytes or of floats."""
    drawn = np.random.default_rng(seed).integers(0, 256, (count, 10), dtype=np.uint8)
    return drawn if kind == "bytes" else (drawn / 7 - 11).astype(kind)


@pytest.mark.parametrize("kind", ["bytes", "float32", "float64"])
@pytest.mark.parametrize(("block", "exact"), [(1 << 22, 1024), (30, 4), (9, 3), (100, 10)])
def test_distances_are_those_of_each_pair(kind: str, block: int, exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_search, "BLOCK_VALUES", block)
    monkeypatch.setattr(exact_search, "EXACT", exact)
    rows, asked = matrix(kind, 23, 0), matrix(kind, 5, 1)
    chunks = list(distance_rows(rows, asked))
    assert [first for first, _ in chunks] == np.cumsum([0, *(len(one) for _, one in chunks[:-1])]).tolist()
    found = np.concatenate([one for _, one in chunks])
    np.testing.assert_allclose(found, squared(rows, asked), rtol=1e-6, atol=1e-6)
    if kind == "bytes":
        assert np.array_equal(found, squared(rows, asked)), "bytes are compared exactly"
    mixed = np.concatenate([one for _, one in distance_rows(rows, asked.astype(float))])
    np.testing.assert_allclose(mixed, squared(rows, asked), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("width", "kind"), [(4000, "int32"), (exact_search.WHOLE + 1, "float64")])
def test_bytes_of_many_features_are_compared_exactly(width: int, kind: str) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (6, width), dtype=np.uint8)
    rows[0], rows[1] = 0, 255
    ((_, found),) = distance_rows(rows, rows)
    assert found.dtype == kind
    assert found.tolist() == squared(rows, rows).tolist()


@pytest.mark.parametrize(
    ("values", "block", "queries"), [(69, 1 << 22, 3), (68, 1 << 22, 2), (1, 1 << 22, 1), (1 << 24, 6, 2)]
)
def test_a_chunk_holds_no_more_distances_than_it_may(
    values: int, block: int, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact_search, "ROW_VALUES", values)
    monkeypatch.setattr(exact_search, "BLOCK_VALUES", block)
    rows, asked = matrix("float64", 23, 0), matrix("float64", 7, 1)
    sizes = [len(one) for _, one in distance_rows(rows, asked)]
    assert max(sizes) == queries
    assert sum(sizes) == 7


@pytest.mark.parametrize("k", [1, 3, 23, 30])
@pytest.mark.parametrize("block", [1 << 22, 20])
def test_the_nearest_are_those_of_a_sort(k: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_search, "BLOCK_VALUES", block)
    rows, asked = matrix("float32", 23, 0), matrix("float32", 5, 1)
    found = nearest(rows, asked, k)
    assert found.dtype == np.int64
    expected = np.argsort(squared(rows, asked), axis=1)[:, :k]
    assert np.sort(found, axis=1).tolist() == np.sort(expected, axis=1).tolist()
    assert nearest(rows, asked).shape == (5, 10)


def test_the_smallest_of_blocks_have_the_places_of_the_whole() -> None:
    values = np.random.default_rng(0).permutation(60).reshape(3, 20).astype(float)
    blocks = [(start, values[:, start : start + 6]) for start in range(0, 20, 6)]
    found = np.sort(smallest_of(blocks, 4), axis=1)
    assert found.tolist() == np.sort(np.argsort(values, axis=1)[:, :4], axis=1).tolist()


@pytest.mark.parametrize("rows", [None, [2, 5, 6, 30, 31, 38]])
def test_blocks_hold_each_row_once(rows: list[int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_search, "BLOCK_VALUES", 45)
    given = matrix("float32", 40, 0)
    chosen = None if rows is None else np.array(rows)
    blocks = list(feature_blocks(given, chosen))
    assert [start for start, _ in blocks] == list(range(0, 40 if rows is None else 6, 4))
    assert all(block.dtype == np.float64 for _, block in blocks)
    expected = given if chosen is None else given[chosen]
    assert np.concatenate([block for _, block in blocks]).tolist() == expected.tolist()


@pytest.mark.parametrize(("rows", "named"), [(None, 17), ([1, 3, 4, 9, 12, 17, 21], 17)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_by_its_row(
    rows: list[int] | None, named: int, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact_search, "BLOCK_VALUES", 40)
    given = matrix("float32", 25, 0)
    given[[17, 21], [3, 0]] = value
    said = f"features of row {named} hold a value that is not finite"
    with pytest.raises(CodeError, match=said):
        list(feature_blocks(given, None if rows is None else np.array(rows)))


@pytest.mark.parametrize(
    "given",
    [
        np.zeros(3),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.zeros((2, 2, 2)),
        np.array([["a"]]),
        np.zeros((2, 2), complex),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(given: np.ndarray) -> None:
    with pytest.raises(CodeError, match=r"features are numbers \[N, D\], at least 1 x 1, not"):
        check_matrix(given)
    with pytest.raises(CodeError, match="features are numbers"):
        nearest(given, np.zeros((1, 1)))
    with pytest.raises(CodeError, match="features are numbers"):
        nearest(np.zeros((1, 1)), given)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float32])
def test_numbers_of_any_sort_are_features(dtype: type[np.generic]) -> None:
    check_matrix(np.ones((1, 1), dtype))
    assert nearest(np.eye(3, dtype=dtype), np.eye(3, dtype=dtype), 1).ravel().tolist() == [0, 1, 2]

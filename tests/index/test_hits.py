"""Results of a search: each operation against the same one on lists, with the types that are promised."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.index.hits import NO_DISTANCE, NO_ID, CodeHits, Hits, RaggedHits

Ints = NDArray[np.int64]
Triple = tuple[int, int, int]


def drawn(seed: int, queries: int = 5, count: int = 60) -> list[Triple]:
    """Return (query, distance, id), with many ties, no hits of the second query, and ids beyond 32 bits."""
    rng = np.random.default_rng(seed)
    query = rng.integers(0, queries, count)
    query[query == 1] = 0
    ids = rng.permutation(10 * count)[:count] + (1 << 33)
    return list(zip(query.tolist(), rng.integers(0, 4, count).tolist(), ids.tolist(), strict=True))


def columns(hits: list[Triple]) -> tuple[Ints, NDArray[np.uint16], Ints]:
    query, far, ids = (np.array([hit[place] for hit in hits], np.int64) for place in range(3))
    return query, far.astype(np.uint16), ids


def ragged(hits: list[Triple], queries: int = 5) -> RaggedHits:
    query, far, ids = columns(hits)
    return RaggedHits.sort(query, far, ids, queries)


def triples(hits: RaggedHits) -> list[Triple]:
    """Return the hits as a list, after a look at types and borders."""
    assert (hits.ids.dtype.name, hits.distances.dtype.name, hits.offsets.dtype.name) == ("int64", "uint16", "int64")
    assert hits.offsets[0] == 0
    assert hits.offsets[-1] == len(hits.ids) == len(hits.distances)
    found = []
    for query in range(len(hits)):
        ids, far = hits.of(query)
        found += [(query, *hit) for hit in zip(far.tolist(), ids.tolist(), strict=True)]
    return found


@pytest.mark.parametrize("queries", [1, 5])
def test_hits_are_sorted_by_query_distance_and_id(queries: int) -> None:
    given = [(query % queries, far, row) for query, far, row in drawn(0)]
    hits = ragged(given, queries)
    assert triples(hits) == sorted(given)
    assert hits.query.tolist() == [query for query, *_ in sorted(given)]
    own = [[one for one in sorted(given) if one[0] == query] for query in range(queries)]
    assert hits.rank.tolist() == [rank for some in own for rank in range(len(some))]


def test_queries_without_hits_have_none() -> None:
    for hits in (RaggedHits.none(3), ragged([], 3), RaggedHits.sort(*columns([]), 1)):
        assert triples(hits) == []
    assert (len(RaggedHits.none(3)), len(ragged([], 3)), len(ragged([], 1))) == (3, 3, 1)
    none = Hits.none(3, 2)
    assert (none.ids.dtype.name, none.distances.dtype.name, none.count.dtype.name) == ("int64", "uint16", "int64")
    assert (none.ids.tolist(), none.count.tolist(), len(none)) == ([[NO_ID] * 2] * 3, [0] * 3, 3)
    assert none.distances.tolist() == [[NO_DISTANCE] * 2] * 3
    codes = CodeHits.none()
    assert (codes.query.dtype.name, codes.distances.dtype.name, codes.positions.dtype.name) == (
        "int64",
        "uint16",
        "int64",
    )
    assert len(codes) == len(codes.query) == len(codes.distances) == len(codes.positions) == 0


def test_batches_and_indexes_are_put_together() -> None:
    first, second, third = (sorted(drawn(seed)) for seed in range(3))
    joined = RaggedHits.join([ragged(first), ragged(second), RaggedHits.none(2)])
    assert triples(joined) == first + [(query + 5, *hit) for query, *hit in second]
    assert len(joined) == 12
    assert triples(RaggedHits.join([ragged(first)])) == first
    apart = [[(query, far, 3 * row + number) for query, far, row in one] for number, one in enumerate((second, third))]
    merged = RaggedHits.merge([ragged(one) for one in apart])
    assert triples(merged) == sorted(apart[0] + apart[1])
    assert len(merged) == 5


def test_some_hits_are_kept_in_their_order() -> None:
    given = sorted(drawn(3))
    mask = np.arange(len(given)) % 3 == 0
    assert triples(ragged(given).at(mask)) == [hit for hit, kept in zip(given, mask, strict=True) if kept]
    own = [[one for one in given if one[0] == query] for query in range(5)]
    for n in (0, 1, 7, 1000):
        assert triples(ragged(given).begin(n)) == [hit for some in own for hit in some[:n]]


@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("k", [1, 3, 60, 61])
def test_the_first_hits_make_a_table(queries: int, k: int) -> None:
    given = sorted((query % queries, far, row) for query, far, row in drawn(4))
    table = ragged(given, queries).first(k)
    assert table.ids.shape == table.distances.shape == (queries, k)
    assert (table.ids.dtype.name, table.distances.dtype.name, table.count.dtype.name) == ("int64", "uint16", "int64")
    for query in range(queries):
        own = [(far, row) for number, far, row in given if number == query][:k]
        ids, far = table.of(query)
        assert list(zip(far.tolist(), ids.tolist(), strict=True)) == own
        assert table.count[query] == len(own)
        assert table.ids[query, len(own) :].tolist() == [NO_ID] * (k - len(own))
        assert table.distances[query, len(own) :].tolist() == [NO_DISTANCE] * (k - len(own))


@pytest.mark.parametrize("k", [1, 4, 40])
def test_tables_of_several_indexes_are_merged(k: int) -> None:
    apart = [[(query, far, 3 * row + n) for query, far, row in drawn(seed)] for n, seed in enumerate((5, 6, 7))]
    first, *others = (ragged(one).first(k) for one in apart)
    merged = first.merge(*others)
    expected = ragged([hit for one in apart for hit in one]).first(k)
    for field in ("ids", "distances", "count"):
        np.testing.assert_array_equal(getattr(merged, field), getattr(expected, field))
    assert merged.ids.shape == (5, k)
    alone = first.merge()
    np.testing.assert_array_equal(alone.ids, first.ids)


def test_hits_of_some_queries_are_replaced() -> None:
    hits, new = ragged(drawn(8)).first(3), ragged([(0, 9, 1), (1, 8, 2), (1, 8, 3)], 2).first(3)
    before = hits.ids[[0, 1, 3]].copy()
    hits.put(np.array([4, 2]), new)
    assert hits.ids[[4, 2]].tolist() == [[1, NO_ID, NO_ID], [2, 3, NO_ID]]
    assert hits.distances[4, 0] == 9
    assert hits.distances[2, :2].tolist() == [8, 8]
    assert hits.count[[4, 2]].tolist() == [1, 2]
    np.testing.assert_array_equal(hits.ids[[0, 1, 3]], before)


def codes_of(hits: CodeHits) -> list[Triple]:
    assert (hits.query.dtype.name, hits.distances.dtype.name, hits.positions.dtype.name) == ("int64", "uint16", "int64")
    return list(zip(hits.query.tolist(), hits.distances.tolist(), hits.positions.tolist(), strict=True))


@pytest.mark.parametrize(
    ("query", "position"),
    [(0, 0), ((1 << 15) - 1, (1 << 32) - 1), (1 << 15, 0), (0, 1 << 32), (1 << 20, 1 << 40)],
)
def test_codes_are_sorted_however_large_their_numbers(query: int, position: int) -> None:
    """Where query, distance and position do not fit into one number, they are sorted one by one."""
    given = [(0, 2, 7), (query, 65_535, position), (query, 1, 3), (0, 2, 1), (query, 65_535, 0), (3, 0, position)]
    numbers, far, places = columns(given)
    assert codes_of(CodeHits.sort(numbers, far.astype(np.int32), places)) == sorted(given)
    assert codes_of(CodeHits.sort(*columns([]))) == []


def test_codes_of_batches_come_back_under_the_numbers_of_their_queries() -> None:
    one = CodeHits.sort(*columns([(0, 1, 5), (1, 0, 6), (1, 3, 2)]))
    other = CodeHits.sort(*columns([(0, 2, 9), (0, 4, 8)]))
    parts = [(one, np.array([2, 7])), (CodeHits.none(), np.array([4])), (other, np.array([3]))]
    joined = CodeHits.join(parts)
    assert codes_of(joined) == [(2, 1, 5), (3, 2, 9), (3, 4, 8), (7, 0, 6), (7, 3, 2)]
    assert codes_of(CodeHits.join([(CodeHits.none(), np.array([1]))])) == []
    asked = []

    def search(open_: Ints) -> CodeHits:
        asked.append(open_.tolist())
        return CodeHits.sort(*columns([(0, 5, 1), (1, 6, 1)]))

    whole = one.completed(4, np.array([2, 3]), search)
    assert codes_of(whole) == [(0, 1, 5), (1, 0, 6), (1, 3, 2), (2, 5, 1), (3, 6, 1)]
    assert asked == [[2, 3]]
    assert one.completed(2, np.zeros(0, np.int64), search) is one


@pytest.mark.parametrize("k", [1, 2, 9])
def test_the_first_codes_of_each_query(k: int) -> None:
    given = sorted(drawn(9))
    own = [[one for one in given if one[0] == query][:k] for query in range(5)]
    hits = CodeHits(*columns(given))
    assert codes_of(hits.first(k, 5)) == [hit for some in own for hit in some]
    alone = CodeHits(*columns(own[0]))
    assert codes_of(alone.first(k, 1)) == own[0][:k]
    assert codes_of(hits.at(slice(2, 4))) == given[2:4]

"""Re-ranking by the embedding: its gain in precision, and the number of hits that it needs.

A search by code returns ``factor`` times the wanted hits; these are sorted again by the cosine of their embeddings. Of
few rows all are sorted again: the answer is an exact search of the embeddings.

Legend: N database rows, Q queries, H width of the embedding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import cosines
from aepipe.evaluate.exact_search import smallest_of
from aepipe.evaluate.relevance import Labels, relevance_of
from aepipe.evaluate.retrieval import first_places, in_threads, word_distances
from aepipe.evaluate.ties import Ints

TOP = 10
FACTORS = (1, 2, 5, 10, 20, 50, 100, 200)
FEW = 4096
"""Rows up to which an answer is an exact search: their embeddings are read in a millisecond."""
GROWTH = 2
"""Times as many rows as were measured that are all compared, too: a collection grows."""
QUERIES = 300
"""Most queries of the measurement: each is compared with every row."""
BLOCK = 8192
"""Rows whose embeddings are compared at a time."""

Embeddings = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Reranking:
    """The measured choice of re-ranking 10 hits.

    Attributes:
        factor: the first 10 times this number of hits by code are re-ranked.
        target: the wanted share of the 10 rows with the nearest embeddings among these hits.
        recall: the measured share, a mean over the queries; below the target where no factor reaches it.
        precision_codes: share of the relevant among the first 10 hits by code; None without labels.
        precision: the same share of the first 10 re-ranked hits.
    """

    factor: int
    target: float
    recall: float
    precision_codes: float | None = None
    precision: float | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reranking:
        """Read the output of ``dataclasses.asdict``, also through JSON."""
        return cls(**data)


def choose(
    codes: tuple[BitCodes, BitCodes],
    embeddings: tuple[Embeddings, Embeddings],
    labels: tuple[Labels, Labels] | None,
    *,
    target: float,
) -> Reranking:
    """Choose the smallest factor that finds the wanted share of nearest embeddings.

    Of few rows, it takes all.

    Args:
        codes: of N database rows and of Q queries.
        embeddings: int8[N, H], which may be mapped, and int8[Q, H].
        labels: of both; None where there are none.
        target: the wanted share, in (0, 1].
    """
    asked = np.unique(np.linspace(0, len(codes[1]) - 1, QUERIES).astype(np.int64))
    queries, top = embeddings[1][asked], min(TOP, len(codes[0]))
    few = len(codes[0]) <= FEW
    factors = (math.ceil(GROWTH * len(codes[0]) / top),) if few else FACTORS
    places, wanted = _by_code(codes[0], codes[1][asked], top * factors[-1]), _nearest(*embeddings, asked, top)
    recalls = _shares_found(places, wanted, top, factors)
    factor = next((one for one in factors if recalls[one] >= target), factors[-1])
    if labels is None:
        return Reranking(factor, target, recalls[factor])
    reranked = [
        among[np.argsort(-cosines(query, embeddings[0][among]), kind="stable")[:top]]
        for query, among in zip(queries, places[:, : top * factor], strict=True)
    ]
    shares = _precisions((labels[0], labels[1][asked]), places[:, :top], np.stack(reranked))
    return Reranking(factor, target, recalls[factor], *shares)


def _precisions(labels: tuple[Labels, Labels], *found: Ints) -> list[float]:
    """Return the share of relevant rows among rows found in some ways, int64[Q, k] each."""
    relevance, n_rows = relevance_of(*labels), len(labels[0])
    hits = np.zeros(len(found), np.int64)
    for query in range(len(labels[1])):
        relevant = np.zeros(n_rows, bool)
        relevant[relevance.rows(query)] = True
        hits += [int(relevant[rows[query]].sum()) for rows in found]
    return [float(count / rows.size) for count, rows in zip(hits, found, strict=True)]


def _nearest(rows: Embeddings, queries: Embeddings, asked: Ints, k: int) -> Ints:
    own = _unit(queries[asked])
    starts = range(0, len(rows), BLOCK)
    return smallest_of(((start, own @ -_unit(rows[start : start + BLOCK]).T) for start in starts), k)


def _unit(rows: Embeddings) -> NDArray[np.float32]:
    found = rows.astype(np.float32)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return found


def _by_code(database: BitCodes, queries: BitCodes, count: int) -> Ints:
    rows = np.ascontiguousarray(database.words().T)

    def nearest(query: NDArray[np.uint64]) -> Ints:
        return first_places(word_distances(rows, query).astype(np.uint16), count)

    return np.stack(in_threads(nearest, list(queries.words())))


def _shares_found(places: Ints, wanted: Ints, top: int, factors: Sequence[int]) -> dict[int, float]:
    # For each wanted row: whether it is among the places, and at which rank.
    same = [row[:, None] == among for row, among in zip(wanted, places, strict=True)]
    found = np.stack([one.any(axis=1) for one in same])
    rank = np.stack([one.argmax(axis=1) for one in same])
    return {factor: float((found & (rank < top * factor)).mean()) for factor in factors}

"""Hits of codes, put in order by what the codes were made from.

Codes are compared first, so that only a few embeddings have to be read. How many was measured when the release was
made, see :class:`aepipe.evaluate.Reranking`.

Legend: Q queries, k neighbours, H width of the embedding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aepipe.embeddings import cosines
from aepipe.errors import QueryError
from aepipe.index import Hits
from aepipe.release import Release


def oversampling(release: Release, *, factor: int | None = None) -> int:
    """Return how many times more hits of codes are looked at than are wanted, as it was chosen for a release.

    Args:
        release: that is asked.
        factor: in place of what was chosen.

    Raises:
        QueryError: embeddings are not kept.
    """
    found = release.scores.get("reranking")
    if not found:
        raise QueryError(
            f"{release.name}: nothing can be re-ranked, for the embeddings of its rows are not kept; with "
            '`[index] embedding = "int8"` in its recipe the next `aepipe run` keeps them'
        )
    return factor or int(found["factor"])


def rerank(release: Release, embeddings: NDArray[np.generic], hits: Hits, k: int) -> tuple[Hits, NDArray[np.float32]]:
    """Put hits in the order of their embeddings, nearest first.

    Args:
        release: where the hits come from.
        embeddings: [Q, H], of the queries.
        hits: what their codes found, more than k of each.
        k: how many are wanted.

    Returns:
        Of each query the k hits of largest cosine, ties by (distance, id), and the cosines, float32[Q, k].
    """
    best, found = Hits.none(len(hits), k), np.zeros((len(hits), k), np.float32)
    for query, own in enumerate(embeddings):
        ids, distances = hits.of(query)
        cosine = cosines(own, release.segments.embeddings_of(ids))
        order = np.lexsort((ids, distances, -cosine))[:k]
        best.count[query] = len(order)
        best.ids[query, : len(order)], best.distances[query, : len(order)] = ids[order], distances[order]
        found[query, : len(order)] = cosine[order]
    return best, found

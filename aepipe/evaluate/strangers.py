"""Strangers: questions that are unlike the whole collection.

A few figures say how far a question is from the collection. Each is measured of the held-out items, too, and counts as
the surprise at it among these, the logarithm of the share of them that exceed it; a question whose figures together lie
above those of nearly all held-out items is a stranger. No label is needed, and nothing is assumed about what strangers
look like.

Beyond the highest tenth of the held-out items, shares fall exponentially, as their mean excess says (peaks over a
threshold: Pickands, "Statistical inference using extreme order statistics", 1975). The largest of a hundred items says
little about the share of new ones that exceed it, the mean of ten much more.

========== =========================================================================================
nearest    how far the nearest row is: by embedding, else by code
outside    distance to the nearest of some rows, in the space of the principal components and what they leave out
sparse     the same, for the length of the item: thin strokes among filled shapes
dense      the same, for its distance from the mean of all rows
strong     how far its own cells lie apart: noise, and black on white
faint      how short its embedding is
unknown    the share of its words that the collection does not know
========== =========================================================================================

Rows of words have ``faint`` and ``unknown``, since most of their cells are 0; all others the first five.

Legend: N rows, Q questions, D features, H width of the embedding, C components, F figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import scaled

Floats = NDArray[np.float64]

ENOUGH = 100
"""Held-out questions below which nothing is said."""
FALSE_ALARMS = 0.012
"""Share of new items above the limit. The promise is 2 %, with room for what a hundred held-out items do not tell."""
HIGH = 0.9
"""The quantile at which the tail of a figure begins; its distance from the median is the spread."""
RARE = -float(np.log(1 - HIGH))
"""Surprise at a figure where its tail begins."""
OLDER_POWER = 4
"""In scores of older versions, of the mean over the figures, which counted in spreads."""
TINY = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Principal components of rows, and some rows in it.

    Attributes:
        mean: float32[D].
        axes: float32[C, D].
        seen: float32[n, C + 1]: projections of rows, and the length of what they leave out.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    seen: NDArray[np.float32]

    @classmethod
    def of_arrays(cls, space: NDArray[np.float32], seen: NDArray[np.float32]) -> Space:
        """Return the space of what :meth:`arrays` gave."""
        return cls(space[0], space[1:], seen)

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and axes in one array, float32[1 + C, D], and the rows."""
        return np.concatenate([self.mean[None], self.axes]), self.seen

    def project(self, items: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return the projections of rows and the length of what they leave out, float32[Q, C + 1].

        Args:
            items: [Q, ...], as they go into the encoder.
        """
        centred = flat(items) - self.mean
        found = centred @ self.axes.T
        left = np.square(centred).sum(axis=1) - np.square(found).sum(axis=1)
        return np.column_stack([found, np.sqrt(np.maximum(left, 0))])

    def figures(self, items: NDArray[np.generic]) -> dict[str, Floats]:
        """Return ``outside``, ``sparse``, ``dense`` and ``strong`` of rows, float64[Q] each."""
        at = self.project(items).astype(np.float64)
        seen = self.seen.astype(np.float64)
        square = np.square(at[:, :-1]).sum(axis=1)
        apart = square[:, None] - 2 * at[:, :-1] @ seen[:, :-1].T + np.square(seen[:, :-1]).sum(axis=1)
        inside = np.maximum(apart.min(axis=1), 0)
        whole = square + np.square(at[:, -1])
        cells = flat(items).astype(np.float64)
        length = np.square(cells).sum(axis=1)
        outside = _log(np.sqrt(inside + np.square(at[:, -1])))
        return {
            "outside": outside,
            "sparse": outside - _log(np.sqrt(length)),
            "dense": _log(np.sqrt(inside)) - _log(np.sqrt(whole)),
            "strong": cells.std(axis=1),
        }


@dataclass(frozen=True, slots=True)
class Strangers:
    """The limit above which a question is a stranger, measured on held-out items of one sort.

    Attributes:
        figures: names, in the order of the numbers.
        median: of each figure.
        spread: of each figure, from the median to a high quantile.
        limit: of the figures together.
        n_queries: Q.
        tail: of each figure, the mean excess over that quantile; empty in scores of older versions.
    """

    figures: tuple[str, ...]
    median: tuple[float, ...]
    spread: tuple[float, ...]
    limit: float
    n_queries: int
    tail: tuple[float, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Strangers:
        """Read the output of ``dataclasses.asdict``, also through JSON."""
        names, median, spread = (tuple(data[name]) for name in ("figures", "median", "spread"))
        return cls(names, median, spread, data["limit"], data["n_queries"], tuple(data.get("tail", ())))

    @classmethod
    def measure(cls, figures: Mapping[str, Floats], same: NDArray[np.bool_]) -> Strangers | None:
        """Return the limit for held-out items; None where these are too few.

        Args:
            figures: float64[Q] each.
            same: bool[Q], which have the code of a row, so that they are never strangers.
        """
        names, held = tuple(figures), np.column_stack(list(figures.values()))
        if len(held) < ENOUGH:
            return None
        # Those with the code of a row are not judged, so their figures are not the usual ones of those that are.
        judged = held[~same] if (~same).sum() >= ENOUGH else held
        median, high = np.median(judged, axis=0), np.quantile(judged, HIGH, axis=0)
        spread = np.maximum(high - median, TINY)
        tail = np.array([_excess(values, limit) for values, limit in zip(judged.T, high, strict=True)])
        rounded = [tuple(values.round(6).tolist()) for values in (median, spread, tail)]
        open_ended = cls(names, rounded[0], rounded[1], np.inf, len(held), rounded[2])
        apart = np.where(same, 0, open_ended.apart(figures))
        beyond = float(np.quantile(apart, HIGH))
        limit = beyond + _excess(apart, beyond) * float(np.log((1 - HIGH) / FALSE_ALARMS))
        return replace(open_ended, limit=round(limit, 6))

    def apart(self, figures: Mapping[str, Floats]) -> Floats:
        """Return how far questions are from the collection, by all figures together, float64[Q]."""
        given = np.column_stack([figures[name] for name in self.figures])
        above = np.maximum((given - np.array(self.median)) / np.array(self.spread), 0)
        if not self.tail:
            older: Floats = np.power(np.power(above, OLDER_POWER).mean(axis=1), 1 / OLDER_POWER)
            return older
        beyond = (above - 1) * np.array(self.spread) / np.array(self.tail)
        surprise = np.where(above > 1, RARE + beyond, RARE * above)
        found: Floats = np.sqrt(np.square(surprise).mean(axis=1))
        return found

    def knows(self, figures: Mapping[str, float]) -> bool:
        """Whether a question has all figures."""
        return all(name in figures for name in self.figures)

    def is_one(self, figures: Mapping[str, float]) -> bool:
        """Whether a question with these figures is a stranger."""
        return bool(self.apart({name: np.array([value]) for name, value in figures.items()})[0] > self.limit)


def _excess(values: Floats, limit: float) -> float:
    """Return by how much values exceed a limit that some exceed, on average."""
    beyond = values[values > limit] - limit
    return max(float(beyond.mean()), TINY) if len(beyond) else TINY


def flat(items: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return rows as floats, float32[Q, D]; missing cells are 0."""
    found = scaled(items.reshape(len(items), -1))
    return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0) if items.dtype.kind == "f" else found


def nearest_figure(cosine: float | None, distance: int) -> float:
    """Return ``nearest``: by the cosine of the nearest embedding, else by the code's distance."""
    return float(distance) if cosine is None else float(np.log(max(1 - cosine, 0) + 1e-3))


def faint(embedding: NDArray[np.floating]) -> Floats:
    """Return ``faint`` of embeddings [Q, H]."""
    return -_log(np.linalg.norm(embedding.astype(np.float64), axis=1))


def fit_space(rows: NDArray[np.generic], axes: int, seen: int, seed: int) -> Space:
    """Return the principal components of a sample of rows.

    Args:
        rows: [N, D]; may be mapped.
        axes: C at most.
        seen: rows that are kept at most.
        seed: of the sample.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:seen])
    given = flat(rows[chosen])
    mean = given.mean(axis=0)
    components = min(axes, max(1, given.shape[1] // 2), max(1, len(given) - 1))
    space = Space(mean, _axes(given - mean, components, seed), np.zeros((0, components + 1), np.float32))
    return Space(space.mean, space.axes, space.project(given))


def _axes(centred: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Return the leading principal axes, float32[C, D], by subspace iteration.

    Source: Halko, Martinsson and Tropp, "Finding structure with randomness", 2011.
    """
    drawn = np.random.default_rng(seed).normal(size=(centred.shape[1], count + 10)).astype(np.float32)
    for _ in range(4):
        drawn = np.linalg.qr(centred.T @ (centred @ drawn))[0]
    small = np.linalg.svd(centred @ drawn, full_matrices=False)[2]
    return np.ascontiguousarray((drawn @ small.T).T[:count].astype(np.float32))


def _log(values: NDArray[np.floating]) -> Floats:
    return np.log(values.astype(np.float64) + TINY)

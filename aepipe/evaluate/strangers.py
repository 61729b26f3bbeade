"""Strangers: questions that are unlike the whole collection.

A few figures say how far a question is from the collection. Each is measured of the held-out items, too, and counts as
the number of spreads above their median; a question whose figures together lie above those of nearly all held-out
items is a stranger. No label is needed, and nothing is assumed about what strangers look like.

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
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import scaled

Floats = NDArray[np.float64]

ENOUGH = 100
"""Held-out questions below which nothing is said."""
FALSE_ALARMS, OF_FEW, FEW = 0.015, 0.02, 500
"""Share of new items above the limit. The promise is 2 %; a limit of few held-out items would be their largest value
were it less."""
HIGH = 0.95
"""The quantile whose distance from the median is the spread of a figure."""
POWER = 4
"""Of the mean over the figures: one that is far off counts, and so do several that are a little."""
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
    """

    figures: tuple[str, ...]
    median: tuple[float, ...]
    spread: tuple[float, ...]
    limit: float
    n_queries: int

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Strangers:
        """Read the output of ``dataclasses.asdict``, also through JSON."""
        names, median, spread = (tuple(data[name]) for name in ("figures", "median", "spread"))
        return cls(names, median, spread, data["limit"], data["n_queries"])

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
        median = np.median(held, axis=0)
        spread = np.maximum(np.quantile(held, HIGH, axis=0) - median, TINY)
        open_ended = cls(names, tuple(median.round(6).tolist()), tuple(spread.round(6).tolist()), np.inf, len(held))
        ranked = np.sort(np.where(same, 0, open_ended.apart(figures)))
        # Conformal prediction: a new item is beyond the n-th of N held-out ones with a chance of 1 - n / (N + 1).
        alarms = FALSE_ALARMS if len(held) >= FEW else OF_FEW
        place = min(len(held), int(np.ceil((1 - alarms) * (len(held) + 1))))
        limit = float(np.ceil(ranked[place - 1] * 1e6) / 1e6)  # never below that item
        return cls(names, open_ended.median, open_ended.spread, limit, len(held))

    def apart(self, figures: Mapping[str, Floats]) -> Floats:
        """Return how far questions are from the collection, by all figures together, float64[Q]."""
        given = np.column_stack([figures[name] for name in self.figures])
        above = np.maximum((given - np.array(self.median)) / np.array(self.spread), 0)
        found: Floats = np.power(np.power(above, POWER).mean(axis=1), 1 / POWER)
        return found

    def knows(self, figures: Mapping[str, float]) -> bool:
        """Whether a question has all figures."""
        return all(name in figures for name in self.figures)

    def is_one(self, figures: Mapping[str, float]) -> bool:
        """Whether a question with these figures is a stranger."""
        return bool(self.apart({name: np.array([value]) for name, value in figures.items()})[0] > self.limit)


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

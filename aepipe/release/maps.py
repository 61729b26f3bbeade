"""The map of a release as it is stored: all rows on a plane, near codes near each other.

:mod:`aepipe.release.placing` makes it, apart from any request. Rows lie in a shuffled order, so that each prefix is a
fair sample. A map is a segment whose inputs name its release: it is found by them, and no release refers to it.

Legend: N rows, L landmarks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError, NotFoundError
from aepipe.store import artifacts, layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import REMEDY, mapped

VERSION = 1
SEED = 0
LANDMARKS = 5000
SIDE = 65_535
"""The largest coordinate."""
NAMED, NONE, OTHERS = 254, 254, 255
"""Classes below NAMED are labels, the most frequent first; then rows without a label, and all other labels."""

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Class:
    """Rows of one colour.

    Attributes:
        number: of the class, as the points bear it.
        label: that all its rows have; None for rows without one and for all other labels.
        count: rows.
    """

    number: int
    label: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a map.

    Attributes:
        name: of it.
        x: of its middle, in the units of the map.
        y: the same.
        count: rows that it was named by.
    """

    name: str
    x: float
    y: float
    count: int


class Map:
    """A map, memory-mapped.

    Attributes:
        x: uint16[N], from left to right, rows in their shuffled order.
        y: uint16[N], from the top down.
        classes: uint8[N].
        ids: int64[N].
        landmarks: L.
        legend: the classes.
        regions: parts with a name, the largest first; none where no word is known that names them.

    Raises:
        CorruptError: the folder does not hold a map.
    """

    def __init__(self, folder: Path) -> None:
        try:
            card = json.loads((folder / layout.Map.CARD).read_bytes())
            self.landmarks: int = card["landmarks"]
            self.legend = [Class(**one) for one in card["classes"]]
            self.regions = [Region(**one) for one in card.get("regions", ())]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptError(f"{folder}: corrupt, not a map: {error}; {REMEDY}") from None
        self.x: NDArray[np.uint16] = mapped(folder / layout.Map.X)
        self.y: NDArray[np.uint16] = mapped(folder / layout.Map.Y)
        self.classes: NDArray[np.uint8] = mapped(folder / layout.Map.CLASS)
        self.ids: Ids = mapped(folder / layout.Map.IDS)

    def __len__(self) -> int:
        return len(self.ids)

    def chunk(self, start: int, stop: int) -> bytes:
        """Return some points as bytes: their x, then their y, then their classes, little-endian."""
        x, y = (column[start:stop].astype("<u2").tobytes() for column in (self.x, self.y))
        return x + y + self.classes[start:stop].tobytes()

    def near(self, x: float, y: float, radius: float, limit: int) -> NDArray[np.int64]:
        """Return the points within a radius of a place, the nearest first, int64[n].

        Args:
            x: of the place, in the units of the map.
            y: the same.
            radius: in the same units.
            limit: most points.
        """
        wide = np.abs(self.x - np.float32(x)) <= radius
        some = np.flatnonzero(wide)
        some = some[np.abs(self.y[some] - np.float32(y)) <= radius]
        far = np.hypot(self.x[some] - x, self.y[some] - y)
        inside = far <= radius
        found: NDArray[np.int64] = some[inside][np.argsort(far[inside], kind="stable")[:limit]]
        return found

    def points_of(self, ids: Ids) -> NDArray[np.int64]:
        """Return the points of some rows, in the order of the ids.

        Rows that are not on the map are left out.
        """
        places = np.minimum(np.searchsorted(self.ids, ids, sorter=self._order), max(0, len(self) - 1))
        points: NDArray[np.int64] = self._order[places] if len(self) else np.zeros(0, np.int64)
        there = self.ids[points] == ids[: len(points)]
        found: NDArray[np.int64] = points[there]
        return found

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(self.ids)


def ref_of(release: Ref) -> Ref:
    """Return where the map of a release lies, whether it was made or not."""
    return artifacts.ref_of("segment", inputs_of(release))


def find(store: Store, release: Ref) -> Map | None:
    """Open the map of a release; None where none was made.

    Raises:
        CorruptError: a part of it is missing or has another length.
    """
    try:
        return Map(store.path(ref_of(release)))
    except NotFoundError:
        return None


def inputs_of(release: Ref) -> dict[str, Any]:
    """Return the inputs of the map of a release: its digest covers them."""
    return {"stage": "map", "version": VERSION, "release": str(release), "landmarks": LANDMARKS, "seed": SEED}

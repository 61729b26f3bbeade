"""The map of a collection: what it shows, its points as bytes, and the rows behind points.

Legend: N rows.
"""

from __future__ import annotations

import colorsys
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from aepipe.release.maps import NAMED, SIDE, Map
from aepipe.serve.answers import Item, item_of
from aepipe.serve.catalog import Served
from aepipe.serve.plans import columns_of
from aepipe.serve.problems import BadRequestError, MissingError
from aepipe.serve.requests import MOST_HITS, Name, Number

CHUNK = 1 << 16
"""Points of one answer."""
COLOURS = (
    "#4269d0", "#e07b12", "#c4373f", "#2d9d8f", "#3f9a35", "#b08a00", "#a463c2", "#d9568e", "#9a6a4c", "#5f7f98",
)  # fmt: skip
"""Of the most frequent labels; seen on light and on dark ground."""
GREY = "#8b8a84"
GOLDEN = 0.618034


class Shown(msgspec.Struct):
    """Rows of one colour.

    Attributes:
        index: the class of their points.
        label: of the rows; null for rows without one (254), and for all labels that are not named (255).
        colour: as ``#rrggbb``.
        count: rows.
    """

    index: int
    label: str | None
    colour: str
    count: int


class Named(msgspec.Struct):
    """A part of the map with a name.

    Attributes:
        name: a known word that its rows are like.
        x: of its middle.
        y: of its middle.
        count: rows that it was named by.
    """

    name: str
    x: int
    y: int
    count: int


class MapFacts(msgspec.Struct):
    """What a map shows.

    Attributes:
        release: whose rows are on it.
        rows: on the map.
        side: the largest coordinate; x grows to the right, y downwards.
        chunk: points of one answer of ``map/points``: all x (uint16), all y (uint16), all classes (uint8),
            little-endian.
        chunks: of these answers.
        landmarks: rows that were placed first.
        classes: the most frequent labels first.
        regions: parts with a name, the largest first; of collections whose words are known one by one.
    """

    release: str
    rows: int
    side: int
    chunk: int
    chunks: int
    landmarks: int
    classes: list[Shown]
    regions: list[Named]


class MapPoint(msgspec.Struct):
    """A point, and the row that it stands for.

    Attributes:
        point: its number, in the order of ``map/points``.
        x: of it.
        y: of it.
        item: the row.
    """

    point: int
    x: int
    y: int
    item: Item


class MapRows(msgspec.Struct):
    """Rows on the map.

    Attributes:
        release: whose rows they are.
        rows: with their points; the nearest first, or as they were asked for.
    """

    release: str
    rows: list[MapPoint]


class PointsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which points are wanted.

    Attributes:
        chunk: from 0.
        release: the first characters of a digest, at least 12; else the release in service.
    """

    chunk: Annotated[int, Meta(ge=0, le=1 << 32)] = 0
    release: Annotated[str, Meta(pattern="^[0-9a-f]{12,64}$")] | None = None


class AtRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which rows of the map are wanted: those near a place, or some points or rows.

    Attributes:
        x: of the place, in the units of the map.
        y: the same.
        r: radius around the place, in the same units.
        limit: most rows.
        point: points by their numbers.
        id: rows by their ids; those that are not on the map are left out.
        columns: of the source, given with each row; ``*`` for all.
        release: as for points.
    """

    x: Annotated[float, Meta(ge=0, le=SIDE)] | None = None
    y: Annotated[float, Meta(ge=0, le=SIDE)] | None = None
    r: Annotated[float, Meta(ge=0, le=2 * SIDE)] = SIDE / 100
    limit: Annotated[int, Meta(ge=1, le=MOST_HITS)] = 10
    point: Annotated[list[Number], Meta(max_length=MOST_HITS)] = []
    id: Annotated[list[Number], Meta(max_length=MOST_HITS)] = []
    columns: list[Name] = []
    release: Annotated[str, Meta(pattern="^[0-9a-f]{12,64}$")] | None = None

    def __post_init__(self) -> None:
        place = self.x is not None and self.y is not None
        if (self.x is None) != (self.y is None) or place + bool(self.point) + bool(self.id) != 1:
            raise ValueError("one of x and y, point, and id is wanted")


def map_of(served: Served) -> Map:
    """Return the map of a release.

    Raises:
        MissingError: none was made.
        CorruptError: it cannot be read.
    """
    found = served.map
    if found is None:
        name = served.release.name
        raise MissingError(f"{name}: no map of this release was made; `aepipe map` makes it, where the collection lies")
    return found


def facts(served: Served) -> MapFacts:
    """Return what the map of a release shows.

    Raises:
        MissingError: none was made.
    """
    found = map_of(served)
    classes = [Shown(one.number, one.label, colour(one.number), one.count) for one in found.legend]
    chunks = -(-len(found) // CHUNK)
    regions = [Named(one.name, round(one.x), round(one.y), one.count) for one in found.regions]
    return MapFacts(served.digest, len(found), SIDE, CHUNK, chunks, found.landmarks, classes, regions)


def points(served: Served, chunk: int) -> bytes:
    """Return one chunk of points.

    Raises:
        MissingError: no map was made, or it has no such chunk.
    """
    found = map_of(served)
    if chunk * CHUNK >= max(1, len(found)):
        raise MissingError(f"chunk: {chunk} is none of the {-(-len(found) // CHUNK)} of this map, which count from 0")
    return found.chunk(chunk * CHUNK, (chunk + 1) * CHUNK)


def at(served: Served, asked: AtRequest) -> MapRows:
    """Return rows of the map with their points.

    Raises:
        BadRequestError: there is no such point.
        MissingError: no map was made.
    """
    found = map_of(served)
    if asked.x is not None and asked.y is not None:
        chosen = found.near(asked.x, asked.y, asked.r, asked.limit)
    elif asked.point:
        chosen = np.asarray(asked.point, np.int64)
        if chosen.max() >= len(found):
            raise BadRequestError(f"point: {chosen.max()} is none of the {len(found):,} of this map", "/point")
    else:
        chosen = found.points_of(np.asarray(asked.id, np.int64))
    columns = columns_of(served.release, asked.columns)
    rows = served.release.describe(found.ids[chosen])
    named = zip(chosen.tolist(), found.x[chosen].tolist(), found.y[chosen].tolist(), rows, strict=True)
    return MapRows(served.digest, [MapPoint(point, x, y, item_of(row, columns)) for point, x, y, row in named])


def colour(number: int) -> str:
    """Return the colour of a class.

    The first have chosen ones, others hues that are far from each other; grey stands for what has no name.
    """
    if number >= NAMED:
        return GREY
    if number < len(COLOURS):
        return COLOURS[number]
    hue = (0.08 + GOLDEN * number) % 1
    parts = colorsys.hls_to_rgb(hue, 0.45 + 0.1 * (number % 3 - 1), 0.45)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)

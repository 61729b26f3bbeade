"""Choose which row of a group of near rows is kept; the others are marked to be removed.

Nothing is removed here, and no original is touched.

Legend: n rows of a group.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError, QueryError
from aepipe.release.originals import file_of, original
from aepipe.release.release import Release
from aepipe.store.labels import shown
from aepipe.store.segments import Row


class NearGroups(Protocol):
    """Ids and distances of each group, and what its rows are to its first."""

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint16]]]: ...

    def relations_of(self, group: int) -> list[str]:
        """Return what each row of a group is to its first."""


Mark: TypeAlias = Literal["keep", "remove"]

BEST, PATH = "best", "path:"
COLUMNS = ("group", "mark", "alike", "id", "key", "path", "label", "distance", "size")


@dataclass(frozen=True, slots=True)
class Original:
    """A row's original, as far as it can be looked at.

    Attributes:
        row: the row.
        path: the file; None where the original is not a file of its own, or is gone.
        pixels: width times height; 0 where it is no picture.
        n_bytes: of the original; 0 where it is gone.
        changed: seconds since 1970; None where it is not known.
    """

    row: Row
    path: Path | None
    pixels: int
    n_bytes: int
    changed: float | None


Order: TypeAlias = "Callable[[Original], tuple[float, ...]]"
"""Sorts originals; the first is kept."""


def _best(one: Original) -> tuple[float, ...]:
    return (-one.pixels, -one.n_bytes, math.inf if one.changed is None else one.changed, one.row.id)


_ORDERS: dict[str, Order] = {
    BEST: _best,
    "newest": lambda one: (math.inf if one.changed is None else -one.changed, *_best(one)),
    "oldest": lambda one: (math.inf if one.changed is None else one.changed, *_best(one)),
    "first": lambda one: (one.row.id,),
}


def order_named(name: str) -> Order:
    """Return the order of a name: ``best``, ``newest``, ``oldest``, ``first`` or ``path:GLOB``.

    ``best`` is most pixels, then most bytes, then the oldest. A glob is compared with keys and with paths.

    Raises:
        QueryError: there is no such order.
    """
    if name.startswith(PATH) and (glob := name.removeprefix(PATH)):
        return lambda one: (not _matches(one, glob), *_best(one))
    if name not in _ORDERS:
        raise QueryError(f"no row can be kept by {name!r}: give {', '.join(_ORDERS)} or path:GLOB")
    return _ORDERS[name]


def marked(release: Release, ids: list[int], order: Order) -> list[tuple[Original, Mark]]:
    """Mark the rows of a group, in the order of the ids: one ``keep``, the others ``remove``."""
    found = [original_of(release, row) for row in release.describe(ids)]
    best = min(found, key=order)
    return [(one, "keep" if one is best else "remove") for one in found]


def original_of(release: Release, row: Row) -> Original:
    """Look at a row's original: size, and pixels by its header."""
    file = file_of(release, row.place)
    if file is not None:
        known = file.stat()
        return Original(row, file, _pixels(file), known.st_size, known.st_mtime)
    try:
        data = original(release, row.place)
    except ItemError:
        return Original(row, None, 0, 0, None)
    return Original(row, None, _pixels(io.BytesIO(data)), len(data), None)


def write_csv(release: Release, found: NearGroups, file: Path, order: Order) -> None:
    """Write groups as CSV with a heading, a line for each row.

    Raises:
        QueryError: the file cannot be written.
    """
    try:
        with file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as opened:
            lines = csv.writer(opened)
            lines.writerow(COLUMNS)
            lines.writerows(_lines(release, found, order))
    except OSError as error:
        raise QueryError(f"{file}: cannot be written: {error.strerror or error}") from None


def _lines(release: Release, found: NearGroups, order: Order) -> Iterator[tuple[object, ...]]:
    for number, (ids, distances) in enumerate(found):
        marks, relations = marked(release, ids.tolist(), order), found.relations_of(number)
        for (one, mark), relation, distance in zip(marks, relations, distances.tolist(), strict=True):
            row = one.row
            yield number, mark, relation, row.id, row.key, one.path or "", shown(row.label) or "", distance, len(ids)


def _matches(one: Original, glob: str) -> bool:
    return any(fnmatchcase(text, glob) for text in (one.row.key, str(one.path or one.row.key)))


def _pixels(file: Path | io.BytesIO) -> int:
    from PIL import Image

    try:
        with Image.open(file) as picture:
            return picture.width * picture.height
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0

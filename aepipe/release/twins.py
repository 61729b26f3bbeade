"""Group rows by their originals: identical ones, and edited copies of pictures.

The bytes of every original are read; rows of a table are compared by their values. Originals with equal bytes are
identical, and so are pictures with equal pixels, whatever their format. Edited copies are told by
:mod:`aepipe.release.copies`.

Legend: N rows, D distinct originals, S side.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError
from aepipe.log import step
from aepipe.release import copies
from aepipe.release.alignment import SIDE
from aepipe.release.groups import COPY, FIRST, IDENTICAL, Groups, arranged
from aepipe.release.release import Release
from aepipe.sources import has_pictures, preview

THREADS = 4
BATCH = 256
SAME_LIGHT = 0.5
"""Most that the means of two small versions of the same pixels differ, of 255: decoders may read them at less than full
size."""


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """One original.

    Attributes:
        place: where it lies.
        digest: of its bytes.
        small: uint8[S, S], the picture, small and grey; None where it is none.
    """

    place: str
    digest: bytes
    small: NDArray[np.uint8] | None


def twins(release: Release, alike: Literal["identical", "copies"], smallest: int) -> Groups:
    """Return groups of identical rows, with or without edited copies."""
    ids = np.asarray(release.items.ids)
    kind = release.recipe["source"]["kind"]
    seen = _values_of(release, ids) if kind == "table" else _looked_at(release, ids, has_pictures(kind))
    known = np.array([one is not None for one in seen], bool)
    own = _first_equal([one for one in seen if one is not None], release.items.root)
    ids = ids[known]
    founder, distances, remark = own.copy(), np.zeros(len(own), np.uint16), ""
    radius = 0
    if alike == "copies" and len(own):
        smalls = [one.small for one in seen if one is not None]
        radius, remark = _join_copies(release, ids, smalls, founder, distances)
    # A row that equals a member of a group is as far from its first as that member is.
    same = own == founder
    relations = np.where(same, np.where(np.arange(len(own)) == founder, FIRST, IDENTICAL), COPY).astype(object)
    gone = len(known) - len(ids)
    remark = "; ".join(filter(None, [remark, f"{gone:,} originals could not be read" if gone else ""]))
    kept = np.bincount(founder, minlength=len(founder))[founder] >= smallest
    order, offsets = arranged(founder[kept], distances[kept], ids[kept])
    return Groups(
        ids[kept][order],
        distances[kept][order],
        offsets,
        radius,
        len(known),
        alike,
        tuple(relations[kept][order].tolist()),
        remark,
    )


def _join_copies(
    release: Release,
    ids: NDArray[np.int64],
    smalls: list[NDArray[np.uint8] | None],
    founder: NDArray[np.int64],
    distances: NDArray[np.uint16],
) -> tuple[int, str]:
    """Let groups of identical rows join those that they are copies of; return the radius and a remark."""
    heads = np.array([row for row in np.unique(founder) if smalls[row] is not None], np.int64)
    pictures = np.stack([small for row in heads if (small := smalls[row]) is not None]) if len(heads) else _NONE
    pairs, agreed, judged = copies.find(release, ids[heads], pictures)
    partners: dict[int, list[tuple[int, float]]] = {}
    for (a, b), value in zip(pairs.tolist(), agreed.tolist(), strict=True):
        partners.setdefault(a, []).append((b, value))
    taken: dict[int, tuple[int, float]] = {}
    for place in range(len(heads)):
        if place not in taken:
            taken |= {b: (place, value) for b, value in partners.get(place, []) if b not in taken}
    joined = {int(heads[b]): (int(heads[a]), value) for b, (a, value) in taken.items()}
    for row, head in enumerate(founder.tolist()):
        if head in joined:
            founder[row], value = joined[head]
            distances[row] = max(1, round(100 * (1 - value)))
    found = f"{judged.recall:.0%} of copies made on purpose are found" if judged.precision is not None else ""
    return round(100 * (1 - judged.threshold)), found


_NONE = np.zeros((0, SIDE, SIDE), np.uint8)


def _looked_at(release: Release, ids: NDArray[np.int64], pictures: bool) -> list[_Seen | None]:
    """Read all originals, in threads; None for those that cannot be read."""
    places = [str(place) for place in release.items.texts("place", ids)]
    found: list[_Seen | None] = []

    def look(place: str) -> _Seen | None:
        try:
            data = preview(release.items.root, place)
        except ItemError:
            return None
        return _Seen(place, hashlib.sha256(data).digest(), _small(data, place) if pictures else None)

    with ThreadPoolExecutor(THREADS) as pool:
        rest = iter(places)
        while some := list(islice(rest, BATCH)):
            step("looking at originals", len(found), len(places))
            found += pool.map(look, some)
    step("looking at originals", len(places), len(places))
    return found


def _values_of(release: Release, ids: NDArray[np.int64]) -> list[_Seen | None]:
    """Return rows of a table, which are identical where all of their values are, label and all."""
    found: list[_Seen | None] = []
    for start in range(0, len(ids), BATCH):
        step("comparing", start, len(ids))
        for row in release.describe(ids[start : start + BATCH]):
            body = json.dumps([row.label, row.columns], sort_keys=True, default=str, ensure_ascii=False)
            found.append(_Seen(row.place, hashlib.sha256(body.encode("utf-8", "replace")).digest(), None))
    step("comparing", len(ids), len(ids))
    return found


def _small(data: bytes, place: str) -> NDArray[np.uint8] | None:
    from aepipe.sources.images import decode

    try:
        return decode.decode(data, key=place, size=(SIDE, SIDE), color="gray")[:, :, 0]
    except ItemError:
        return None


def _first_equal(seen: Sequence[_Seen], root: Path) -> NDArray[np.int64]:
    """Return for each original the place of the first that is identical, int64[N]."""
    firsts: dict[bytes, int] = {}
    found = np.array([firsts.setdefault(one.digest, place) for place, one in enumerate(seen)], np.int64)
    by_pixels: dict[bytes, int] = {}
    other = {first: by_pixels.setdefault(_pixels(seen[first], root), first) for first in _much_alike(seen, found)}
    return np.array([other.get(first, first) for first in found.tolist()], np.int64)


def _much_alike(seen: Sequence[_Seen], firsts: NDArray[np.int64]) -> list[int]:
    """Return the places of pictures that may have the pixels of another, ascending: both are as bright in the mean."""
    some = [place for place in np.unique(firsts).tolist() if seen[place].small is not None]
    bright = np.array([0.0 if (small := seen[place].small) is None else small.mean() for place in some])
    order = np.argsort(bright)
    near = np.diff(bright[order]) <= SAME_LIGHT
    kept = np.append(near, False) | np.append(False, near) if some else np.zeros(0, bool)
    return sorted(some[at] for at in order[kept].tolist())


def _pixels(one: _Seen, root: Path) -> bytes:
    """Return the digest of all pixels, or of the bytes where they cannot be read."""
    from aepipe.sources.images import decode

    try:
        mode, size, pixels = decode.pixels_of(preview(root, one.place), one.place)
    except ItemError:
        return one.digest
    return hashlib.sha256(f"{mode} {size}".encode() + pixels).digest()

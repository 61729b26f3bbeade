"""Pictures of one release for a page: what it finds, and how it was trained."""

from __future__ import annotations

import base64
import json
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aepipe.errors import CorruptError
from aepipe.release.release import Release
from aepipe.report.curves import Curve, by_part, curves_picture
from aepipe.report.hits import Found, hits_picture
from aepipe.report.originals import tile
from aepipe.report.plane import plane_picture
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.segments import Row


def examples_picture(release: Release, *, queries: int = 6, k: int = 8) -> Image.Image | None:
    """Draw what a few rows find among the others; None where there is nothing to look at.

    Args:
        release: whose index is asked.
        queries: rows asked, evenly spread over the test split, or over everything where there is none.
        k: hits of each, without the row itself.
    """
    asked = _spread(release, queries)
    codes = release.codes_of([row.id for row in asked])
    hits = release.query(codes, k + 1)
    results = []
    for number, row in enumerate(asked):
        ids, distances = hits.of(number)
        others = [(one, int(d)) for one, d in zip(release.describe(ids), distances, strict=True) if one.id != row.id]
        results.append(Found(tile(release, row), [tile(release, one, d) for one, d in others[:k]]))
    if not any(found.query.picture or found.query.text for found in results):
        return None
    return hits_picture(results, title=f"{release.name}: {len(release.index):,} rows, {release.n_bits} bits")


def map_picture(release: Release, *, rows: int = 2000, tiles: int = 200) -> Image.Image:
    """Draw the codes of some rows on a plane, near each other where few bits differ.

    Args:
        release: whose rows.
        rows: how many, evenly spread.
        tiles: of how many the originals are drawn, where there is room.
    """
    from aepipe.evaluate.probes import plane

    shown = release.describe(_evenly(release.items.ids, rows))
    bits = release.codes_of([row.id for row in shown]).unpack().astype(np.float32)
    pictures: dict[int, Image.Image] = {}
    for position in range(0, len(shown), max(1, len(shown) // tiles)):
        picture = tile(release, shown[position]).picture
        if picture is not None:
            pictures[position] = picture
    title = f"{release.name}: {len(shown):,} of {len(release.items):,} rows by their {release.n_bits} bits"
    return plane_picture(plane(bits), [row.label for row in shown], tiles=pictures, title=title)


def training_picture(store: Store, release: Release) -> Image.Image:
    """Draw the losses of every layer and of fine-tuning.

    Raises:
        CorruptError: they cannot be read.
    """
    return curves_picture(training_curves(store, release.part("encoder")), title=f"{release.name}: loss per row")


def training_curves(store: Store, model: Ref) -> dict[str, Curve]:
    """Return the losses of every training that a model went through, one list per epoch: ``train`` and ``valid``.

    Raises:
        CorruptError: they cannot be read.
    """
    file = store.path(model) / layout.Model.CURVES
    try:
        stored = json.loads(file.read_bytes())
        return {title: by_part(curve) for title, curve in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CorruptError(f"{file}: corrupt, not readable ({error}); `aepipe verify` lists what is damaged") from None


def shown(store: Store, release: Release) -> dict[str, str]:
    """Return what there is to see of a release, as URLs by their headings: its hits, where it has any, and its losses.

    Raises:
        CorruptError: the losses cannot be read.
    """
    pictures = {"Hits": examples_picture(release), "Training": training_picture(store, release)}
    return {heading: data_uri(picture) for heading, picture in pictures.items() if picture is not None}


def data_uri(picture: Image.Image) -> str:
    """Return a picture as a URL that holds all of it, as JPEG: a sheet of photographs has megabytes as PNG."""
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _spread(release: Release, count: int) -> list[Row]:
    """Return a few rows, the same every time."""
    ids = release.items.ids
    test = ids[np.fromiter((split == "test" for split in release.items.column("split")), bool, len(ids))]
    return release.describe(_evenly(test if len(test) else ids, count))


def _evenly(ids: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return at most so many of some ids, evenly spread."""
    places = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(np.int64))
    return ids[places]

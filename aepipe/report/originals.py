"""What an item looks like: a picture as it is, a recording by its frequencies, a document by its beginning."""

from __future__ import annotations

from PIL import Image

from aepipe.errors import ItemError
from aepipe.release.release import Release
from aepipe.report.hits import Tile
from aepipe.sources import preview
from aepipe.store.segments import Row

LONGEST = 224
SNIPPET = "snippet"
"""The column with the beginning of a document, or with a row of a table in a line."""


def tile(release: Release, row: Row, distance: int | None = None) -> Tile:
    """Return a row as a tile of a contact sheet."""
    picture = original(release, row.place)
    return Tile(row.key, picture, row.label or "", distance, row.columns.get(SNIPPET) or "")


def original(release: Release, place: str, data: bytes = b"") -> Image.Image | None:
    """Return a picture of an original; None where it is gone, or is nothing to look at.

    Args:
        release: that it belongs to, or is asked of.
        place: where its bytes are.
        data: its bytes, where they are at hand.
    """
    kind = release.recipe["source"]["kind"]
    if kind not in {"images", "video", "audio"}:
        return None
    try:
        data = data or preview(release.items.root, place)
        return _spectrum(release, data, place) if kind == "audio" else _thumbnail(data, place)
    except ItemError:
        return None


def _thumbnail(data: bytes, place: str) -> Image.Image:
    """Return a picture, made small."""
    from aepipe.sources.images.decode import thumbnail

    return thumbnail(data, place, LONGEST)


def _spectrum(release: Release, data: bytes, place: str) -> Image.Image:
    """Return loudness by time and frequency, the highest at the top."""
    from aepipe.sources import decoder

    row = decoder("audio", release.encoder.card.features)(data, place)
    return Image.fromarray(row[::-1, :, 0].copy())

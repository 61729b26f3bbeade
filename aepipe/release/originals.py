"""Originals of a release's rows, where they still are: their bytes, and their files.

Whoever shows an original asks here, so that no row of a release leads out of the folders of its source.
"""

from __future__ import annotations

from pathlib import Path

from aepipe.release.release import Release
from aepipe.sources import file_at, preview


def original(release: Release, place: str) -> bytes:
    """Return the bytes of the original at a row's place.

    Raises:
        ItemError: it is gone, or lies outside of the folders of the source.
    """
    return preview(release.items.root, place, release.items.roots)


def file_of(release: Release, place: str) -> Path | None:
    """Return the file at a row's place.

    None where its original is no file of its own, is gone, or lies outside.
    """
    found = file_at(release.items.root, place, release.items.roots)
    return Path(found) if found else None

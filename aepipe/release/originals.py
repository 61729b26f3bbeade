"""Originals of a release's rows, where they still are: their bytes, and their files.

Whoever shows an original asks here, so that no row of a release leads out of the folders of its source.
"""

from __future__ import annotations

import os
from pathlib import Path

from aepipe.release.release import Release
from aepipe.sources import file_at, preview
from aepipe.sources.confinement import Bounds


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


def inside(release: Release, place: str) -> bool:
    """Tell whether a place lies in the folders of the source; its file may be gone."""
    file = release.items.root / place.partition("#")[0]
    return "\0" not in place and Bounds(release.items.root, release.items.roots).holds(os.path.normpath(file))

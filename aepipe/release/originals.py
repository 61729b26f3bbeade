"""Originals of a release's rows, where they still are: their bytes, and their files.

Whoever shows an original asks here, so that no row of a release leads out of the folders of its source; and whoever
writes a file that a user names, so that no original is overwritten.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aepipe.errors import TargetError
from aepipe.sources import preview
from aepipe.sources.asked import path_named
from aepipe.sources.confinement import Bounds

MAKER = "aepipe"
"""Who made a picture, as it says itself."""
_MOMENT = re.compile(r"#(t[\d.]+\+[\d.e+-]+|v[\d.]+)$")
"""What a place ends with that is a window of a recording, or a moment of a film, as their decoders write it."""

if TYPE_CHECKING:  # a question to a service loads no release
    from aepipe.release.release import Release


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
    found = release.path_of(place)
    return Path(found) if found else None


def whole_place(place: str) -> str:
    """Return the place of the whole recording or film of a moment; other places as they are."""
    return _MOMENT.sub("", place)


def inside(release: Release, place: str) -> bool:
    """Tell whether a place lies in the folders of the source; its file may be gone."""
    file = release.items.root / place.partition("#")[0]
    return "\0" not in place and Bounds(release.items.root, release.items.roots).holds(os.path.normpath(file))


def check_output(*files: Path | None, release: Release | None = None, asked: Iterable[object] = ()) -> None:
    """Check, before any work, that files to be written are not what others are made from.

    Other files that are there already are earlier outputs, and may be overwritten; in a folder that is asked with, so
    are pictures that say that they are (:func:`own_mark`).

    Args:
        files: None where none is wanted.
        release: whose originals, and files of its source, stay as they are.
        asked: what was asked with; paths among it stay, too.

    Raises:
        TargetError: a file is one of these, or a recipe.
    """
    there = [file for file in filter(None, files) if file.is_file()]
    if not there:  # most questions write no file, and may name thousands
        return
    paths = [Path(os.path.realpath(path)) for one in asked if (path := _path_in(str(one))) is not None]
    for file in there:
        real = Path(os.path.realpath(file))
        if real in paths or (any(path in real.parents for path in paths) and not is_own(real)):
            raise TargetError(f"{file}: was asked with; name another one")
        if release is not None and _is_of(release, file, real):
            raise TargetError(f"{file}: is a file of the collection; name another one")
        if real.suffix.lower() == ".toml":
            raise TargetError(f"{file}: is a recipe; name another one")


def own_mark(file: Path) -> dict[str, Any]:
    """Return what makes Pillow write that a picture is ours; empty for formats without."""
    if file.suffix.lower() == ".png":
        from PIL.PngImagePlugin import PngInfo

        said = PngInfo()
        said.add_text("Software", MAKER)
        return {"pnginfo": said}
    return {"comment": MAKER.encode()} if file.suffix.lower() in {".jpg", ".jpeg"} else {}


def is_own(file: Path) -> bool:
    """Whether a picture says that it is one of ours."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            return MAKER in {picture.info.get("Software"), picture.info.get("comment", b"").decode(errors="replace")}
    except (OSError, ValueError, AttributeError, Image.DecompressionBombError):
        return False


def _path_in(text: str) -> Path | None:
    """Return the path that a question names; None for words and the like. A part of a film is named ``PATH@TIME``."""
    found = path_named(text)
    return path_named(text.rpartition("@")[0]) if found is None else found


def _is_of(release: Release, file: Path, real: Path) -> bool:
    """Tell whether a file is one that the rows of a release were read from."""
    root = release.items.root
    if any(os.path.realpath(root / text) == str(real) for text in _texts(release.recipe.get("source"))):
        return True
    shown = Path(os.path.abspath(file))
    bases = (Path(os.path.abspath(root)), Path(os.path.realpath(root)))
    names = {str(one.relative_to(base)) for one in (shown, real) for base in bases if one.is_relative_to(base)}
    if not names and not Bounds(root, release.items.roots).holds(str(file)):
        return False
    if "." in names or any(release.items.find(name) is not None for name in names):
        return True
    names |= {str(shown), str(real)}
    # Behind a file's name, a place says which part of it is meant.
    return any(place in names or place.partition("#")[0] in names for place in release.items.column("place") if place)


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401  a table of a recipe
    """Yield all texts of a table that may be paths."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
    elif isinstance(value, str) and "\0" not in value:
        yield value

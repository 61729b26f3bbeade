"""Sources: raw things become rows here, one file per kind of collection; the file's name is the kind in a recipe.

A module of this room is a kind when it has ``Options`` and ``Features`` (both :class:`aepipe.recipe.Options`) and
``open_source(options, features, *, base, name) -> Source``. Nothing else names it.
"""

# (from __init__.py) What a query needs of a kind of source: bytes become a row here exactly as they did at ingestion.
# (from __init__.py)
# (from __init__.py) A module of this room bears the name of a kind and has ``VERSION``, which changes whenever the same bytes would give
# (from __init__.py) another row; ``decoder(features, folder) -> Decode``; and ``asked(text) -> Iterator[RawItem]``, what an argument on
# (from __init__.py) the command line names. Nothing here may import what a cold query does without: pydantic, pyarrow, torch.

from __future__ import annotations

import os
import pkgutil
import re
import zlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from aepipe.errors import ItemError, SourceError
from aepipe.sources.files import WholeFile
from aepipe.sources.formats import _ROOMS, _room
from aepipe.sources.item import Decode, Item, Source

if TYPE_CHECKING:
    from aepipe.recipe import Recipe


def kinds() -> dict[str, ModuleType]:
    """Return the kinds of sources there are, by name."""
    names = [room.name for room in pkgutil.iter_modules(__path__) if room.ispkg]
    known = [name for name in names if find_spec(f"{__name__}.{name}.source")]
    return {name: import_module(f"{__name__}.{name}.source") for name in known}


def resolve(recipe: Recipe) -> Source:
    """Return the source that a recipe names; nothing is opened before its items are asked for.

    Raises:
        RecipeError: there is no such kind, or an option under ``[source]`` or ``[features]`` is wrong.
        SourceError: the path does not exist, or holds nothing of the kind.
    """
    from aepipe import recipe as recipes

    modules = kinds()
    options = recipes.resolve({name: module.Options for name, module in modules.items()}, recipe.source, "source")
    module = modules[recipe.source.kind]
    features = recipes.options(module.Features, recipe.features, "features")
    source: Source = module.open_source(options, features, base=recipe.file.parent, name=recipe.name)
    return source


def preview(location: Path, place: str) -> bytes:
    """Return the bytes of one item, to show it.

    Args:
        location: :attr:`Source.location`.
        place: :attr:`RawItem.place`.

    Raises:
        ItemError: they are not there any more.
    """
    return read_place(location, place)


def read_place(location: Path, place: str) -> bytes:
    """Return the bytes at a place; see :func:`aepipe.sources.preview`.

    Raises:
        ItemError: they are not there any more.
    """
    try:
        whole = _existing(location, place)
        if whole is not None:
            return WholeFile(whole)(place)
        name, _, at = place.rpartition("#")
        path = _existing(location, name) if name else None
        if path is not None and "@" in at:
            cell: bytes = _room("records").read_at(Path(path), at, place)
            return cell
        if path is not None and at.startswith("t"):
            from aepipe.sources.audio.decode import slice_of

            start, _, seconds = at[1:].partition("+")
            return slice_of(WholeFile(path)(place), place, float(start), float(seconds))
        if path is not None and at.startswith("v"):
            from aepipe.sources.video.decode import frame_at

            return frame_at(Path(path), place, float(at[1:]))
        room = next((room for room in map(_room, _ROOMS[1:]) if room.claims(name)), None)
        if path is None or room is None:
            raise ItemError(place, f"no longer in {location}")
        data: bytes = room.read_at(Path(path), at, place)
        return data
    except (OSError, EOFError, ValueError, LookupError, zlib.error, SourceError) as error:
        raise ItemError(place, f"cannot be read from {location}: {error}") from None


def _existing(location: Path, name: str) -> str | None:
    r"""Return the path of a file; bytes of its name that are no text stand in a place as ``\xff``."""
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), name.encode())
    paths = (str(location / name), str(location / os.fsdecode(raw)))
    return next((path for path in paths if os.path.isfile(path)), None)


def decoder(kind: str, features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes rows of bytes.

    Args:
        kind: of the source.
        features: as :meth:`aepipe.sources.item.Source.features` gives them.
        folder: of the model, where larger things lie that belong to the features.
    """
    return cast(Decode, import_module(f"{__name__}.{kind}.decode").decoder(features, folder))


def asked(kind: str, text: str) -> Iterator[Item]:
    """Give the items that an argument names, their bytes not read yet.

    Raises:
        QueryError: there is no such file.
    """
    return cast(Iterator[Item], import_module(f"{__name__}.{kind}.decode").asked(text))


def version(kind: str) -> int:
    """Return the version of a kind's decoder."""
    return cast(int, import_module(f"{__name__}.{kind}.decode").VERSION)

"""Sources: raw items become rows.

A kind of source is one folder with ``decode.py`` and ``source.py``; nothing else names it.

``decode.py`` is what a query needs of a kind, so it imports neither pydantic, pyarrow nor torch:

- ``VERSION``, which changes whenever the same bytes would give another row;
- ``decoder(features, folder) -> Decode``, which makes rows of bytes exactly as they were made at ingestion; where
  questions of some words are read otherwise, what it returns has a function ``asked`` for them;
- ``query_items(text) -> Iterator[Item]``, the items that an argument on the command line names;
- optional: ``PICTURES = True`` where items are pictures, ``TEXT = True`` where they can be read;
- optional: ``draw``, which makes a picture of an item to look at; see :data:`aepipe.sources.item.Draw`;
- optional: ``query_part(text, features) -> Item | None``, the part of a file that an argument names, where the recipe's
  ``[features]`` say how files are cut;
- optional: ``excerpt(text, asked) -> str``, the part of an item's text that answers a question;
- optional: ``stranger_words(features)``, what gives the share of an item's words that the collection does not know;
- optional: ``EXTRAS``, the packages that the kind needs, each with the extra of aepipe that brings it;
- optional: ``MARK``, a letter, and ``preview(whole, at, key) -> bytes``, where an item is a piece of a file: its place
  is ``file#at``, and ``at`` begins with the mark; ``whole`` is the path, or what reads it from an archive.

``source.py`` is what reads a collection:

- ``Options`` and ``Features``, the options under ``[source]`` and ``[features]``;
- ``open_source(options, features, *, base, name) -> Source``;
- ``SNIFFER``, which recognises files of the kind; see :class:`aepipe.sources.base.Sniffer`;
- ``suggest(path, items) -> Hints``, what a recipe for them should say.
"""

from __future__ import annotations

import os
import pkgutil
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from aepipe.errors import ItemError, RecipeError, SourceError
from aepipe.sources.confinement import Bounds, inside
from aepipe.sources.files import WholeFile, existing
from aepipe.sources.formats import format_of
from aepipe.sources.item import Decode, Draw, Item, Reader, Source

if TYPE_CHECKING:
    from aepipe.recipe import Recipe


def names() -> list[str]:
    """Return the names of all kinds: the folders of this room that have a ``source.py``."""
    folders = [one.name for one in pkgutil.iter_modules(__path__) if one.ispkg]
    return [name for name in folders if find_spec(f"{__name__}.{name}.source")]


def kinds() -> dict[str, ModuleType]:
    """Return the module ``source`` of each kind, by name."""
    return {name: import_module(f"{__name__}.{name}.source") for name in names()}


def resolve(recipe: Recipe) -> Source:
    """Return the source that a recipe names; nothing is read before its items are iterated.

    Raises:
        RecipeError: there is no such kind, or an option under ``[source]`` or ``[features]`` is wrong.
        SourceError: the path does not exist, or holds nothing of the kind.
    """
    from aepipe import recipe as recipes

    # All kinds are imported only where the recipe names none of them, for the message.
    kind = recipe.source.kind
    modules = {kind: import_module(f"{__name__}.{kind}.source")} if kind in names() else kinds()
    options = recipes.resolve({name: module.Options for name, module in modules.items()}, recipe.source, "source")
    module = modules[kind]
    features = recipes.options(module.Features, recipe.features, "features")
    source = module.open_source(options, features, base=recipe.file.parent, name=recipe.name)
    if options.keep == "sample":
        if recipe.views.sample == 1:
            raise RecipeError(
                "source.keep: 'sample' needs a sample below 1 under [views]; allowed with all rows: 'all'"
            )
        source.kept = recipe.views.sample
    return cast(Source, source)


def decoder(kind: str, features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes rows of bytes.

    Args:
        kind: of the source.
        features: as :meth:`aepipe.sources.item.Source.features` returns them.
        folder: of the model, where larger things lie that belong to the features.
    """
    return cast(Decode, _decode(kind).decoder(features, folder))


def version(kind: str) -> int:
    """Return the version of a kind's decoder."""
    return cast(int, _decode(kind).VERSION)


def query_items(kind: str, text: str, features: Mapping[str, Any] | None = None) -> Iterator[Item]:
    """Yield the items that an argument names, their bytes not read yet.

    Args:
        kind: of the source.
        text: the argument.
        features: ``[features]`` of the recipe.

    Raises:
        QueryError: there is no such file.
    """
    module = _decode(kind)
    part = module.query_part(text, features or {}) if hasattr(module, "query_part") else None
    return iter([part]) if part else cast(Iterator[Item], module.query_items(text))


def has_pictures(kind: str) -> bool:
    """Tell whether the items of a kind are pictures."""
    return bool(getattr(_decode(kind), "PICTURES", False))


def has_text(kind: str) -> bool:
    """Tell whether the items of a kind can be read."""
    return bool(getattr(_decode(kind), "TEXT", False))


def excerpt(kind: str, text: str, asked: str) -> str:
    """Return what to show of an item's text next to a question: for documents, one sentence."""
    found = getattr(_decode(kind), "excerpt", None)
    return cast(str, found(text, asked)) if found else text


def stranger_words(kind: str, features: Mapping[str, Any]) -> Callable[[bytes, str], float] | None:
    """Return what gives the share of an item's unknown words; None where rows are not words."""
    found = getattr(_decode(kind), "stranger_words", None)
    return None if found is None else cast("Callable[[bytes, str], float] | None", found(features))


def readable(kind: str, data: bytes, key: str) -> str:
    """Return the text of an item, to show it; empty for one that cannot be read."""
    try:
        module = _decode(kind)
        return cast(str, module.text_of(data, key)) if hasattr(module, "text_of") else data.decode("utf-8", "ignore")
    except ItemError:
        return ""


def drawing(kind: str) -> Draw | None:
    """Return what makes pictures of the items of a kind; None where there is nothing to look at."""
    return getattr(_decode(kind), "draw", None)


def extras() -> dict[str, str]:
    """Return the packages that kinds of sources need, each with the extra that brings it."""
    return {package: extra for name in names() for package, extra in getattr(_decode(name), "EXTRAS", {}).items()}


def preview(location: Path, place: str, roots: tuple[Path, ...] = ()) -> bytes:
    """Return the bytes of one item, to show it.

    Args:
        location: :attr:`Source.location`.
        place: :attr:`Item.place`.
        roots: :attr:`Source.roots`.

    Raises:
        ItemError: they are not there any more, or lie outside of these folders.
    """
    bounds = Bounds(location, roots)
    try:
        read = _reader(bounds, place)
        if read is None:
            raise ItemError(place, f"no longer in {location}")
        return read(place)
    except (OSError, EOFError, ValueError, LookupError, zlib.error, SourceError) as error:
        raise ItemError(place, f"cannot be read from {location}: {error}") from None


def _reader(bounds: Bounds, place: str) -> Reader | None:
    """Return what reads a place: a file, what its format has there, or a piece that a kind has cut from either."""
    whole = _file_in(bounds, place)
    if whole is not None:
        return WholeFile(whole)
    name, _, at = place.rpartition("#")
    # Formats count from 0, so a letter tells that a kind has cut the file.
    cut = _cutter(at) if at[:1].isalpha() else None
    path = _file_in(bounds, name) if name else None
    if cut is not None:
        inner = Path(path) if path else _reader(bounds, name) if name else None
        return None if inner is None else lambda key: cut(inner, at, key)
    read = getattr(format_of(name, at), "read_at", None)
    return None if path is None or read is None else lambda key: cast(bytes, read(Path(path), at, key))


def _cutter(at: str) -> Callable[[Path | Reader, str, str], bytes] | None:
    """Return what reads a piece with the mark of a kind."""
    modules = map(_decode, names())
    return next((module.preview for module in modules if getattr(module, "MARK", None) == at[0]), None)


def file_at(location: Path, name: str, roots: tuple[Path, ...] = ()) -> str | None:
    """Return the path of the file at a place; None where no file inside is just that.

    Args:
        location: :attr:`Source.location`.
        name: the place, or its part that names a file.
        roots: :attr:`Source.roots`.
    """
    return _file_in(Bounds(location, roots), name)


def _file_in(bounds: Bounds, name: str) -> str | None:
    # A place writes the bytes of a name that are no UTF-8 as \xff.
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), name.encode("utf-8", "replace"))
    paths = (bounds.location / name, bounds.location / os.fsdecode(raw), existing(bounds.location / name))
    return inside(bounds, map(os.path.normpath, paths))


def _decode(kind: str) -> ModuleType:
    # Only the decoder of the kind that is wanted: a cold query must not wait for the libraries of the others.
    return import_module(f"{__name__}.{kind}.decode")

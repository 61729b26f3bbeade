"""Words that a shell completes: names, releases, recipes, keys and columns.

Each function gets what is typed so far, and returns words; a mistake of any sort gives none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typer import Context

    from aepipe.release.release import Release
    from aepipe.store.artifacts import Store

    Words = Callable[..., Iterator[str]]

MOST = 100
"""Words that are offered."""


def _quietly(words: Words) -> Callable[[Context, str], list[str]]:
    """Return a function that gives the words that begin with what is typed; none where anything goes wrong."""

    def complete(ctx: Context, incomplete: str) -> list[str]:
        try:
            found = (one for one in words(ctx, incomplete) if one.startswith(incomplete))
            return list(dict.fromkeys(islice(found, MOST)))
        except Exception:
            return []

    # Typer reads annotations when the program starts, and knows the arguments by their names, too.
    complete.__annotations__ = {}
    complete.__doc__ = words.__doc__
    return complete


def _stores(ctx: Context) -> list[Store]:
    """Return the stores that the command line means so far."""
    from aepipe.store import places

    home = ctx.params.get("home")
    return [places.users()] if ctx.params.get("user") else places.looked_at(home)


def _release(ctx: Context) -> Release:
    from aepipe.release.release import Release
    from aepipe.store import places

    name, home = ctx.params.get("name"), ctx.params.get("home")
    store = places.users() if ctx.params.get("user") else places.find(name, home)
    return Release.open(store, name)


@_quietly
def names(ctx: Context, incomplete: str) -> Iterator[str]:
    """Yield names of collections in service."""
    from aepipe.store import registry

    for store in _stores(ctx):
        yield from registry.names(store)


@_quietly
def releases(ctx: Context, incomplete: str) -> Iterator[str]:
    """Yield the first characters of releases."""
    for store in _stores(ctx):
        yield from (ref.short for ref in store.refs("release"))


@_quietly
def row_keys(ctx: Context, incomplete: str) -> Iterator[str]:
    """Yield keys of rows."""
    items = _release(ctx).items
    yield from items.keys_from(incomplete)


@_quietly
def columns(ctx: Context, incomplete: str) -> Iterator[str]:
    """Yield columns of a table of hits, the last of several between commas."""
    before, comma, _ = incomplete.rpartition(",")
    from aepipe.report.hits import names as columns_of

    yield from (f"{before}{comma}{name}" for name in columns_of(_release(ctx)))


@_quietly
def recipes(ctx: Context, incomplete: str) -> Iterator[str]:
    """Yield recipes that come with the package, and files and folders."""
    from aepipe.runs import load_flow

    yield from load_flow("catalog").packaged()
    typed = Path(incomplete).expanduser()
    folder, head = (typed, "") if incomplete.endswith("/") else (typed.parent, incomplete.rpartition("/")[0])
    before = incomplete if incomplete.endswith("/") else f"{head}/" if head or incomplete.startswith("/") else ""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.name.startswith("."):
            yield f"{before}{path.name}{'/' if path.is_dir() else ''}"


@_quietly
def kinds(ctx: Context, incomplete: str) -> Iterator[str]:
    """Yield kinds of sources."""
    from aepipe import sources

    yield from sources.names()


@_quietly
def settings(ctx: Context, incomplete: str) -> Iterator[str]:
    """Yield keys of a recipe, with the sign that its value follows."""
    from aepipe.recipe import Recipe
    from aepipe.sources import kinds

    yield from (f"{key}=" for key in _keys(Recipe))
    for table, part in (("source", "Options"), ("features", "Features")):
        for module in kinds().values():
            yield from (f"{table}.{key}=" for key in _keys(getattr(module, part)))


def _keys(model: Any, at: str = "") -> Iterator[str]:  # noqa: ANN401  a model of pydantic, whose import takes long
    """Yield the paths of the keys of a model that have one value."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if hasattr(kind, "model_fields") and "kind" not in kind.model_fields:
            yield from _keys(kind, f"{at}{name}.")
        elif name not in ("name", "path", "source", "features", "layers"):
            yield f"{at}{name}"

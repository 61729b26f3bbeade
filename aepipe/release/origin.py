"""Origin: where a collection comes from, so that none takes the place of another unasked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aepipe.errors import RecipeError, StoreError
from aepipe.release.manifest import ReleaseManifest
from aepipe.store import names, registry
from aepipe.store.artifacts import Ref, Store

if TYPE_CHECKING:
    from aepipe.recipe import Recipe

FACT = "recipe_file"
"""The fact of a release that names the recipe it was made from, where that says by itself where the items are."""


def path_of(store: Store, ref: Ref) -> str:
    """Return ``[source] path`` of a release's recipe; empty where it cannot be read."""
    try:
        return str(ReleaseManifest.read(store, ref).recipe["source"]["options"].get("path", ""))
    except (StoreError, KeyError, TypeError, AttributeError):
        return ""


def recipe_file_of(store: Store, ref: Ref) -> str:
    """Return the recipe file that a release was made from; empty where it is not known."""
    try:
        return str(store.manifest(ref).facts.get(FACT) or "")
    except StoreError:
        return ""


def paths_by_name(store: Store) -> dict[str, set[str]]:
    """Return ``[source] path`` by name: of the release in service, else of those in the store."""
    served = {name: {path_of(store, registry.resolve(store, name)[1])} for name in registry.names(store)}
    found: dict[str, set[str]] = {}
    for ref in store.refs("release"):
        try:
            name = names.present(store, ref, str(store.manifest(ref).facts["name"]))
        except (StoreError, KeyError):
            continue
        found.setdefault(name, set()).add(path_of(store, ref))
    return found | served


def same_place(path: str, other: str) -> bool:
    """Say whether two absolute paths, globs or addresses lead to the same items."""
    if path == other:
        return True
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return False


def check_origin(store: Store, recipe: Recipe, *, given: bool) -> None:
    """Check that a recipe does not put other items under the name of a collection in service.

    Other items are meant where the same recipe file said where they were and says now where they are, and where recipe
    and items have moved together.

    Args:
        store: of the collection.
        recipe: with an absolute path of its source.
        given: the path was given beside the recipe, so the recipe does not say it.

    Raises:
        RecipeError: the collection in service under its name was made from another place.
    """
    now = registry.current(store, recipe.name)
    then = path_of(store, now) if now else ""
    path = str(recipe.source.options.get("path", ""))
    if now is None:
        _check_renamed(store, recipe, path)
    if now is None or not then or not path or same_place(then, path):
        return
    if not given and _says_so(recipe_file_of(store, now), then, str(recipe.file.absolute()), path):
        return
    raise RecipeError(
        f"{recipe.name}: the collection in service under this name was made from {then}, and this one is {path}; give "
        f"it a name of its own with --name, or, to replace the other, run with --no-promote and then `aepipe promote`"
    )


def _check_renamed(store: Store, recipe: Recipe, path: str) -> None:
    """Check that a recipe does not make a collection anew whose name has changed.

    Raises:
        RecipeError: the collection that had its name, and these items, has another name now.
    """
    other = registry.renamed(store, recipe.name)
    if other and same_place(path, path_of(store, registry.resolve(store, other)[1])):
        raise RecipeError(
            f'{recipe.name}: the collection was renamed to {other}; write name = "{other}" into {recipe.file}, or give '
            f"--name {other}; for one more collection of the same items, give another name"
        )


def _says_so(old_file: str, old_path: str, file: str, path: str) -> bool:
    """Say whether a recipe's path was changed in the recipe, or both have moved."""
    if not old_file:
        return False
    if old_file == file:
        return True
    if Path(old_file).exists() or "://" in path or "://" in old_path:
        return False
    before, after = (os.path.relpath(at, os.path.dirname(of)) for at, of in ((old_path, old_file), (path, file)))
    return before == after and not Path(old_path).exists()


def free_names(store: Store, path: str, names: Iterator[str]) -> Iterator[str]:
    """Yield names that no collection of another place has, first those of this place's own.

    Args:
        store: of the collections.
        path: of the items, absolute.
        names: the wanted ones, the best first.
    """
    wanted = list(names)
    known = {_alike(name): paths for name, paths in paths_by_name(store).items()}
    own = [name for name in wanted if any(same_place(path, one) for one in known.get(_alike(name), ()))]
    yield from own
    yield from (name for name in wanted if _alike(name) not in known)


def _alike(name: str) -> str:
    # Some file systems tell neither case nor the ways to write an accent apart.
    return name.casefold()

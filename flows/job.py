"""What the tasks of one run share: a shelf, and a recipe that is resolved already."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aepipe import recipe as recipes
from aepipe.pipeline.resolve import ResolvedRecipe, resolve
from aepipe.pipeline.sweep import apply_settings
from aepipe.recipe import Recipe
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from flows.catalog import recipe_file


class Job:
    """A resolved recipe on a shelf.

    A plain class on purpose: Prefect takes dataclasses, models and collections apart before every task, to look for
    futures in them.
    """

    def __init__(self, store: Store, resolved: ResolvedRecipe) -> None:
        self.store = store
        self.resolved = resolved

    @property
    def name(self) -> str:
        """What its releases are called in service."""
        return self.resolved.recipe.name


def open_job(
    recipe: str,
    *,
    source: str | None = None,
    shelf: str | None = None,
    name: str | None = None,
    device: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Job:
    """Read a recipe and resolve all of it, so that its mistakes are found before anything is touched.

    Args:
        recipe: a TOML file, or the name of a recipe that comes with the package.
        source: in place of the recipe's own ``[source] path``.
        shelf: folder of the store; by default the one that every verb uses.
        name: in place of the recipe's own.
        device: in place of the recipe's own.
        changes: values in place of the recipe's own, by key, as :mod:`aepipe.pipeline.sweep` has them.

    Raises:
        RecipeError: there is no such recipe, or it cannot be run.
        SourceError: the source is missing.
    """
    read = apply_settings(recipes.load(recipe_file(recipe), source=source), changes or {})
    return Job(open_shelf(shelf), resolve(_settled(read, name, device)))


def open_release_job(store: Store, release: Release, *, device: str | None = None) -> Job:
    """Return the job that a release came from, so that it can go on with new rows.

    Raises:
        RecipeError: its recipe is not understood any more.
        SourceError: its source is missing.
    """
    read = recipes.parse(release.recipe, Path(f"the recipe of release {release.ref.short}"))
    return Job(store, resolve(_settled(read, None, device)))


def open_shelf(folder: str | None) -> Store:
    """Return the store in a folder, or the one that every verb uses."""
    return Store(Path(folder).expanduser()) if folder else Store.locate()


def _settled(recipe: Recipe, name: str | None, device: str | None) -> Recipe:
    """Return the recipe with another name or device, checked as if it had been written so.

    Paths are made absolute: a release goes on from its recipe where the recipe's file is not at hand.
    """
    base = recipe.file.parent
    table = recipe.model_dump(mode="json")
    table["name"] = name or recipe.name
    table["compute"]["device"] = device or recipe.compute.device
    options = table["source"]["options"]
    if isinstance(options.get("path"), str) and "://" not in options["path"]:
        options["path"] = os.path.abspath(base / Path(options["path"]).expanduser())
    if recipe.gate.canaries:
        table["gate"]["canaries"] = os.path.abspath(base / Path(recipe.gate.canaries).expanduser())
    return recipes.parse(table, recipe.file)

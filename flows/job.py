"""A job: the store and the resolved recipe that all tasks of one run share."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from aepipe import engines
from aepipe import recipe as recipes
from aepipe.errors import AepipeError, QueryError
from aepipe.pipeline.launch import Launch
from aepipe.pipeline.resolve import ResolvedRecipe, override, resolve
from aepipe.pipeline.sweep import apply_settings
from aepipe.recipe import Recipe
from aepipe.release.lifecycle import check_free
from aepipe.release.manifest import ReleaseManifest
from aepipe.release.origin import check_origin, recipe_file_of
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Store
from flows.catalog import recipe_file

_ready: ContextVar[list[tuple[Recipe, ResolvedRecipe]] | None] = ContextVar("ready", default=None)
"""The recipe that was resolved last, until it is asked for again; None where nobody wants that."""


class Job:
    """A resolved recipe and the store it is built in.

    This is a plain class, because Prefect takes dataclasses, models and collections apart before every task, to look
    for futures in them.
    """

    def __init__(
        self, store: Store, resolved: ResolvedRecipe, recipe_file: str = "", processes: Launch | None = None
    ) -> None:
        self.store = store
        self.processes = processes
        """Those that share out each training; None trains in this one."""
        self.resolved = resolved
        self.recipe_file = recipe_file
        """The recipe that says where the items are; empty where that was said beside it."""

    @property
    def name(self) -> str:
        """Name of its releases in the registry."""
        return self.resolved.recipe.name


def open_job(
    recipe: str,
    *,
    source: str | None = None,
    shelf: str | None = None,
    name: str | None = None,
    device: str | None = None,
    changes: Mapping[str, Any] | None = None,
    text: str = "",
) -> Job:
    """Read and resolve a recipe: its mistakes are found before anything is touched.

    Args:
        recipe: a TOML file, or the name of a recipe that comes with the package.
        source: instead of the recipe's own ``[source] path``.
        shelf: folder of the store; by default the one that every verb uses. Parameters of flows have this name, and
            deployments made earlier set it.
        name: instead of the recipe's own.
        device: instead of the recipe's own.
        changes: other values by key, as in :mod:`aepipe.pipeline.sweep`.
        text: of the recipe, where it is not written yet.

    Raises:
        RecipeError: there is no such recipe, or it cannot be run.
        SourceError: the source is missing.
    """
    if text:
        read = recipes.parse(tomllib.loads(text), Path(recipe))
    else:
        read = recipes.load(recipe_file(recipe), source=source)
    read = apply_settings(read, changes or {})
    own = "" if source is not None else str(read.file.absolute())
    processes, store, read = Launch.of(), open_store(shelf), override(read, name=name, device=device)
    resolved = _resolved(read, _trained(store, read.name))
    if processes is not None:
        processes.check(resolved.compute.shards)
    return Job(store, resolved, own, processes)


def _trained(store: Store, name: str) -> Recipe | None:
    """Return the recipe of the release in service; None where there is none that this version understands."""
    try:
        ref = registry.current(store, name)
        if ref is None:
            return None
        return recipes.parse(ReleaseManifest.read(store, ref).recipe, Path(f"the recipe of release {ref.short}"))
    except AepipeError:  # whoever needs the release says so
        return None


@contextmanager
def resolved_once() -> Iterator[None]:
    """Let the flow in the block take what :func:`check` resolved: the source is walked once."""
    token = _ready.set([])
    try:
        yield
    finally:
        _ready.reset(token)


def _resolved(recipe: Recipe, trained: Recipe | None) -> ResolvedRecipe:
    """Return a resolved recipe: that of the check before, the first time that it is asked for."""
    ready = _ready.get()
    if ready is None:
        return resolve(recipe, trained=trained)
    if ready and ready[0][0] == recipe:
        return ready.pop()[1]
    found = resolve(recipe, trained=trained)
    ready[:] = [(recipe, found)]
    return found


def order(
    recipe: Path,
    store: Store,
    *,
    name: str | None = None,
    source: str | os.PathLike[str] | None = None,
    device: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the parameters of :func:`open_job` and of a flow, with absolute paths."""
    if source is not None and "://" not in os.fspath(source):
        source = Path(source).expanduser().absolute()
    path = None if source is None else os.fspath(source)
    found = {"recipe": str(recipe.absolute()), "source": path, "shelf": store.address, "name": name, "device": device}
    return found | ({"changes": dict(changes)} if changes else {})


def check(order: Mapping[str, Any], *, promote: bool = True, wait: float = 0) -> Job:
    """Resolve an order before anything starts; no other run may write under its name.

    Args:
        order: parameters of :func:`open_job`.
        promote: the release is going into service.
        wait: seconds to wait for another run under its name.

    Raises:
        RecipeError: the recipe cannot be run, or would replace a collection of other items.
        SourceError: the source is missing.
        BusyError: another run is writing under the same name.
        ExtraError, EngineError: the engine is not installed, or does not answer.
    """
    job = open_job(**order)
    with engines.using(job.resolved.recipe.engine.text):
        engines.resolve()
    check_free(job.store, job.name, wait=wait)
    if promote:
        check_job_origin(job)
    return job


def check_metrics(folder: str | os.PathLike[str] | None) -> None:
    """Check that figures can go into a folder.

    Raises:
        QueryError: it is a file.
    """
    if folder is not None and (place := Path(folder).expanduser()).exists() and not place.is_dir():
        raise QueryError(f"metrics {os.fspath(folder)}: a file; NAME.prom is written into a folder")


def check_job_origin(job: Job) -> None:
    """Check that a job does not replace a collection of other items.

    Raises:
        RecipeError: the collection in service under its name was made from another place.
    """
    check_origin(job.store, job.resolved.recipe, given=not job.recipe_file)


def open_release_job(store: Store, release: Release, *, device: str | None = None) -> Job:
    """Return the job of a release's own recipe, to go on with new rows.

    Raises:
        RecipeError: this version does not understand the release's recipe.
        SourceError: the source is missing.
    """
    read = recipes.parse(release.recipe, Path(f"the recipe of release {release.ref.short}"))
    known = store.manifest(release.part("rows")).inputs.get("features")
    # The name of the release, which may have been renamed since.
    wanted = override(read, name=release.name, device=device)
    return Job(store, resolve(wanted, known, trained=read), recipe_file_of(store, release.ref))


def open_store(folder: str | None) -> Store:
    """Return the store in a folder, or the one that every verb uses."""
    return Store(Path(folder).expanduser()) if folder else Store.locate()

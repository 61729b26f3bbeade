"""Runs from Python: :func:`run`, :func:`nightly` and :func:`refresh`.

They import Prefect when they are called, and the stages of a run with it; :mod:`aepipe.api` opens what they have made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Unpack

from aepipe import engines
from aepipe.api import Collection, FilePath, open_store
from aepipe.errors import ExtraError
from aepipe.pipeline.rules import NightlyRules, RunOptions, check_options, check_rules
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.sources.packages import naming_extras
from aepipe.store import places, registry
from aepipe.store.artifacts import Ref, Store

if TYPE_CHECKING:
    from aepipe.report.dry_run import Foresight

__all__ = ["NightlyRules", "RunOptions", "RunResult", "UpdateResult", "nightly", "refresh", "run"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run made, and the gate's verdict.

    Attributes:
        collection: the release of the run, open.
        in_service: whether it is in service.
        reasons: why the gate let it pass, or would not have.
        warnings: what the gate found that does not refuse a release.
    """

    collection: Collection
    in_service: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """What a night or a refresh changed.

    Attributes:
        collection: the release now in service, open.
        changed: whether another one was before.
        done: what was done, a sentence each.
    """

    collection: Collection
    changed: bool
    done: tuple[str, ...]


@naming_extras
def run(
    what: FilePath,
    *,
    home: FilePath | None = None,
    name: str | None = None,
    server: str | None = None,
    **options: Unpack[RunOptions],
) -> RunResult:
    """Learn codes for a collection, index it, and put it into service if the gate lets it pass.

    What the store has already is not made again, so a run that was interrupted continues where it stopped.

    Args:
        what: a recipe (a file, or the name of one that comes with the package), or a folder, file or glob to derive
            one from; that is written as ``NAME.toml`` in the working directory, if it is not there yet.
        home: the store; else ``$AEPIPE_HOME``, else the nearest ``.aepipe`` upwards, else ``./.aepipe``.
        name: in service, in place of the recipe's own.
        server: address of a Prefect server's API; else ``$PREFECT_API_URL``, else one that runs for as long as this.
        options: ``source``, ``device``, ``promote``, ``save``, ``kind``, ``pixels``, ``settings``, ``wait``,
            ``engine``, ``world``; see :class:`aepipe.pipeline.rules.RunOptions`.

    Raises:
        GateError: the new release is worse; it stays in the store, and the old one in service.
        RecipeError: the recipe cannot be run.
        SourceError: the source is missing, empty, or has too many unreadable items.
        BusyError: another run is writing under the same name.

    >>> done = aepipe.run("photos/")           # doctest: +SKIP
    >>> done.in_service, done.reasons          # doctest: +SKIP
    (True, ('it is the first release',))
    >>> aepipe.run("mixed/", kind="images", settings={"code.bits": 32})    # doctest: +SKIP
    """
    store, jobs, promote = open_store(home), load_flow("job"), options.get("promote", True)
    wait = options.get("wait", 0.0)
    _, order = _ordered(store, what, name, options)
    from aepipe.pipeline import launch

    session = load_flow("local_server").session
    with (
        engines.using(options.get("engine"), over=True),
        launch.asked(options.get("world")),
        jobs.resolved_once(),
        session(store, server, lambda: jobs.check(order, promote=promote, wait=wait)),
    ):
        outcome = load_flow("build").build(**order, promote=promote, wait=wait)
    made = Release.open(store, ref=Ref.parse(outcome["release"]))
    said = [tuple(outcome[name]) for name in ("reasons", "warnings")]
    return RunResult(Collection(store, made), outcome["in_service"], *said)


@naming_extras
def foresee(
    what: FilePath, *, home: FilePath | None = None, name: str | None = None, **options: Unpack[RunOptions]
) -> tuple[Foresight, str]:
    """Say what :func:`run` would do, without doing it; nothing is written.

    The arguments are those of :func:`run`.

    Returns:
        What it would do, and where its recipe is, or would be written.

    Raises:
        RecipeError: the recipe cannot be run, or would replace a collection of other items.
        SourceError: the source is missing, or empty.
    """
    from aepipe.pipeline import launch
    from aepipe.report.dry_run import foresee

    jobs = load_flow("job")
    recipe, order = _ordered(open_store(home), what, name, options, write=False)
    with launch.asked(options.get("world")):
        job = jobs.open_job(**order, text=recipe.text)
    if options.get("promote", True):
        jobs.check_job_origin(job)
    where = {"given": "", "kept": ", derived by an earlier run", "written": ", which would be derived and written"}
    return foresee(job.store, job.resolved), f"{recipe.file}{where[recipe.origin]}"


def _ordered(
    store: Store, what: FilePath, name: str | None, options: RunOptions, *, write: bool = True
) -> tuple[Any, dict[str, Any]]:
    """Return the recipe of a run, and the parameters of its flow.

    Raises:
        QueryError: there is no such option.
        RecipeError: there is no such recipe, or none can be derived.
    """
    check_options(options)
    settings = options.get("settings")
    derived: dict[str, Any] = {"save": options.get("save"), "kind": options.get("kind"), "settings": settings}
    derived["pixels"] = options.get("pixels", False)
    recipe = load_flow("catalog").recipe_for(os.fspath(what), name=name, store=store, write=write, **derived)
    given = {"source": options.get("source"), "device": options.get("device"), "changes": settings}
    return recipe, load_flow("job").order(recipe.file, store, name=name, **given)


@naming_extras
def nightly(
    recipe: FilePath,
    *,
    home: FilePath | None = None,
    name: str | None = None,
    source: FilePath | None = None,
    device: str | None = None,
    settings: Mapping[str, Any] | None = None,
    server: str | None = None,
    wait: float = registry.WAIT,
    **rules: Unpack[NightlyRules],
) -> UpdateResult:
    """Do what a collection needs tonight; where nothing has changed, nothing is done.

    New rows are encoded by the encoder in service and can be found first. An encoder is trained where the recipe has
    changed, where the one in service is old, or where the new rows are unlike those that it was made for.

    Args:
        recipe: a file, or the name of one that comes with the package.
        home: the store; else ``$AEPIPE_HOME``, else the nearest ``.aepipe`` upwards, else ``./.aepipe``.
        name: in service, in place of the recipe's own.
        source: in place of the recipe's own ``[source] path``.
        device: in place of the recipe's own.
        settings: other values of the recipe by key, as for :func:`run`.
        server: as for :func:`run`.
        wait: seconds to wait for another run under its name.
        rules: ``retrain``, ``days``, ``cold``, ``keep``, ``hours``, ``metrics``, ``engine``; see :class:`NightlyRules`.

    Raises:
        GateError: a release was refused; new rows that may be served are in service.
        AepipeError: as for :func:`run`.

    >>> aepipe.nightly("photos.toml", days=7).done    # doctest: +SKIP
    ('nothing has changed',)
    """
    check_rules(rules)
    file, store = load_flow("catalog").recipe_file(os.fspath(recipe)), open_store(home)
    jobs = load_flow("job")
    jobs.check_metrics(rules.get("metrics"))
    order = jobs.order(file, store, name=name, source=source, device=device, changes=settings)
    session = load_flow("local_server").session
    quiet = load_flow("quiet")
    given = quiet.read_rules(rules)
    with engines.using(rules.get("engine"), over=True), jobs.resolved_once():
        job, outcome = jobs.check(order, wait=wait), None
        # A server of others records every run; without one, none starts for a night in which nothing has changed.
        if not server_named(server):
            outcome = quiet.passed(job, given, wait=wait)
        if outcome is None:
            with session(store, server):
                outcome = load_flow("nightly").nightly(**order, rules=given, wait=wait)
    return _updated(store, outcome, tuple(outcome["done"]))


@naming_extras
def refresh(
    home: FilePath | None = None,
    name: str | None = None,
    *,
    server: str | None = None,
    wait: float = registry.WAIT,
    engine: str | None = None,
) -> UpdateResult:
    """Bring a collection up to date with its source, with its encoder; nothing is trained.

    Args:
        home: the store; as for :func:`aepipe.open`.
        name: of the collection; needed where several are in service.
        server: as for :func:`run`.
        wait: seconds to wait for another run under its name.
        engine: what works on the parts of a large collection, as for :func:`run`.

    Raises:
        NotFoundError: nothing is in service under that name.
        GateError: the collection with its new rows is worse; it stays as it is.
        BusyError: another run is writing under the same name.
    """
    store = places.find(name, home)
    release = Release.open(store, name)
    from aepipe.pipeline.unchanged import unchanged

    # A server of others records every run.
    if not server_named(server) and unchanged(store, release):
        return UpdateResult(Collection(store, release), False, ("the source has not changed",))
    lifecycle.check_free(store, release.name, wait=wait)
    with engines.using(engine, over=True), load_flow("local_server").session(store, server):
        outcome = load_flow("refresh").refresh(name=name, shelf=store.address, wait=wait)
    return _updated(store, outcome, (outcome["why"],))


def server_named(server: str | None) -> str | None:
    """Return the address of the Prefect server that records a run; None where none is named.

    Args:
        server: address of its API; else ``$PREFECT_API_URL``.
    """
    return server or os.environ.get("PREFECT_API_URL")


def load_flow(module: str) -> Any:  # noqa: ANN401  flows stand above this room, so nothing here may know their types
    """Import a module of ``flows``, and Prefect with most of them.

    Raises:
        ExtraError: a package that it needs is not installed.
    """
    # By name, because flows stand above the library: an import statement here would be an import upwards.
    try:
        return import_module(f"flows.{module}")
    except ModuleNotFoundError as error:
        raise ExtraError(str(error.name), "flows") from None


def _updated(store: Store, outcome: Mapping[str, Any], done: tuple[str, ...]) -> UpdateResult:
    now = Release.open(store, ref=Ref.parse(outcome["release"]))
    return UpdateResult(Collection(store, now), outcome["changed"], done)

"""The verbs that run a flow: ``run``, ``refresh`` and ``schedule``.

Prefect is imported inside, after its environment has been set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from aepipe import service
from aepipe.cli.options import Place
from aepipe.cli.output import say
from aepipe.cli.terminal import showing
from aepipe.errors import ExtraError, RecipeError
from aepipe.report.releases import describe, describe_text
from aepipe.store import Ref, Store

Api = Annotated[
    str | None,
    typer.Option("--api", help="Address of a Prefect server's API; else $PREFECT_API_URL.", metavar="URL"),
]
Device = Annotated[
    str | None, typer.Option("--device", help="In place of the recipe's: cpu, cuda, cuda:1, mps.", metavar="DEVICE")
]
SourcePath = Annotated[
    str | None, typer.Option("--source", help="In place of the recipe's own [source] path.", metavar="PATH")
]


@dataclass(frozen=True, slots=True)
class Order:
    """How a recipe is run, other than it says itself."""

    source: SourcePath = None
    device: Device = None
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Put the release into service if the gate lets it pass.")
    ] = True


def run(
    what: Annotated[str, typer.Argument(metavar="RECIPE_OR_IMAGES", help="A recipe, or images.", show_default=False)],
    place: Place,
    order: Order,
    api: Api = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Where a derived recipe is written; else ./NAME.toml.", metavar="FILE"),
    ] = None,
) -> None:
    """Learn codes for a collection, index it, and put it into service.

    RECIPE_OR_IMAGES is a recipe (a TOML file, or the name of one that comes with the package), or the
    images themselves: a folder, a glob in quotes, a tar archive, Parquet files or a CSV list of paths.
    For images a recipe is derived from a look at some of them, shown, and written beside you, to be
    read and changed; where that file exists already, it is run as it stands.

    What the shelf has already is not made again, so running twice costs little, and a run that was
    interrupted goes on where it stopped. A new release goes into service only if it is no worse than
    the one before; otherwise it stays on the shelf, and the exit status is 1.

    A Prefect server runs along for as long as this takes, and its history stays on the shelf. With
    --api, or $PREFECT_API_URL, the run is recorded by that server instead.

    Examples:
      aepipe run photos/
      aepipe run fashion.toml --no-promote
      aepipe run fashion-mnist --source ~/data/fashion-mnist
      aepipe run 'scans/2026-*/*.png' --name scans --device cuda
    """
    recipe, store = _recipe_for(what, place.name, save), place.store()
    given = {"recipe": recipe, "name": place.name, "shelf": str(store.root), **asdict(order)}
    _check_free(store, _check(given))
    with _going_on(), showing(), _prefect(api, store):
        outcome = _flows("build").build(**given)
    say(describe_text(describe(store, Ref.parse(outcome["release"]))))


def refresh(place: Place, api: Api = None) -> None:
    """Bring a collection up to date with its files; nothing is trained.

    The source is read again. New images are encoded and added to the index, vanished ones are left
    out, and the result goes into service. If nothing has changed, nothing is published.

    Examples:
      aepipe refresh
      aepipe refresh --name photos
    """
    store = place.store()
    _check_free(store, service.resolve(store, place.name)[0])
    with _going_on(), showing(), _prefect(api, store):
        outcome = _flows("refresh").refresh(name=place.name, shelf=str(store.root))
    say(f"{outcome['name']}: release {Ref.parse(outcome['release']).short} is in service, {outcome['why']}")


def schedule(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe, as for run.", show_default=False)],
    place: Place,
    source: SourcePath = None,
    cron: Annotated[str, typer.Option("--cron", help="When: minute, hour, day, month, weekday.")] = "0 2 * * *",
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="Of --cron, as in Europe/Paris; else this machine's.")
    ] = None,
    api: Api = None,
) -> None:
    """Run a recipe whenever it is time, until Ctrl-C.

    This process waits for the hour and runs the recipe, one run at a time; a Prefect server keeps the
    clock and the history. It needs a server that stays:

      prefect server start --host 127.0.0.1
      aepipe schedule fashion.toml --cron '0 2 * * *' --api http://127.0.0.1:4200/api

    A run that the gate refuses is a failed run there; the release before it stays in service.
    """
    file, store = _existing_recipe(recipe), place.store()
    given = {"recipe": file, "name": place.name, "source": _absolute(source), "shelf": str(store.root)}
    name = _check(given)
    embedded = _flows("embedded")
    embedded.prepare(embedded.LINES, api=api)
    serving = _flows("serve")
    deployment = serving.Deployment(name, given, cron, timezone or local_timezone())
    deployment.check()
    url = serving.check_server()
    say(f"{name}: {deployment.path} at {cron!r}, {deployment.timezone}, kept by {url}")
    say(f"It runs here until Ctrl-C; once more at any time with: prefect deployment run {deployment.path}")
    deployment.serve()


def local_timezone() -> str:
    """Return the name of this machine's time zone, UTC where it has none."""
    link = Path("/etc/localtime")
    target = str(link.resolve()) if link.is_symlink() else ""
    _, found, name = target.partition("zoneinfo/")
    return os.environ.get("TZ", "").removeprefix(":") or (name if found else "UTC")


def _recipe_for(what: str, name: str | None, save: Path | None) -> str:
    """Return the recipe that is asked for; for images, one is derived, shown and written.

    Raises:
        RecipeError: the file that would be written is another recipe already.
    """
    if _flows("job").is_recipe(what):
        return _existing_recipe(what)
    from aepipe.derive import derive, name_of, same_source

    file = save or Path(f"{name or name_of(what)}.toml")
    if file.exists():
        if not same_source(file, what):
            raise RecipeError(f"{file}: is a recipe for something else; write this one elsewhere with --save FILE")
        say(f"{file}: is a recipe for {what} already, and is run as it stands")
        return str(file.absolute())
    _, text = derive(what, name=name, folder=file.absolute().parent)
    file.write_text(text, encoding="utf-8")
    say(f"{text}\n{file}: written; change it and run it with `aepipe run {file}`\n")
    return str(file.absolute())


def _existing_recipe(text: str) -> str:
    """Return a recipe so that it is found from anywhere."""
    return str(_flows("job").recipe_file(text).absolute())


def _absolute(source: str | None) -> str | None:
    """Return a path so that it is found from anywhere."""
    return str(Path(source).expanduser().absolute()) if source and "://" not in source else source


def _check(given: dict[str, Any]) -> str:
    """Resolve the whole recipe before anything is started, and return its name in service."""
    name: str = _flows("job").open_job(**{key: value for key, value in given.items() if key != "promote"}).name
    return name


def _check_free(store: Store, name: str) -> None:
    """Find out at once, before a server is started, whether another run writes under the same name.

    Raises:
        BusyError: so it is.
    """
    with service.lock(store, name):
        pass


@contextmanager
def _going_on() -> Iterator[None]:
    """Say what an interrupted run leaves behind."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("aepipe: stopped; what is finished is kept, and the same command goes on from there", err=True)
        raise


@contextmanager
def _prefect(api: str | None, store: Store) -> Iterator[None]:
    """Make Prefect ready for one run: with the server that is named, or one that runs along."""
    embedded = _flows("embedded")
    if api or os.environ.get("PREFECT_API_URL"):
        embedded.prepare(api=api)
        _flows("serve").check_server()
        try:
            yield
        finally:
            embedded.flush()
        return
    store.create()
    with embedded.serving(store.root / "prefect"):
        yield


def _flows(module: str) -> Any:  # noqa: ANN401  mypy cannot see what is imported late
    """Import a module of flows.

    Raises:
        ExtraError: a package that it needs is not installed.
    """
    try:
        return import_module(f"flows.{module}")
    except ModuleNotFoundError as error:
        raise ExtraError(str(error.name), "flows") from None

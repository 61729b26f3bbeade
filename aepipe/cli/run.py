"""The verbs that run a flow: ``run``, ``nightly``, ``refresh`` and ``schedule``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from click import Choice

from aepipe import api as library
from aepipe.api import Collection, NightlyRules, UpdateResult, load_flow
from aepipe.cli.options import Place, Wait, seconds
from aepipe.cli.output import say
from aepipe.cli.prefect import Api, Device, SourcePath, resumable
from aepipe.cli.progress import showing
from aepipe.cli.timezones import local_timezone
from aepipe.errors import UnclearError
from aepipe.report.facts import describe, reading_lines
from aepipe.report.first_screen import first_screen
from aepipe.report.tables import text_table
from aepipe.store import registry


@dataclass(frozen=True, slots=True)
class Order:
    """What a run does in place of what its recipe says."""

    source: SourcePath = None
    device: Device = None
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Put the release into service if the gate lets it pass.")
    ] = True
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="What a collection is of: images, text, table, ...; else told by its files."),
    ] = None
    pixels: Annotated[
        bool,
        typer.Option("--pixels", help="Compare photographs by their pixels where the extra `photos` is not installed."),
    ] = False


def run(
    what: Annotated[
        str, typer.Argument(metavar="RECIPE_OR_PATH", help="A recipe, or a collection.", show_default=False)
    ],
    place: Place,
    order: Order,
    api: Api = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Where a derived recipe is written; else ./NAME.toml.", metavar="FILE"),
    ] = None,
) -> None:
    """Learn codes for a collection, index it, and put it into service.

    RECIPE_OR_PATH is a recipe (a TOML file, or the name of one that comes with the package), or the
    collection itself: a folder, a file or a glob in quotes, of pictures, documents, recordings, videos,
    vectors or rows of a table. File types are detected from content, not from names. For a collection a
    recipe is derived, shown, and written to the working directory for you to read and change; a derived
    recipe that is there already is run as it is.

    What the store has already is not made again: a second run takes little time, and an interrupted run
    continues where it stopped. At the end it says how many items can be asked, what was left out, how
    good answers are, and what to try next; `aepipe show` has all figures. A new release goes into service
    only if it is no worse than the one before; otherwise it stays in the store, and the exit status is 1.

    A Prefect server runs for as long as this takes, and its history stays in the store. With --api, or
    $PREFECT_API_URL, that server records the run instead.

    Examples:
      aepipe run photos/
      aepipe run posts.jsonl.gz
      aepipe run embeddings.npy
      aepipe run fashion.toml --no-promote
      aepipe run fashion-mnist --source ~/data/fashion-mnist
      aepipe run 'scans/2026-*/*.png' --name scans --device cuda
    """
    recipe = _recipe_for(what, place, save, order.kind, pixels=order.pixels)
    with resumable(), showing():
        done = library.run(
            recipe,
            home=place.home,
            name=place.name,
            source=order.source,
            device=order.device,
            promote=order.promote,
            server=api,
        )
    collection = done.collection
    found = describe(collection.store, collection.release.ref)
    say(first_screen(collection.release, found, _options(place, collection)))


@dataclass(frozen=True, slots=True)
class Rules:
    """When a night trains, and what it leaves behind; see :class:`aepipe.api.NightlyRules`."""

    retrain: Annotated[
        Literal["auto", "always", "never"],
        typer.Option("--retrain", help="Train an encoder where there is a reason, always, or never."),
    ] = "auto"
    days: Annotated[float, typer.Option("--days", min=0, help="An encoder that is older is a reason.")] = 30
    cold: Annotated[bool, typer.Option("--cold", help="Train from the beginning, layer by layer.")] = False
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="Releases that stay in the store; 0 keeps all.", metavar="N")
    ] = 7
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", help="Where NAME.prom is written; else metrics in the store.", metavar="DIR"),
    ] = None

    def chosen(self) -> NightlyRules:
        """Return the rules as the library takes them."""
        metrics = str(self.metrics.absolute()) if self.metrics else None
        return {"retrain": self.retrain, "days": self.days, "cold": self.cold, "keep": self.keep, "metrics": metrics}


def nightly(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe, as for run.", show_default=False)],
    place: Place,
    rules: Rules,
    source: SourcePath = None,
    device: Device = None,
    api: Api = None,
    wait: Wait = "10m",
) -> None:
    """Do what a collection needs tonight, and no more.

    The source is read again. New rows are encoded by the encoder in service, and can be found first. An
    encoder is trained where the recipe has changed, where the one in service is old, or where the new
    rows are unlike those it was made for. A release that is worse than the one in service is refused,
    with exit status 1. Where nothing has changed, nothing is done.

    Examples:
      aepipe nightly photos.toml
      aepipe nightly photos.toml --days 7 --metrics /var/lib/node_exporter
      0 2 * * *  cd /srv/photos && aepipe nightly photos.toml     in a crontab
    """
    with resumable(), showing():
        done = library.nightly(
            recipe,
            home=place.home,
            name=place.name,
            source=source,
            device=device,
            server=api,
            wait=seconds(wait),
            **rules.chosen(),
        )
    _say_result(done, f": {'; '.join(done.done)}")


def refresh(place: Place, api: Api = None, wait: Wait = "10m") -> None:
    """Bring a collection up to date with its files; nothing is trained.

    The source is read again. New items are encoded and added to the index, vanished ones are left out,
    and the result goes into service. If nothing has changed, nothing is published.

    Examples:
      aepipe refresh
      aepipe refresh --name photos
    """
    with resumable(), showing():
        done = library.refresh(place.home, place.name, server=api, wait=seconds(wait))
    _say_result(done, f", {'; '.join(done.done)}")


def schedule(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe, as for run.", show_default=False)],
    place: Place,
    rules: Rules,
    source: SourcePath = None,
    cron: Annotated[str, typer.Option("--cron", help="When: minute, hour, day, month, weekday.")] = "0 2 * * *",
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="Of --cron, as in Europe/Paris; else this machine's.")
    ] = None,
    api: Api = None,
) -> None:
    """Do what `aepipe nightly` does, at the hours of a schedule, until Ctrl-C.

    This process waits for the hour and does one run at a time; a Prefect server keeps the clock and the
    history. It needs a server that keeps running:

      prefect server start --host 127.0.0.1
      aepipe schedule fashion.toml --cron '0 2 * * *' --api http://127.0.0.1:4200/api

    A run that the gate refuses is a failed run there; the release before it stays in service.
    """
    jobs, server = load_flow("job"), load_flow("local_server")
    order = jobs.order(load_flow("catalog").recipe_file(recipe), place.store(), name=place.name, source=source)
    name = jobs.open_job(**order).name
    server.prepare(server.LINES, api=api)
    serving = load_flow("schedule")
    jobs.check_metrics(rules.metrics)
    order["rules"] = rules.chosen()
    deployment = serving.Deployment(name, order, cron, timezone or local_timezone())
    deployment.check()
    url = serving.check_server()
    say(f"{name}: {deployment.path} at {cron!r}, {deployment.timezone}, kept by {url}")
    say(f"The next times are {', '.join(deployment.next_times())}")
    say(f"It runs here until Ctrl-C; once more at any time with: prefect deployment run {deployment.path}")
    deployment.serve()


def _recipe_for(what: str, place: Place, save: Path | None, kind: str | None = None, *, pixels: bool = False) -> Path:
    """Return the recipe that is asked for; say so where it was derived, and what the collection holds."""
    try:
        derive = load_flow("catalog").recipe_for
        recipe = derive(what, name=place.name, save=save, kind=kind, store=place.store(), pixels=pixels)
    except UnclearError as error:
        return _recipe_for(what, place, save, _asked(error), pixels=pixels)
    file: Path = recipe.file
    for line in recipe.said:
        say(f"{what}: {line}")
    if recipe.origin == "kept":
        say(f"{file}: is a recipe for {what} already, and is run as it stands")
    elif recipe.origin == "written":
        say(f"{recipe.text}\n{file}: written; change it and run it with `aepipe run {file}`\n")
    return file.absolute()


def _options(place: Place, collection: Collection) -> list[str]:
    """Return the options by which another verb finds the collection that was run."""
    named = ["--name", collection.name] if len(registry.names(collection.store)) > 1 else []
    return [*named, *(["--home", str(place.home)] if place.home else [])]


def _asked(error: UnclearError) -> str:
    """Ask on a terminal which kind is meant; elsewhere nobody can answer, and the error stands."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise error
    say(str(error))
    return str(typer.prompt("Which kind is meant?", type=Choice([*error.kinds])))


def _say_result(result: UpdateResult, done: str) -> None:
    """Say what was done, and what of the source was not read."""
    collection = result.collection
    say(f"{collection.name}: release {collection.release.ref.short} is in service{done}")
    read = reading_lines(describe(collection.store, collection.release.ref)["read"])
    if read:
        say(text_table([(f"  {name}", text) for name, text in read], left=(0, 1)))

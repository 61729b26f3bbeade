"""The verbs that run a flow: ``run``, ``nightly``, ``refresh`` and ``schedule``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from click import Choice

from aepipe import runs as library
from aepipe.api import Collection
from aepipe.cli.completion import kinds, recipes
from aepipe.cli.options import Place, Wait, seconds
from aepipe.cli.output import is_quiet, say, say_json
from aepipe.cli.prefect import Api, Device, EngineText, Settings, SourcePath, resumable
from aepipe.cli.progress import showing
from aepipe.cli.timezones import local_timezone
from aepipe.errors import UnclearError
from aepipe.pipeline.sweep import label, read_settings
from aepipe.report.facts import describe, reading_lines
from aepipe.report.first_screen import first_screen
from aepipe.report.tables import text_table
from aepipe.runs import NightlyRules, RunResult, UpdateResult, load_flow
from aepipe.sources.given import is_written
from aepipe.store import registry
from aepipe.store.addresses import of_objects


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
        typer.Option(
            "--kind",
            help="What a collection is of: images, text, table, ...; else told by its files.",
            autocompletion=kinds,
        ),
    ] = None
    pixels: Annotated[
        bool,
        typer.Option("--pixels", help="Compare photographs by their pixels where the extra `photos` is not installed."),
    ] = False
    setting: Settings = None
    wait: Wait = "0"
    engine: EngineText = None
    world: Annotated[
        str | None,
        typer.Option(
            "--world",
            help="Processes that share out each training, 2 or 2@HOST:PORT for others to join; else $AEPIPE_WORLD.",
            metavar="N",
        ),
    ] = None
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Where a derived recipe is written; else ./NAME.toml.", metavar="FILE"),
    ] = None

    def replaced(self) -> dict[str, Any]:
        """Return the answers in place of the recipe, as :func:`aepipe.run` takes it."""
        found = {"source": self.source, "device": self.device, "promote": self.promote}
        return found | {"engine": self.engine, "world": self.world}

    def settings(self) -> dict[str, Any]:
        """Return the values that are given for keys of the recipe.

        Raises:
            RecipeError: one cannot be read, or a key is given twice.
        """
        return read_settings(self.setting or [])


def run(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE_OR_PATH", help="A recipe, or a collection.", show_default=False, autocompletion=recipes
        ),
    ],
    place: Place,
    order: Order,
    api: Api = None,
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="Say what would be read, left out and trained; write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made, or would be, as JSON.")] = False,
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

    --set gives a key of the recipe another value, also where a recipe is derived: source.header,
    features.words, code.bits, finetune.epochs, layers.0.net.width, seed. Words need no quotes.

    A Prefect server runs for as long as this takes, and its history stays in the store. With --api, or
    $PREFECT_API_URL, that server records the run instead. --world 2 shares each training out over two
    processes, of as many as compute.shards allows; the result is the same.

    Examples:
      aepipe run photos/
      aepipe run posts.jsonl.gz
      aepipe run fashion-mnist --source ~/data/fashion-mnist
      aepipe run 'scans/2026-*/*.png' --name scans --device cuda
      aepipe run people.csv --set source.header=false --set code.bits=32
      aepipe run photos/ -n               what would be done
    """
    if dry_run:
        _foresee(what, place, order, as_json)
        return
    settings, limit = order.settings(), seconds(order.wait)
    recipe = _recipe_for(what, place, order.save, order.kind, settings, pixels=order.pixels, quiet=as_json)
    with resumable(), showing():
        done = library.run(
            recipe,
            home=place.folder,
            name=place.name,
            **order.replaced(),
            settings=settings,
            wait=limit,
            server=api,
        )
    _say_run(done, place, as_json)


@dataclass(frozen=True, slots=True)
class Rules:
    """When a night trains, and what it leaves behind; see :class:`aepipe.runs.NightlyRules`."""

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

    engine: EngineText = None

    def chosen(self) -> NightlyRules:
        """Return the rules as the library takes them."""
        metrics = str(self.metrics.absolute()) if self.metrics else None
        said: NightlyRules = {"retrain": self.retrain, "days": self.days, "cold": self.cold, "keep": self.keep}
        return {**said, "metrics": metrics, "engine": self.engine}


def nightly(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe, as for run.", show_default=False, autocompletion=recipes)
    ],
    place: Place,
    rules: Rules,
    source: SourcePath = None,
    device: Device = None,
    setting: Settings = None,
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
            home=place.folder,
            name=place.name,
            source=source,
            device=device,
            settings=read_settings(setting or []),
            server=api,
            wait=seconds(wait),
            **rules.chosen(),
        )
    _say_result(done, f": {'; '.join(done.done)}")


def refresh(place: Place, api: Api = None, wait: Wait = "10m", engine: EngineText = None) -> None:
    """Bring a collection up to date with its files; nothing is trained.

    The source is read again. New items are encoded and added to the index, vanished ones are left out,
    and the result goes into service. If nothing has changed, nothing is published.

    Examples:
      aepipe refresh
      aepipe refresh --name photos
    """
    with resumable(), showing():
        done = library.refresh(place.store().address, place.name, server=api, wait=seconds(wait), engine=engine)
    _say_result(done, f", {'; '.join(done.done)}")


def schedule(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe, as for run.", show_default=False, autocompletion=recipes)
    ],
    place: Place,
    rules: Rules,
    source: SourcePath = None,
    cron: Annotated[str, typer.Option("--cron", help="When: minute, hour, day, month, weekday.")] = "0 2 * * *",
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="Of --cron, as in Europe/Paris; else this machine's.")
    ] = None,
    setting: Settings = None,
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
    file, settings = load_flow("catalog").recipe_file(recipe), read_settings(setting or [])
    order = jobs.order(file, place.making(), name=place.name, source=source, changes=settings)
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


def _say_run(done: RunResult, place: Place, as_json: bool) -> None:
    """Say what a run has made."""
    collection = done.collection
    found = describe(collection.store, collection.release.ref)
    if as_json:
        say_json(found | {"reasons": done.reasons, "warnings": done.warnings})
    else:
        screen = first_screen(collection.release, found, _options(place, collection))
        say(screen.partition("\n")[0] if is_quiet() else screen)


def _recipe_for(
    what: str,
    place: Place,
    save: Path | None,
    kind: str | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    pixels: bool = False,
    quiet: bool = False,
) -> Path:
    """Return the recipe that is asked for; say so where it was derived, and what the collection holds."""
    try:
        recipe = load_flow("catalog").recipe_for(
            what, name=place.name, save=save, kind=kind, store=place.making(), settings=settings, pixels=pixels
        )
    except UnclearError as error:
        return _recipe_for(what, place, save, _asked(error), settings, pixels=pixels, quiet=quiet)
    file: Path = recipe.file
    if not (quiet or is_quiet()):
        for line in recipe.said:
            say(f"{what}: {line}")
        if recipe.origin == "kept":
            but = f", but for {label(settings)} this time" if settings else ""
            say(f"{file}: is a recipe for {what} already, and is run as it stands{but}")
        elif recipe.origin == "written":
            say(f"{recipe.text}\n{file}: written; change it and run it with `aepipe run {file}`\n")
            once = {key: value for key, value in (settings or {}).items() if not is_written(key)}
            if once:
                say(f"{label(once)}: for this run; write it into {file} to keep it\n")
    return file.absolute()


def _foresee(what: str, place: Place, order: Order, as_json: bool) -> None:
    """Say what a run would do."""
    found, recipe = library.foresee(
        what,
        home=place.folder,
        name=place.name,
        source=order.source,
        device=order.device,
        promote=order.promote,
        world=order.world,
        save=order.save,
        kind=order.kind,
        pixels=order.pixels,
        settings=order.settings(),
    )
    if as_json:
        say_json(found.to_json() | {"recipe": recipe})
        return
    from aepipe.report.dry_run import foresight_text

    say(foresight_text(found, recipe))


def _options(place: Place, collection: Collection) -> list[str]:
    """Return the options by which another verb finds the collection that was run."""
    named = ["--name", collection.name] if len(registry.names(collection.store)) > 1 else []
    home = ["--home", of_objects(place.home) or str(place.home)] if place.home else []
    return [*named, *home, *(["--user"] if place.user else [])]


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

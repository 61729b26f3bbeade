"""The verbs that run a flow: ``run``, ``nightly``, ``refresh`` and ``schedule``.

Prefect is imported inside, after its environment has been set.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from aepipe.cli.options import Place
from aepipe.cli.output import complain, say
from aepipe.cli.prefect import Api, Device, SourcePath, absolute, check_free, flows, going_on, prefect
from aepipe.cli.progress import showing
from aepipe.errors import RecipeError
from aepipe.report.release import describe, describe_text
from aepipe.store import registry
from aepipe.store.artifacts import Ref


@dataclass(frozen=True, slots=True)
class Order:
    """How a recipe is run, other than it says itself."""

    source: SourcePath = None
    device: Device = None
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Put the release into service if the gate lets it pass.")
    ] = True


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
    collection itself: a folder, a file or a glob in quotes, of pictures, documents, recordings, vectors
    or rows of a table. What it holds is told by the first bytes of its files, not by their names. For
    it a recipe is derived, shown, and written beside you, to be read and changed; where that file
    exists already, it is run as it stands.

    What the shelf has already is not made again, so running twice costs little, and a run that was
    interrupted goes on where it stopped. A new release goes into service only if it is no worse than
    the one before; otherwise it stays on the shelf, and the exit status is 1.

    A Prefect server runs along for as long as this takes, and its history stays on the shelf. With
    --api, or $PREFECT_API_URL, the run is recorded by that server instead.

    Examples:
      aepipe run photos/
      aepipe run posts.jsonl.gz
      aepipe run embeddings.npy
      aepipe run fashion.toml --no-promote
      aepipe run fashion-mnist --source ~/data/fashion-mnist
      aepipe run 'scans/2026-*/*.png' --name scans --device cuda
    """
    recipe, store = _recipe_for(what, place.name, save), place.store()
    given = {"recipe": recipe, "name": place.name, "shelf": str(store.root), **asdict(order)}
    with going_on(), showing(), prefect(api, store, lambda: check_free(store, _check(given))):
        outcome = flows("build").build(**given)
    say(describe_text(describe(store, Ref.parse(outcome["release"]))))


@dataclass(frozen=True, slots=True)
class Rules:
    """When an encoder is trained anew, and what a night leaves behind; see :class:`flows.nightly.Rules`."""

    retrain: Annotated[
        Literal["auto", "always", "never"],
        typer.Option("--retrain", help="Train an encoder where there is reason to, or whatever comes, or never."),
    ] = "auto"
    days: Annotated[float, typer.Option("--days", min=0, help="An encoder that is older is a reason.")] = 30
    cold: Annotated[bool, typer.Option("--cold", help="Train from the beginning, layer by layer.")] = False
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="Releases that stay on the shelf; 0 leaves all.", metavar="N")
    ] = 7
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", help="Where NAME.prom is written; else metrics on the shelf.", metavar="DIR"),
    ] = None

    def order(self) -> dict[str, Any]:
        """Return them as the flow takes them."""
        metrics = str(self.metrics.absolute()) if self.metrics else None
        told = {"retrain": self.retrain, "days": self.days, "cold": self.cold, "keep": self.keep}
        return told | {"metrics": metrics}


def nightly(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe, as for run.", show_default=False)],
    place: Place,
    rules: Rules,
    source: SourcePath = None,
    device: Device = None,
    api: Api = None,
) -> None:
    """Do what a collection needs tonight, and no more.

    The source is read again. New rows are encoded by the encoder in service and can be found first; an
    encoder is trained where the recipe has changed, where the one in service is old, or where the new
    rows are not like those it was made for. What is worse than what is in service is refused, with exit
    status 1. Where nothing has changed, nothing is done.

    Examples:
      aepipe nightly photos.toml
      aepipe nightly photos.toml --days 7 --metrics /var/lib/node_exporter
      0 2 * * *  cd /srv/photos && aepipe nightly photos.toml     in a crontab
    """
    file, store = _existing_recipe(recipe), place.store()
    given = {"recipe": file, "name": place.name, "source": absolute(source), "device": device}
    given |= {"shelf": str(store.root)}
    with going_on(), showing(), prefect(api, store, lambda: check_free(store, _check(given))):
        flow = flows("nightly")
        outcome = flow.nightly(**given, rules=flow.Rules(**rules.order()))
    done = "; ".join(outcome["done"])
    say(f"{outcome['name']}: release {Ref.parse(outcome['release']).short} is in service: {done}")


def refresh(place: Place, api: Api = None) -> None:
    """Bring a collection up to date with its files; nothing is trained.

    The source is read again. New images are encoded and added to the index, vanished ones are left
    out, and the result goes into service. If nothing has changed, nothing is published.

    Examples:
      aepipe refresh
      aepipe refresh --name photos
    """
    store = place.store()
    check_free(store, registry.resolve(store, place.name)[0])
    with going_on(), showing(), prefect(api, store):
        outcome = flows("refresh").refresh(name=place.name, shelf=str(store.root))
    say(f"{outcome['name']}: release {Ref.parse(outcome['release']).short} is in service, {outcome['why']}")


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
    """Do what `aepipe nightly` does whenever it is time, until Ctrl-C.

    This process waits for the hour, and does one run at a time; a Prefect server keeps the clock and the
    history. It needs a server that stays:

      prefect server start --host 127.0.0.1
      aepipe schedule fashion.toml --cron '0 2 * * *' --api http://127.0.0.1:4200/api

    A run that the gate refuses is a failed run there; the release before it stays in service.
    """
    file, store = _existing_recipe(recipe), place.store()
    given: dict[str, Any] = {"recipe": file, "name": place.name, "source": absolute(source)}
    given["shelf"] = str(store.root)
    name = _check(given)
    given["rules"] = rules.order()
    embedded = flows("local_server")
    embedded.prepare(embedded.LINES, api=api)
    serving = flows("schedule")
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
    if flows("catalog").is_recipe(what):
        return _existing_recipe(what)
    from aepipe.pipeline.suggest import name_of, same_source, suggest
    from aepipe.pipeline.suggest.kinds import describe_strangers

    file = save or Path(f"{name or name_of(what)}.toml")
    if file.exists():
        if not same_source(file, what):
            raise RecipeError(f"{file}: is a recipe for something else; write this one elsewhere with --save FILE")
        say(f"{file}: is a recipe for {what} already, and is run as it stands")
        return str(file.absolute())
    _, text, held = suggest(what, name=name, folder=file.absolute().parent)
    for stranger in describe_strangers(held.strangers):
        complain(f"{what}: left out: {stranger}")
    file.write_text(text, encoding="utf-8")
    say(f"{text}\n{file}: written; change it and run it with `aepipe run {file}`\n")
    return str(file.absolute())


def _existing_recipe(text: str) -> str:
    """Return a recipe so that it is found from anywhere."""
    return str(flows("catalog").recipe_file(text).absolute())


def _check(given: dict[str, Any]) -> str:
    """Resolve the whole recipe before anything is started, and return its name in service."""
    name: str = flows("job").open_job(**{key: value for key, value in given.items() if key != "promote"}).name
    return name

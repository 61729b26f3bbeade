"""The verb `tune`: search for a better recipe."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aepipe.cli.compare import WIDTH, Making
from aepipe.cli.completion import recipes
from aepipe.cli.options import AsJson, seconds
from aepipe.cli.output import check_file, check_picture, columns, say, say_json, write_picture, write_text
from aepipe.cli.prefect import resumable
from aepipe.cli.progress import showing
from aepipe.errors import ExtraError, TargetError
from aepipe.runs import load_flow

if TYPE_CHECKING:
    from aepipe.report.tuning import Tuned

PACKAGES = {"optuna": "tune", "tomlkit": "tune", "matplotlib": "report"}


@dataclass(frozen=True, slots=True)
class Searching:
    """How the search goes."""

    budget: Annotated[str, typer.Option("--budget", help="Time of training in all: 90s, 30m, 2h.", metavar="TIME")] = (
        "30m"
    )
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Most trials.", metavar="N")] = None
    metric: Annotated[
        str,
        typer.Option("--metric", help="What is to be large: walk_map, map_at_1000, ...; auto: by labels if there are."),
    ] = "auto"
    space: Annotated[
        Path | None, typer.Option("--space", help="Keys and ranges; else those that suit.", metavar="FILE.toml")
    ] = None
    rows: Annotated[int, typer.Option("--rows", min=0, help="Most rows to train on; 0 for all.", metavar="N")] = 4000
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is tried.", metavar="N")] = 0

    def settings(self) -> dict[str, Any]:
        """Return the settings of the flow."""
        return {
            "budget": seconds(self.budget, "--budget"),
            "trials": self.trials,
            "metric": self.metric,
            "rows": self.rows,
            "seed": self.seed,
            "space": str(self.space.absolute()) if self.space else None,
        }


@dataclass(frozen=True, slots=True)
class Writing:
    """Where the result goes."""

    save: Annotated[
        Path | None,
        typer.Option("--save", help="Where a better recipe is written; else ./RECIPE-tuned.toml.", metavar="FILE.toml"),
    ] = None
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Where the search is drawn; else ./RECIPE-tuned.png.", metavar="FILE.png"),
    ] = None
    as_json: AsJson = False

    def files(self, recipe: Path) -> tuple[Path, Path]:
        """Return the files of the recipe and of the picture, which can be written.

        Raises:
            StoreError: one cannot be written.
            QueryError: no kind of picture has such a name.
        """
        save = self.save or Path(f"{recipe.stem}-tuned.toml")
        picture = self.picture or save.with_suffix(".png")
        check_file(save)
        check_picture(picture, chart=True)
        return save, picture


def tune(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A recipe, as for run.", show_default=False, autocompletion=recipes),
    ],
    making: Making,
    searching: Searching,
    written: Writing,
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="Print the space as a file for --space, and stop.")
    ] = False,
) -> None:
    """Search for a better recipe: train many, measure them, and write the best one.

    Keys and ranges suit the recipe: learning rate, epochs, batch, corruption, widths, the graph of
    neighbours; --dry-run prints them. A trial is trained on a ninth, a third and all of a sample of the
    rows, and stopped early where it falls behind. Without labels the figure is walk_map: whether codes
    keep together what walks among nearest neighbours keep together. Nothing goes into service.

    At the end the best three are trained with three other seeds and asked queries that the search did not
    use, as is the recipe as it was given. Only one that is better beyond chance is called better, and
    written as a recipe with its reasons on top. Rows of the split test are never looked at.

    The same search gives the same trials. Ctrl-C keeps what was found; the same command goes on from
    there, and a larger --budget goes further.

    Examples:
      aepipe tune photos.toml --budget 30m
      aepipe tune photos.toml --metric map_at_1000 --rows 10000 --save better.toml
      aepipe tune photos.toml --dry-run > space.toml
      aepipe tune photos.toml --space space.toml --trials 40
    """
    from aepipe.pipeline.tune import Settings
    from aepipe.release.originals import check_output

    _check_packages()
    file = load_flow("catalog").recipe_file(recipe)
    order, settings = making.order(file), searching.settings()
    job = load_flow("job").check(order, promote=False)
    space = Settings(**settings).check(job.resolved)
    if dry_run:
        from aepipe.pipeline.space import space_text

        say(space_text(space).rstrip())
        return
    files = written.files(file)
    # An earlier picture under the usual name is drawn again, also where it lies in the source.
    check_output(written.picture, asked=filter(None, [making.source]))
    if files[0].exists() and files[0].samefile(file):
        raise TargetError(f"{files[0]}: is the recipe itself; name another file with --save")
    outcome = _searched(order, settings, making)
    found = _read(outcome)
    _show(found, written)
    if outcome["interrupted"]:
        with resumable():
            raise KeyboardInterrupt
    _keep(found, file, recipe, files, making.source, quiet=written.as_json)


def _keep(found: Tuned, file: Path, recipe: str, files: tuple[Path, Path], source: str | None, *, quiet: bool) -> None:
    """Write the picture, and the better recipe if there is one; say so."""
    from aepipe.report.charts import tuning_picture

    save, picture = files
    write_picture(tuning_picture(found), picture)
    said = [f"{picture}: the search as a picture"]
    if found.best is not None:
        _write(found, file, recipe, save, source)
        said.append(f"{save}: the better recipe; `aepipe run {save}` trains it on all rows")
    for line in said if not quiet else ():
        say(line)


def _check_packages() -> None:
    """Check, before hours of training, that every package is there.

    Raises:
        ExtraError: one is not.
    """
    for package, extra in PACKAGES.items():
        if find_spec(package) is None:
            raise ExtraError(package, extra)


def _searched(order: dict[str, Any], settings: dict[str, Any], making: Making) -> dict[str, Any]:
    """Run the flow, and return what it says of the search."""
    store = making.store
    with resumable(), showing(), load_flow("local_server").session(store, making.api):
        outcome: dict[str, Any] = load_flow("tune").tune(order, settings)
    return outcome


def _read(found: dict[str, Any]) -> Tuned:
    """Return a search as reports need it."""
    from aepipe.pipeline.search import Search
    from aepipe.pipeline.space import from_dict
    from aepipe.report.tuning import Tuned

    space = [from_dict(one) for one in found["space"]]
    search = Search(Path(found["journal"]), space, seed=0)
    told = {name: found[name] for name in ("name", "metric", "sizes", "rows")}
    return Tuned(**told, space=space, trials=search.trials(), finals=search.finals())


def _show(found: Tuned, written: Writing) -> None:
    from aepipe.report.tuning import as_json, tuning_table

    if written.as_json:
        say_json(as_json(found))
    else:
        say(tuning_table(found, width=columns() or WIDTH))


def _write(found: Tuned, file: Path, recipe: str, save: Path, source: str | None) -> None:
    """Write the better recipe."""
    from aepipe.pipeline.tuned import tuned_text
    from aepipe.report.tuning import reasons

    assert found.best is not None, "a better recipe was found"
    changes = found.changes(found.best.number)
    text = tuned_text(file, changes, folder=save.parent, source=source, reasons=reasons(found, recipe))
    write_text(text, save)

"""The verbs that make and measure several networks: ``compare`` and ``study``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aepipe.cli.options import AsJson, Home, shelf
from aepipe.cli.output import say, say_json, write_picture
from aepipe.cli.prefect import Api, Device, SourcePath, absolute, check_free, flows, going_on, prefect
from aepipe.cli.progress import showing
from aepipe.errors import ExtraError, QueryError, RecipeError, TrainingError

if TYPE_CHECKING:
    from aepipe.report.charts import Chart
    from aepipe.report.comparison import Line

WIDTH = 120
"""Columns of a table that goes into a pipe or a file."""
PICTURES = (".gif", ".jpeg", ".jpg", ".png", ".svg", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, slots=True)
class Making:
    """How and where recipes are made, other than they say themselves."""

    source: SourcePath = None
    device: Device = None
    api: Api = None
    home: Home = None

    def order(self, recipe: Path, **more: Any) -> dict[str, Any]:  # noqa: ANN401  whatever open_job takes
        """Return the parameters of :func:`flows.job.open_job` for one recipe."""
        given = {"recipe": str(recipe), "source": absolute(self.source), "device": self.device}
        return given | {"shelf": str(shelf(self.home).root), **more}


@dataclass(frozen=True, slots=True)
class Showing:
    """What becomes of the figures."""

    out: Annotated[
        Path | None, typer.Option("--out", help="Write all figures as Parquet, too.", metavar="FILE.parquet")
    ] = None
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw them, too.", metavar="FILE.png")] = None
    as_json: AsJson = False

    def check(self) -> None:
        """Find out, before hours of training, whether the files can be written.

        Raises:
            QueryError: there is no such folder, or no picture is written under such a name.
            ExtraError: a package that measures is not installed.
        """
        for option, file in (("--out", self.out), ("--picture", self.picture)):
            if file is not None and not file.absolute().parent.is_dir():
                raise QueryError(f"{option} {file}: there is no folder {file.absolute().parent}")
        if self.picture is not None and self.picture.suffix.lower() not in PICTURES:
            raise QueryError(f"--picture {self.picture}: not a kind of picture; allowed: {', '.join(PICTURES)}")
        if find_spec("sklearn") is None:
            raise ExtraError("scikit-learn", "train")
        if self.picture is not None and find_spec("matplotlib") is None:
            raise ExtraError("matplotlib", "report")


def compare(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help="Recipes, folders of them, or globs.", show_default=False)
    ],
    making: Making,
    shown: Showing,
) -> None:
    """Train several recipes on the same rows, and put their figures into one table.

    RECIPE is a TOML file, a folder of them, a glob, or the name of one that comes with the package;
    `zoo` is all recipes of zoo/, one for each kind of autoencoder. Nothing goes into service. What the
    shelf has already is not made again, and recipes that share their first layers train them once.

    error      squared error of an unseen row, summed over its cells (0 to 1): rebuilt from its bits, and
               from the float embedding before fine-tuning (float)
    mAP, P     of retrieval by the bits, where the same label is relevant
    entropy    mean over the bits, of 1 at most
    probe      accuracy of a linear classifier on the embedding
    NMI        of k-means on the bits with the classes
    time, size seconds of training, and how many parameters the network has

    Examples:
      aepipe compare demo zoo/vae zoo/contractive
      aepipe compare zoo --picture zoo.png --out zoo.parquet
      aepipe compare 'mine/*.toml' --source ~/photos --json | jq '.[].figures'
    """
    shown.check()
    orders = [making.order(file) for file in flows("catalog").recipe_files(recipes)]
    _check(orders)
    lines = _made(orders, making)
    from aepipe.report.comparison import comparison_table

    _show(lines, shown, comparison_table, _comparison)


def study(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe, as for run.", show_default=False)],
    making: Making,
    shown: Showing,
    vary: Annotated[
        list[str] | None, typer.Option("--vary", help="A key and its values; may be given again.", metavar="KEY=V,V")
    ] = None,
    select: Annotated[
        bool, typer.Option("--select", help="Choose the best by held-out rows; test only that one.")
    ] = False,
) -> None:
    """Train variations of one recipe, and show what each change is worth.

    KEY is a path in the recipe: code.bits, layers.0.net.width, finetune.corruption.rate, seed. Values are
    TOML, separated by commas. Three short keys change several places at once:

    fit.KEY    of all layers, of the code, and of finetune: fit.batch, fit.lr, fit.epochs
    width      of all layers
    depth      the first so many of [[layers]]

    All combinations are trained, after all of them have been checked. They share one shelf: layers that
    two variations have in common are trained once, and what was trained before is not trained again.
    A training whose loss is not finite is a line that says so. Columns are those of `aepipe compare`, and
    the mAP@1000 of training rows that were held out. Where seeds are varied, their mean is told, too.
    With --select the best is chosen by held-out rows, and only its test figures are shown.

    Examples:
      aepipe study demo --vary fit.batch=64,256,1024 --vary fit.lr=1e-3,3e-3 --picture study.png
      aepipe study photos.toml --vary depth=1,2,3 --select
      aepipe study demo --vary 'code.threshold=zero,median' --vary seed=0,1,2 --out study.parquet
    """
    shown.check()
    orders = _variations(recipe, vary or [], making)
    lines = _made(orders, making)
    from aepipe.report.comparison import choose, means_table, study_table

    lines, chosen = choose(lines) if select else (lines, None)
    _show(lines, shown, study_table, _study)
    for more in (means_table(lines), chosen):
        if more and not shown.as_json:
            say(f"\n{more}")


def _variations(recipe: str, texts: Sequence[str], making: Making) -> list[dict[str, Any]]:
    """Return an order for each combination, all of them checked.

    Raises:
        RecipeError: the recipe, a key or a value is wrong, or values do not go together.
    """
    from aepipe.pipeline.sweep import grid, label, read_variations

    variations = read_variations(texts)
    file = flows("catalog").recipe_file(recipe).absolute()
    _check([making.order(file)])
    alone = [{one.key: value} for one in variations for value in one.values]
    together = list(grid(variations))
    # One change at a time first: so the message names the one that is wrong.
    for settings in [*alone, *together]:
        try:
            flows("job").open_job(**making.order(file, changes=settings))
        except RecipeError as error:
            raise RecipeError(f"--vary {label(settings)}: {str(error).removeprefix(f'{file}: ')}") from None
    return [making.order(file, changes=settings) for settings in together]


def _check(orders: Sequence[dict[str, Any]]) -> None:
    """Resolve all recipes before anything is started, and see that no other run writes under their names."""
    for order in orders:
        job = flows("job").open_job(**order)
        check_free(job.store, job.name)


def _made(orders: Sequence[dict[str, Any]], making: Making) -> list[Line]:
    """Run the flow.

    Raises:
        TrainingError: of not one recipe the training came to an end.
    """
    store = shelf(making.home)
    with going_on(), showing(), prefect(making.api, store):
        outcomes = flows("compare").compare(orders)
    if all(outcome["failed"] for outcome in outcomes):
        raise TrainingError(f"no training came to an end; the first: {outcomes[0]['failed']}")
    from aepipe.report.comparison import read_line

    return [read_line(store, outcome) for outcome in outcomes]


def _comparison(lines: Sequence[Line]) -> Chart:
    from aepipe.report.charts import comparison_picture

    return comparison_picture(lines)


def _study(lines: Sequence[Line]) -> Chart:
    from aepipe.report.charts import study_picture

    return study_picture(lines)


def _show(
    lines: Sequence[Line], shown: Showing, table: Callable[..., str], picture: Callable[[Sequence[Line]], Chart]
) -> None:
    """Print the figures, and write and draw them where that is asked for."""
    from aepipe.report.comparison import as_json, write_parquet

    if shown.as_json:
        say_json([as_json(line) for line in lines])
    else:
        say(table(lines, width=shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH))
    if shown.out:
        write_parquet(lines, shown.out)
    if shown.picture:
        write_picture(picture(lines), shown.picture)

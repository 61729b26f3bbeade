"""The verbs that train and measure several recipes: ``compare`` and ``study``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aepipe.cli.completion import recipes
from aepipe.cli.options import AsJson, Home, User, Where
from aepipe.cli.output import columns, say, say_json, write_picture
from aepipe.cli.prefect import Api, Device, SourcePath, resumable
from aepipe.cli.progress import showing
from aepipe.errors import ExtraError, QueryError, TrainingError
from aepipe.runs import load_flow, server_named

if TYPE_CHECKING:
    from aepipe.report.charts import Chart
    from aepipe.report.comparison import Line
    from aepipe.store.artifacts import Store

WIDTH = 120
"""Columns of a table that goes into a pipe or a file."""
PICTURES = (".gif", ".jpeg", ".jpg", ".png", ".svg", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, slots=True)
class Making:
    """What a comparison does in place of what its recipes say."""

    source: SourcePath = None
    device: Device = None
    api: Api = None
    home: Home = None
    user: User = False

    @property
    def store(self) -> Store:
        """The store that is built in."""
        return Where(self.home, self.user).store()

    def order(self, recipe: Path, **more: Any) -> dict[str, Any]:  # noqa: ANN401  whatever open_job takes
        """Return the parameters of :func:`flows.job.open_job` for one recipe."""
        order: dict[str, Any] = load_flow("job").order(recipe, self.store, source=self.source, device=self.device)
        return order | more


@dataclass(frozen=True, slots=True)
class Showing:
    """Where the figures are written and drawn."""

    out: Annotated[
        Path | None, typer.Option("--out", help="Write all figures as Parquet, too.", metavar="FILE.parquet")
    ] = None
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw them, too.", metavar="FILE.png")] = None
    figures: Annotated[
        str | None,
        typer.Option(
            "--figures",
            help="Only these figures, as --json names them; others that take time are not measured.",
            metavar="NAME,NAME",
        ),
    ] = None
    as_json: AsJson = False

    def chosen(self) -> tuple[str, ...] | None:
        """Return the figures that are asked for; None for the usual ones.

        Raises:
            QueryError: there is no such figure.
        """
        from aepipe.report.comparison import chosen_figures

        return chosen_figures(self.figures)

    def check(self, *given: str | None) -> None:
        """Check, before hours of training, that the files can be written.

        Args:
            given: recipes and sources, which stay as they are.

        Raises:
            QueryError: there is no such folder, or no kind of picture has such a name.
            TargetError: a file is a recipe, or of a source.
            ExtraError: a package that measures or draws is not installed.
        """
        from aepipe.release.originals import check_output

        self.chosen()
        check_output(self.out, self.picture, asked=filter(None, given))
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
        list[str],
        typer.Argument(
            metavar="RECIPE...", help="Recipes, folders of them, or globs.", show_default=False, autocompletion=recipes
        ),
    ],
    making: Making,
    shown: Showing,
) -> None:
    """Train several recipes on the same rows, and show their figures in one table.

    RECIPE is a TOML file, a folder of them, a glob, or the name of one that comes with the package;
    `zoo` stands for all recipes of zoo/, one for each kind of autoencoder. Nothing goes into service.
    What the store has already is not made again, and recipes with the same first layers train them once.

    error      squared error of an unseen row, summed over its cells (0 to 1): rebuilt from its bits, and
               from the float embedding before fine-tuning (float)
    mAP, P     of retrieval by the bits, where rows with the same label are relevant
    entropy    mean entropy of a bit, 1 at most
    probe      accuracy of a linear classifier on the embedding
    NMI        normalised mutual information of k-means clusters of the bits and the labels
    time, size seconds of training, and parameters of the network
    release    to look at with `aepipe show`, or to put into service

    Below stands half of the widest 95 % interval of each retrieval figure, over the queries.

    Examples:
      aepipe compare demo zoo/vae zoo/contractive
      aepipe compare zoo --picture zoo.png --out zoo.parquet
      aepipe compare demo digits --figures map_at_1000,seconds
      aepipe compare 'mine/*.toml' --source ~/photos --json | jq '.[].figures'
    """
    shown.check(making.source)
    orders = [making.order(file) for file in load_flow("catalog").recipe_files(recipes)]
    # A mistake in the last recipe must not be found after hours of training.
    for order in orders:
        load_flow("job").check(order)
    lines = _made(orders, making, shown.chosen())
    from aepipe.report.comparison import comparison_table

    _show(lines, shown, comparison_table, _comparison)


def study(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe, as for run.", show_default=False, autocompletion=recipes)
    ],
    making: Making,
    shown: Showing,
    vary: Annotated[
        list[str] | None, typer.Option("--vary", help="A key and its values; may be given again.", metavar="KEY=V,V")
    ] = None,
    select: Annotated[
        bool, typer.Option("--select", help="Choose the best by held-out rows; test only that one.")
    ] = False,
) -> None:
    """Train variations of one recipe, and show the effect of each change.

    KEY is a path in the recipe: code.bits, layers.0.net.width, finetune.corruption.rate, seed. Values are
    TOML, separated by commas. Three short keys change several places at once:

    fit.KEY    of all layers, of the code, and of finetune: fit.batch, fit.lr, fit.epochs
    width      of all layers
    depth      the number of [[layers]], counted from the first

    All combinations are checked first, then all are trained. They share one store: layers that two
    variations have in common are trained once, and what was trained before is not trained again. A
    training whose loss is not finite becomes a line that says so. Columns are those of `aepipe compare`,
    and the mAP@1000 of training rows that were held out. Where seeds are varied, their mean is shown,
    too. With --select the best is chosen by held-out rows, and only its test figures are shown.

    Examples:
      aepipe study demo --vary fit.batch=64,256,1024 --vary fit.lr=1e-3,3e-3 --picture study.png
      aepipe study photos.toml --vary depth=1,2,3 --select
      aepipe study demo --vary 'code.threshold=zero,median' --vary seed=0,1,2 --out study.parquet
    """
    shown.check(making.source)
    orders = _variations(recipe, vary or [], making)
    lines = _made(orders, making, shown.chosen())
    from aepipe.report.comparison import choose, means_table, study_table

    lines, chosen = choose(lines) if select else (lines, None)
    _show(lines, shown, study_table, _study)
    for more in (means_table(lines, shown.chosen()), chosen):
        if more and not shown.as_json:
            say(f"\n{more}")


def _variations(recipe: str, texts: Sequence[str], making: Making) -> list[dict[str, Any]]:
    """Return an order for each combination, all of them checked.

    Raises:
        RecipeError: the recipe, a key or a value is wrong, or values do not go together.
    """
    from aepipe.pipeline.sweep import checked_grid, read_variations

    jobs, variations = load_flow("job"), read_variations(texts)
    file = load_flow("catalog").recipe_file(recipe).absolute()
    jobs.check(making.order(file))
    settings = checked_grid(variations, file, lambda changes: jobs.open_job(**making.order(file, changes=changes)))
    return [making.order(file, changes=one) for one in settings]


def _made(orders: Sequence[dict[str, Any]], making: Making, figures: Sequence[str] | None = None) -> list[Line]:
    """Run the flow, and read its figures.

    Raises:
        TrainingError: no training came to an end.
    """
    store, wanted = making.store, list(figures) if figures else None
    with resumable(), showing():
        if server_named(making.api):
            with load_flow("local_server").session(store, making.api):
                outcomes = load_flow("compare").compare(orders, wanted)
        else:
            store.create()
            outcomes = load_flow("comparison").compared(orders, wanted)
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
    """Print the figures, and write and draw them where files are named."""
    from aepipe.report.comparison import as_json, write_parquet

    if shown.as_json:
        say_json([as_json(line) for line in lines])
    else:
        say(table(lines, width=columns() or WIDTH, figures=shown.chosen()), fold=False)
    if shown.out:
        write_parquet(lines, shown.out)
    if shown.picture:
        write_picture(picture(lines), shown.picture)

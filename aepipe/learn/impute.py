"""Fill the holes of a table with a masked autoencoder that is trained on that table.

:func:`fill` takes a data frame; :mod:`aepipe.learn.impute_file` takes a file. Numbers are filled with their expected
value, not rounded; categories with the likeliest one. Each column with holes gets a second column,
``<name>_uncertainty``: for a filled value, its standard deviation in the column's own units, or the probability of all
other categories; zero for the rest.

The network reads cells: each value is a share of some levels. A category is one of its levels. So is a number of a
column with few distinct values; any other number lies between two of 32 knots, at the quantiles of its column, and is a
share of both, so that the expected level is the number itself. A missing value is NaN in all of its cells. So one
likelihood, the categorical, serves every column, and a prediction is a distribution over levels, with a mean and a
spread. In each training step some of the present values are hidden from the network, all cells of a value together, and
it has to predict their distribution.

Legend: N rows, D cells of a row, K levels of a column.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from aepipe.errors import SourceError
from aepipe.learn import batches as computing
from aepipe.learn import stack
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import Compute, Feed
from aepipe.learn.spec import layer_spec
from aepipe.learn.trainer import FileCheckpoint, Report, Trainer
from aepipe.log import step
from aepipe.recipe import ComputeRecipe, LayerRecipe

if TYPE_CHECKING:
    import pandas as pd

UNCERTAINTY = "_uncertainty"
LEAST_ROWS = 20
STEPS = 8000
"""Training steps, about: the epochs follow from it and the number of rows."""
BATCH = 256
MOST_EPOCHS = 400
WARMUP = 240
HELD_OUT = 0.1
PATIENCE = 0.2
"""Share of the epochs after which training stops if the loss on held-out rows did not improve."""
ENOUGH_ROWS = 5000
"""From this many rows on, none are held out: no row is seen often enough to be learnt by heart."""
KNOTS = 32
"""Levels of a column of numbers with more distinct values."""
MOST_CATEGORIES = 64
Kind = Literal["number", "category"]
Cells = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Filled:
    """A filled table, and a report for its reader.

    Attributes:
        frame: the table without holes, with its columns of uncertainty.
        holes: number of filled values, by column.
        left_out: columns that stay as they were, each with its reason.
        spread: mean uncertainty of the filled values of each column.
    """

    frame: pd.DataFrame
    holes: dict[str, int]
    left_out: dict[str, str]
    spread: dict[str, float]


def fill(frame: pd.DataFrame, *, seed: int = 0, device: str = "auto", steps: int = STEPS) -> Filled:
    """Learn from a table with holes, and fill them.

    Args:
        frame: the table; it stays as it is.
        seed: of everything random.
        device: as ``compute.device`` of a recipe.
        steps: of training, about.

    Raises:
        SourceError: there are too few rows, or nothing to learn from.
        TrainingError: a loss is not finite.
    """
    if len(frame) < LEAST_ROWS:
        raise SourceError(f"{len(frame)} rows are too few to learn from: at least {LEAST_ROWS} are needed")
    layout = Layout.of(frame)
    filled = frame.copy()
    holes = {column.name: column.missing for column in layout.columns if column.missing}
    spread = {}
    for found in estimate(frame, layout, seed=seed, device=device, steps=steps):
        gaps = frame[found.name].isna().to_numpy()
        uncertainty = found.uncertainty[gaps]
        spread[found.name] = float(uncertainty.mean())
        _put(filled, found.name, gaps, found.values)
        # Next to its column, so that a reader of the table sees both.
        place = int(np.flatnonzero(filled.columns == found.name)[0]) + 1
        filled.insert(place, free_name(found.name, filled.columns), np.where(gaps, found.uncertainty, 0.0))
    return Filled(filled, holes, layout.left_out, spread)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a network expects in one column.

    Attributes:
        name: of the column.
        values: expected, one for each row.
        uncertainty: of each, float64[N]; see :meth:`Column.decode`.
    """

    name: str
    values: NDArray[Any]
    uncertainty: NDArray[np.float64]


def estimate(
    frame: pd.DataFrame, layout: Layout, *, seed: int = 0, device: str = "auto", steps: int = STEPS
) -> Iterator[Estimate]:
    """Learn from a table, and yield the values expected in each column that has holes.

    Args:
        frame: the table.
        layout: of its columns.
        seed: of everything random.
        device: as ``compute.device`` of a recipe.
        steps: of training, about.

    Raises:
        TrainingError: a loss is not finite.
    """
    if not any(column.missing for column in layout.columns):
        return
    cells = layout.encode(frame)
    # float32: tables are small, and knots of large numbers need the digits.
    compute = computing.resolve(ComputeRecipe(device=device, precision="float32"))
    recipe = impute_recipe(layout.spans, len(cells), steps=steps)
    report = partial(step, "learning the table")
    with tempfile.TemporaryDirectory(prefix="aepipe-") as work:
        # Where an epoch would take more steps than are asked for, a random part of the rows is learned from.
        most = steps * recipe.fit.batch
        model = fit(cells, recipe, seed=seed, compute=compute, work=Path(work), report=report, most=most)
    for column, shares in layout.parts(predict(model, cells, compute)):
        if column.missing:
            yield Estimate(column.name, *column.decode(shares))


def impute_recipe(spans: Sequence[int], rows: int, *, steps: int = STEPS) -> LayerRecipe:
    """Return the layer to train: residual blocks that read holes, and a softmax for each column.

    Args:
        spans: cells of each column.
        rows: N; fewer rows get a smaller batch and more epochs.
        steps: of training, about.
    """
    # A small table gets small batches, so that its epochs still have about twenty steps.
    batch = max(16, min(BATCH, rows // 20))
    epochs = int(np.clip(round(steps * batch / max(rows, 1)), 1, MOST_EPOCHS))
    of = [{"columns": n, "likelihood": {"kind": "categorical" if n > 1 else "gaussian"}} for n in spans]
    return LayerRecipe.model_validate(
        {
            "net": {"kind": "residual", "width": 256, "hidden": 256, "blocks": 2, "activation": "relu", "holes": True},
            "likelihood": {"kind": "columns", "of": of},
            # Each row hides another share of its values, so the network meets rows with few and with many holes.
            "corruption": {"kind": "mcar", "rate": 0.05, "rate_max": 0.5, "spans": tuple(spans)},
            # Present cells count a little: they hold the network to its input, but filling holes is the task.
            "objective": {"kind": "masked", "hidden": 1.0, "seen": 0.1},
            "fit": {
                "epochs": epochs,
                "batch": batch,
                "lr": 2e-3,
                "warmup": min(WARMUP, max(1, steps // 4)),
                "weight_decay": 0.01,
                "patience": 0 if rows >= ENOUGH_ROWS else max(5, int(epochs * PATIENCE)),
            },
        }
    )


def fit(
    cells: Cells,
    layer: LayerRecipe,
    *,
    seed: int,
    compute: Compute,
    work: Path,
    report: Report,
    most: int | None = None,
) -> Autoencoder:
    """Train on rows with holes.

    Args:
        cells: float32[N, D]; NaN where a value is missing.
        layer: from :func:`impute_recipe`.
        seed: of everything random.
        compute: the device.
        work: folder of checkpoints.
        report: of progress.
        most: rows to train on, drawn by chance; None takes all.

    Raises:
        TrainingError: a loss is not finite.
    """
    spec = layer_spec(layer, "impute")
    # A random part is held out: tables are often sorted, and their end differs from the rest.
    order = np.random.default_rng(seed).permutation(len(cells))
    kept_back = 0 if len(cells) >= ENOUGH_ROWS else int(len(cells) * HELD_OUT)
    held_out, train = np.sort(order[:kept_back]), np.sort(order[kept_back:][:most])
    model = stack.build([spec], cells.shape[1:], seed=seed)[0]
    rows, others = Feed(cells[train], compute), Feed(cells[held_out], compute)
    trainer = Trainer(model, spec.training, train=rows, held_out=others, seed=seed, compute=compute)
    trainer.run(FileCheckpoint(work), report)
    return trainer.model


def predict(model: Autoencoder, cells: Cells, compute: Compute) -> Cells:
    """Return the distribution over each column's levels given the present cells, float32[N, D]."""
    out = np.empty_like(cells)
    start = 0
    with torch.no_grad():
        for block in Feed(cells, compute).blocks():
            shares = model.likelihood.mean(model.decode(model.encode(block).mean))
            out[start : start + len(block)] = shares.float().cpu().numpy()
            start += len(block)
    return out


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table that a network can read.

    Attributes:
        name: of the column.
        kind: of its values.
        levels: K of them: ascending numbers, or categories.
        missing: number of missing values.
    """

    name: str
    kind: Kind
    levels: tuple[Any, ...]
    missing: int

    def encode(self, values: pd.Series) -> Cells:
        """Return the values as shares of the levels, float32[N, K]; NaN where they are missing."""
        cells = np.full((len(values), len(self.levels)), np.nan, np.float32)
        present = np.flatnonzero(values.notna().to_numpy())
        cells[present] = 0
        known = values.iloc[present]
        if self.kind == "category":
            places = {level: place for place, level in enumerate(self.levels)}
            cells[present, [places[value] for value in known]] = 1
            return cells
        knots = np.array(self.levels, np.float64)
        # Knots span the column the levels were found in; other rows may lie outside.
        numbers = known.to_numpy(np.float64).clip(knots[0], knots[-1])
        upper = np.searchsorted(knots, numbers).clip(min(1, len(knots) - 1), len(knots) - 1)
        lower = (upper - 1).clip(0)
        # A column of one distinct value has knots of no width.
        width = np.maximum(knots[upper] - knots[lower], 1e-300)
        share = np.where(upper == lower, 1.0, (numbers - knots[lower]) / width).astype(np.float32)
        cells[present, lower] = 1 - share
        cells[present, upper] = share
        return cells

    def decode(self, shares: Cells) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the expected values and their uncertainty.

        Args:
            shares: float32[N, K], a distribution over the levels in each row.

        Returns:
            For numbers, mean and standard deviation in their own units; for categories, the likeliest one and the
            probability of all others.
        """
        if len(self.levels) == 1:
            return np.array([self.levels[0]] * len(shares)), np.zeros(len(shares))
        if self.kind == "category":
            best = shares.argmax(1)
            levels = np.array(self.levels, object)
            return levels[best], 1 - shares[np.arange(len(shares)), best].astype(np.float64)
        knots = np.array(self.levels, np.float64)
        mean = shares.astype(np.float64) @ knots
        variance = (shares.astype(np.float64) * (knots - mean[:, None]) ** 2).sum(1)
        return mean, np.sqrt(variance)


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table that a network can read.

    Attributes:
        columns: in the order of the table.
        left_out: the other columns, each with its reason.
    """

    columns: tuple[Column, ...]
    left_out: dict[str, str]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Layout:
        """Find the readable columns of a table, and their levels.

        Raises:
            SourceError: the table has no column that can be read.
        """
        columns, left_out = [], {}
        for name in frame.columns:
            found = _column(str(name), frame[name])
            if isinstance(found, Column):
                columns.append(found)
            else:
                left_out[str(name)] = found
        if not columns:
            reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
            raise SourceError(f"no column can be learned from: {reasons or 'there is none'}")
        return cls(tuple(columns), left_out)

    @property
    def spans(self) -> tuple[int, ...]:
        """Number of cells of each column."""
        return tuple(len(column.levels) for column in self.columns)

    def encode(self, frame: pd.DataFrame) -> Cells:
        """Return the rows of a table as cells, float32[N, D]."""
        return np.concatenate([column.encode(frame[column.name]) for column in self.columns], axis=1)

    def parts(self, cells: Cells) -> Iterator[tuple[Column, Cells]]:
        """Yield each column with its cells."""
        ends = np.cumsum(self.spans)
        for column, end in zip(self.columns, ends, strict=True):
            yield column, cells[:, end - len(column.levels) : end]


def _column(name: str, values: pd.Series) -> Column | str:
    """Return a column, or the reason why it cannot be read."""
    import pandas as pd

    present = values.dropna()
    missing = len(values) - len(present)
    if present.empty:
        return "it has no value at all"
    # Booleans are numbers to pandas, but a mean of them is no value of the column.
    if pd.api.types.is_bool_dtype(present) or not pd.api.types.is_numeric_dtype(present):
        levels = tuple(sorted(present.unique(), key=str))
        if len(levels) > MOST_CATEGORIES:
            return f"it has {len(levels):,} different texts, and {MOST_CATEGORIES} categories are the most"
        return Column(name, "category", levels, missing)
    numbers = present.to_numpy(np.float64)
    if not np.isfinite(numbers).all():
        return "it has infinite values"
    return Column(name, "number", _levels(numbers), missing)


def _levels(numbers: NDArray[np.float64]) -> tuple[float, ...]:
    """Return all distinct values if they are few, else knots at the quantiles."""
    distinct = np.unique(numbers)
    if len(distinct) > KNOTS:
        # Quantiles follow the density: knots lie close where values do. Equal ones fall together.
        distinct = np.unique(np.quantile(numbers, np.linspace(0, 1, KNOTS)))
    return tuple(distinct.tolist())


def _put(frame: pd.DataFrame, name: str, gaps: np.ndarray, values: np.ndarray) -> None:
    """Put values into the gaps of a column; whole numbers become floats, as expected values are."""
    import pandas as pd

    column = frame[name]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        column = column.astype("float64")
    elif not isinstance(column.dtype, pd.StringDtype):
        column = column.astype(object)
    frame[name] = column.mask(gaps, pd.Series(values, index=frame.index))


def free_name(name: str, taken: Collection[str]) -> str:
    """Return a name for the column of uncertainty that no other column has."""
    wanted = f"{name}{UNCERTAINTY}"
    while wanted in taken:
        wanted += "_"
    return wanted

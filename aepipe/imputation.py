"""A table with holes, the same without: read, learn from what is there, fill, write.

Numbers are filled with their expected value, not rounded; categories with the likeliest one. Each column that had holes
gets another beside it, ``<name>_uncertainty``: where a value was filled, its standard deviation in the column's own
units, or the probability that the category is another one; zero where the value was there.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aepipe.columns import Layout
from aepipe.disk import disk_errors_named
from aepipe.errors import SourceError
from aepipe.learn import compute as computing
from aepipe.learn import impute as learning
from aepipe.progress import step
from aepipe.recipe import ComputeRecipe

if TYPE_CHECKING:
    import pandas as pd

UNCERTAINTY = "_uncertainty"
MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-")
FORMATS = (".csv", ".tsv", ".parquet")
LEAST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Filled:
    """What was done.

    Attributes:
        frame: the table without holes, and its columns of uncertainty.
        holes: how many values each column lacked, of those that were filled.
        left_out: columns that are as they were, with the reason why.
        spread: mean uncertainty of the filled values of each column.
    """

    frame: pd.DataFrame
    holes: dict[str, int]
    left_out: dict[str, str]
    spread: dict[str, float]


def read(file: Path, *, header: bool = True) -> pd.DataFrame:
    """Read a table.

    Args:
        file: CSV, TSV (gzipped or not) or Parquet; empty values, ``?`` and the usual words for nothing are missing.
        header: whether its first line has the names of columns; without them they are ``column_0`` and so on.

    Raises:
        SourceError: it is missing, of another kind, or cannot be read.
    """
    import pandas as pd

    kind = next((suffix for suffix in reversed(file.suffixes) if suffix.lower() in FORMATS), "").lower()
    if not kind:
        raise SourceError(f"{file}: not a table that can be read; allowed: {', '.join(FORMATS)}")
    try:
        if kind == ".parquet":
            return pd.read_parquet(file)
        frame = pd.read_csv(
            file,
            sep="\t" if kind == ".tsv" else ",",
            header=0 if header else None,
            na_values=list(MISSING),
            skipinitialspace=True,
        )
    except FileNotFoundError:
        raise SourceError(f"{file}: no such file") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"{file}: cannot be read as a table: {' '.join(str(error).split())}") from None
    return frame if header else frame.rename(columns=lambda number: f"column_{number}")


def fill(frame: pd.DataFrame, *, seed: int = 0, device: str = "auto", steps: int = learning.STEPS) -> Filled:
    """Learn from a table with holes, and fill them.

    Args:
        frame: the table; it is left alone.
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
    if not holes:
        return Filled(filled, {}, layout.left_out, {})
    cells = layout.encode(frame)
    compute = computing.resolve(ComputeRecipe(device=device, precision="float32"))
    recipe = learning.recipe(layout.spans, len(cells), steps=steps)
    with tempfile.TemporaryDirectory(prefix="aepipe-") as work:
        model = learning.fit(
            cells, recipe, seed=seed, compute=compute, work=Path(work), report=partial(step, "learning the table")
        )
    spread = {}
    for column, shares in layout.parts(learning.predict(model, cells, compute)):
        if not column.missing:
            continue
        values, uncertainty = column.decode(shares)
        gaps = frame[column.name].isna().to_numpy()
        spread[column.name] = float(uncertainty[gaps].mean())
        _put(filled, column.name, gaps, values)
        place = int(np.flatnonzero(filled.columns == column.name)[0]) + 1
        filled.insert(place, _free_name(filled, column.name), np.where(gaps, uncertainty, 0.0))
    return Filled(filled, holes, layout.left_out, spread)


def write(frame: pd.DataFrame, file: Path) -> None:
    """Write a table as its name says.

    Raises:
        SourceError: it is of a kind that cannot be written.
        StoreError: there is no room, or no such folder.
    """
    kind = next((suffix for suffix in reversed(file.suffixes) if suffix.lower() in FORMATS), "").lower()
    if not kind:
        raise SourceError(f"{file}: not a table that can be written; allowed: {', '.join(FORMATS)}")
    with disk_errors_named(file.parent):
        if kind == ".parquet":
            frame.to_parquet(file, index=False)
        else:
            frame.to_csv(file, index=False, sep="\t" if kind == ".tsv" else ",")


def _put(frame: pd.DataFrame, name: str, gaps: np.ndarray, values: np.ndarray) -> None:
    """Put values where a column has gaps; whole numbers become floats, for expected values are."""
    import pandas as pd

    column = frame[name]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        column = column.astype("float64")
    elif not isinstance(column.dtype, pd.StringDtype):
        column = column.astype(object)
    frame[name] = column.mask(gaps, pd.Series(values, index=frame.index))


def _free_name(frame: pd.DataFrame, name: str) -> str:
    """Return a name for a column of uncertainty that the table does not have."""
    wanted = f"{name}{UNCERTAINTY}"
    while wanted in frame.columns:
        wanted += "_"
    return wanted

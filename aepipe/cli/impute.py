"""The verb ``impute``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aepipe.cli.output import say, table
from aepipe.cli.progress import showing


def impute(
    source: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV, TSV or Parquet.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where to write it; else NAME-filled in the same folder.", metavar="FILE"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write it where a file is already.")] = False,
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", help="Whether a CSV begins with column names; else its lines tell."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of training, approximately.", metavar="N")] = 8000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random numbers.", metavar="N")] = 0,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps.", metavar="DEVICE")] = "auto",
) -> None:
    """Fill missing values of a table.

    A masked autoencoder is trained on the table itself: each step hides some of the known values, and it
    learns to predict them. Numbers and dates are filled with their expected value, categories with the
    most probable one. Empty values, ?, NA and the like count as missing in a CSV, nulls in Parquet.

    All other cells are written as they were, byte for byte: delimiter, decimal commas, encoding,
    quotation marks and line ends stay, and so do the types and the index of a Parquet file.

    Each column with missing values gets a second one, NAME_uncertainty: the standard deviation of a
    filled value, in the column's units (days for dates); for categories, the probability that another
    one is right; 0 where the value was known. Columns of free text, row numbers, and columns without any
    value stay as they are.

    Examples:
      aepipe impute patients.csv
      aepipe impute horse-colic.csv --no-header --out filled.parquet
    """
    from aepipe.learn import impute_file

    target = impute_file.target_of(source, out)
    with showing():
        found = impute_file.fill_file(
            source, target, header=header, overwrite=overwrite, seed=seed, device=device, steps=steps
        )
    rows = [
        (f"{count:,}", f"{count / found.rows:.1%}", f"{found.spread[name]:.3g}", name)
        for name, count in found.holes.items()
    ]
    if rows:
        say(table(("filled", "of all", "uncertainty", "column"), rows, left=3))
    for name, why in found.left_out.items():
        say(f"{name or 'without a name'}: left as it was: {why}")
    for note in found.notes:
        say(note)
    say(f"{target}: {found.rows:,} rows, {sum(found.holes.values()):,} values filled")

"""The verb ``impute``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aepipe.cli.output import say, table
from aepipe.cli.progress import showing
from aepipe.errors import QueryError


def impute(
    source: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV, TSV or Parquet.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where to write it; else NAME-filled in the same folder.", metavar="FILE"),
    ] = None,
    header: Annotated[
        bool, typer.Option("--header/--no-header", help="Whether a CSV begins with column names.")
    ] = True,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of training, approximately.", metavar="N")] = 8000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random numbers.", metavar="N")] = 0,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps.", metavar="DEVICE")] = "auto",
) -> None:
    """Fill missing values of a table.

    A masked autoencoder is trained on the table itself: each step hides some of the known values, and it
    learns to predict them. Numbers are filled with their expected value, categories with the most
    probable one. Empty values, ?, NA and the like count as missing.

    Each column with missing values gets a second one, NAME_uncertainty: the standard deviation of a
    filled value, in the column's units; for categories, the probability that another one is right; 0
    where the value was known. Columns of free text, and columns without any value, stay as they are.

    Examples:
      aepipe impute patients.csv
      aepipe impute horse-colic.csv --no-header --out filled.parquet
    """
    from aepipe.learn import impute

    target = out or source.with_name(f"{source.name.removesuffix(''.join(source.suffixes))}-filled{source.suffix}")
    if target.exists() and target.resolve() == source.resolve():
        raise QueryError(f"{target}: is the table itself; name another file with --out")
    frame = impute.read(source, header=header)
    with showing():
        found = impute.fill(frame, seed=seed, device=device, steps=steps)
    impute.write(found.frame, target)
    rows = [
        (f"{count:,}", f"{count / len(frame):.1%}", f"{found.spread[name]:.3g}", name)
        for name, count in found.holes.items()
    ]
    if rows:
        say(table(("filled", "of all", "uncertainty", "column"), rows, left=3))
    for name, why in found.left_out.items():
        say(f"{name}: left as it was: {why}")
    say(f"{target}: {len(frame):,} rows, {sum(found.holes.values()):,} values filled")

"""The verb ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aepipe.cli import shelving
from aepipe.cli.options import Place, ReleaseOption
from aepipe.cli.output import say
from aepipe.cli.terminal import showing

Out = Annotated[
    Path, typer.Argument(metavar="OUT_DIR", help="Missing, empty, or an earlier export, which is replaced.")
]


def export(
    folder: Out,
    place: Place,
    release: ReleaseOption = None,
    bits: Annotated[
        int | None, typer.Option("--bits", min=1, help="Write only the first bits of the codes.", metavar="N")
    ] = None,
) -> None:
    """Write a release as Parquet, for SQL and data frames.

    Columns: id, key, the source's own, label, split, embedding (float vector), code (bytes), and the
    code as 64-bit words: bit_count(xor(code_u64_0, q)) is the Hamming distance of 64-bit codes.
    It takes the extra `train`.

    Examples:
      aepipe export codes/
      aepipe export codes/ --release 3f9a0c11 --bits 32
      duckdb -c "select label, count(*) from 'codes/*.parquet' group by label"
    """
    from aepipe.stages.export import export as write

    store = place.store()
    with showing():
        done = write(store, shelving.find(store, release, place.name), folder, n_bits=bits)
    say(f"{done.rows:,} rows in {len(done.files):,} file{'' if len(done.files) == 1 else 's'} in {done.folder}")

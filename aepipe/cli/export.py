"""The verb ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aepipe.cli.options import Place, ReleaseOption
from aepipe.cli.output import say
from aepipe.cli.progress import showing
from aepipe.errors import QueryError

Out = Annotated[
    Path,
    typer.Argument(
        metavar="OUT",
        help="A folder: missing, empty, or an earlier export, which is replaced. Or a file: NAME.parquet, NAME.csv, "
        "NAME.tsv, NAME.jsonl, NAME.arrow, NAME.feather, NAME.onnx.",
    ),
]


FILES = (".parquet", ".arrow", ".feather", ".csv", ".tsv", ".jsonl")
OTHERS = (".json", ".xlsx", ".ods", ".zip", ".gz", ".db", ".sqlite", ".duckdb", ".npy", ".npz", ".h5")
"""Endings of files that nobody gives a folder, and that rows are not written under."""


def export(
    out: Out,
    place: Place,
    release: ReleaseOption = None,
    bits: Annotated[
        int | None, typer.Option("--bits", min=1, help="Write only the first bits of the codes.", metavar="N")
    ] = None,
) -> None:
    """Write a release for SQL and data frames, or its encoder as one ONNX file.

    Columns: id, key, the source's own, label, split, embedding (float vector), code (bytes), and the
    code as 64-bit words: bit_count(xor(code_u64_0, q)) is the Hamming distance of 64-bit codes.
    NAME.onnx holds everything from a decoded item to its bits, the frozen network of photographs too;
    its metadata say how an item is decoded. Both need the extra `train`.

    Examples:
      aepipe export codes/
      aepipe export codes/ --release 3f9a0c11 --bits 32
      aepipe export codes.csv
      aepipe export encoder.onnx
      duckdb -c "select label, count(*) from 'codes/*.parquet' group by label"
    """
    collection = place.open(release)
    if out.suffix == ".onnx":
        if bits is not None:
            raise QueryError(f"--bits {bits}: a graph gives all bits; take the first {bits} of them")
        shape = collection.export_encoder(out)
        say(f"{out}: items [{', '.join(map(str, shape))}] in; embedding, logits and bits out")
        return
    if out.suffix.lower() in OTHERS and not out.is_dir():
        raise QueryError(
            f"{out}: rows are not written under that ending; name a folder, or a file: NAME.parquet, NAME.csv, "
            "NAME.tsv, NAME.jsonl, NAME.arrow, NAME.feather, or NAME.onnx for the encoder"
        )
    with showing():
        done = collection.export(out, bits=bits)
    if out.suffix.lower() in FILES and done.files == (out.name,):
        say(f"{done.rows:,} rows in {done.folder / out.name}")
        return
    say(f"{done.rows:,} rows in {len(done.files):,} file{'' if len(done.files) == 1 else 's'} in {done.folder}")

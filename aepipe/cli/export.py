"""The verb ``export``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aepipe.cli.options import Place, ReleaseOption
from aepipe.cli.output import remark, say
from aepipe.cli.progress import showing
from aepipe.errors import QueryError

if TYPE_CHECKING:
    from aepipe.api import Collection
    from aepipe.pipeline.export.system import Sent

Out = Annotated[
    Path | None,
    typer.Argument(
        metavar="OUT",
        help="A folder: missing, empty, or an earlier export, which is replaced. Or a file: NAME.parquet, NAME.csv, "
        "NAME.tsv, NAME.jsonl, NAME.arrow, NAME.feather, NAME.onnx.",
        show_default=False,
    ),
]
FILES = (".parquet", ".arrow", ".feather", ".csv", ".tsv", ".jsonl")
OTHERS = (".json", ".xlsx", ".ods", ".zip", ".gz", ".db", ".sqlite", ".duckdb", ".npy", ".npz", ".h5")
"""Endings of files that nobody gives a folder, and that rows are not written under."""
SYSTEMS = re.compile(r"(postgres(ql)?|duckdb|lancedb|clickhouse(\+https)?|chdb|qdrant(\+https)?|opensearch|milvus):")


@dataclass(frozen=True, slots=True)
class Into:
    """The system that a release is written into, in place of files."""

    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="SYSTEM",
            help="In place of OUT: postgresql://HOST/DATABASE, duckdb:FILE, lancedb:FOLDER, "
            "clickhouse://HOST/DATABASE, chdb:FOLDER, qdrant://HOST, qdrant:FOLDER, opensearch:FOLDER, milvus:FOLDER.",
        ),
    ] = None
    table: Annotated[
        str | None,
        typer.Option("--table", metavar="NAME", help="Its name in the system; else that of the collection."),
    ] = None
    replace: Annotated[bool, typer.Option("--replace", help="Replace what has that name in the system.")] = False
    index: Annotated[bool, typer.Option("--index/--no-index", help="Make pgvector's graph for approximate search.")] = (
        True
    )


def export(
    place: Place,
    into: Into,
    out: Out = None,
    release: ReleaseOption = None,
    bits: Annotated[
        int | None, typer.Option("--bits", min=1, help="Write only the first bits of the codes.", metavar="N")
    ] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings/--no-embeddings", help="Without them, nothing is encoded once more.")
    ] = True,
) -> None:
    """Write a release as files, or into a system that others run; or its encoder as ONNX.

    Columns: id, key, the source's own, label, split, embedding (float vector), code (bytes), and the
    code as 64-bit words: bit_count(xor(code_u64_0, q)) is the Hamming distance of 64-bit codes.
    --to writes a table into a system, and prints the question that gives aepipe's hits there. The table
    has its name when it is whole; one that is there already is replaced with --replace only.
    NAME.onnx holds everything from a decoded item to its bits, the frozen network of photographs too;
    its metadata say how an item is decoded. All need the extra `train`.

    Examples:
      aepipe export codes/
      aepipe export codes/ --release 3f9a0c11 --bits 32
      aepipe export codes.csv --no-embeddings
      aepipe export encoder.onnx
      aepipe export --to postgresql://db.example.org/shop --table boots --replace
      aepipe export --to duckdb:boots.duckdb
      duckdb -c "select label, count(*) from 'codes/*.parquet' group by label"
    """
    _check(out, into)
    collection = place.open(release)
    if into.to is None:
        assert out is not None
        _write(collection, out, bits, embeddings=embeddings)
        return
    with showing():
        sent = collection.export_to(
            into.to, table=into.table, replace=into.replace, bits=bits, embeddings=embeddings, index=into.index
        )
    _show_sent(sent, bits)


def _check(out: Path | None, into: Into) -> None:
    """Check that there is one target.

    Raises:
        QueryError: there is none, or two, or an option belongs to the other one.
    """
    if into.to is None and (into.table is not None or into.replace or not into.index):
        raise QueryError("--table, --replace and --no-index belong to --to")
    if into.to is not None and out is not None:
        raise QueryError("OUT and --to exclude each other")
    if into.to is None and out is None:
        raise QueryError("name a folder or a file, or a system by --to")
    if out is not None and SYSTEMS.match(str(out)):
        raise QueryError("a system is named by --to: aepipe export --to ADDRESS")


def _show_sent(sent: Sent, bits: int | None) -> None:
    """Print what was written into a system, and the question."""
    say(f"{sent.rows:,} rows in {sent.table} of {sent.where}")
    for note in sent.notes:
        remark(note)
    if sent.rows:
        ask = f"aepipe query --id {sent.asked} --fast" + (f" --bits {bits}" if bits else "")
        say(f"\nThe hits of `{ask}` are given there by\n\n{sent.question}", fold=False)


def _write(collection: Collection, out: Path, bits: int | None, *, embeddings: bool) -> None:
    """Write a folder or a file."""
    if out.suffix == ".onnx":
        if bits is not None:
            raise QueryError(f"--bits {bits}: a graph gives all bits; take the first {bits} of them")
        shape = collection.export_encoder(out)
        say(f"{out}: items [{', '.join(map(str, shape))}] in; embedding, logits and bits out")
        return
    if out.suffix.lower() in OTHERS and not out.is_dir():
        hint = f", or a database by --to duckdb:{out}" if out.suffix.lower() == ".duckdb" else ""
        raise QueryError(
            f"{out}: rows are not written under that ending; name a folder, or a file: NAME.parquet, NAME.csv, "
            f"NAME.tsv, NAME.jsonl, NAME.arrow, NAME.feather, or NAME.onnx for the encoder{hint}"
        )
    with showing():
        done = collection.export(out, bits=bits, embeddings=embeddings)
    if out.suffix.lower() in FILES and done.files == (out.name,):
        say(f"{done.rows:,} rows in {done.folder / out.name}")
        return
    say(f"{done.rows:,} rows in {len(done.files):,} file{'' if len(done.files) == 1 else 's'} in {done.folder}")

"""Fill the holes of a file: a cell that is no hole comes back as it was, byte for byte.

Of CSV, only the holes are written, into the text of the file, and the columns of uncertainty behind theirs. Of Parquet,
see :mod:`aepipe.learn.impute_parquet`.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import SourceError
from aepipe.learn import impute_parquet
from aepipe.learn.impute import STEPS, free_name
from aepipe.learn.impute_column import Report, learned, read_texts
from aepipe.sources import notation
from aepipe.sources.files import check_file, pointer_in
from aepipe.sources.formats.written import Added, Written
from aepipe.store.io import check_target, replacing

if TYPE_CHECKING:
    import pyarrow as pa

TEXTS = (".csv", ".tsv", ".tab", ".txt")
TABLES = (".parquet", ".pq")
PARQUET = b"PAR1"
LARGEST_WHOLE = 2**53
"""Whole numbers up to this one can be written as floating-point numbers."""
_NO_WORDS = frozenset({"", "?", "na", "n/a", "nan", "null", "#n/a", "<na>"})
"""Ways to write that there is no value that need not be said."""


def target_of(source: Path, out: Path | None = None) -> Path:
    """Return where the filled table goes: next to its source, as ``NAME-filled``."""
    if out is not None:
        return out
    ends = "".join(source.suffixes[-2:] if source.suffix.lower() == ".gz" else source.suffixes[-1:])
    return source.with_name(f"{source.name.removesuffix(ends)}-filled{ends}")


def fill_file(
    source: Path,
    target: Path,
    *,
    header: bool | None = None,
    overwrite: bool = False,
    seed: int = 0,
    device: str = "auto",
    steps: int = STEPS,
) -> Report:
    """Fill the holes of a table, and write it.

    Args:
        source: CSV, TSV (gzipped or not) or Parquet, told by its bytes. In texts, empty cells, ``?`` and the usual
            words for no value are holes; in Parquet, nulls and floating-point numbers that are no numbers.
        target: where it is written, in the format of its name.
        header: whether a text begins with the names of its columns; None where its lines tell.
        overwrite: whether the target may be there already.
        seed: of everything random.
        device: as ``compute.device`` of a recipe.
        steps: of training, about.

    Raises:
        StoreError: the target cannot be written; that is found before anything is learned.
        SourceError: the source cannot be read, or nothing can be learned from it.
        TrainingError: a loss is not finite.
    """
    kind = _kind_of(source)
    wanted = _named(target, "written")
    check_target(target, overwrite=overwrite)
    if target.exists() and target.samefile(source):
        raise SourceError(f"{target}: is the table itself; name another file with --out")
    chosen = {"seed": seed, "device": device, "steps": steps}
    if kind == "text" and wanted == "text":
        written = Written.read(source, header=header)
        data, found = _fill_text(written, **chosen)  # type: ignore[arg-type]
        with replacing(target) as file:
            file.write_bytes(gzip.compress(data, mtime=0) if target.suffix.lower() == ".gz" else data)
        return found
    if kind == "text":
        table, notes = _typed(Written.read(source, header=header))
        done, found = impute_parquet.fill_table(table, **chosen)  # type: ignore[arg-type]
        found.notes[:0] = notes
    else:
        done, found = impute_parquet.fill_table(impute_parquet.read(source), **chosen)  # type: ignore[arg-type]
    with replacing(target) as file:
        if wanted == "table":
            impute_parquet.write(done, file, like=source if kind == "table" else None)
        else:
            data = _as_csv(done, "\t" if target.suffixes[-1:] in ([".tsv"], [".tab"]) else ",")
            file.write_bytes(gzip.compress(data, mtime=0) if target.suffix.lower() == ".gz" else data)
    return found


def _fill_text(written: Written, *, seed: int, device: str, steps: int) -> tuple[bytes, Report]:
    """Return the bytes of a text with its holes filled, and the report."""
    names, columns = written.dialect.names, written.columns()
    found = Report(len(written), notes=list(written.notes))
    gaps = {name: _gaps(column) for name, column in zip(names, columns, strict=True)}
    found.notes += _words(names, columns, gaps)
    places = [f"line {number}" for number in written.lines()]
    read = read_texts(dict(zip(names, columns, strict=True)), gaps, places, found)
    parts = [one.part(name) for name, one in read.items()]
    values, added, taken = {}, {}, list(names)
    for one in learned(parts, seed=seed, device=device, steps=steps, found=found):
        place, column = names.index(one.name), read[one.name]
        values[place] = column.written(one)
        added[place] = Added(free_name(one.name, taken), column.spread(one), "0")
        taken.append(added[place].name)
    return written.filled(values, added), found


def _gaps(column: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([notation.is_missing(text) for text in column], bool)


def _words(names: Sequence[str], columns: Sequence[Sequence[str]], gaps: dict[str, NDArray[np.bool_]]) -> list[str]:
    """Say which words count as holes, where they are not the commonest ones."""
    notes = []
    for name, column in zip(names, columns, strict=True):
        words = Counter(column[row] for row in np.flatnonzero(gaps[name]).tolist())
        unusual = [f"{word!r} ({count:,})" for word, count in words.items() if word.lower() not in _NO_WORDS]
        if unusual:
            notes.append(f"column {name!r}: taken for holes: {', '.join(unusual)}")
    return notes


def _typed(written: Written) -> tuple[pa.Table, list[str]]:
    """Return a text as a table with types, and what was guessed of it.

    A column is one of numbers only where all of its texts are what these numbers are written as.
    """
    import pyarrow as pa

    arrays = [_typed_column(column) for column in written.columns()]
    return pa.table(arrays, names=list(written.dialect.names)), written.notes


def _typed_column(column: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    texts = [None if notation.is_missing(text) else text for text in column]
    for kind in (int, float):
        try:
            numbers = [None if text is None else kind(text) for text in texts]
        except ValueError:
            continue
        same = all(text is None or _is_same(number, text) for number, text in zip(numbers, texts, strict=True))
        whole = kind is int and all(number is None or abs(number) <= LARGEST_WHOLE for number in numbers)
        if same and (whole or kind is float):
            holes = None in texts
            return pa.array(numbers, pa.int64() if kind is int and not holes else pa.float64())
    return pa.array(texts, pa.string())


def _is_same(number: float | None, text: str) -> bool:
    """Whether a number tells all that a text tells."""
    if isinstance(number, int):
        return str(number) == text
    whole, _, behind = text.lower().lstrip("+-").partition(".")
    plain = len(whole + behind) <= 15 and not (len(whole) > 1 and whole.startswith("0")) and not text.startswith("+")
    return plain and behind[-1:] != "0"


def _as_csv(table: pa.Table, delimiter: str) -> bytes:
    """Return a table as text."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(table.column_names)
    for batch in table.to_batches():
        columns = [column.to_pylist() for column in batch.columns]
        writer.writerows(zip(*columns, strict=True))
    return stream.getvalue().encode("utf-8", "surrogateescape")


def _kind_of(source: Path) -> str:
    """Return whether a file is a ``text`` or a ``table``, by its bytes, else by its name.

    Raises:
        SourceError: there is none, or it is of another kind, or a pipe, which would be waited for.
    """
    try:
        check_file(source)
        with source.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        _named(source, "read")
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise SourceError(f"{source}: {reason}") from None
    if reason := pointer_in(head):
        raise SourceError(f"{source}: {reason}")
    if head.startswith(PARQUET):
        return "table"
    return _named(source, "read")


def _named(file: Path, use: str) -> str:
    """Return the kind of a file by its name; ``.gz`` may follow the ending of a text.

    Raises:
        SourceError: no ending tells one.
    """
    name = file.name.lower()
    if name.removesuffix(".gz").endswith(TEXTS):
        return "text"
    if name.endswith(TABLES):
        return "table"
    raise SourceError(f"{file}: not a table that can be {use}; allowed: {', '.join((*TEXTS, *TABLES))}")

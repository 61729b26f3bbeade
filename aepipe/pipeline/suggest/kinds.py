"""What a folder, a file or a glob holds: told by the first bytes of the files, not by their names.

Some of the files are looked at, spread over all of them. A kind of source is a guess for the whole path; what fits no
kind is named with the reason.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aepipe.errors import ItemError, SourceError
from aepipe.sources.audio import source as audio
from aepipe.sources.files import Files, Found
from aepipe.sources.formats import folder, records
from aepipe.sources.images.decode import format_of
from aepipe.sources.text.decode import text_of
from aepipe.sources.video import source as video
from aepipe.sources.video.decode import is_video

LOOKED_AT = 200
HEAD = 1 << 13
LONG_TEXT = 40
"""Letters that a value has, on average, from which a column is one of documents."""
ENDINGS = {"images": folder.SUFFIXES, "audio": audio.SUFFIXES, "video": video.SUFFIXES}
"""Of files that a table names, by kind of source."""


@dataclass(slots=True)
class Holding:
    """What a path holds.

    Attributes:
        files: how many there are.
        kinds: of those that were looked at, by kind of source.
        strangers: those that fit none, with the reason.
        columns: of documents, vectors or recordings, in the first table that has one, by kind.
    """

    files: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    strangers: list[tuple[str, str]] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The kind of source that most of the files are of.

        A table beside pictures, documents or recordings is taken to be about them.
        """
        found = Counter(self.kinds)
        if len(found) > 1:
            found.pop("table", None)
        return max(sorted(found), key=found.__getitem__) if found else ""


def look(path: str) -> Holding:
    """Say what a path holds.

    Args:
        path: a file, a folder or a glob, relative to the working directory.

    Raises:
        SourceError: there is no such path, or no file in it.
    """
    files = list(Files.at(path, Path.cwd()))
    if not files:
        raise SourceError(f"{path}: no files in it")
    found = Holding(files=len(files))
    every = max(1, len(files) // LOOKED_AT)
    for file in files[::every]:
        kind, told = _kind(file)
        if kind:
            found.kinds[kind] += 1
            if told:
                found.columns.setdefault(kind, told)
        else:
            found.strangers.append((file.place, told))
    return found


def _kind(file: Found) -> tuple[str, str]:
    """Return the kind of source that a file is of, and which column; or no kind, and why."""
    if file.refusal:
        return "", file.refusal
    try:
        with open(file.path, "rb") as stream:
            head = stream.read(HEAD)
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    if not head:
        return "", "empty file"
    return next((found for test in _TESTS if (found := test(file, head)) is not None), ("", "of no known kind"))


def _picture(file: Found, head: bytes) -> tuple[str, str] | None:
    """Tell pictures, archives of them and IDX files."""
    if format_of(head):
        return "images", ""
    name = file.place.lower()
    tar = head[257:262] == b"ustar" or name.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))
    return ("images", "") if tar or "idx3-ubyte" in name or "idx1-ubyte" in name else None


def _sound(file: Found, head: bytes) -> tuple[str, str] | None:
    """Tell recordings."""
    found = head.startswith(b"fLaC") or (head[:4] == b"RIFF" and head[8:12] == b"WAVE")
    return ("audio", "") if found else None


def _film(file: Found, head: bytes) -> tuple[str, str] | None:
    """Tell videos."""
    return ("video", "") if is_video(head) else None


def _array(file: Found, head: bytes) -> tuple[str, str] | None:
    """Tell arrays."""
    if head.startswith(b"\x93NUMPY") or file.place.lower().endswith(".npz"):
        return "vectors", ""
    return None


def _parquet(file: Found, head: bytes) -> tuple[str, str] | None:
    """Tell what the columns of a Parquet file hold."""
    if not head.startswith(b"PAR1"):
        return None
    import pyarrow as pa

    try:
        schema = records.columns(Path(file.path), "x.parquet")
    except SourceError as error:
        return "", str(error).partition(": ")[2]
    for column in schema:
        binary = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
        if binary or (pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0):
            return "images", column.name
        listed = pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)
        if listed and pa.types.is_floating(column.type.value_type):
            return "vectors", column.name
    return _told_by_values(_first(file, "x.parquet"))


def _rows(file: Found, head: bytes) -> tuple[str, str] | None:
    """Tell what the columns of CSV and JSON lines hold."""
    name = file.place
    if not records.claims(name) or name.lower().endswith((".parquet", ".pq")):
        name = "x.jsonl" if _is_json_line(head) else ""
    try:
        return _told_by_values(_first(file, name)) if name else None
    except (SourceError, OSError, EOFError, zlib.error) as error:
        return "", str(error).partition(": ")[2]


def _document(file: Found, head: bytes) -> tuple[str, str] | None:
    """Tell documents."""
    if len(head) == HEAD:  # which may end within a letter
        head = head[: max(head.rfind(b" "), head.rfind(b"\n"), HEAD - 4)]
    try:
        text_of(head, file.place)
    except ItemError as error:
        return "", error.reason
    return "text", ""


def _first(file: Found, name: str) -> list[dict[str, object]]:
    """Return some rows of a table."""
    found: list[dict[str, object]] = []
    for line in records.read(Path(file.path), name):
        if not line.trouble:
            found.append(line.record)
        if line.number >= LOOKED_AT:
            break
    return found


def _told_by_values(rows: Sequence[dict[str, object]]) -> tuple[str, str]:
    """Say what a table is by its values: paths of pictures or recordings, documents, or a table."""
    if not rows:
        return "", "a table without rows"
    names = list(rows[0])
    texts = {name: [value for row in rows if isinstance(value := row.get(name), str)] for name in names}
    for kind, endings in ENDINGS.items():
        for name, values in texts.items():
            if values and all(value.strip().lower().endswith(endings) for value in values):
                return kind, name
    lengths = {name: sum(map(len, values)) / len(rows) for name, values in texts.items() if values}
    wordy = [name for name, length in lengths.items() if length >= LONG_TEXT and _has_words(texts[name])]
    if wordy:
        return "text", "text" if "text" in wordy else max(wordy, key=lengths.__getitem__)
    return "table", ""


def _has_words(values: Sequence[str]) -> bool:
    """Whether values are sentences, not hashes or lists of numbers."""
    return sum(value.count(" ") >= 3 for value in values) >= len(values) / 2


def _is_json_line(head: bytes) -> bool:
    """Whether a file begins with a line that is a JSON object."""
    first = head.lstrip().partition(b"\n")[0]
    try:
        return first.startswith(b"{") and isinstance(json.loads(first), dict)
    except ValueError:
        return False


_TESTS = (_picture, _sound, _film, _array, _parquet, _rows, _document)


def describe_strangers(strangers: Sequence[tuple[str, str]], most: int = 5) -> Iterator[str]:
    """Say which files fit nothing, the first of them with their reasons."""
    for place, why in strangers[:most]:
        yield f"{place}: {why}"
    if len(strangers) > most:
        yield f"and {len(strangers) - most:,} more"

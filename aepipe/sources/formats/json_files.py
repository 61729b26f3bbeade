"""JSON lines, and files that are one array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from aepipe.errors import SourceError
from aepipe.sources import encoding
from aepipe.sources.formats.streams import DAMAGE, encoding_of, lines_of, open_stream
from aepipe.sources.formats.values import Column, Kind

LONGEST = 1 << 26
"""Letters of a line; a longer one is a bad item."""
MOST_COLUMNS = 1000
"""Different names of all objects of a file that are columns."""

Object: TypeAlias = tuple[dict[str, Any], str | None]
"""An object and None; or no values, and what is wrong with it."""


def objects(path: Path, given: str | None = None) -> Iterator[Object]:
    """Yield the objects of a file; empty lines do not count.

    Args:
        path: of the file.
        given: its encoding, where it is known.

    Raises:
        SourceError: it cannot be read to its end, or is an array that is damaged.
    """
    name = encoding_of(path, given)
    if is_array(_head(path)):
        yield from (_whole(one, escaped=True) for one in _array(path, given))
        return
    for line in lines_of(path, name, LONGEST):
        if line is None or line.strip():
            yield _object(line, name)


def is_array(head: bytes) -> bool:
    """Whether a file begins as an array of objects does."""
    text = head.decode("utf-8-sig", "replace").lstrip()
    return text.startswith("[") and text[1:].lstrip()[:1] == "{"


def is_line(head: bytes) -> bool:
    """Whether the first line of a file is an object."""
    first = head.lstrip().partition(b"\n")[0]
    try:
        return first.startswith(b"{") and isinstance(json.loads(first), dict)
    except ValueError:
        return False


def as_text(value: object) -> str | None:
    """Return a value as text: as JSON, unless it is a text."""
    if value is None or isinstance(value, str):
        return value
    return str(value) if type(value) is int else _encode(value)


def survey(path: Path, given: str | None = None) -> dict[str, Column]:
    """Return what the values of all objects of a file look like, by name.

    Raises:
        SourceError: it is one object that holds a table in itself.
    """
    found: dict[str, Column] = {}
    for record, _ in _not_alone(path, objects(path, given)):
        for name, value in record.items():
            if value is None:
                if name not in found and len(found) < MOST_COLUMNS:
                    found[name] = Column()
                continue
            column = found.get(name)
            if column is None:
                if len(found) >= MOST_COLUMNS:
                    continue
                column = found[name] = Column()
            column.add_typed(_KINDS.get(type(value), "text"), value)
    return found


def _not_alone(path: Path, found: Iterator[Object]) -> Iterator[Object]:
    """Yield the objects of a file; a table by columns, or below a name, is one object that is no row."""
    first = next(found, None)
    if first is None:
        return
    second = next(found, None)
    why = _why_no_row(first[0]) if second is None and path.name.lower().endswith((".json", ".json.gz")) else ""
    if why:
        raise SourceError(f"{path}: one JSON object, not one for each row: {why}")
    yield first
    if second is not None:
        yield second
        yield from found


def _why_no_row(record: dict[str, Any]) -> str:
    """Return why a single object is a table of its own, and what makes rows of it; empty where it may be a row."""
    rows = [name for name, value in record.items() if isinstance(value, list) and _several(value, dict)]
    if len(rows) == 1:
        return f"the rows are in {rows[0]!r}; `jq -c '.[\"{rows[0]}\"][]'` writes one in each line, for a .jsonl"
    sizes = {len(value) if isinstance(value, list | dict) else 0 for value in record.values()}
    if len(record) > 1 and len(sizes) == 1 and min(sizes) > 1:
        return "a table by columns; pandas writes rows with to_json(orient='records', lines=True), for a .jsonl"
    return ""


def _several(values: list[Any], kind: type) -> bool:
    return len(values) > 1 and all(isinstance(value, kind) for value in values)


_encode = json.JSONEncoder(ensure_ascii=False).encode
_KINDS: dict[type, Kind] = {int: "integer", float: "number", bool: "bool"}


def _head(path: Path) -> bytes:
    with open_stream(path) as stream:
        try:
            return stream.read(1 << 12)
        except DAMAGE as error:
            raise SourceError(f"{path}: cannot be read to its end: {error}") from None


def _array(path: Path, given: str | None) -> list[Any]:
    with open_stream(path) as stream:
        try:
            text, _ = encoding.decode(stream.read(), given)
            found: list[Any] = json.loads(text)
        except DAMAGE as error:
            raise SourceError(f"{path}: cannot be read to its end: {error}") from None
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path}: not JSON: {error}") from None
    return found


def _object(line: str | None, name: str) -> Object:
    """Return the object of a line; or the reason why there is none."""
    if line is None:
        return {}, f"a line of more than {LONGEST >> 20} MB"
    bad = encoding.bad_byte(line)
    if bad:
        return {}, f"not JSON: not in {name.removesuffix('-sig').upper()}: {bad}"
    try:
        # Some programs begin a file with a byte order mark.
        return _whole(json.loads(line.removeprefix("\ufeff")), escaped="\\u" in line)
    except (ValueError, RecursionError) as error:
        return {}, f"not JSON: {str(error).partition(':')[0]}"


def _whole(found: object, *, escaped: bool) -> Object:
    """Return a value as an object; or the reason why it is none, or cannot be written.

    Only letters that were escaped can be half a character.
    """
    if not isinstance(found, dict):
        return {}, "not a JSON object"
    if not escaped:
        return found, None
    texts = (text for text in (*found, *map(as_text, found.values())) if text)
    bad = next((text for text in texts if _lone_surrogate(text)), None)
    return ({}, f"a lone surrogate, which is no text, in {bad[:40]!r}") if bad else (found, None)


def _lone_surrogate(text: str) -> bool:
    """Tell whether a text from JSON has half a character, which cannot be written as UTF-8."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False

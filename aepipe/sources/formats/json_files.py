"""JSON lines, and files that are one array of objects."""

from __future__ import annotations

import io
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
        yield from (_whole(one, escaped=True) for one in _array(path, name))
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


_decode = json.JSONDecoder().raw_decode
_PIECE, _SPACES = 1 << 20, 64  # letters that are read at a time, and looked at for the next one that is no space
_encode = json.JSONEncoder(ensure_ascii=False).encode
_KINDS: dict[type, Kind] = {int: "integer", float: "number", bool: "bool"}


def _head(path: Path) -> bytes:
    with open_stream(path) as stream:
        try:
            return stream.read(1 << 12)
        except DAMAGE as error:
            raise SourceError(f"{path}: cannot be read to its end: {error}") from None


def _array(path: Path, name: str) -> Iterator[Any]:
    """Yield the values of an array, which is never in memory as a whole.

    Args:
        path: of the file.
        name: of its encoding.

    Raises:
        SourceError: it is damaged, or has a value that is too long.
    """
    mark = "utf-8-sig" if name == encoding.UTF8 else name
    with io.TextIOWrapper(open_stream(path), mark, encoding.reader_errors()) as stream:
        try:
            yield from _Array(stream).values()
        except DAMAGE as error:
            raise SourceError(f"{path}: cannot be read to its end: {error}") from None
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path}: not JSON: {error}") from None


class _Array:
    """The values of an array in a stream of text, of which some is held."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream
        self._text = stream.read(_PIECE)
        self._at = 0

    def values(self) -> Iterator[Any]:
        """Yield the values.

        Raises:
            ValueError: it is no array of JSON, or a value is longer than :data:`LONGEST`.
        """
        self._letter()  # the bracket that begins it
        if self._letter() == "]":
            return self._end()
        self._at -= 1
        while True:
            yield self._value()
            letter = self._letter()
            if letter == "]":
                return self._end()
            if letter != ",":
                raise ValueError(f"{letter!r} in place of a comma")

    def _end(self) -> None:
        if self._text[self._at :].strip() or self._stream.read(_PIECE).strip():
            raise ValueError("more after the array")

    def _letter(self) -> str:
        """Return the next letter that is no space."""
        while True:
            rest = self._text[self._at : self._at + _SPACES].lstrip()
            if rest:
                self._at = self._text.index(rest[0], self._at) + 1
                return rest[0]
            self._at = min(len(self._text), self._at + _SPACES)
            if self._at == len(self._text) and not self._more():
                raise ValueError("it is cut off")

    def _value(self) -> object:
        self._letter()
        self._at -= 1
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except ValueError:
                if len(self._text) - self._at > LONGEST or not self._more():
                    raise
            else:
                # A number may go on in the next piece.
                if end < len(self._text) or not self._more():
                    self._at = end
                    return value

    def _more(self) -> bool:
        """Hold more of the text; return whether there is any."""
        rest = self._text[self._at :]
        piece = self._stream.read(max(_PIECE, len(rest)))
        self._text, self._at = rest + piece, 0
        return bool(piece)


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

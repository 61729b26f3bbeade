"""What verbs print: plain text for people, JSON lines for programs."""

from __future__ import annotations

import json
import logging
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from aepipe.errors import QueryError
from aepipe.logs import JsonLines, in_json

if TYPE_CHECKING:
    from PIL.Image import Image


def say(text: str) -> None:
    """Print text on stdout."""
    typer.echo(text.encode(sys.stdout.encoding or "utf-8", "replace").decode(sys.stdout.encoding or "utf-8"))


def complain(text: object) -> None:
    """Print one line on stderr, with the name of the program; as JSON where the log is."""
    line = " ".join(str(text).split())
    if in_json():
        record = logging.LogRecord("aepipe", logging.ERROR, "", 0, line, None, None)
        typer.echo(JsonLines(sys.stderr).line(record), err=True)
    else:
        typer.echo("aepipe: " + printable(line), err=True)


def say_picture(text: str) -> None:
    """Print escape sequences that draw, also into a pipe: they were asked for."""
    typer.echo(text, color=True)


def write_picture(picture: Image, file: Path) -> None:
    """Write a picture in the format that the file's name asks for.

    Raises:
        QueryError: no format has such a name, or nothing can be written there.
    """
    try:
        picture.save(file)
    except (OSError, ValueError) as error:
        raise QueryError(f"{file}: the picture cannot be written: {error}; a name like picture.png works") from None


def write_text(text: str, file: Path) -> None:
    """Write a file.

    Raises:
        QueryError: it cannot be written.
    """
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise QueryError(f"{file}: cannot be written: {error.strerror}") from None


def say_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one line of JSON, in ASCII, so that no locale can spoil it."""
    typer.echo(json.dumps(value, separators=(", ", ": ")))


def say_paths(paths: Sequence[str]) -> None:
    """Print one path per line, byte for byte as the file system has it."""
    if paths:
        typer.echo(b"".join(os.fsencode(path) + b"\n" for path in paths), nl=False)


def size(count: int) -> str:
    """Return a number of bytes in words."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: a file name may hold escape sequences."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else "?" for c in text)


def faint(text: str) -> str:
    """Return text in a faint colour, where colours are wanted (https://no-color.org)."""
    return text if os.environ.get("NO_COLOR") else typer.style(text, dim=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 0) -> str:
    """Align cells under a faint heading: from column ``left`` on to the left, those before to the right."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(_width(row[i]) for row in [head, *shown]) for i in range(len(head))]
    first, *others = [_line(row, widths, left) for row in [head, *shown]]
    return "\n".join([faint(first), *others])


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    """Return one aligned line."""
    filled = [(" " * (w - _width(cell)), cell) for cell, w in zip(cells, widths, strict=True)]
    return "  ".join(cell + gap if i >= left else gap + cell for i, (gap, cell) in enumerate(filled)).rstrip()


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)

"""What verbs print: plain text for people, JSON lines for programs."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from aepipe.errors import QueryError
from aepipe.logs import JsonLines, in_json
from aepipe.report.tables import printable, text_table

if TYPE_CHECKING:
    from PIL.Image import Image

    from aepipe.report.charts import Chart


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


def write_picture(picture: Image | Chart, file: Path) -> None:
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


def faint(text: str) -> str:
    """Return text in a faint colour, where colours are wanted (https://no-color.org)."""
    return text if os.environ.get("NO_COLOR") else typer.style(text, dim=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 0) -> str:
    """Align cells under a faint heading: from column ``left`` on to the left, those before to the right."""
    first, *others = text_table([head, *rows], left=range(left, len(head))).split("\n")
    return "\n".join([faint(first), *others])

"""Output of the verbs: text for people, JSON lines for programs, pictures in a terminal.

A terminal shows pictures in one of three ways, in this order:

- the graphics protocol of kitty (also Ghostty, Konsole): real pixels;
- the inline images of iTerm2 (also WezTerm): real pixels;
- half blocks in 24-bit colour, two pixels to a character: every other terminal, also tmux and ``less -R``.

Pixels are chosen only where the environment names such a terminal, and not inside tmux or screen, which would swallow
or print the escape sequences. Sixel is left out: no environment variable tells of it, and to ask the terminal means to
read its answer from the keyboard.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import shutil
import sys
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from aepipe.errors import QueryError
from aepipe.log import JsonLines, in_json
from aepipe.report.tables import printable, text_table
from aepipe.store.io import check_target

if TYPE_CHECKING:
    from PIL.Image import Image

    from aepipe.report.charts import Chart


class _Loudness:
    """How much is said: 0 usually, -1 quietly, 1 with all details."""

    level = 0


def set_loudness(level: int) -> None:
    """Say more (1) or less (-1) than usual from now on."""
    _Loudness.level = level


def is_quiet() -> bool:
    """Say whether only results, warnings and errors are wanted."""
    return _Loudness.level < 0


def is_verbose() -> bool:
    """Say whether all details are wanted."""
    return _Loudness.level > 0


def remark(text: object) -> None:
    """Print one line on stderr that nobody has to read."""
    if not is_quiet():
        complain(text)


def say(text: str, *, fold: bool = True) -> None:
    """Print text on stdout; long lines are folded between words where the terminal is narrow."""
    room = columns() if fold else None
    if room is not None and any(len(line) > room for line in text.splitlines()):
        from aepipe.report.narrow import folded

        text = folded(text, room)
    typer.echo(text.encode(sys.stdout.encoding or "utf-8", "replace").decode(sys.stdout.encoding or "utf-8"))


def complain(text: object) -> None:
    """Print one line on stderr, with the name of the program; as JSON where the log is."""
    line = " ".join(str(text).split())
    if in_json():
        # The same form as the log on stderr, so that a collector of logs can read both.
        record = logging.LogRecord("aepipe", logging.ERROR, "", 0, line, None, None)
        text = JsonLines(sys.stderr).line(record)
    else:
        text = "aepipe: " + printable(line)
    with suppress(OSError):  # a full disk behind stderr: the exit status tells, too
        typer.echo(text, err=True)


def say_picture(text: str) -> None:
    """Print escape sequences that draw, also into a pipe: the user asked for them."""
    typer.echo(text, color=True)


def check_picture(*files: Path | None, chart: bool = False) -> None:
    """Check, before any work, that pictures can be written under some names.

    Args:
        files: None where no picture is wanted.
        chart: it is one of matplotlib's, which can be SVG, too.

    Raises:
        StoreError: the folder is missing or may not be written, or it is a folder itself.
        QueryError: no format has such a name.
    """
    for file in filter(None, files):
        check_target(file)
        if chart and file.suffix.lower() == ".svg":
            continue
        from PIL import Image

        known = Image.registered_extensions()
        if known.get(file.suffix.lower()) not in Image.SAVE:
            usual = "picture.png or picture.svg" if chart else "picture.png"
            raise QueryError(f"{file}: the picture cannot be written: no format has that ending; name it like {usual}")


def check_file(*files: Path | None) -> None:
    """Check, before any work, that files can be written under some names.

    Raises:
        StoreError: the folder is missing or may not be written, or it is a folder itself.
    """
    for file in filter(None, files):
        check_target(file)


def write_picture(picture: Image | Chart, file: Path) -> None:
    """Write a picture in the format that the file's name asks for.

    Raises:
        QueryError: no format has such a name, or the file cannot be written.
    """
    from aepipe.release.originals import own_mark

    try:
        picture.save(file, **own_mark(file))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise QueryError(f"{file}: the picture cannot be written: {reason}") from None


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
    """Print one line of JSON, in ASCII, which every locale can print."""
    typer.echo(json.dumps(value, separators=(", ", ": ")))


NARROWEST = 20
"""Columns that a terminal has at least: narrower ones are not fitted."""


def say_paths(paths: Sequence[str], *, null: bool = False) -> None:
    """Print one path per line, with the bytes of the file system: it need not be UTF-8.

    Args:
        paths: or keys.
        null: end each with a NUL, which no path has, and not with a line break.

    Raises:
        QueryError: a path has a line break, so lines do not part it from the others.
    """
    broken = None if null else next((path for path in paths if "\n" in path or "\r" in path), None)
    if broken is not None:
        raise QueryError(f"{broken!r}: a name with a line break; --null parts such names safely, for xargs -0")
    if paths:
        typer.echo(b"".join(os.fsencode(path) + (b"\0" if null else b"\n") for path in paths), nl=False)


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
    """Align cells under a faint heading, folded where the terminal is narrow.

    Args:
        head: the heading.
        rows: the cells of each row.
        left: cells stand on the left from this column on, else on the right.
    """
    return fitted(head, rows, range(left, len(head)))


def fitted(head: Sequence[str], rows: Sequence[Sequence[str]], stays: Container[int]) -> str:
    """Align cells under a faint heading, some columns on the left; fold them if needed."""
    room = columns()
    if room is None:
        parted = [text_table([head, *rows], left=stays).split("\n")]
    else:
        from aepipe.report.narrow import blocks

        parted = blocks([head, *rows], room, left=stays)
    return "\n\n".join("\n".join([faint(first), *others]) for first, *others in parted)


def can_ask() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def columns() -> int | None:
    """Return the columns of the terminal, or ``$COLUMNS``; None where the output is none."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return max(NARROWEST, int(given))
    if not sys.stdout.isatty():
        return None
    return max(NARROWEST, shutil.get_terminal_size().columns)


Way = Literal["kitty", "iterm2", "blocks"]
CHUNK = 4096
"""Most characters of one escape sequence, as kitty's protocol has it."""


def pixels_way(environment: Mapping[str, str] = os.environ) -> Way | None:
    """Return how this terminal shows real pixels; None where it is not known to."""
    if "TMUX" in environment or environment.get("TERM", "").startswith(("screen", "tmux")):
        return None
    program = environment.get("TERM_PROGRAM", "")
    if "KITTY_WINDOW_ID" in environment or program == "ghostty" or "KONSOLE_VERSION" in environment:
        return "kitty"
    if program in {"iTerm.app", "WezTerm"} or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    return None


def inline(picture: Image, *, columns: int, lines: int, way: Way) -> str:
    """Return the escape sequences that show a picture.

    Args:
        picture: RGB.
        columns: width in characters.
        lines: height in lines.
        way: as in the module's docstring.
    """
    return {"kitty": _kitty, "iterm2": _iterm2, "blocks": _blocks}[way](picture, columns, lines)


def _kitty(picture: Image, columns: int, lines: int) -> str:
    """Transmit and place a PNG, without an answer (q=2).

    See https://sw.kovidgoyal.net/kitty/graphics-protocol.
    """
    data = _png(picture)
    chunks = [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)]
    parts = []
    for number, chunk in enumerate(chunks):
        first = f"a=T,f=100,q=2,c={columns},r={lines}," if number == 0 else ""
        parts.append(f"\x1b_G{first}m={int(number < len(chunks) - 1)};{chunk}\x1b\\")
    return "".join(parts)


def _iterm2(picture: Image, columns: int, lines: int) -> str:
    """See https://iterm2.com/documentation-images.html."""
    data = _png(picture)
    shape = f"inline=1;width={columns};height={lines};preserveAspectRatio=1"
    return f"\x1b]1337;File={shape}:{data}\x07"


def _blocks(picture: Image, columns: int, lines: int) -> str:
    """Return half blocks: the upper pixel colours the character, the lower one its background."""
    from PIL.Image import Resampling

    small = picture.resize((columns, 2 * lines), Resampling.BOX)
    rows = []
    for y in range(0, 2 * lines, 2):
        cells = [(small.getpixel((x, y)), small.getpixel((x, y + 1))) for x in range(columns)]
        rows.append("".join(f"\x1b[38;2;{_rgb(up)};48;2;{_rgb(down)}m▀" for up, down in cells) + "\x1b[0m")
    return "\n".join(rows)


def _rgb(pixel: object) -> str:
    """Return a pixel as the numbers of an escape sequence."""
    assert isinstance(pixel, tuple)
    return ";".join(str(value) for value in pixel[:3])


def _png(picture: Image) -> str:
    stream = BytesIO()
    picture.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")

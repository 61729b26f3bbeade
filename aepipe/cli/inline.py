"""Pictures in a terminal.

Three ways, in this order:

- the graphics protocol of kitty (also Ghostty, Konsole): real pixels;
- the inline images of iTerm2 (also WezTerm): real pixels;
- half blocks in 24-bit colour, two pixels to a character, for every other terminal, also in tmux and ``less -R``.

Pixels are chosen only where the environment names such a terminal and nothing stands between: inside tmux or screen the
escape sequences would be swallowed or printed. Sixel is left out: no environment variable tells of it, and asking the
terminal would need its answer read from the keyboard.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from io import BytesIO
from typing import Literal

from PIL import Image

Way = Literal["kitty", "iterm2", "blocks"]
CHUNK = 4096
"""Most characters of one escape sequence, as kitty's protocol has it."""


def pixels_way(environment: Mapping[str, str] = os.environ) -> Way | None:
    """Return how this terminal shows real pixels, None where it is not known to."""
    if "TMUX" in environment or environment.get("TERM", "").startswith(("screen", "tmux")):
        return None
    program = environment.get("TERM_PROGRAM", "")
    if "KITTY_WINDOW_ID" in environment or program == "ghostty" or "KONSOLE_VERSION" in environment:
        return "kitty"
    if program in {"iTerm.app", "WezTerm"} or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    return None


def inline(picture: Image.Image, *, columns: int, lines: int, way: Way) -> str:
    """Return what makes a terminal show a picture.

    Args:
        picture: RGB.
        columns: characters it is wide.
        lines: lines it is high.
        way: see the module.
    """
    return {"kitty": _kitty, "iterm2": _iterm2, "blocks": _blocks}[way](picture, columns, lines)


def _kitty(picture: Image.Image, columns: int, lines: int) -> str:
    """See https://sw.kovidgoyal.net/kitty/graphics-protocol: transmit and place a PNG, without an answer (q=2)."""
    data = _png(picture)
    chunks = [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)]
    parts = []
    for number, chunk in enumerate(chunks):
        first = f"a=T,f=100,q=2,c={columns},r={lines}," if number == 0 else ""
        parts.append(f"\x1b_G{first}m={int(number < len(chunks) - 1)};{chunk}\x1b\\")
    return "".join(parts)


def _iterm2(picture: Image.Image, columns: int, lines: int) -> str:
    """See https://iterm2.com/documentation-images.html."""
    data = _png(picture)
    shape = f"inline=1;width={columns};height={lines};preserveAspectRatio=1"
    return f"\x1b]1337;File={shape}:{data}\x07"


def _blocks(picture: Image.Image, columns: int, lines: int) -> str:
    """Return half blocks: the upper pixel is the character's colour, the lower one its ground."""
    small = picture.resize((columns, 2 * lines), Image.Resampling.BOX)
    rows = []
    for y in range(0, 2 * lines, 2):
        cells = [(small.getpixel((x, y)), small.getpixel((x, y + 1))) for x in range(columns)]
        rows.append("".join(f"\x1b[38;2;{_rgb(up)};48;2;{_rgb(down)}m▀" for up, down in cells) + "\x1b[0m")
    return "\n".join(rows)


def _rgb(pixel: object) -> str:
    """Return a pixel as the numbers of an escape sequence."""
    assert isinstance(pixel, tuple)
    return ";".join(str(value) for value in pixel[:3])


def _png(picture: Image.Image) -> str:
    """Return a picture as base64 of a PNG."""
    stream = BytesIO()
    picture.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")

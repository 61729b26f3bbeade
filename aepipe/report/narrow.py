"""Tables and lines on narrow terminals: cells fold, and columns stand in blocks.

A table that does not fit has its columns of text folded; where that is not enough, its columns are parted into blocks,
one below the other, each with the first column.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

from aepipe.report.tables import GAP, aligned, printable, width

LEAST = 16
"""Columns of the terminal that a column of text keeps at least, if it needs them."""
FAR = 8
"""Spaces from which an indented line is the second column of those above it."""
_SECOND = re.compile(r"(\s*\S.*?\s{2,})\S")
_BREAKS = "/,;-"


def blocks(rows: Sequence[Sequence[str]], room: int, *, left: Container[int] = (0,)) -> list[list[str]]:
    """Return a table as lines that fit into a width, in blocks that begin with the heading.

    Args:
        rows: cells of equal count in each row, the heading first.
        room: columns of the terminal.
        left: columns whose cells stand on the left and may be folded; the others stand on the right and may not.
    """
    shown = [[printable(cell) for cell in row] for row in rows]
    natural = [max(width(cell) for cell in column) for column in zip(*shown, strict=True)]
    least = [min(wide, LEAST) if number in left else wide for number, wide in enumerate(natural)]
    found = []
    for chosen in _parted(least, room):
        widths = _shares([natural[one] for one in chosen], [least[one] for one in chosen], room)
        stays = [place for place, one in enumerate(chosen) if one in left]
        lines: list[str] = []
        for row in shown:
            lines += _row([row[one] for one in chosen], widths, stays)
        found.append(lines)
    return found


def folded(text: str, room: int) -> str:
    """Return text whose long lines are folded between words.

    A line of two columns goes on below the second; any other one is indented by two more.
    """
    return "\n".join(_folded(line, room) for line in text.split("\n"))


def reflowed(text: str, room: int) -> str:
    """Return text with its paragraphs filled again; lines that are indented are only folded."""
    found: list[str] = []
    plain = False
    for line in text.split("\n"):
        prose = bool(line) and not line.startswith(" ") and not _SECOND.match(line)
        if prose and plain:
            found[-1] += f" {line}"
        else:
            found.append(line)
        plain = prose
    return "\n".join("\n".join(_words(line, room, 0)) if line[:1].strip() else folded(line, room) for line in found)


def pieces(text: str, room: int) -> list[str]:
    """Return text in pieces that fit into a width, cut behind a space or a slash if possible."""
    found = []
    while width(text) > room and len(text) > 1:
        end = _fitting(text, room)
        at = text.rfind(" ", 1, end + 1)
        at = at if at > end // 3 else max(text.rfind(sign, end // 2, end) for sign in _BREAKS) + 1
        end = at if at > 0 else end
        found.append(text[:end].rstrip())
        text = text[end:].lstrip(" ")
    return [*found, text] if text else found or [""]


def _folded(line: str, room: int) -> str:
    if width(line) <= room:
        return line
    second = _SECOND.match(line)
    start = len(second[1]) if second else 0
    indent = len(line) - len(line.lstrip())
    # Far from the margin it is the second column already, below one that has a name.
    hang = start if 0 < start <= room // 2 else min(indent + (2 if indent < FAR else 0), room // 2)
    first, *others = _words(line, room, hang)
    return "\n".join([first, *(" " * hang + other for other in others)])


def _words(line: str, room: int, hang: int) -> list[str]:
    """Return a line in pieces between words; a word that is longer than a line, as a path, stays whole."""
    found, most = [], room
    while width(line) > most:
        end = _fitting(line, most)
        at = line.rfind(" ", len(line) - len(line.lstrip()) + 1, end + 1)
        if at < 0 or not line[:at].strip():
            at = line.find(" ", end)
        if at < 0:
            break
        found.append(line[:at].rstrip())
        line, most = line[at:].lstrip(), room - hang
    return [*found, line]


def _fitting(text: str, room: int) -> int:
    """Return how many letters fit into a width, one at least."""
    taken = 0
    for place, letter in enumerate(text):
        taken += width(letter)
        if taken > room:
            return max(1, place)
    return len(text)


def _parted(least: Sequence[int], room: int) -> list[list[int]]:
    """Return the numbers of the columns of each block."""
    first = least[0]
    found: list[list[int]] = [[0]]
    taken = first
    for number in range(1, len(least)):
        wanted = GAP + least[number]
        if taken + wanted > room and len(found[-1]) > 1:
            found.append([0])
            taken = first
        found[-1].append(number)
        taken += wanted
    return found


def _shares(natural: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Return the width of each column: as wide as it is, but the widest give way until all fit."""
    widths = list(natural)
    over = sum(widths) + GAP * (len(widths) - 1) - room
    while over > 0:
        spare = [wide - few for wide, few in zip(widths, least, strict=True)]
        if not any(spare):
            break
        widest = max((wide for wide, more in zip(widths, spare, strict=True) if more), default=0)
        place = next(n for n, wide in enumerate(widths) if wide == widest and spare[n])
        widths[place] -= 1
        over -= 1
    return widths


def _row(cells: Sequence[str], widths: Sequence[int], left: Container[int]) -> list[str]:
    """Return the lines of one row; cells that are folded go on below themselves."""
    parts = [
        pieces(cell, wide) if place in left else [cell]
        for place, (cell, wide) in enumerate(zip(cells, widths, strict=True))
    ]
    height = max(map(len, parts))
    lines = zip(*([*part, *[""] * (height - len(part))] for part in parts), strict=True)
    return [aligned(line, widths, left) for line in lines]

"""Calls to the system that a verb makes below a store: which of them are the same one.

Two calls are the same one where the same lines of Python and the same functions below them ask the system for the same
thing, about a file of the same name but for digests and numbers: a loop that writes ten files of a kind makes them.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_HEARD = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_ulonglong)
_DRAFT = re.compile(r"\.tmp[^/]*")
_NUMBERS = re.compile(r"[0-9a-f]{12,}|\d+")


@dataclass(frozen=True, slots=True)
class Call:
    """One call to the system.

    Attributes:
        kind: its letter in ``failing.c``.
        place: its path below the store, without digests and numbers.
        way: the lines of Python that lead to it, and a number for the functions below them.
    """

    kind: str
    place: str
    way: tuple[str, ...]

    @property
    def line(self) -> str:
        """The innermost line of this project that leads to it."""
        ours = [line for line in self.way if line.startswith(("aepipe/", "flows/"))]
        return ours[-1] if ours else ""


@contextmanager
def heard(library: Any, root: Path) -> Iterator[list[Call]]:
    """Collect the calls below a folder, in their order, from threads too; ``library`` is ``failing.c``."""
    found: dict[int, Call] = {}
    calls: list[Call] = []

    def hear(number: int, kind: int, path: bytes, functions: int) -> None:
        found[number] = Call(chr(kind), place_of(path.decode(errors="replace"), root), (*_lines(), str(functions)))

    held = _HEARD(hear)
    library.failing_watch(held)
    try:
        yield calls
    finally:
        library.failing_watch(ctypes.cast(None, _HEARD))
        calls += [found[number] for number in sorted(found)]


def place_of(path: str, root: Path) -> str:
    """Return a path below a folder without digests and numbers."""
    return _NUMBERS.sub("*", _DRAFT.sub("draft", path.removeprefix(str(root)).lstrip("/")))


def turns(calls: Sequence[Call]) -> list[int]:
    """Return for each call when it is tried.

    Returns:
        0 for the first one of a line of this project about a file, 1 for the first one on its way, 2 for the last one
        on its way, 3 for those in between.
    """
    lines: dict[tuple[str, str, str], int] = {}
    first: dict[Call, int] = {}
    last: dict[Call, int] = {}
    for number, call in enumerate(calls):
        lines.setdefault((call.kind, call.place, call.line), number)
        first.setdefault(call, number)
        last[call] = number
    found = []
    for number, call in enumerate(calls):
        chosen = (lines[call.kind, call.place, call.line], first[call], last[call], number)
        found.append(chosen.index(number))
    return found


def _lines() -> Iterator[str]:
    """Yield the lines of Python that are at work in this thread, but for those of this file, the outermost first."""
    lines, frame = [], sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__:
            lines.append(f"{file.removeprefix(f'{ROOT}/')}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    yield from reversed(lines)

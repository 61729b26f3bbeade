"""Calls to the system that a verb makes below a store: which of them are the same one.

Two calls are the same one where the same lines of Python and the same functions below them ask the system for the same
thing, about a file of the same name but for digests and numbers: a loop that writes ten files of a kind makes them.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DEPTHS = (1, 2, 3, 0)
"""Numbers of innermost lines of this project by which calls are grouped; 0 for all of them."""
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
    def ours(self) -> tuple[str, ...]:
        """The lines of this project that lead to it, the outermost first."""
        return tuple(line for line in self.way if line.startswith(("aepipe/", "flows/")))

    @property
    def line(self) -> str:
        """The innermost of these lines; empty where there is none."""
        return "".join(self.ours[-1:])


@contextmanager
def heard(library: Any, root: Path) -> Iterator[list[Call]]:
    """Collect the calls below a folder, in their order, from threads too; ``library`` is ``failing.c``."""
    found: dict[int, Call] = {}
    made: list[Call] = []

    def hear(number: int, kind: int, path: bytes, functions: int) -> None:
        found[number] = Call(chr(kind), place_of(path.decode(errors="replace"), root), (*_lines(), str(functions)))

    with _watched(library, hear):
        yield made
    made += [found[number] for number in sorted(found)]


@contextmanager
def touched(library: Any, root: Path) -> Iterator[set[tuple[str, str]]]:
    """Collect what the system is asked for below a folder: the letter of each call, and the path relative to it."""
    found: set[tuple[str, str]] = set()

    def hear(_: int, kind: int, path: bytes, _functions: int) -> None:
        found.add((chr(kind), path.decode(errors="replace").removeprefix(str(root)).lstrip("/")))

    library.failing_begin(str(root).encode(), -1, 0)
    with _watched(library, hear):
        yield found
    library.failing_end()


@contextmanager
def _watched(library: Any, hear: Callable[[int, int, bytes, int], None]) -> Iterator[None]:
    held = _HEARD(hear)
    library.failing_watch(held)
    try:
        yield
    finally:
        library.failing_watch(None)


def place_of(path: str, root: Path) -> str:
    """Return a path below a folder without digests and numbers."""
    return _NUMBERS.sub("*", _DRAFT.sub("draft", path.removeprefix(str(root)).lstrip("/")))


def turns(calls: Mapping[str, Sequence[Call]]) -> dict[str, list[int]]:
    """Return for each call of some verbs when it is tried.

    Returns:
        The place in :data:`DEPTHS` of the least number of lines at which it is new: no call before it, in any verb, is
        one of the same kind, about the same file, that so many innermost lines of this project have led to. Then one
        more for the first one on its way, for the last one on its way, and for those in between.
    """
    met = set[tuple[Any, ...]]()
    return {verb: [*_turns(made, met)] for verb, made in calls.items()}


def _turns(calls: Sequence[Call], met: set[tuple[Any, ...]]) -> Iterator[int]:
    first: dict[Call, int] = {}
    last = {call: number for number, call in enumerate(calls)}
    for number, call in enumerate(calls):
        groups = [(call.kind, call.place, depth, call.ours[-depth:]) for depth in DEPTHS]
        new = [one not in met for one in groups]
        met.update(groups)
        yield [*new, first.setdefault(call, number) == number, last[call] == number, True].index(True)


def _lines() -> Iterator[str]:
    """Yield the lines of Python that are at work in this thread, but for those of this file, the outermost first."""
    lines, frame = [], sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__:
            lines.append(f"{file.removeprefix(f'{ROOT}/')}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    yield from reversed(lines)

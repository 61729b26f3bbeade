"""Keep a C library from writing to the terminal.

The decoder of MP3 in libsndfile writes remarks about damaged files to the C library's ``stderr``. Only that variable is
turned elsewhere, not the file descriptor, so what Python and other processes write is seen, whatever thread does it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache


@contextmanager
def quiet() -> Iterator[None]:
    """Let the C library's ``stderr`` lead nowhere while any thread is in such a block.

    Nothing is done on systems where that is not possible.
    """
    _turned.count(+1)
    try:
        yield
    finally:
        _turned.count(-1)


@dataclass(slots=True)
class _Turned:
    """Turns ``stderr`` when the first block begins, and back when the last one ends."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    blocks: int = 0
    kept: int | None = None

    def count(self, step: int) -> None:
        """Count a block that begins or ends."""
        with self.lock:
            self.blocks += step
            there = _variable()
            if there is None:
                return
            if step > 0 and self.blocks == 1:
                self.kept, there.value = there.value, _nowhere()
            elif self.blocks == 0:
                there.value = self.kept


_turned = _Turned()


@cache
def _variable() -> ctypes.c_void_p | None:
    """Return the variable; None where the C library has it in memory that cannot be written."""
    name = {"linux": "stderr", "darwin": "__stderrp"}.get(sys.platform)
    if name is None or (name == "stderr" and platform.libc_ver()[0] != "glibc"):
        return None
    try:
        return ctypes.c_void_p.in_dll(ctypes.CDLL(None), name) if _nowhere() else None
    except ValueError:
        return None


@cache
def _nowhere() -> int | None:
    """Return the address of a stream that drops what is written to it."""
    opened = ctypes.CDLL(None).fopen
    opened.restype, opened.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
    found: int | None = opened(os.devnull.encode(), b"w")
    return found

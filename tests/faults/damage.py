"""Ways to damage a file, and a process that permissions stop although it is root's."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2
"""Capabilities by which root passes permissions; see linux/capability.h."""
_VERSION_3 = 0x20080522


def flip(file: Path) -> None:
    """Turn some bits of two bytes in the file's later parts."""
    data = bytearray(file.read_bytes())
    for at in range(len(data) // 3, len(data), max(1, len(data) // 3)):
        data[at] ^= 0x55
    file.write_bytes(data)


def cut(file: Path) -> None:
    """Keep the first half."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def other_text(file: Path) -> None:
    """Write JSON of another form."""
    file.write_text("[1, {}]\n")


def folder(file: Path) -> None:
    """Make it a folder."""
    file.unlink()
    file.mkdir()


def link(file: Path) -> None:
    """Make it a link to itself."""
    file.unlink()
    file.symlink_to(file.name)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped": flip,
    "cut": cut,
    "emptied": lambda file: os.truncate(file, 0),
    "other text": other_text,
    "a folder": folder,
    "a link": link,
    "removed": lambda file: file.unlink(),
    "unreadable": lambda file: file.chmod(0),
}
"""What can happen to a file, by name."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def as_others() -> Iterator[bool]:
    """Let permissions count for this thread, whoever it is of; false where that cannot be done."""
    if os.geteuid() != 0:
        yield True
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    if not hasattr(libc, "capget") or libc.capget(ctypes.byref(header), sets):
        yield False
        return
    kept = sets[0].effective
    sets[0].effective = kept & ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    done = libc.capset(ctypes.byref(header), sets) == 0
    try:
        yield done
    finally:
        sets[0].effective = kept
        libc.capset(ctypes.byref(header), sets)

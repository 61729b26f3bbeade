"""A folder that is written next to its name, and takes it in one step."""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aepipe.errors import QueryError
from aepipe.store.backends.drafts import is_alive
from aepipe.store.io import check_local

_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD


def check_folder(folder: Path, is_part: Callable[[Path], bool]) -> bool:
    """Say whether a folder holds an earlier export; none may hold anything else.

    Args:
        folder: the target.
        is_part: whether an export wrote a file.

    Raises:
        QueryError: it holds anything else, or is no folder.
        TargetError: it is an address.
    """
    check_local(folder)
    if folder.is_dir():
        held = sorted(folder.iterdir())
        strangers = [path.name for path in held if not is_part(path)]
        if not strangers:
            return bool(held)
        what = f"it holds {strangers[0]}, which is not a part of an earlier export"
    elif folder.exists() or folder.is_symlink():
        what = "it is not a folder"
    else:
        return False
    raise QueryError(f"{folder}: nothing is exported there, because {what}; choose a new or an empty folder")


@contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    """Make a temporary folder next to the target, and remove those of dead processes."""
    for old in folder.parent.glob(f".{glob.escape(folder.name)}.export-*-*"):
        process = old.name.rpartition("-")[2]
        if process.isdecimal() and not is_alive(int(process)):
            shutil.rmtree(old, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.export-{secrets.token_hex(4)}-{os.getpid()}")
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def synced(file: Path) -> None:
    """Bring a file to the disk.

    Before the rename, so that a power cut cannot leave a complete-looking folder with empty files.
    """
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def put(temporary: Path, folder: Path) -> None:
    """Give the new folder its name in one step; an earlier export gets the temporary one."""
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        _exchange(temporary, folder)


def _exchange(one: Path, other: Path) -> None:
    """Exchange the names of two folders, in one step where the system can do that."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "renameat2"):
        names = os.fsencode(one), os.fsencode(other)
        if libc.renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0:
            return
    aside = one.with_name(one.name + ".old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)

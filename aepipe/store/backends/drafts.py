"""Drafts: folders that are being written, and how those of dead processes are told.

::

    <parent>/.tmp-b<machine>-<random>/   a draft; drafts of earlier versions are ``.tmp-<host>-<process>-<random>``

Containers share names of hosts and numbers of processes, so a name has neither. Two signs tell that a draft is alive:
its process holds a lock on the folder, which the kernel releases with the process, and it touches the folder every
minute. On one machine, since it was started, the lock decides. What another machine writes, on a file system that both
have, may be locked where nobody here can see it: it counts as dead only after an hour without a touch.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

BEAT = 60.0
"""Seconds between two touches of a draft."""
SILENT = 3600.0
"""Seconds without a touch after which the draft of another machine is dead; clocks may differ by less."""
_NAME = re.compile(r"\.tmp-b(?P<machine>[0-9a-f]{12})-[0-9a-f]{16}")
_NEW = ".new"
"""Before the name of a draft that is not locked yet."""


def name() -> str:
    """Return a name for a draft."""
    return f".tmp-b{_machine()}-{secrets.token_hex(8)}"


@contextmanager
def draft(parent: Path) -> Iterator[Path]:
    """Make a draft, and remove it at the end, unless it got another name; sweep dead ones."""
    sweep(parent)
    path = parent / name()
    born = path.with_name(_NEW + path.name)
    born.mkdir()
    handle = os.open(born, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        born.rename(path)
        with _touched(path):
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def sweep(parent: Path) -> None:
    """Remove the drafts of processes that died."""
    for path in (*parent.glob(".tmp-*-*"), *parent.glob(f"{_NEW}.tmp-*")):
        if _is_dead(path):
            shutil.rmtree(path, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Say whether a process of this host runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_dead(path: Path) -> bool:
    found = _NAME.fullmatch(path.name)
    if found is None and not path.name.startswith(_NEW):
        return _is_dead_by_name(path.name)
    held = _is_held(path)
    if held is not None and found is not None and found["machine"] == _machine():
        return not held
    return not held and _is_silent(path)


def _is_dead_by_name(name: str) -> bool:
    """Tell of a draft of an earlier version, which is named by host and process."""
    host, pid, _ = name.rsplit("-", 2)
    return host == f".tmp-{socket.gethostname()}" and pid.isdigit() and not is_alive(int(pid))


def _is_held(path: Path) -> bool | None:
    """Say whether a process that can be seen from here has locked a folder; None where that is not known."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)
    return False


def _is_silent(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > SILENT
    except OSError:
        return False


@cache
def _machine() -> str:
    """Return what tells this machine, since it was started, from others; its containers are the same machine."""
    try:
        own = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        own = socket.gethostname()
    return sha256(own.encode()).hexdigest()[:12]


_open: set[Path] = set()
_guard = threading.Lock()
_beating: list[threading.Thread] = []


@contextmanager
def _touched(path: Path) -> Iterator[None]:
    """Touch a folder every minute, from one thread of the process for all drafts."""
    with _guard:
        _open.add(path)
        if not _beating or not _beating[0].is_alive():  # none yet, or this process was forked
            _beating[:] = [threading.Thread(target=_beat, name="drafts", daemon=True)]
            _beating[0].start()
    try:
        yield
    finally:
        with _guard:
            _open.discard(path)


def _beat() -> None:
    while True:
        time.sleep(BEAT)
        with _guard:
            paths = list(_open)
        for path in paths:
            with suppress(OSError):
                os.utime(path)

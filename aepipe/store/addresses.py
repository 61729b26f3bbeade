"""Addresses of object storage: which are known, where copies lie, calls that end.

A driver of fsspec may do anything with an address, so the schemes are a closed set. Drivers take credentials from the
environment; no address, message or file of a store has any.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from aepipe.errors import StoreError, TargetError

DRIVERS: Mapping[str, str] = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""The package that reads and writes the objects of each scheme."""
PATIENCE = 30.0
"""Seconds that a server may take for its next answer."""
_OBJECTS = re.compile(rf"(?P<scheme>{'|'.join(DRIVERS)}):/{{1,2}}(?P<rest>[^/].*)", re.IGNORECASE | re.DOTALL)
"""One slash is enough: a path folds two."""
_OTHER = re.compile(rf"(?:{'|'.join(DRIVERS)}):(?=/*$)|[a-z][a-z\d+.-]+:/{{1,3}}", re.IGNORECASE)
"""What looks like an address, and is none of a store: another scheme, or no bucket."""
_SECRET = re.compile("SECRET|TOKEN|PASSWORD|KEY|SAS|CREDENTIAL|CONNECTION_STRING")
_QUERY = re.compile(r"(https?://)(?:[^/\s@]*@)?([^\s?'\"]*)\?[^\s'\"]*")
_USER = re.compile(r"(\w+://)[^/\s@]+@")

T = TypeVar("T")


class SilentError(Exception):
    """A server does not answer."""


def of_objects(where: str | os.PathLike[str]) -> str | None:
    """Return the address of a store on object storage; None for a folder.

    Raises:
        StoreError: the address has a password, options or a chain in it, names no bucket, or has another scheme.
    """
    found = _OBJECTS.fullmatch(os.fspath(where))
    if found is None:
        if other := _OTHER.match(os.fspath(where)):
            known = ", ".join(f"{name}://BUCKET/FOLDER" for name in DRIVERS)
            raise TargetError(f"{other[0]}...: no address of a store; write a folder, or {known}")
        return None
    scheme, rest = found["scheme"].lower(), found["rest"].rstrip("/")
    bucket, *folders = rest.split("/")
    if "@" in bucket and scheme != "abfs":
        raise StoreError(f"{scheme}://...: an address with a user in it; set the variables that the driver reads")
    if not bucket or "::" in rest or set("?#\\\0\n") & set(rest) or {"", ".", ".."} & set(folders):
        raise StoreError(f"{scheme}://{rest}: no address of a store; write it as {scheme}://BUCKET/FOLDER")
    return f"{scheme}://{rest}"


def cache_folder() -> Path:
    """Return where copies lie: ``$AEPIPE_CACHE``, else ``aepipe`` in the user's cache folder."""
    own, users = os.environ.get("AEPIPE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own).expanduser() if own else (Path(users) if users else Path.home() / ".cache") / "aepipe"


def answered(work: Callable[[], T], size: Callable[[], int] = lambda: 0, patience: float = PATIENCE) -> T:
    """Return what a driver's call returns, unless it stays silent for too long.

    The call runs in a thread: drivers have limits of their own, but try again so often that minutes pass.

    Args:
        work: the call.
        size: bytes that have come so far.
        patience: seconds in which something has to come.

    Raises:
        SilentError: nothing has come for that time.
    """
    from concurrent.futures import Future, wait

    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="driver", daemon=True).start()
    seen, since = size(), time.monotonic()
    while not wait([done], timeout=min(patience, 1.0)).done:
        if (now := size()) != seen:
            seen, since = now, time.monotonic()
        if time.monotonic() - since >= patience:
            raise SilentError(f"no answer for {patience:g} s; is the server reachable from here?")
    return done.result()


def without_secrets(text: str) -> str:
    """Return the first line of a driver's message without credentials and signatures."""
    line = text.strip().partition("\n")[0]
    for value in sorted(_secrets(), key=len, reverse=True):
        line = line.replace(value, "***")
    return _USER.sub(r"\1", _QUERY.sub(r"\1\2", line))


def _secrets() -> Iterator[str]:
    """Yield the values of the environment that no message may have."""
    for name, value in os.environ.items():
        if len(value) >= 8 and _SECRET.search(name.upper()):
            yield value

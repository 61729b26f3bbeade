"""Objects behind an address: read, listed, written under conditions, within limits of time.

The drivers are those of fsspec. All of them create an object only if there is none; how an object is replaced only if
nobody has since is each driver's own, and stands in :data:`_SWAPS`.
"""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from aepipe.errors import ExtraError, StoreError
from aepipe.store import addresses
from aepipe.store.addresses import DRIVERS, SilentError, answered, without_secrets

logger = logging.getLogger("aepipe.store")

TRIES = 8
"""Times that a request is sent which the server answers with "try again"."""
PAUSE = 0.1
"""Seconds before the second try, at most; doubled for each further one."""
SLOWEST = 256_000
"""Bytes that a connection carries in a second, at least."""
PART = 8 << 20
"""Bytes of a part of an upload, at least; servers take 10,000 parts."""
_NONE, _AGAIN, _CHANGED = 404, 409, 412
"""Statuses: there is no such object or bucket; two conditional writes met, and may be sent again; the condition does
not hold. Drivers send a request again by themselves where a server is busy."""

T = TypeVar("T")


class ChangedError(Exception):
    """The condition of a write does not hold: somebody else has written."""


@dataclass(frozen=True, slots=True)
class Object:
    """What a server says of an object.

    Attributes:
        size: in bytes.
        stamp: changes with its bytes: an ETag, or the number of a generation.
        modified: when it was last written, in seconds since 1970, by the server's clock.
    """

    size: int
    stamp: str
    modified: float


class Bucket:
    """The objects of one store; nothing is imported or asked before the first call.

    Args:
        address: scheme, bucket and folder.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.scheme, _, self._root = address.partition("://")

    @property
    def _system(self) -> Any:  # noqa: ANN401  a driver of fsspec
        try:
            return _driver(self.scheme)
        except ImportError:
            driver = DRIVERS[self.scheme]
            raise ExtraError(driver, "remote", self.address, f"Or the driver alone: pip install {driver}") from None

    def get(self, key: str) -> bytes:
        """Read an object; FileNotFoundError where there is none."""
        found: bytes = self._call(lambda: self._system.cat_file(self._path(key), **_WHOLE.get(self.scheme, {})))
        return found

    def info(self, key: str) -> Object | None:
        """Return what the server says of an object; None where there is none."""
        try:
            found = self._call(lambda: self._system.info(self._path(key)))
        except FileNotFoundError:
            return None
        return _object(found) if found.get("type") == "file" else None

    def listed(self, folder: str) -> dict[str, Object]:
        """Return all objects below a folder, by their names in it."""
        root = self._path(folder)
        try:
            found = self._call(lambda: self._system.find(root, detail=True), patience=10 * addresses.PATIENCE)
        except FileNotFoundError:
            return {}
        # Azure's driver gives a list where the folder is an object; nothing is below that one.
        infos = found.items() if isinstance(found, dict) else ()
        return {
            path[len(root) + 1 :]: _object(info)
            for path, info in infos
            if info["type"] == "file" and path.startswith(f"{root}/")
        }

    def children(self, folder: str) -> list[str]:
        """Return the names of objects and folders directly in a folder.

        Raises:
            StoreError: there is no such bucket.
        """
        root = self._path(folder)
        try:
            found = self._call(lambda: self._system.ls(root, detail=False))
        except FileNotFoundError:
            self._check_there()
            return []
        names = (path.removeprefix(root).strip("/") for path in found)
        return [name for name in names if name]

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whatever is there."""
        self._call(lambda: self._system.pipe_file(self._path(key), data), size=len(data))

    def create(self, key: str, data: bytes) -> None:
        """Write an object where there is none.

        Raises:
            ChangedError: there is one, with other bytes.
            StoreError: there is no such bucket.
        """
        try:
            self._conditional(key, data, lambda: self._system.pipe_file(self._path(key), data, mode="create"))
        except FileNotFoundError:
            raise self._missing() from None

    def _check_there(self) -> None:
        """Check that the bucket is there, where nothing was found in it; who may not list it is believed.

        Raises:
            StoreError: there is no such bucket.
        """
        top = self._root.partition("/")[0]
        try:
            self._call(lambda: self._system.ls(top, detail=False))
        except FileNotFoundError:
            raise self._missing() from None
        except StoreError as error:
            logger.debug("%s: cannot be listed: %s", top, error)

    def _missing(self) -> StoreError:
        return StoreError(f"{self.address}: there is no such bucket; make it first")

    def swap(self, key: str, data: bytes, stamp: str) -> None:
        """Replace an object that still has a stamp.

        Raises:
            ChangedError: it has another one, and other bytes than these, or is gone.
        """
        try:
            self._conditional(key, data, lambda: _SWAPS[self.scheme](self._system, self._path(key), data, stamp))
        except FileNotFoundError:
            raise ChangedError(key) from None

    def stamp_of(self, key: str, data: bytes) -> str:
        """Return the stamp of an object that has these bytes.

        Raises:
            ChangedError: it has others, or is gone.
        """
        # The stamp first: bytes that are written in between then do not match.
        found = self.info(key)
        if found is None or found.size != len(data) or self.get(key) != data:
            raise ChangedError(key)
        return found.stamp

    def upload(self, key: str, file: Path, size: int) -> None:
        """Write an object from a file."""
        part = max(PART, -(-size // 9_000))
        options = {"chunksize": part} if self.scheme in {"s3", "gs"} else {}
        self._call(lambda: self._system.put_file(str(file), self._path(key), **options), size=size)

    def download(self, key: str, file: Path) -> None:
        """Read an object into a file; FileNotFoundError where there is none."""
        self._call(
            lambda: self._system.get_file(self._path(key), str(file)),
            come=lambda: file.stat().st_size if file.exists() else 0,
        )

    def copy(self, key: str, new: str) -> None:
        """Write an object from another one; FileNotFoundError where there is none."""
        self._call(lambda: self._system.cp_file(self._path(key), self._path(new)))

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        with suppress(FileNotFoundError):
            self._call(lambda: self._system.rm_file(self._path(key)))

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}" if key else self._root

    def _conditional(self, key: str, data: bytes, write: Callable[[], object]) -> None:
        try:
            self._call(write, size=len(data))
        except ChangedError:
            # A driver tries again where an answer was lost, and then meets its own write.
            with suppress(FileNotFoundError):
                if self.get(key) == data:
                    return
            raise ChangedError(key) from None

    def _call(
        self, work: Callable[[], T], *, size: int = 0, come: Callable[[], int] = lambda: 0, patience: float = 0.0
    ) -> T:
        """Return what a call returns, after some tries where the server asks for them.

        Raises:
            FileNotFoundError: there is no such object.
            ChangedError: a condition does not hold.
            ExtraError: the driver is not installed.
            StoreError: the server does not answer, or refuses.
        """
        patience = patience or addresses.PATIENCE + size / SLOWEST
        for attempt in range(TRIES):
            try:
                return answered(work, come, patience)
            except (FileNotFoundError, ExtraError):
                raise
            except FileExistsError:
                raise ChangedError from None
            except Exception as error:
                status = _status(error)
                if status == _CHANGED:
                    raise ChangedError from None
                if status == _NONE:
                    raise FileNotFoundError(self.address) from None
                if status != _AGAIN or attempt == TRIES - 1:
                    raise StoreError(f"{self.address}: {_why(error)}") from None
            time.sleep(random.uniform(0.5, 1.0) * PAUSE * 2**attempt)
        raise AssertionError


_drivers: dict[tuple[object, ...], Any] = {}
_guard = threading.Lock()


def _driver(scheme: str) -> Any:  # noqa: ANN401  a driver of fsspec
    """Return the driver of a scheme: one for all stores of a process, since opening it takes as long as ten requests.

    Raises:
        ImportError: it is not installed.
    """
    import fsspec

    told = [(name, value) for name, value in os.environ.items() if name.startswith(_VARIABLES)]
    key = (scheme, os.getpid(), *sorted(told))
    with _guard:
        if key not in _drivers:
            # Other processes write, too: what was listed once is not what is there.
            _drivers[key] = fsspec.filesystem(
                scheme, skip_instance_cache=True, use_listings_cache=False, **_OPTIONS.get(scheme, {})
            )
        return _drivers[key]


_VARIABLES = ("AWS_", "FSSPEC_", "GOOGLE_", "AZURE_")
"""How the variables begin that drivers read."""
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "max_pool_connections": 32}},
}
"""Of each driver."""
_WHOLE: Mapping[str, Mapping[str, Any]] = {"s3": {"max_concurrency": 1}}
"""Options of a read in one request; else the size is asked for first."""


def _swap_s3(system: Any, path: str, data: bytes, stamp: str) -> None:  # noqa: ANN401  a driver of fsspec
    system.pipe_file(path, data, IfMatch=stamp)


def _swap_azure(system: Any, path: str, data: bytes, stamp: str) -> None:  # noqa: ANN401  a driver of fsspec
    unchanged = import_module("azure.core").MatchConditions.IfNotModified
    system.pipe_file(path, data, etag=stamp, match_condition=unchanged)


def _swap_google(system: Any, path: str, data: bytes, stamp: str) -> None:  # noqa: ANN401  a driver of fsspec
    bucket, _, name = path.partition("/")
    where = f"{system._location}/upload/storage/v1/b/{quote(bucket)}/o"
    about = json.dumps({"name": name}).encode()
    parts = ((b"application/json; charset=UTF-8", about), (b"application/octet-stream", data))
    body = b"".join(b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (_BORDER, kind, part) for kind, part in parts)
    kind = {"Content-Type": f'multipart/related; boundary="{_BORDER.decode()}"'}
    whole = body + b"--%s--" % _BORDER
    system.call("POST", where, uploadType="multipart", ifGenerationMatch=stamp, headers=kind, data=whole)


_BORDER = b"aepipe-4c1f9a7e"
"""Between the parts of a request to Google's servers; JSON and digests do not have it."""
_SWAPS: Mapping[str, Callable[[Any, str, bytes, str], None]] = {
    "s3": _swap_s3,
    "gs": _swap_google,
    "az": _swap_azure,
    "abfs": _swap_azure,
}
"""For each scheme how an object is replaced that still has a stamp."""


def _object(info: Mapping[str, Any]) -> Object:
    stamp = next((str(info[key]) for key in ("generation", "ETag", "etag") if info.get(key) is not None), "")
    when = next((info[key] for key in ("LastModified", "last_modified", "updated", "mtime") if info.get(key)), None)
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    seconds = when.replace(tzinfo=when.tzinfo or UTC).timestamp() if isinstance(when, datetime) else 0.0
    return Object(int(info.get("size") or 0), stamp, seconds)


def _status(error: BaseException) -> int | None:
    """Return the status of HTTP that a driver's error comes from."""
    seen: BaseException | None = error
    while seen is not None:
        answer = getattr(seen, "response", None)
        if isinstance(answer, dict):
            return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        for name in ("status_code", "code", "status"):
            if isinstance(found := getattr(seen, name, None), int | str) and str(found).isdigit():
                return int(found)
        seen = seen.__cause__
    return None


def _why(error: BaseException) -> str:
    """Return the reason of a driver's error in one line, without credentials."""
    text = without_secrets(str(error)) or type(error).__name__
    if isinstance(error, PermissionError) or "credentials" in text.lower() or _status(error) in {401, 403}:
        return f"no permission ({text}); are the credentials set, and may they read and write here?"
    if isinstance(error, SilentError):
        return text
    return f"cannot be reached or refuses: {text}"

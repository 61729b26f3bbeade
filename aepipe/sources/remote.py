"""Fetch collections from addresses: ``s3://``, ``gs://`` and a few others.

The schemes are a closed set. A driver of fsspec may do anything with an address: start programs, read a template, open
another address. So other schemes, and chains of addresses (``a::b``), are refused before any driver is imported.

The files at an address are copied to this machine first. From then on the copy is a folder like any other: items are
read in place, originals can be shown, and the same bytes under the same names are the same collection.

The copy is kept in ``$AEPIPE_CACHE``, else in ``aepipe`` in the user's cache folder, and is updated each time: a file
whose size and stamp (ETag, checksum, time) are the same is not fetched again, and a file that is gone there is removed
here.

Credentials come from the environment, as the driver expects them; an address with a password is refused. A ``file://``
address is read where it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from aepipe.errors import SourceError
from aepipe.log import step
from aepipe.store.addresses import PATIENCE, SilentError, answered, cache_folder, without_secrets

SCHEMES = ("s3", "gs", "az", "abfs", "http", "https", "file", "memory")
"""What an address may begin with; ``memory`` is for tests."""
AT_ONCE = 8
"""Files that are fetched at the same time."""
LISTING = "listing.json"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.:-]+://\S+", re.IGNORECASE)
_STAMPS = ("ETag", "etag", "md5Hash", "content_md5", "checksum", "mtime", "LastModified", "last_modified", "updated")

T = TypeVar("T")
Stamps = dict[str, list[str]]
"""Size and stamp of each file, by its name."""


def is_address(text: str) -> bool:
    """Tell an address from a path and from words."""
    return _ADDRESS.fullmatch(text) is not None


def fetched(address: str) -> Path:
    """Copy the files at an address to this machine.

    Args:
        address: of a file, a folder, or a glob of files.

    Returns:
        Where the copy is: a file, a folder, or a glob.

    Raises:
        SourceError: its scheme is none of :data:`SCHEMES`, or it is a chain; there is no driver for it, nothing is
            there, or it cannot be reached or read; or the address has a password in it.
    """
    from urllib.parse import urlsplit

    _check_scheme(address)
    scheme, _, rest = address.partition("://")
    address = f"{scheme.lower()}://{rest}"  # S3:// is s3://, and drivers know the small letters only
    parts = urlsplit(address)
    if parts.password is not None:
        raise SourceError(
            f"{parts.scheme}://...@{parts.hostname}{parts.path}: an address with a password in it; "
            "leave it out, and set the environment variables that the driver reads"
        )
    if parts.scheme == "file":
        from urllib.request import url2pathname

        return Path(url2pathname(parts.path))
    with _named(address):
        return _copied(address)


def is_silent(url: str) -> bool:
    """Say whether a server takes a connection, and then says nothing for a while.

    Drivers wait for minutes, and try again. Where there is no connection at all, a driver says so at once, and better.
    """
    from http.client import HTTPException
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=PATIENCE):
            return False
    except TimeoutError:
        return True
    except URLError as error:
        return isinstance(error.reason, TimeoutError)
    except (OSError, HTTPException, ValueError):
        return False


def _check_scheme(address: str) -> None:
    """Refuse an address that is not of a known scheme, or that is a chain.

    Raises:
        SourceError: it is refused.
    """
    known = "known are " + ", ".join(f"{scheme}://" for scheme in SCHEMES if scheme != "memory")
    if "::" in address:
        raise SourceError(f"{address}: a chain of addresses (::) is not opened; {known}")
    if address.partition("://")[0].lower() not in SCHEMES:
        raise SourceError(f"{address}: addresses of this kind are not opened; {known}")


def _answered(work: Callable[[], T], size: Callable[[], int] = lambda: 0) -> T:
    """Return what a driver's call returns.

    Args:
        work: the call.
        size: bytes that have come so far.

    Raises:
        SourceError: nothing has come for :data:`PATIENCE` seconds.
    """
    try:
        return answered(work, size, PATIENCE)
    except SilentError as error:
        raise SourceError(str(error)) from None


def _copied(address: str) -> Path:
    """Update the copy; return where it is."""
    from fsspec.core import url_to_fs

    plain = re.split(r"[*?\[]", address, maxsplit=1)[0]
    magic = plain != address
    fixed = plain.rpartition("/")[0] if magic else address
    # fsspec keeps instances with their listings; a new one sees what has changed since.
    system, root = _answered(lambda: url_to_fs(fixed, skip_instance_cache=True))
    # A listing may take its time, so a first question tells whether the server answers at all.
    single = _answered(lambda: system.isfile(root)) and not magic
    if magic:
        found = system.glob(url_to_fs(address)[1], detail=True)
    elif single:
        found, root = {root: system.info(root)}, root.rpartition("/")[0]
    else:
        found = system.find(root, detail=True)
    files = {_name(path, root): info for path, info in found.items() if info["type"] == "file"}
    if not files:
        raise SourceError(f"{address}: no files there")
    # A digest, because an address may have characters that no name of a file may.
    folder = cache_folder() / hashlib.sha256(address.encode()).hexdigest()[:32]
    _update(system, root, files, folder)
    if magic:
        return folder / "files" / address[len(fixed) + 1 :]
    return folder / "files" / next(iter(files)) if single else folder / "files"


def _update(system: Any, root: str, files: Mapping[str, Mapping[str, Any]], folder: Path) -> None:  # noqa: ANN401
    """Make the copy equal to the files at the address."""
    from concurrent.futures import ThreadPoolExecutor

    here = folder / "files"
    here.mkdir(parents=True, exist_ok=True, mode=0o700)
    known, now = _listing(folder), {name: _stamp(info) for name, info in files.items()}
    for name in sorted(known.keys() - now.keys()):
        with suppress(OSError):
            # A copy that is gone already needs no removal.
            (here / name).unlink()
    wanted = [name for name, stamp in now.items() if known.get(name) != stamp or not _whole(here, name, stamp)]

    def fetch(name: str) -> None:
        target = here / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Another process may fetch the same file: each writes its own, and the rename is atomic.
        part = target.with_name(f".part-{os.getpid()}-{target.name}")
        try:
            there = f"{root}/{name}" if root else name
            _answered(lambda: system.get_file(there, str(part)), lambda: part.stat().st_size if part.exists() else 0)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
        for done, _ in enumerate(pool.map(fetch, wanted), 1):
            if done % 100 == 0 or done == len(wanted):
                step("fetching", done, len(wanted))
    # The listing comes last: if this process is killed before, the next one fetches again what it lacks.
    part = folder / f".{LISTING}-{os.getpid()}"
    part.write_text(json.dumps(now), encoding="utf-8")
    part.replace(folder / LISTING)


def _name(path: str, root: str) -> str:
    """Return the name of a file below the root.

    Raises:
        SourceError: the name leads out of the root.
    """
    name = path[len(root) :].lstrip("/") if root else path.lstrip("/")
    if not path.startswith(root) or ".." in PurePosixPath(name).parts or not name or "\x00" in name:
        raise SourceError(f"{path!r}: a name that leads out of {root}")
    return name


def _stamp(info: Mapping[str, Any]) -> list[str]:
    # The size and the driver's stamp tell a changed file from an unchanged one.
    stamp = next((str(info[key]) for key in _STAMPS if info.get(key) is not None), "")
    return [str(info.get("size")), stamp]


def _whole(here: Path, name: str, stamp: list[str]) -> bool:
    """Whether a copy has its full length, and its stamp would show a change."""
    try:
        return bool(stamp[1]) and str((here / name).stat().st_size) == stamp[0]
    except OSError:
        return False


def _listing(folder: Path) -> Stamps:
    """Return the stamps of the last time; none where there was none."""
    try:
        found: Stamps = json.loads((folder / LISTING).read_bytes())
    except (OSError, ValueError):
        return {}
    return found


@contextmanager
def _named(address: str) -> Iterator[None]:
    """Raise SourceError with the address for any error of a driver."""
    try:
        yield
    except SourceError as error:
        text = str(error)
        raise SourceError(text if address in text else f"{address}: {text}") from None
    except ModuleNotFoundError as error:
        if error.name == "fsspec":  # the command line names its extra
            raise
        raise SourceError(f"{address}: {error}") from None
    except FileNotFoundError:
        raise SourceError(f"{address}: nothing is there") from None
    except PermissionError:
        raise SourceError(f"{address}: no permission to read there; are the credentials set?") from None
    except Exception as error:
        why = without_secrets(str(error)) or type(error).__name__
        raise SourceError(f"{address}: cannot be read: {why}") from None

"""Copies of artifacts on this machine, in a folder that looks as that of a store.

A copy is fetched under a temporary name, its files are compared with their sha256, and it is renamed as a whole. It
counts as long as its manifest is the one that the store has.
"""

from __future__ import annotations

import fcntl
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from aepipe.errors import CorruptError, StoreError
from aepipe.log import step
from aepipe.store import layout
from aepipe.store.addresses import cache_folder
from aepipe.store.backends import drafts
from aepipe.store.backends.bucket import Bucket
from aepipe.store.backends.folder import Folder
from aepipe.store.io import disk_errors_named, sha256_of

AT_ONCE = 8
"""Requests that are sent at the same time."""
TRIES = 5
"""Times that a copy is renamed while other processes rename theirs."""

Outputs = Mapping[str, Mapping[str, Any]]


class Copies(Folder):
    """The copies of one store.

    Args:
        bucket: where they are fetched from.
    """

    def __init__(self, bucket: Bucket) -> None:
        own = sha256(bucket.address.encode()).hexdigest()[:32]
        super().__init__(cache_folder() / "stores" / own)
        self._bucket = bucket

    def is_whole(self, name: str, manifest: bytes, outputs: Outputs) -> bool:
        """Say whether there is a copy of an artifact, and whether its files have their lengths."""
        folder = self.root / name
        try:
            if self.manifest(name) != manifest:
                return False
            return all((folder / file).stat().st_size == sealed["bytes"] for file, sealed in outputs.items())
        except OSError:
            return False

    def fetch(self, name: str, manifest: bytes, outputs: Outputs) -> None:
        """Fetch an artifact, in place of a copy that may be there.

        Raises:
            CorruptError: a file is missing, or is not what was written.
            FullError: the disk of this machine is full.
        """
        kind = name.partition("/")[0]
        with self.draft(kind) as draft:
            for file in outputs:
                (draft / file).parent.mkdir(parents=True, exist_ok=True)
            work = [partial(self._download, name, draft / file, sealed) for file, sealed in outputs.items()]
            together(f"fetching {kind}", work)
            (draft / layout.MANIFEST).write_bytes(manifest)
            self.install(draft, name)

    def fetch_one(self, name: str, sealed: Mapping[str, Any]) -> Path:
        """Fetch one file of an artifact, unless it is here, and return where it is.

        Raises:
            CorruptError: it is missing, or is not what was written.
        """
        file = self.root / layout.Root.BLOBS / str(sealed["sha256"])
        with disk_errors_named(self.root):
            if not file.exists():
                self.create()
                file.parent.mkdir(exist_ok=True)
                part = file.with_name(drafts.name())
                self._download(name, part, sealed)
                part.replace(file)
        return file

    def install(self, draft: Path, name: str) -> None:
        """Let a folder be the copy of an artifact; who has opened the one before can still read it."""
        target = self.root / name
        for _ in range(TRIES):
            with suppress(OSError):
                draft.rename(target)
                return
            self.remove(name, math.inf)
        raise StoreError(f"{target}: other processes write this copy again and again; try it later")

    def drop(self, names: set[str], before: float) -> None:
        """Remove what was not used since some time and is no copy of these artifacts."""
        for kind in layout.KINDS:
            for digest in self.listed(kind):
                if f"{kind}/{digest}" not in names:
                    self.remove(f"{kind}/{digest}", before)
        for file in (self.root / layout.Root.BLOBS).glob("*"):
            if file.stat().st_mtime < before:
                file.unlink(missing_ok=True)

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Let one process of this machine fetch an artifact, and the others wait for it."""
        self.create()
        folder = self.root / "fetching"
        folder.mkdir(exist_ok=True)
        with (folder / name.replace("/", "-")).open("a", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _download(self, name: str, file: Path, sealed: Mapping[str, Any]) -> None:
        try:
            self._bucket.download(blob(sealed), file)
        except FileNotFoundError:
            raise damage(self._bucket, name, sealed, "it is missing") from None
        if file.stat().st_size != sealed["bytes"] or sha256_of(file) != sealed["sha256"]:
            file.unlink()
            raise damage(self._bucket, name, sealed, "its sha256 is not its name")


def blob(sealed: Mapping[str, Any]) -> str:
    """Return the key of a file of an artifact."""
    return f"{layout.Root.BLOBS}/{sealed['sha256']}"


def damage(bucket: Bucket, name: str, sealed: Mapping[str, Any], what: str) -> CorruptError:
    """Return the error for a damaged file of an artifact."""
    remedy = f"Delete it and {bucket.address}/{name}, and run again: both will be made again"
    return CorruptError(f"{bucket.address}/{blob(sealed)}: corrupt, {what}. {remedy}")


def together(what: str, work: Sequence[Callable[[], None]]) -> None:
    """Send several requests at the same time; log the progress of many."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="objects") as pool:
        for done, one in enumerate([pool.submit(one) for one in work], 1):
            one.result()
            if len(work) >= 100 and done % 100 == 0:
                step(what, done, len(work))

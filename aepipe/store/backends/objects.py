"""A store on object storage: files by sha256, and a manifest, written last and once.

::

    <address>/store.json             says that the server keeps conditions; written first
    <address>/blob/<sha256>          a file of any number of artifacts; never changed
    <address>/<kind>/<digest>        the manifest of an artifact; an artifact without it is not there
    <address>/removed/<kind>/<digest>   the manifest of one that was removed; its files stay for another day
    <address>/work/<digest>/...      checkpoints, see :mod:`aepipe.store.backends.checkpoints`
    <address>/service/<name> ...     small files that change, see :mod:`aepipe.store.backends.notes`

Two makers of one artifact may write different bytes: both write their files, whose names differ, and one of them writes
the manifest. So every reader sees all of one of them.

Readers map files, as they do in a folder: :mod:`aepipe.store.backends.copies` fetches them first. The folder of the
copies, ``stores/<digest of the address>`` in the cache, can be deleted whenever nothing runs.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from aepipe.errors import StoreError
from aepipe.store import layout
from aepipe.store.backends.bucket import Bucket, ChangedError
from aepipe.store.backends.checkpoints import Checkpoints
from aepipe.store.backends.copies import AT_ONCE, Copies, Outputs, blob, damage, together
from aepipe.store.backends.folder import State
from aepipe.store.backends.notes import Notes
from aepipe.store.io import disk_errors_named

logger = logging.getLogger(__name__)

GRACE = 86400.0
"""Seconds that a file stays which no artifact has; whoever reads or writes one has ended by then."""
FRESH = 3600.0
"""A file that was written so long ago is written again by whoever needs it, so that its time of grace begins anew."""
TRIES = 5
"""Times that the name of an artifact is asked for while others take and remove it."""
CLOCK = 300.0
"""Seconds that the clock of this machine may differ from the server's."""


class Objects(Notes):
    """The objects behind an address; nothing is asked before the first call.

    Args:
        address: scheme, bucket and folder.
        reread: copies that this machine has are fetched again, once.
    """

    def __init__(self, address: str, *, reread: bool = False) -> None:
        bucket = Bucket(address)
        super().__init__(bucket, Copies(bucket))
        self._reread = reread
        self._manifests: dict[str, bytes] = {}
        self._fetched: set[str] = set()
        self._checkpoints = Checkpoints(self.bucket)
        self._created = False
        self._modified: dict[str, float] = {}
        """When manifests were last written, as listed."""

    def create(self) -> None:
        """Make the folder for copies; at the first write ever, check what the server promises.

        Raises:
            StoreError: the server does not answer, refuses to write, or does not keep conditions.
        """
        self.copies.create()
        if not self._created and self.bucket.info(layout.Root.OBJECTS) is None:
            self.probe()
            with suppress(ChangedError):
                self.bucket.create(layout.Root.OBJECTS, json.dumps({"schema": 1}).encode())
        self._created = True

    def state(self) -> tuple[State, str]:
        """Return whether the server answers, can be written to, and keeps its promises."""
        try:
            self.probe()
        except StoreError as error:
            return "bad", str(error)
        return "ok", f"{self.address}: can be written, and keeps conditions; copies for reading are in {self.root}"

    def probe(self) -> None:
        """Check that the server can be written to, and refuses writes whose condition does not hold.

        Raises:
            StoreError: it does not; or its clock and that of this machine differ by minutes.
        """
        key = f"probe-{secrets.token_hex(8)}"
        try:
            self.bucket.create(key, b"1")
            stamp = self.bucket.stamp_of(key, b"1")
            self.bucket.swap(key, b"2", stamp)
            found = self.bucket.info(key)
            kept = _refused(lambda: self.bucket.create(key, b"3"))
            kept = kept and _refused(lambda: self.bucket.swap(key, b"3", stamp))
        except ChangedError:
            kept, found = False, None
        finally:
            self.bucket.delete(key)
        if not kept:
            raise StoreError(
                f"{self.address}: the server does not keep conditions of writes (If-None-Match, If-Match), "
                "so two writers could destroy each other's work; take another server"
            )
        if found is not None and abs(found.modified - time.time()) > CLOCK:
            raise StoreError(f"{self.address}: the clocks of its server and of this machine differ; set this one right")

    # Artifacts

    def has(self, name: str) -> bool:
        """Say whether there is an artifact."""
        return self.bucket.info(name) is not None

    def mark(self, *names: str) -> bool:
        """Write manifests again, which sets their times; say whether all are there."""
        if len(names) == 1:
            return self._mark(*names)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="marks") as pool:
            return all(list(pool.map(self._mark, names)))

    def _mark(self, name: str) -> bool:
        self._modified.pop(name, None)
        try:
            data = self.bucket.get(name)
            self.bucket.swap(name, data, self.bucket.stamp_of(name, data))
        except (FileNotFoundError, ChangedError):  # removed, also if at this moment
            return False
        return True

    def used(self, name: str) -> float:
        """Return when an artifact was made or last used, as of the last listing; infinity if gone."""
        if name not in self._modified:
            found = self.bucket.info(name)
            return math.inf if found is None else found.modified + 1  # servers round down to seconds
        return self._modified[name] + 1

    def listed(self, kind: str) -> list[str]:
        """Return the digests of all artifacts of a kind, oldest first."""
        found = self.bucket.listed(kind)
        self._modified = {name: when for name, when in self._modified.items() if not name.startswith(f"{kind}/")}
        self._modified.update((f"{kind}/{name}", one.modified) for name, one in found.items())
        return sorted((name for name in found if "/" not in name), key=lambda name: (found[name].modified, name))

    def manifest(self, name: str) -> bytes:
        """Read the manifest of an artifact, once."""
        if name not in self._manifests:
            self._manifests[name] = self.bucket.get(name)
        return self._manifests[name]

    def damaged(self, name: str, what: str) -> str:
        """Return what to say of a damaged manifest, with the remedy."""
        return f"{self.address}/{name}: corrupt, {what}. Delete it and run again: it will be made again"

    def fetched(self, name: str, outputs: Outputs) -> Path:
        """Return the folder of an artifact on this machine, fetching it unless the copy is whole.

        Raises:
            CorruptError: a file is missing there, or is not what was written.
            FullError: the disk of this machine is full.
        """
        if self._lacks(name, outputs):
            with disk_errors_named(self.root), self.copies.alone(name):
                if self._lacks(name, outputs):
                    self.copies.fetch(name, self.manifest(name), outputs)
        self._fetched.add(name)
        return self.root / name

    def output(self, name: str, file: str, sealed: Mapping[str, Any]) -> Path:
        """Return one file of an artifact on this machine, fetching that one alone.

        Raises:
            CorruptError: it is missing there, or is not what was written.
        """
        if self.copies.is_whole(name, self.manifest(name), {file: sealed}):
            return self.root / name / file
        return self.copies.fetch_one(name, sealed)

    def checked_lengths(self, name: str, outputs: Outputs) -> bool:
        """Check the lengths of the objects.

        Raises:
            CorruptError: one is missing or has another length.
        """

        def check(sealed: Mapping[str, Any]) -> None:
            found = self.bucket.info(blob(sealed))
            if found is None or found.size != sealed["bytes"]:
                raise damage(self.bucket, name, sealed, "it is missing, or has another length")

        together("lengths", [partial(check, sealed) for sealed in outputs.values()])
        return True

    def forget(self, name: str) -> bool:
        """Drop a damaged copy; it can be fetched again."""
        self.copies.remove(name, math.inf)
        return True

    def draft(self, kind: str) -> AbstractContextManager[Path]:
        """Give a folder to write an artifact in; it is removed at the end."""
        self.create()
        return self.copies.draft(kind)

    def commit(self, draft: Path, name: str) -> None:
        """Write the files of a draft, and then the manifest, unless there is one already.

        The draft becomes the copy of this machine.
        """
        data = (draft / layout.MANIFEST).read_bytes()
        self._upload(draft, json.loads(data)["outputs"])
        for _ in range(TRIES):
            try:
                self.bucket.create(name, data)
            except ChangedError:
                if self.mark(name):  # another process was first
                    self._manifests.pop(name, None)
                    shutil.rmtree(draft)
                    return
            else:
                self.copies.install(draft, name)
                self._manifests[name] = data
                return
        raise StoreError(f"{self.address}/{name}: other processes make and remove it again and again; try it later")

    def remove(self, name: str, unused_since: float) -> bool:
        """Remove the manifest of an artifact unless it was used since; :meth:`sweep` does the rest."""
        with suppress(FileNotFoundError):
            if self._is_used(name, unused_since):
                return False
            self.bucket.put(f"{layout.Root.REMOVED}/{name}", self.bucket.get(name))
            if self._is_used(name, unused_since):  # since a moment ago
                return False
            self.bucket.delete(name)
        self._manifests.pop(name, None)
        self._modified.pop(name, None)
        if (self.root / name).exists():
            self.copies.remove(name, math.inf)
        return True

    def _is_used(self, name: str, since: float) -> bool:
        """Say whether an artifact was used at some time or later; FileNotFoundError if it is gone."""
        found = self.bucket.info(name)
        if found is None:
            raise FileNotFoundError(name)
        return found.modified + 1 >= since

    def sweep(self) -> None:
        """Remove files that no artifact has had for a day, and copies of artifacts that are gone.

        Where a manifest is damaged, all files stay: nobody knows which are its.
        """
        before = time.time() - GRACE
        blobs = self.bucket.listed(layout.Root.BLOBS)  # before the manifests: what is written meanwhile is younger
        names = [f"{kind}/{digest}" for kind in layout.KINDS for digest in self.listed(kind)]
        removed = self.bucket.listed(layout.Root.REMOVED)
        young = [f"{layout.Root.REMOVED}/{name}" for name, one in removed.items() if one.modified >= before]
        try:
            needed = {sealed["sha256"] for outputs in self._outputs([*names, *young]) for sealed in outputs.values()}
        except ValueError as error:
            logger.warning("%s: %s; no file is removed", self.address, error)
            return
        for digest in [one for one, about in blobs.items() if one not in needed and about.modified < before]:
            key = f"{layout.Root.BLOBS}/{digest}"
            found = self.bucket.info(key)
            if found is not None and found.modified < before:  # nobody has written it again since
                self.bucket.delete(key)
        for name in [one for one, about in removed.items() if about.modified < before]:
            self.bucket.delete(f"{layout.Root.REMOVED}/{name}")
        self.copies.drop(set(names), before)

    def size(self, name: str) -> int:
        """Return the bytes of an artifact, with its manifest; 0 if gone."""
        try:
            data = self.manifest(name)
        except FileNotFoundError:
            return 0
        with suppress(ValueError):
            return len(data) + sum(int(sealed["bytes"]) for sealed in _outputs(name, data).values())
        return len(data)

    # Checkpoints

    def work(self, digest: str) -> Path:
        """Return the folder of this machine for checkpoints, with what another machine saved there."""
        folder = self.copies.work(digest)
        self._checkpoints.begin(digest, folder)
        return folder

    def works(self) -> dict[str, tuple[float, int]]:
        """Return when checkpoints were last written, and their bytes, by digest."""
        found = self.copies.works()
        for name, about in self.bucket.listed(layout.Root.WORK).items():
            digest = name.partition("/")[0]
            touched, size = found.get(digest, (0.0, 0))
            found[digest] = (max(touched, about.modified + 1), size + about.size)
        return found

    def drop_work(self, digest: str) -> None:
        """Remove checkpoints here and there."""
        self._checkpoints.end(digest)
        self.copies.drop_work(digest)

    def _lacks(self, name: str, outputs: Outputs) -> bool:
        """Say whether an artifact has to be fetched."""
        again = self._reread and name not in self._fetched
        return again or not self.copies.is_whole(name, self.manifest(name), outputs)

    def _upload(self, draft: Path, outputs: Outputs) -> None:
        """Write the files that the store does not have, or has had for so long that they may be swept."""
        files = {sealed["sha256"]: (draft / file, sealed) for file, sealed in outputs.items()}

        def upload(file: Path, sealed: Mapping[str, Any]) -> None:
            found = self.bucket.info(blob(sealed))
            if found is None or found.size != sealed["bytes"] or time.time() - found.modified > FRESH:
                self.bucket.upload(blob(sealed), file, sealed["bytes"])

        together("storing", [partial(upload, file, sealed) for file, sealed in files.values()])

    def _outputs(self, names: Iterable[str]) -> Iterator[Outputs]:
        """Yield the outputs of manifests, without those that are removed meanwhile."""

        def read(name: str) -> Outputs:
            try:
                return _outputs(name, self.bucket.get(name))  # it may have been made again by now
            except FileNotFoundError:
                return {}

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="manifests") as pool:
            yield from pool.map(read, names)


def _outputs(name: str, manifest: bytes) -> Outputs:
    """Return the outputs of a manifest.

    Raises:
        ValueError: it is damaged.
    """
    try:
        found: Outputs = json.loads(manifest)["outputs"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"the manifest {name} is damaged") from None
    return found


def _refused(write: Callable[[], None]) -> bool:
    try:
        write()
    except ChangedError:
        return True
    return False

"""The store: immutable artifacts, each a directory named by the digest of its inputs.

::

    <root>/<kind>/<digest>/manifest.json     inputs, facts, and sha256 and size of every output; written last
    <root>/<kind>/<digest>/...               the outputs; :mod:`aepipe.store.layout` has their names
    <root>/<kind>/.tmp-<machine>-<random>/   a draft: a directory being written; one rename gives it its name
    <root>/work/<digest>/                    checkpoints of training that was interrupted

A directory under its final name is complete. :mod:`aepipe.store.registry` knows which release is in service. On object
storage the same names stand for objects, see :mod:`aepipe.store.backends`; artifacts are then read from copies in a
folder of this machine that looks as above.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aepipe.errors import CorruptError, NotFoundError, StoreError
from aepipe.store import backends, layout
from aepipe.store.io import (
    files_below,
    seal_file,
    sha256_of,
    sync_folder,
    unread,
    write_durably,
)

logger = logging.getLogger(__name__)

KINDS = layout.KINDS
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
LISTS = frozenset({"rows"})
"""Kinds that may be a list of other artifacts, which belong to them: ``parts`` among their inputs."""


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Reference to one artifact: the only thing that stages hand on to each other."""

    kind: str
    digest: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.digest}"

    @property
    def short(self) -> str:
        """The first twelve characters of the digest, for messages."""
        return self.digest[:12]

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Read ``kind/digest``.

        Raises:
            NotFoundError: the text is not of that form.
        """
        kind, _, digest = text.partition("/")
        if kind not in KINDS or not digest:
            raise NotFoundError(f"{text!r} is not a reference: {', '.join(KINDS)}, a slash and a digest are")
        return cls(kind, digest)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Inputs and contents of one artifact.

    Attributes:
        inputs: everything that the digest covers.
        facts: found or measured while the artifact was made.
        outputs: file name to ``{"sha256", "bytes"}``.
        created: time in ISO 8601, UTC.
    """

    inputs: dict[str, Any]
    facts: dict[str, Any]
    outputs: dict[str, dict[str, Any]]
    created: str


class Draft:
    """An artifact that is being written; :meth:`finish` gives it its name."""

    def __init__(self, store: Store, kind: str, path: Path) -> None:
        self.path = path
        self._store = store
        self._kind = kind
        self._began = time.monotonic()

    def finish(self, inputs: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> Ref:
        """Write the manifest, sync everything, and give the directory its digest as its name.

        Where the store already has that artifact, the draft is dropped, because it has the same inputs.
        """
        ref = ref_of(self._kind, inputs)
        body = {
            "schema": 1,
            "kind": ref.kind,
            "digest": ref.digest,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "inputs": dict(inputs),
            "facts": dict(facts or {}),
            "outputs": {name: seal_file(self.path / name) for name in files_below(self.path)},
        }
        # The seal finds a damaged manifest, which no other checksum covers.
        body["seal"] = digest_of(body)
        write_durably(self.path / layout.MANIFEST, json.dumps(body, indent=1))
        sync_folder(self.path)
        self._store.backend.commit(self.path, str(ref))
        seconds = round(time.monotonic() - self._began, 3)
        about = {"ref": str(ref), "stage": str(inputs.get("stage", ref.kind)), "seconds": seconds}
        logger.debug("%s is written", ref, extra=about)
        return ref


class Store:
    """The artifacts of one place; the first write makes the place.

    Args:
        where: a folder, or an address of object storage.
        reread: what is verified is fetched again, whatever copies this machine has.

    Attributes:
        backend: keeps the bytes.
        address: of the store, as people write it.
        root: the folder of this machine in which artifacts are read and drafts are written.

    Raises:
        StoreError: the address is none of a store.
    """

    def __init__(self, where: str | os.PathLike[str], *, reread: bool = False) -> None:
        self.backend = backends.at(where, reread=reread)
        self.address, self.root = self.backend.address, self.backend.root
        self._verified: set[Ref] = set()

    @classmethod
    def locate(cls) -> Store:
        """Return the store in ``$AEPIPE_HOME``, the nearest ``.aepipe`` upwards, or ``./.aepipe``."""
        home = os.environ.get("AEPIPE_HOME")
        if home:
            return cls(Path(home).expanduser())
        here = Path.cwd()
        found = (folder / ".aepipe" for folder in (here, *here.parents))
        return cls(next((path for path in found if path.is_dir()), here / ".aepipe"))

    def fresh(self, *, reread: bool = False) -> Store:
        """Return the same store without what this object remembers of folders that it has read."""
        return Store(self.address, reread=reread)

    def create(self) -> None:
        """Make the place: private to its owner."""
        self.backend.create()

    def has(self, ref: Ref) -> bool:
        """Say whether the store has an artifact; one that has no manifest yet does not count."""
        return self.backend.has(str(ref))

    def reuse(self, ref: Ref) -> bool:
        """Say whether the store has an artifact, and mark it as used now.

        Whoever makes something of an artifact asks this, under the lock of a collection: what was used since that lock
        was taken is not removed by :mod:`aepipe.release.gc`, whichever collection it serves.
        """
        found = self.backend.mark(str(ref))
        if found and ref.kind in LISTS:
            with suppress(StoreError, FileNotFoundError):  # whoever opens a damaged list says so
                found = self.backend.mark(*map(str, self.parts(ref)))
        return found

    def parts(self, ref: Ref) -> tuple[Ref, ...]:
        """Return the artifacts that one is a list of, in its order; none for most.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptError: the manifest is not what was written.
        """
        return _parts_in(self.manifest(ref)) if ref.kind in LISTS else ()

    def used(self, ref: Ref) -> float:
        """Return when an artifact was made or last used, in seconds since 1970; infinity if gone."""
        return self.backend.used(str(ref))

    def size(self, ref: Ref) -> int:
        """Return the bytes of an artifact; 0 if gone."""
        return self.backend.size(str(ref))

    def refs(self, kind: str) -> list[Ref]:
        """Return all artifacts of one kind, oldest first.

        Raises:
            StoreError: the place cannot be read.
        """
        return [Ref(kind, digest) for digest in self.backend.listed(kind)]

    def manifest(self, ref: Ref) -> Manifest:
        """Read a manifest.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptError: the manifest is not what was written.
            StoreError: the system refused to read it.
        """
        try:
            body = json.loads(self.backend.manifest(str(ref)))
            seal = body.pop("seal")
            sound = seal == digest_of(body) and body["digest"] == ref.digest
        except FileNotFoundError:
            raise NotFoundError(f"{ref.kind}/{ref.short} is not in the store {self.address}") from None
        except OSError as error:
            file = self.root / ref.kind / ref.digest / layout.MANIFEST
            raise unread(file, error, _corrupt(file, f"it cannot be read ({error.strerror})")) from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            sound = False
        if not sound:
            raise CorruptError(self.backend.damaged(str(ref), "its checksum does not match"))
        return Manifest(body["inputs"], body["facts"], body["outputs"], body["created"])

    def path(self, ref: Ref, *, with_parts: bool = True) -> Path:
        """Return an artifact's folder after checking the length of every file, without reading any.

        Args:
            ref: of the artifact.
            with_parts: also check those that it is a list of.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptError: a file is missing or has another length.
            StoreError: the system refused to look at one.
        """
        return self.opened(ref, with_parts=with_parts)[0]

    def opened(self, ref: Ref, *, with_parts: bool = True) -> tuple[Path, Manifest]:
        """Return an artifact's folder and manifest; see :meth:`path`."""
        made = self.manifest(ref)
        folder = self.backend.fetched(str(ref), made.outputs)
        within = f"{folder}{os.sep}"  # a path for each file would take ten times as long as the look at it
        for name, sealed in made.outputs.items():
            try:
                about = os.stat(within + name)
            except OSError as error:
                raise unread(folder / name, error, _corrupt(folder / name, "it is missing")) from None
            if not stat.S_ISREG(about.st_mode):
                raise CorruptError(_named(folder / name, "it is no file"))
            found = about.st_size
            if found != sealed["bytes"]:
                raise CorruptError(_named(folder / name, f"it has {found:,} bytes instead of {sealed['bytes']:,}"))
        for part in _parts_in(made) if with_parts and ref.kind in LISTS else ():
            try:
                self.path(part)
            except NotFoundError as error:
                raise CorruptError(_named(folder / layout.MANIFEST, f"its part {error}")) from None
        return folder, made

    def check_lengths(self, ref: Ref) -> None:
        """Check the length of every file of an artifact, where the store keeps it.

        Nothing is fetched.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptError: a file is missing or has another length.
            StoreError: the system refused to look at one.
        """
        if not self.backend.checked_lengths(str(ref), self.manifest(ref).outputs):
            self.path(ref)
            return
        for part in self.parts(ref):
            self.check_lengths(part)

    def output(self, ref: Ref, name: str) -> Path | None:
        """Return one file of an artifact, without fetching the others; None where there is none.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptError: the manifest, or a file that is fetched, is not what was written.
        """
        sealed = self.manifest(ref).outputs.get(name)
        return None if sealed is None else self.backend.output(str(ref), name, sealed)

    def verified(self, ref: Ref) -> Path:
        """Return an artifact's folder after checking the sha256 of every file, once per process.

        Those that it is a list of are checked, too.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptError: a file is not what was written.
            StoreError: the system refused to read one.
        """
        folder = self.path(ref)
        if ref not in self._verified:
            try:
                self._check(ref, folder)
            except CorruptError:
                if not self.backend.forget(str(ref)):
                    raise
                self._check(ref, self.path(ref))
            for part in self.parts(ref):
                self.verified(part)
            self._verified.add(ref)
        return folder

    def _check(self, ref: Ref, folder: Path) -> None:
        for name, sealed in self.manifest(ref).outputs.items():
            try:
                digest = sha256_of(folder / name)
            except OSError as error:
                why = _corrupt(folder / name, f"it cannot be read ({error.strerror})")
                raise unread(folder / name, error, why) from None
            if digest != sealed["sha256"]:
                raise CorruptError(_named(folder / name, "its sha256 does not match the manifest"))

    @contextmanager
    def draft(self, kind: str) -> Iterator[Draft]:
        """Open an artifact for writing; leaving without :meth:`Draft.finish` removes it.

        Raises:
            FullError: the disk is full.
            StoreError: the store cannot be written.
        """
        with self.backend.draft(kind) as path:
            yield Draft(self, kind, path)

    def remove(self, ref: Ref, *, unused_since: float = math.inf) -> bool:
        """Remove an artifact; it loses its name before its files go, so nobody sees a part of it.

        Args:
            ref: of the artifact.
            unused_since: it stays if it was used at that time, in seconds since the epoch, or later.

        Returns:
            Whether it is gone.

        Raises:
            StoreError: the store cannot be written.
        """
        gone = self.backend.remove(str(ref), unused_since)
        if gone:
            self._verified.discard(ref)
        return gone

    def work(self, ref: Ref) -> Path:
        """Return the folder for checkpoints of an unfinished artifact; they outlive a kill."""
        return self.backend.work(ref.digest)

    def work_done(self, ref: Ref) -> None:
        """Remove the checkpoints of a finished artifact."""
        self.backend.drop_work(ref.digest)

    def place(self, name: str) -> str:
        """Return the full name of a small file of the store, for messages."""
        return f"{self.address}/{name}"


def _parts_in(made: Manifest) -> tuple[Ref, ...]:
    return tuple(map(Ref.parse, made.inputs.get("parts", ())))


def ref_of(kind: str, inputs: Mapping[str, Any]) -> Ref:
    """Return the reference of the artifact with these inputs."""
    return Ref(kind, digest_of({"kind": kind, "inputs": dict(inputs)}))


def digest_of(value: object) -> str:
    """Return the sha256 of a value's canonical JSON, as hex."""
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def _named(file: Path, what: str) -> str:
    return f"{file}: {_corrupt(file, what)}"


def _corrupt(file: Path, what: str) -> str:
    return f"corrupt, {what}. Delete the folder {file.parent} and run again: it will be made again"

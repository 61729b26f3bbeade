"""The store: immutable artifacts, each a directory named by the digest of its inputs.

::

    <root>/<kind>/<digest>/manifest.json     inputs, facts, and sha256 and size of every output; written last
    <root>/<kind>/<digest>/...               the outputs; :mod:`aepipe.store.layout` has their names
    <root>/<kind>/.tmp-<host>-<pid>-<token>/ a draft: a directory being written; one rename gives it its name
    <root>/work/<digest>/                    checkpoints of training that was interrupted

A directory under its final name is complete. :mod:`aepipe.store.registry` knows which release is in service.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import math
import os
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aepipe.errors import CorruptError, NotFoundError, StoreError
from aepipe.store import layout
from aepipe.store.io import (
    disk_errors_named,
    entries,
    files_below,
    seal_file,
    sha256_of,
    sync_folder,
    unread,
    write_durably,
)

logger = logging.getLogger(__name__)

KINDS = ("backbone", "listing", "rows", "views", "layer", "model", "segment", "words", "release")
LISTS = frozenset({"rows"})
"""Kinds that may be a list of other artifacts, which belong to them: ``parts`` among their inputs."""
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by aepipe; see https://bford.info/cachedir/\n"


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
        """Write the manifest, sync everything to the disk, and rename the directory to its digest.

        Where the store already has that artifact, the draft is dropped, because it has the same inputs.
        """
        ref = ref_of(self._kind, inputs)
        target = self._store.root / ref.kind / ref.digest
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
        _mark(self.path / layout.MANIFEST)
        self._take_name(ref, target)
        sync_folder(target.parent)
        seconds = round(time.monotonic() - self._began, 3)
        about = {"ref": str(ref), "stage": str(inputs.get("stage", ref.kind)), "seconds": seconds}
        logger.debug("%s is written", ref, extra=about)
        return ref

    def _take_name(self, ref: Ref, target: Path) -> None:
        """Rename the directory; drop it where the store has that artifact, and what has that name and is none."""
        try:
            self.path.rename(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            if self._store.reuse(ref) or not self._store.remove(ref, unused_since=0.0):
                shutil.rmtree(self.path)
            else:
                self.path.rename(target)


class Store:
    """A folder of artifacts; creating the object touches nothing, the first write makes it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
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

    def create(self) -> None:
        """Make the folder: private to its owner, marked as a cache, and ignored by git."""
        # The tag comes last, so an interrupted first write is completed by the next one.
        if not (self.root / layout.Root.CACHE_TAG).exists():
            try:
                self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise StoreError(f"{self.root}: no folder, so it cannot be a store; name another with --home") from None
            (self.root / layout.Root.GIT_IGNORE).write_text("*\n")
            (self.root / layout.Root.CACHE_TAG).write_text(_TAG)

    def has(self, ref: Ref) -> bool:
        """Say whether the store has an artifact; one that has no manifest yet does not count."""
        return (self.root / ref.kind / ref.digest / layout.MANIFEST).is_file()

    def reuse(self, ref: Ref) -> bool:
        """Say whether the store has an artifact, and mark it as used now.

        Whoever makes something of an artifact asks this, under the lock of a collection: what was used since that lock
        was taken is not removed by :mod:`aepipe.release.gc`, whichever collection it serves.
        """
        with self._removal(fcntl.LOCK_SH):
            found = self.has(ref)
            if found:
                _mark(self.root / ref.kind / ref.digest / layout.MANIFEST)
                with suppress(StoreError, FileNotFoundError):  # whoever opens a damaged list says so
                    for one in self.parts(ref):
                        _mark(self.root / one.kind / one.digest / layout.MANIFEST)
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
        try:
            return (self.root / ref.kind / ref.digest / layout.MANIFEST).stat().st_mtime
        except FileNotFoundError:
            return math.inf

    def refs(self, kind: str) -> list[Ref]:
        """Return all artifacts of one kind, oldest first.

        Raises:
            StoreError: the folder cannot be read.
        """
        found: list[tuple[int, str]] = []
        for path in entries(self.root / kind):
            with suppress(FileNotFoundError, NotADirectoryError):  # no artifact, or another process has removed it
                if path.name[0] != "." and (path / layout.MANIFEST).is_file():
                    found.append((path.stat().st_mtime_ns, path.name))
        return [Ref(kind, name) for _, name in sorted(found)]

    def manifest(self, ref: Ref) -> Manifest:
        """Read a manifest.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptError: the manifest is not what was written.
            StoreError: the system refused to read it.
        """
        file = self.root / ref.kind / ref.digest / layout.MANIFEST
        try:
            body = json.loads(file.read_bytes())
            seal = body.pop("seal")
            sound = seal == digest_of(body) and body["digest"] == ref.digest
        except FileNotFoundError:
            raise NotFoundError(f"{ref.kind}/{ref.short} is not in the store {self.root}") from None
        except OSError as error:
            raise unread(file, error, _corrupt(file, f"it cannot be read ({error.strerror})")) from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            sound = False
        if not sound:
            raise CorruptError(_named(file, "its checksum does not match"))
        return Manifest(body["inputs"], body["facts"], body["outputs"], body["created"])

    def path(self, ref: Ref) -> Path:
        """Return an artifact's folder after checking the length of every file, without reading any.

        Those that it is a list of are checked, too.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptError: a file is missing or has another length.
            StoreError: the system refused to look at one.
        """
        folder, made = self.root / ref.kind / ref.digest, self.manifest(ref)
        for name, sealed in made.outputs.items():
            try:
                about = (folder / name).stat()
            except OSError as error:
                raise unread(folder / name, error, _corrupt(folder / name, "it is missing")) from None
            if not stat.S_ISREG(about.st_mode):
                raise CorruptError(_named(folder / name, "it is no file"))
            found = about.st_size
            if found != sealed["bytes"]:
                raise CorruptError(_named(folder / name, f"it has {found:,} bytes instead of {sealed['bytes']:,}"))
        for part in _parts_in(made) if ref.kind in LISTS else ():
            try:
                self.path(part)
            except NotFoundError as error:
                raise CorruptError(_named(folder / layout.MANIFEST, f"its part {error}")) from None
        return folder

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
            for name, sealed in self.manifest(ref).outputs.items():
                try:
                    digest = sha256_of(folder / name)
                except OSError as error:
                    why = _corrupt(folder / name, f"it cannot be read ({error.strerror})")
                    raise unread(folder / name, error, why) from None
                if digest != sealed["sha256"]:
                    raise CorruptError(_named(folder / name, "its sha256 does not match the manifest"))
            for part in self.parts(ref):
                self.verified(part)
            self._verified.add(ref)
        return folder

    @contextmanager
    def draft(self, kind: str) -> Iterator[Draft]:
        """Open an artifact for writing; leaving without :meth:`Draft.finish` removes it.

        Raises:
            FullError: the disk is full.
            StoreError: the store cannot be written.
        """
        path = self._temporary(kind)
        try:
            with disk_errors_named(self.root):
                self.create()
                path.parent.mkdir(exist_ok=True)
                _sweep(path.parent)
                path.mkdir()
                yield Draft(self, kind, path)
        finally:
            shutil.rmtree(path, ignore_errors=True)

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
        with disk_errors_named(self.root), self._removal(fcntl.LOCK_EX):
            if self.has(ref) and self.used(ref) >= unused_since:
                return False
            self._clear(ref)
        return True

    def _clear(self, ref: Ref) -> None:
        """Take away what stands under the name of an artifact, whatever it is."""
        temporary = self._temporary(ref.kind)
        with suppress(FileNotFoundError):
            (self.root / ref.kind / ref.digest).rename(temporary)
        if temporary.is_dir() and not temporary.is_symlink():
            shutil.rmtree(temporary, ignore_errors=True)
        else:  # a file or a link in the place of a folder
            temporary.unlink(missing_ok=True)
        self._verified.discard(ref)

    @contextmanager
    def _removal(self, how: int) -> Iterator[None]:
        """Hold the lock between those who use artifacts, together, and those who remove one, alone."""
        folder = self.root / layout.Root.LOCKS
        try:
            folder.mkdir(exist_ok=True)
            stream = (folder / layout.Root.REMOVAL).open("a", encoding="utf-8")
        except OSError as error:
            if how == fcntl.LOCK_EX or error.errno not in {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT}:
                raise
            yield  # nothing is removed from a store that can only be read, or that is not there
            return
        with stream:
            fcntl.flock(stream, how)
            yield

    def work(self, ref: Ref) -> Path:
        """Return the folder for checkpoints of an unfinished artifact; it outlives a kill."""
        path = self.root / layout.Root.WORK / ref.digest
        with disk_errors_named(self.root):
            self.create()
            path.mkdir(parents=True, exist_ok=True)
            _mark(path)
        return path

    def _temporary(self, kind: str) -> Path:
        # Names with host and process let _sweep tell the drafts of dead processes from those being written.
        return self.root / kind / f".tmp-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

    def work_done(self, ref: Ref) -> None:
        """Remove the checkpoints of a finished artifact."""
        shutil.rmtree(self.root / layout.Root.WORK / ref.digest, ignore_errors=True)


def _mark(manifest: Path) -> None:
    """Note that an artifact is used now; by the clock of Python, since that of a file system is late by some ms."""
    now = time.time_ns()
    try:
        os.utime(manifest, ns=(now, now))
    except PermissionError:  # the file of another user
        with suppress(OSError):
            os.utime(manifest)


def _parts_in(made: Manifest) -> tuple[Ref, ...]:
    return tuple(map(Ref.parse, made.inputs.get("parts", ())))


def ref_of(kind: str, inputs: Mapping[str, Any]) -> Ref:
    """Return the reference of the artifact with these inputs."""
    return Ref(kind, digest_of({"kind": kind, "inputs": dict(inputs)}))


def digest_of(value: object) -> str:
    """Return the sha256 of a value's canonical JSON, as hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _sweep(parent: Path) -> None:
    """Remove the drafts of processes of this host that died."""
    for path in parent.glob(".tmp-*-*-*"):
        host, pid, _ = path.name.rsplit("-", 2)
        if host == f".tmp-{socket.gethostname()}" and pid.isdigit() and not is_alive(int(pid)):
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


def _named(file: Path, what: str) -> str:
    return f"{file}: {_corrupt(file, what)}"


def _corrupt(file: Path, what: str) -> str:
    return f"corrupt, {what}. Delete the folder {file.parent} and run again: it will be made again"

"""The shelf: immutable directories, each named by the digest of what it was made from.

::

    <root>/<kind>/<digest>/manifest.json     inputs, facts, and the sha256 and bytes of every output; written last
    <root>/<kind>/<digest>/...               the outputs
    <root>/<kind>/.tmp-<host>-<pid>-<token>/ a directory being written; it gets its name by one rename
    <root>/work/<digest>/                    checkpoints of work that was interrupted

Whoever reads a directory under its final name reads all of it. What is in service stands in :mod:`aepipe.store.registry`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aepipe.errors import CorruptError, NotFoundError
from aepipe.store import layout
from aepipe.store.io import disk_errors_named, seal_file, sha256_of, sync_folder, write_durably

logger = logging.getLogger(__name__)

KINDS = ("backbone", "rows", "views", "layer", "model", "segment", "release")
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by aepipe; see https://bford.info/cachedir/\n"


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """The name of one directory in the store; the only thing stages hand on."""

    kind: str
    digest: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.digest}"

    @property
    def short(self) -> str:
        """The first twelve characters of the digest, for people."""
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
    """What one directory was made from, and what is in it.

    Attributes:
        inputs: everything its digest is over.
        facts: what was found or measured while making it.
        outputs: file name to ``{"sha256", "bytes"}``.
        created: when, ISO 8601 in UTC.
    """

    inputs: dict[str, Any]
    facts: dict[str, Any]
    outputs: dict[str, dict[str, Any]]
    created: str


class Draft:
    """A directory that is being written; :meth:`finish` gives it its name."""

    def __init__(self, store: Store, kind: str, path: Path) -> None:
        self.path = path
        self._store = store
        self._kind = kind
        self._began = time.monotonic()

    def finish(self, inputs: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> Ref:
        """Write the manifest, make everything durable, and rename the directory to its digest.

        Where the store already has that directory, the draft is dropped: equal inputs made it.
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
            "outputs": {name: seal_file(self.path / name) for name in _files(self.path)},
        }
        body["seal"] = digest_of(body)
        write_durably(self.path / layout.MANIFEST, json.dumps(body, indent=1))
        sync_folder(self.path)
        try:
            self.path.rename(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            shutil.rmtree(self.path)
        sync_folder(target.parent)
        seconds = round(time.monotonic() - self._began, 3)
        about = {"ref": str(ref), "stage": str(inputs.get("stage", ref.kind)), "seconds": seconds}
        logger.debug("%s is written", ref, extra=about)
        return ref


class Store:
    """One shelf. Making the object touches nothing; the folder is made by the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._verified: set[Ref] = set()

    @classmethod
    def locate(cls) -> Store:
        """Return the store of ``$AEPIPE_HOME``, else the nearest ``.aepipe`` upwards, else ``./.aepipe``."""
        home = os.environ.get("AEPIPE_HOME")
        if home:
            return cls(Path(home).expanduser())
        here = Path.cwd()
        found = (folder / ".aepipe" for folder in (here, *here.parents))
        return cls(next((path for path in found if path.is_dir()), here / ".aepipe"))

    def create(self) -> None:
        """Make the folder, private to its owner, marked as a cache and ignored by git."""
        if not (self.root / layout.Root.CACHE_TAG).exists():
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.root / layout.Root.GIT_IGNORE).write_text("*\n")
            (self.root / layout.Root.CACHE_TAG).write_text(_TAG)

    def has(self, ref: Ref) -> bool:
        """Say whether the store has a complete directory of that name."""
        return (self.root / ref.kind / ref.digest / layout.MANIFEST).is_file()

    def refs(self, kind: str) -> list[Ref]:
        """Return what the store has of one kind, oldest first."""
        folders = (
            path.parent for path in (self.root / kind).glob(f"*/{layout.MANIFEST}") if path.parent.name[0] != "."
        )
        return [Ref(kind, path.name) for path in sorted(folders, key=lambda p: (p.stat().st_mtime_ns, p.name))]

    def manifest(self, ref: Ref) -> Manifest:
        """Read a manifest.

        Raises:
            NotFoundError: the store has no such directory.
            CorruptError: the manifest is not what was written.
        """
        file = self.root / ref.kind / ref.digest / layout.MANIFEST
        try:
            body = json.loads(file.read_bytes())
            seal = body.pop("seal")
            sound = seal == digest_of(body) and body["digest"] == ref.digest
        except FileNotFoundError:
            raise NotFoundError(f"{ref.kind}/{ref.short} is not in the store {self.root}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            sound = False
        if not sound:
            raise CorruptError(_corrupt(file, "its checksum does not match"))
        return Manifest(body["inputs"], body["facts"], body["outputs"], body["created"])

    def path(self, ref: Ref) -> Path:
        """Return a directory after checking that every file is there at its full length; reads no contents.

        Raises:
            NotFoundError: the store has no such directory.
            CorruptError: a file is missing or has another length.
        """
        folder = self.root / ref.kind / ref.digest
        for name, sealed in self.manifest(ref).outputs.items():
            try:
                found = (folder / name).stat().st_size
            except OSError:
                raise CorruptError(_corrupt(folder / name, "it is missing")) from None
            if found != sealed["bytes"]:
                raise CorruptError(_corrupt(folder / name, f"it has {found:,} bytes instead of {sealed['bytes']:,}"))
        return folder

    def verified(self, ref: Ref) -> Path:
        """Return a directory after checking the sha256 of every file, once per process.

        Raises:
            NotFoundError: the store has no such directory.
            CorruptError: a file is not what was written.
        """
        folder = self.path(ref)
        if ref not in self._verified:
            for name, sealed in self.manifest(ref).outputs.items():
                if sha256_of(folder / name) != sealed["sha256"]:
                    raise CorruptError(_corrupt(folder / name, "its sha256 does not match the manifest"))
            self._verified.add(ref)
        return folder

    @contextmanager
    def draft(self, kind: str) -> Iterator[Draft]:
        """Open a directory for writing; leaving without :meth:`Draft.finish` removes it.

        Raises:
            FullError: the disk is full.
            StoreError: the store cannot be written.
        """
        path = self._beside(kind)
        try:
            with disk_errors_named(self.root):
                self.create()
                path.parent.mkdir(exist_ok=True)
                _sweep(path.parent)
                path.mkdir()
                yield Draft(self, kind, path)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def remove(self, ref: Ref) -> None:
        """Remove a directory at once as seen by others: it loses its name before its files go.

        Raises:
            StoreError: the store cannot be written.
        """
        beside = self._beside(ref.kind)
        with disk_errors_named(self.root):
            (self.root / ref.kind / ref.digest).rename(beside)
            shutil.rmtree(beside, ignore_errors=True)
        self._verified.discard(ref)

    def work(self, ref: Ref) -> Path:
        """Return a folder for checkpoints of work on ``ref`` that outlives a killed process."""
        path = self.root / layout.Root.WORK / ref.digest
        with disk_errors_named(self.root):
            self.create()
            path.mkdir(parents=True, exist_ok=True)
        return path

    def _beside(self, kind: str) -> Path:
        """Return a name for what is no directory of the store yet, or no more; it is swept where this process dies."""
        return self.root / kind / f".tmp-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

    def work_done(self, ref: Ref) -> None:
        """Remove the checkpoints of finished work."""
        shutil.rmtree(self.root / layout.Root.WORK / ref.digest, ignore_errors=True)


def ref_of(kind: str, inputs: Mapping[str, Any]) -> Ref:
    """Return the name that a directory made from these inputs has."""
    return Ref(kind, digest_of({"kind": kind, "inputs": dict(inputs)}))


def digest_of(value: object) -> str:
    """Return the sha256 of a value's canonical JSON, as hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _files(folder: Path) -> list[str]:
    """Return the relative names of all files below a folder, sorted."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _sweep(parent: Path) -> None:
    """Remove the drafts of processes of this host that died."""
    for path in parent.glob(".tmp-*-*-*"):
        host, pid, _ = path.name.rsplit("-", 2)
        if host == f".tmp-{socket.gethostname()}" and pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    """Say whether a process of this host runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _corrupt(file: Path, what: str) -> str:
    """Return the message for a file that is not what was written."""
    return f"{file}: corrupt, {what}. Delete the folder {file.parent} and run again: it will be made anew"

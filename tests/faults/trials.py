"""A store with two collections, and verbs done to copies of it by children of this process; for programs of tests.

The parent only imports and prepares, because what makes threads does not survive a fork.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner, Result

from aepipe import cli
from aepipe.cli.app import app
from aepipe.errors import AepipeError
from aepipe.learn import onnx_export
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Store
from tests.support.exporter import kept_exports, read_operators_once
from tests.support.plain_flows import write_collection
from tests.support.releases import make_release

NAME, OTHER, OTHERS = "tiny", "pictures", 12
"""The collection that verbs work on, the other one, and its rows."""
VERBS = {
    "promote": ["promote", "OLD"],
    "rollback": ["rollback"],
    "add": ["add", "more.png"],
    "remove": ["remove", "--id", "5"],
    "compact": ["compact"],
    "refresh": ["refresh"],
    "nightly": ["nightly", "tiny.toml", "--keep", "1"],
    "run": ["run", "tiny.toml"],
    "gc": ["gc", "--keep", "1", "--hours", "0"],
    "rename": ["rename", "tiny", "small"],
    "drop": ["drop", "tiny", "-y"],
}
"""Verbs that write."""
NAMELESS = {"promote", "nightly", "run", "gc", "rename", "drop"}
ONCE = {"rollback", "remove", "rename", "drop"}
"""Verbs that cannot be done twice: once more is a mistake where the first attempt did them."""
_TIMES = re.compile(rb'"(when|created|seal|seconds|sha256|since)": ("[^"]*"|[\d.e-]+)')
_PASSING = re.compile(r"\.tmp[^/]*|(?<=\.)\d+$|\.parts-\w+")
UNREAD = ("/locks", "/metrics")
"""Folders of files whose bytes no verb goes by: they are written anew."""
CHANGING = {"service", "ids", "locks"}
"""Folders of files that change."""
Content = dict[str, str]


@dataclass(frozen=True, slots=True)
class Tree:
    """Folders and files of a store, listed once, for it is copied thousands of times.

    Attributes:
        root: of the store.
        folders: below it, each before those in it, with their modes.
        files: below it, and whether each is sealed, so that nobody writes into it, and a link is a copy of it.
    """

    root: str
    folders: Sequence[tuple[str, int]]
    files: Sequence[tuple[str, bool]]

    @classmethod
    def of(cls, root: Path) -> Tree:
        """List a store."""
        paths = sorted(root.rglob("*"))
        folders = [(str(one.relative_to(root)), one.stat().st_mode & 0o777) for one in paths if one.is_dir()]
        changing = {root, *(root / name for name in CHANGING)}
        files = [(str(one.relative_to(root)), one.parent not in changing) for one in paths if one.is_file()]
        return cls(str(root), folders, files)

    def write(self, to: Path) -> None:
        """Make a copy where nothing is."""
        os.mkdir(to, 0o700)
        for name, mode in self.folders:
            os.mkdir(f"{to}/{name}", mode)
        for name, sealed in self.files:
            (os.link if sealed else shutil.copy2)(f"{self.root}/{name}", f"{to}/{name}")


class Trials:
    """A prepared store, and a copy of it for each trial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        self.held = Store(folder / "held")
        self.old = ""

    def prepare(self) -> None:
        """Make a collection with a release before, something removed, and something new in its source."""
        os.chdir(self.folder)
        import_early(self._prepare, self.folder / "exports")
        self.old = next(event.after for event in registry.history(self.store, NAME))

    def words(self, verb: str) -> list[str]:
        """Return the command line of a verb."""
        named = [] if verb in NAMELESS else ["--name", NAME]
        return [*(word.replace("OLD", self.old) for word in VERBS[verb]), *named, "--home", "held"]

    def copy(self) -> None:
        """Begin with a fresh copy."""
        shutil.rmtree(self.held.root, ignore_errors=True)
        self.tree.write(self.held.root)

    @cached_property
    def tree(self) -> Tree:
        """The prepared store."""
        return Tree.of(self.store.root)

    def damage(self) -> Iterator[str]:
        """Yield what is damaged in the copy, or does not answer."""
        if damage := lifecycle.check_all(self.held).damage:
            yield f"damaged: {damage}"
        try:
            content(self.held)
            if len(Release.open(Store(self.held.root), OTHER)) != OTHERS:
                yield "the other collection has changed"
            registry.history(self.held)
            yield from self.given_twice()
        except AepipeError as error:
            yield f"nothing answers: {error}"

    def given_twice(self) -> Iterator[str]:
        """Yield the ids that mean several rows, in all releases of the copy and of the prepared store.

        A collection that was dropped gives its ids no more; one that is made under its name afterwards begins anew.
        """
        meant: dict[int, str] = {}
        dropped = any(event.action == registry.DROP for event in registry.history(self.held, dropped=True))
        for store in (self.held,) if dropped else (self.store, self.held):
            fresh = Store(store.root)
            for ref in fresh.refs("release"):
                release = Release.open(fresh, ref=ref)
                for row in release.describe(release.items.ids) if release.name != OTHER else ():
                    if meant.setdefault(row.id, row.key) != row.key:
                        yield f"id {row.id} means {meant[row.id]} and {row.key}"

    def _prepare(self) -> list[str]:
        write_collection(self.folder)
        made = do(["run", "tiny.toml", "--home", "store"])
        make_release(self.store, name=OTHER, n=OTHERS, shape=(8, 8, 1))
        removed = do(["remove", "--id", "4", "--home", "store", "--name", NAME])
        write_collection(self.folder, numbers=range(24, 26))
        write_collection(self.folder, "more", range(90, 91))
        shutil.copy(next((self.folder / "more").rglob("090.png")), self.folder / "more.png")
        assert made.exit_code == removed.exit_code == 0, made.output + removed.output
        return []


def import_early(work: Callable[[], Any], exports: Path) -> None:
    """Import what some work imports, so that children that do it have nothing left to import.

    A child does the work; nothing of it happens in this process but the imports, and an export, which makes no threads.

    Args:
        work: that is to be done.
        exports: the folder of networks that were exported, so that each is exported once.
    """
    read_operators_once()
    onnx_export.exported(torch.nn.Linear(1, 1), torch.zeros(1, 1), {"given": ["found"]}, free=0)
    onnx_export.exported = kept_exports(exports, onnx_export.exported)
    for verb in cli.VERBS:
        do([verb, "--help"])
    for name in in_child(lambda: [work(), *sys.modules][1:]):
        if name not in sys.modules:
            with suppress(Exception):  # some modules are made under names that cannot be imported
                import_module(name)
    gc.freeze()  # these objects stay, and no child needs to search them for garbage


def do(words: list[str]) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(app, words, prog_name="aepipe")


def said(done: Result) -> list[str]:
    """Return the lines of a verb that are ours."""
    return [line for line in done.stderr.splitlines() if line.startswith("aepipe:")]


def content(store: Store) -> Content:
    """Return the codes of all rows of the collection, by key, after a question; none where it is gone."""
    names = [name for name in registry.names(store) if name != OTHER]
    if not names:
        return {}
    release = Release.open(Store(store.root), names[0])
    rows, codes = release.describe(release.items.ids), release.codes_of(release.items.ids).hex()
    release.query(release.codes_of(release.items.ids[:2]), 3)
    return {row.key: code for row, code in zip(rows, codes, strict=True)}


def state(root: Path, tree: Tree) -> str:
    """Return the sha256 of a copy of a store: names and bytes of all files, but for times and processes."""
    sealed = {os.stat(f"{tree.root}/{name}").st_ino: name for name, linked in tree.files if linked}
    found = hashlib.sha256()
    for folder, folders, names in os.walk(root):
        folders.sort()
        found.update(f"{plain(folder)}\n".encode())
        for name in sorted(names):
            path = f"{folder}/{name}"
            original = sealed.get(os.stat(path).st_ino)
            held = b"" if original or folder.endswith(UNREAD) else _TIMES.sub(b"", Path(path).read_bytes())
            found.update(f"{plain(name)}: {original}\n".encode() + held)
    return found.hexdigest()


def plain(path: str) -> str:
    """Return a path without processes and random parts of names."""
    return _PASSING.sub("*", path)


def in_child(work: Callable[[], Any]) -> Any:
    """Return what some work gives, as JSON has it, that a child of this process does."""
    return begun(work)()


def begun(work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin some work in a child of this process; return what waits for its end and gives its result.

    The result is a list of words where the work failed, or the child was killed.
    """
    reads, writes = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reads)
        try:
            found = work()
        except BaseException as unforeseen:
            found = [f"the trial itself: {unforeseen!r}"]
        with os.fdopen(writes, "wb") as stream:
            stream.write(json.dumps(found).encode())
        os._exit(0)
    os.close(writes)

    def end() -> Any:
        with os.fdopen(reads, "rb") as stream:
            heard = stream.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return json.loads(heard) if status == 0 and heard else [f"ended with {status}"]

    return end

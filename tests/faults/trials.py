"""A store with two collections, and verbs done to copies of it by children of this process; for programs of tests.

The parent only imports and prepares, because what makes threads does not survive a fork.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner, Result

from aepipe.cli.app import app
from aepipe.errors import AepipeError
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Store
from tests.support.exporter import read_operators_once
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
Content = dict[str, str]


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
        import_early(self._prepare)
        self.old = next(event.after for event in registry.history(self.store, NAME))

    def words(self, verb: str) -> list[str]:
        """Return the command line of a verb."""
        named = [] if verb in NAMELESS else ["--name", NAME]
        return [*(word.replace("OLD", self.old) for word in VERBS[verb]), *named, "--home", "held"]

    def copy(self) -> None:
        """Begin with a fresh copy."""
        shutil.rmtree(self.held.root, ignore_errors=True)
        shutil.copytree(self.store.root, self.held.root, copy_function=_linked)

    def damage(self) -> Iterator[str]:
        """Yield what is damaged in the copy, or does not answer."""
        if damage := lifecycle.check_all(self.held).damage:
            yield f"damaged: {damage}"
        try:
            content(self.held)
            if len(Release.open(Store(self.held.root), OTHER)) != OTHERS:
                yield "the other collection has changed"
            registry.history(self.held)
        except AepipeError as error:
            yield f"nothing answers: {error}"

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


def import_early(work: Callable[[], Any]) -> None:
    """Import what some work imports, so that children that do it have nothing left to import.

    A child does the work; nothing of it happens in this process but the imports, and an export, which makes no threads.
    """
    from aepipe.learn.onnx_export import exported

    read_operators_once()
    exported(torch.nn.Linear(1, 1), torch.zeros(1, 1), {"given": ["found"]}, free=0)
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


def _linked(file: str, copy: str) -> None:
    """Link a sealed file, for nobody writes into one; copy the others."""
    (os.link if Path(file).parts[-2] not in {"store", "service", "ids", "locks"} else shutil.copy2)(file, copy)

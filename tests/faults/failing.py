"""Verbs whose system calls fail, one at a time; a program that runs with ``failing.c`` preloaded.

    LD_PRELOAD=failing.so python -m tests.faults.failing FOLDER EVERY

It makes a store in an empty folder. Then, for each verb, each call below the store, and each error that this call can
give, a child does the verb on a copy of the store while that call fails. It prints a line of JSON for each of them: what
was tried, and what is wrong afterwards. ``EVERY`` tries one of so many.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aepipe.cli.app import app
from aepipe.errors import AepipeError
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Store
from tests.support.plain_flows import plain_flows, write_collection
from tests.support.releases import make_release

VERBS = {
    "promote": ["promote", "OLD"],
    "rollback": ["rollback"],
    "add": ["add", "more.png"],
    "remove": ["remove", "--id", "5"],
    "compact": ["compact"],
    "refresh": ["refresh"],
    "nightly": ["nightly", "tiny.toml", "--keep", "1"],
    "gc": ["gc", "--keep", "1", "--hours", "0"],
}
NAMELESS = {"promote", "nightly", "gc"}
NAMES, WRITES = (errno.EIO, errno.EACCES), (errno.EIO, errno.ENOSPC)
ERRORS: dict[str, tuple[int, ...]] = {
    "o": (*NAMES, errno.EMFILE),
    "c": (*NAMES, errno.EMFILE, errno.ENOSPC),
    "d": (*NAMES, errno.EMFILE),
    "r": (errno.EIO,),
    "w": WRITES,
    "s": WRITES,
    "t": WRITES,
    "z": WRITES,
    "m": (*NAMES, errno.ENOSPC),
    "n": (*NAMES, errno.ENOSPC),
    "u": NAMES,
    "x": NAMES,
    "k": NAMES,
    "p": (errno.EACCES,),
    "l": (errno.EIO,),
}
"""The errors that a call can give, by its letter in ``failing.c``."""
SAID = (0, 1, 2, 3)
Content = dict[str, str]


class Trials:
    """A prepared store, and trials on copies of it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store")
        self.held = Store(folder / "held")
        self.words: dict[str, list[str]] = {}
        self.before: Content = {}
        self._library = ctypes.CDLL(None)

    def prepare(self) -> None:
        """Make a collection with a release before, something removed, and something new in its source."""
        folder = self.store.root.parent
        os.chdir(folder)
        write_collection(folder)
        made = self._do(["run", "tiny.toml", "--home", "store"])
        assert made.exit_code == 0, made.output
        old = Release.open(self.store, "tiny").ref
        make_release(self.store, name="pictures", n=12, shape=(8, 8, 1))
        made = self._do(["remove", "--id", "4", "--home", "store", "--name", "tiny"])
        assert made.exit_code == 0, made.output
        write_collection(folder, numbers=range(24, 26))
        write_collection(folder, "more", range(90, 91))
        shutil.copy(next((folder / "more").rglob("090.png")), folder / "more.png")
        for verb, words in VERBS.items():
            named = [] if verb in NAMELESS else ["--name", "tiny"]
            self.words[verb] = [*(word.replace("OLD", old.digest) for word in words), *named, "--home", "held"]
        self.before = content(self.store)

    def count(self, verb: str) -> tuple[str, Content]:
        """Do a verb without a failure; return the letters of its calls, and the collection afterwards."""
        self._copy()
        self._library.failing_begin(str(self.held.root).encode(), -1, 0)
        done = self._do(self.words[verb])
        calls = self._library.failing_end()
        assert done.exit_code == 0, done.output
        kinds = (ctypes.c_char * 65536).in_dll(self._library, "failing_kinds").raw[:calls].decode()
        return kinds, content(self.held)

    def attempt(self, verb: str, number: int, error: int, after: Content) -> Iterator[str]:
        """Do a verb while its call of a number fails; yield what is wrong afterwards."""
        self._copy()
        self._library.failing_begin(str(self.held.root).encode(), number, error)
        done = self._do(self.words[verb])
        self._library.failing_end()
        yield from self._said(done)
        yield from self._holds(after)
        again = self._do(self.words[verb])
        settled = verb in {"rollback", "remove"} and again.exit_code == 2  # it was done by the first attempt
        if again.exit_code != 0 and not settled:
            yield f"once more: status {again.exit_code}: {again.stderr.strip()[-300:]}"
        yield from self._holds(after)

    def _said(self, done: Result) -> Iterator[str]:
        lines = [line for line in done.stderr.splitlines() if line.startswith("aepipe:")]
        if done.exit_code not in SAID or not isinstance(done.exception, SystemExit | None):
            yield f"status {done.exit_code}: {done.stderr.strip()[-400:]} {done.exception!r}"
        elif done.exit_code and len(lines) != 1:
            yield f"status {done.exit_code}, {len(lines)} lines: {lines}"

    def _holds(self, after: Content) -> Iterator[str]:
        """Yield what is damaged; the answers are those before the verb or those after it."""
        damage = lifecycle.check_all(self.held).damage
        if damage:
            yield f"damaged: {damage}"
        try:
            found = content(self.held)
            if found not in (self.before, after):
                yield f"another collection: {sorted(found.items() ^ after.items())[:3]}"
            if len(Release.open(self.held, "pictures")) != 12:
                yield "another collection of others"
            registry.history(self.held)
        except AepipeError as error:
            yield f"nothing answers: {error}"

    def _copy(self) -> None:
        shutil.rmtree(self.held.root, ignore_errors=True)
        shutil.copytree(self.store.root, self.held.root, copy_function=_linked)

    def _do(self, words: list[str]) -> Result:
        return CliRunner().invoke(app, words, prog_name="aepipe")


def content(store: Store) -> Content:
    """Return the codes of all rows, by key, after a question."""
    release = Release.open(Store(store.root), "tiny")
    rows, codes = release.describe(release.items.ids), release.codes_of(release.items.ids).hex()
    release.query(release.codes_of(release.items.ids[:2]), 3)
    return {row.key: code for row, code in zip(rows, codes, strict=True)}


def _linked(file: str, copy: str) -> None:
    (os.link if Path(file).parts[-2] not in {"store", "service", "ids", "locks"} else shutil.copy2)(file, copy)


def main(folder: Path, every: int, verbs: list[str]) -> None:
    """Be the program."""
    logging.disable(logging.CRITICAL)
    trials = Trials(folder)
    with plain_flows(), pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(folder))
        trials.prepare()
        for verb in verbs or VERBS:
            kinds, after = trials.count(verb)
            for call, error in itertools.islice(faults(kinds), every // 2, None, every):
                wrong = in_child(trials, verb, call, error, after)
                tried = {"verb": verb, "call": call, "kind": kinds[call], "error": errno.errorcode[error]}
                print(json.dumps({**tried, "wrong": wrong}), flush=True)  # noqa: T201  the output


def faults(kinds: str) -> Iterator[tuple[int, int]]:
    """Yield each call of some kinds with each error that it can give."""
    for call, kind in enumerate(kinds):
        for error in ERRORS[kind]:
            yield call, error


def in_child(trials: Trials, verb: str, call: int, error: int, after: Content) -> list[str]:
    """Return what is wrong after one trial, which has a process of its own."""
    reads, writes = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reads)
        try:
            wrong = list(trials.attempt(verb, call, error, after))
        except BaseException as unforeseen:  # noqa: BLE001  the parent has to hear of it
            wrong = [f"the trial itself: {unforeseen!r}"]
        os.write(writes, json.dumps(wrong).encode()[:60_000])
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as stream:
        said = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(said) if status == 0 and said else [f"ended with {status}"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])

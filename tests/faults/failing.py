"""Verbs whose system calls fail, one at a time; a program that runs with ``failing.c`` preloaded.

    LD_PRELOAD=failing.so python -m tests.faults.failing FOLDER EVERY [VERB...]

It makes a store in an empty folder. Then, for each verb, each call below the store, and each error that this call can
give, a child does the verb on a copy of the store while that call fails. It prints a line of JSON for each of them:
what was tried, and what is wrong afterwards. ``EVERY`` tries one of so many.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import logging
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults import trials
from tests.faults.trials import ONCE, VERBS, Content, Trials
from tests.support.plain_flows import plain_flows

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


class Failing(Trials):
    """Trials in which a call fails."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.before: Content = {}
        self._library = ctypes.CDLL(None)

    def count(self, verb: str) -> list[Any]:
        """Do a verb without a failure; return the letters of its calls, and the collection afterwards."""
        self.copy()
        self._library.failing_begin(str(self.held.root).encode(), -1, 0)
        done = trials.do(self.words(verb))
        calls = self._library.failing_end()
        assert done.exit_code == 0, done.output
        kinds = (ctypes.c_char * 65536).in_dll(self._library, "failing_kinds").raw[:calls].decode()
        return [kinds, trials.content(self.held)]

    def attempt(self, verb: str, number: int, error: int, after: Content) -> list[str]:
        """Do a verb while its call of a number fails; return what is wrong afterwards."""
        return [*self._attempt(verb, number, error, after)]

    def _attempt(self, verb: str, number: int, error: int, after: Content) -> Iterator[str]:
        self.copy()
        self._library.failing_begin(str(self.held.root).encode(), number, error)
        done = trials.do(self.words(verb))
        self._library.failing_end()
        lines = trials.said(done)
        if done.exit_code not in SAID or not isinstance(done.exception, SystemExit | None):
            yield f"status {done.exit_code}: {done.stderr.strip()[-400:]} {done.exception!r}"
        elif done.exit_code and len(lines) != 1:
            yield f"status {done.exit_code}, {len(lines)} lines: {lines}"
        yield from self._holds(after)
        again = trials.do(self.words(verb))
        if again.exit_code != 0 and not (verb in ONCE and again.exit_code == 2):
            yield f"once more: status {again.exit_code}: {again.stderr.strip()[-300:]}"
        yield from self._holds(after)

    def _holds(self, after: Content) -> Iterator[str]:
        """Yield what is damaged; the answers are those before the verb or those after it."""
        damage = [*self.damage()]
        yield from damage
        if not damage and (found := trials.content(self.held)) not in (self.before, after):
            yield f"another collection: {sorted(found.items() ^ after.items())[:3]}"


def faults(kinds: str) -> Iterator[tuple[int, int]]:
    """Yield each call of some kinds with each error that it can give."""
    for call, kind in enumerate(kinds):
        for error in ERRORS[kind]:
            yield call, error


def main(folder: Path, every: int, verbs: list[str]) -> None:
    """Be the program."""
    logging.disable(logging.CRITICAL)
    failing = Failing(folder)
    with plain_flows(), pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(folder))
        failing.prepare()
        failing.before = trials.in_child(partial(trials.content, failing.store))
        for verb in verbs or VERBS:
            kinds, after = trials.in_child(partial(failing.count, verb))
            for call, error in itertools.islice(faults(kinds), every // 2, None, every):
                wrong = trials.in_child(partial(failing.attempt, verb, call, error, after))
                tried = {"verb": verb, "call": call, "kind": kinds[call], "error": errno.errorcode[error]}
                print(json.dumps({**tried, "wrong": wrong}), flush=True)  # noqa: T201  the output


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])

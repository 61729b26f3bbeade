"""Verbs whose system calls fail, one at a time; a program that runs with ``failing.c`` preloaded.

    LD_PRELOAD=failing.so python -m tests.faults.failing FOLDER [--every 1500] [--results FILE] [VERB...]

It makes a store in an empty folder. Then, for each verb, each call below the store, and each error that this call can
give, a child does the verb on a copy of the store while that call fails. It prints a line of JSON for each of them, or
appends it to the file of results: what was tried, and what is wrong afterwards. What stands in that file already is not
tried again.

Where a case leaves the store as another case of its verb has left it, byte for byte but for times, that state is not
checked again (``known``). Of the calls that are the same one the first is tried first; see ``turn``.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pytest
from typer.testing import Result

from tests.faults import calls, programs, trials
from tests.faults.calls import Call
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
    "e": (errno.EIO,),
    "i": (*NAMES, errno.EPERM),
}
"""The errors that a call can give, by its letter in ``failing.c``."""
SAID = (0, 1, 2, 3)
TOGETHER = 24
"""Cases that a child tries after each other."""


class Case(NamedTuple):
    """One call of a verb, and the error that it gives.

    Attributes:
        turn: when it is tried, see :func:`tests.faults.calls.turns`.
        verb: that makes it.
        number: of the call.
        call: what it is.
        error: that it gives.
    """

    turn: int
    verb: str
    number: int
    call: Call
    error: int


class Failing(Trials):
    """Trials in which a call fails."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.before: Content = {}
        self.after: dict[str, Content] = {}
        self._known: dict[str, list[str]] = {}
        self._kinds: dict[str, str] = {}
        self._library = ctypes.CDLL(None)

    def cases(self, verbs: Sequence[str]) -> list[Case]:
        """Do verbs without a failure; return their calls with each error that these can give."""
        self.before = trials.in_child(partial(trials.content, self.store))
        made = dict[str, list[Call]]()
        for verb in verbs:
            listed, self.after[verb] = trials.in_child(partial(self._count, verb))
            made[verb] = [Call(kind, place, tuple(way)) for kind, place, way in listed]
            self._kinds[verb] = "".join(call.kind for call in made[verb])
        found = []
        for verb, turns in calls.turns(made).items():
            for number, (call, turn) in enumerate(zip(made[verb], turns, strict=True)):
                found += [Case(turn, verb, number, call, error) for error in ERRORS[call.kind]]
        return sorted(found, key=lambda case: case.turn)

    def _count(self, verb: str) -> list[Any]:
        """Do a verb without a failure; return its calls, and the collection afterwards."""
        self.copy()
        with calls.heard(self._library, self.held.root) as made:
            self._library.failing_begin(str(self.held.root).encode(), -1, 0)
            done = trials.do(self.words(verb))
            self._library.failing_end()
        assert done.exit_code == 0, done.output
        return [[(one.kind, one.place, one.way) for one in made], trials.content(self.held)]

    def try_all(self, cases: Sequence[Case], to: TextIO) -> None:
        """Try cases, and write a line about each.

        A child tries some after each other, which is faster. Where one of these is not as it should be, or another call
        has failed, it is tried again in a child of its own, and only that counts.
        """
        for start in range(0, len(cases), TOGETHER):
            some = cases[start : start + TOGETHER]
            found = trials.in_child(partial(self._attempts, some))
            if len(found) != len(some):  # it was killed
                found = [None] * len(some)
            for case, one in zip(some, found, strict=True):
                good = one and one[0] and not self._all_wrong(one)
                done = one if good else trials.in_child(partial(self.attempt, case))
                if len(done) != 4:  # what it did before it was killed, nobody knows
                    done = [True, f"{case}", [], done]
                known, wrong = done[1] in self._known, self._all_wrong(done)
                self._known.setdefault(done[1], done[3])
                about = {"turn": case.turn, "place": case.call.place, "line": case.call.line}
                tried = {"verb": case.verb, "call": case.number, "error": errno.errorcode[case.error]}
                line = {**tried, **about, "kind": case.call.kind, "met": done[0], "known": known, "wrong": wrong}
                print(json.dumps(line), file=to, flush=True)

    def _attempts(self, cases: Sequence[Case]) -> list[list[Any]]:
        return [self.attempt(case) for case in cases]

    def attempt(self, case: Case) -> list[Any]:
        """Do a verb while one of its calls fails.

        Returns:
            Whether the call that failed is the one of the case, the state of the store afterwards, what is wrong with
            what was said, and what is wrong with a state that is not known.
        """
        self.copy()
        self._library.failing_begin(str(self.held.root).encode(), case.number, case.error)
        done = trials.do(self.words(case.verb))
        self._library.failing_end()
        met = (ctypes.c_char * 8192).in_dll(self._library, "failing_met").value.decode()
        kinds = (ctypes.c_char * 65536).in_dll(self._library, "failing_kinds").raw
        same = self._kinds[case.verb][: case.number + 1] == kinds[: case.number + 1].decode()
        state = f"{case.verb} {trials.state(self.held.root, self.tree)}"
        after = [] if state in self._known else [*self._afterwards(case.verb)]
        self._known.setdefault(state, after)
        return [same and calls.place_of(met, self.held.root) == case.call.place, state, [*_misspoken(done)], after]

    def _all_wrong(self, found: Sequence[Any]) -> list[str]:
        """Return what is wrong after an attempt, whether its state was known or not."""
        return [*found[2], *(found[3] or self._known.get(found[1], []))]

    def _afterwards(self, verb: str) -> Iterator[str]:
        """Yield what is wrong after a call has failed, and after the verb was done once more."""
        yield from self._holds(verb)
        again = trials.do(self.words(verb))
        if again.exit_code != 0 and not (verb in ONCE and again.exit_code == 2):
            yield f"once more: status {again.exit_code}: {again.stderr.strip()[-300:]}"
        yield from self._holds(verb)

    def _holds(self, verb: str) -> Iterator[str]:
        """Yield what is damaged; the answers are those before the verb or those after it."""
        damage = [*self.damage()]
        yield from damage
        after = self.after[verb]
        if not damage and (found := trials.content(self.held)) not in (self.before, after):
            yield f"another collection: {sorted(found.items() ^ after.items())[:3]}"


def _misspoken(done: Result) -> Iterator[str]:
    """Yield what a verb may not end with."""
    lines = trials.said(done)
    if done.exit_code not in SAID or not isinstance(done.exception, SystemExit | None):
        yield f"status {done.exit_code}: {done.stderr.strip()[-400:]} {done.exception!r}"
    elif done.exit_code and len(lines) != 1:
        yield f"status {done.exit_code}, {len(lines)} lines: {lines}"


def main() -> None:
    """Be the program."""
    asked = programs.asked(__doc__)
    logging.disable(logging.CRITICAL)
    failing = Failing(asked.folder)
    with plain_flows(), pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(asked.folder))
        failing.prepare()
        cases = failing.cases(asked.verbs or [*VERBS])[asked.every // 2 :: asked.every]
        with programs.results(asked.results, "verb", "call", "error") as (to, tried):
            left = [case for case in cases if (case.verb, case.number, errno.errorcode[case.error]) not in tried]
            failing.try_all(left, to)


if __name__ == "__main__":
    main()

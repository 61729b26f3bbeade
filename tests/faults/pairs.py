"""Two verbs on one store at once, each in a process of its own; a program.

    python -m tests.faults.pairs FOLDER EVERY

It makes a store in an empty folder. Then two children do two verbs on a copy of it at the same time, for every pair,
once as they stand, and once with ``--wait``. It prints a line of JSON for each pair: what both said, and what is wrong
afterwards. ``EVERY`` tries one of so many.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aepipe.errors import BUSY
from aepipe.store.artifacts import Draft
from aepipe.store.backends.folder import Folder
from tests.faults import trials
from tests.faults.trials import ONCE, VERBS, Trials
from tests.support.plain_flows import plain_flows

READING = {
    "query": ["query", "--id", "3", "--name", "tiny", "--home", "held"],
    "export": ["export", "FOLDER", "--name", "tiny", "--home", "held"],
    "evaluate": ["evaluate", "--again", "--name", "tiny", "--home", "held"],
    "verify": ["verify", "--all", "--home", "held"],
    "list": ["list", "--home", "held"],
    "doctor": ["doctor", "--home", "held"],
}
"""Verbs that only read; they never wait."""
GOES = {"rename", "drop"}
"""Verbs after which the collection is not there any more under its name."""
PAUSE = 0.02
"""Seconds before a name is given, so that the other verb comes in between."""


class Pairs(Trials):
    """Trials of two verbs at once."""

    def attempt(self, first: str, second: str, wait: str) -> dict[str, Any]:
        """Do two verbs at once, and return what both said and what is wrong afterwards."""
        self.copy()
        verbs, at = (first, second), time.monotonic() + 0.05
        ends = [trials.begun(partial(self._at, at, verb, number, wait)) for number, verb in enumerate(verbs)]
        done = [end() for end in ends]
        wrong = [*itertools.chain(*(self._judged(verbs, one, wait) for one in zip(verbs, done, strict=True)))]
        wrong += trials.in_child(lambda: [*self.damage()])
        if not any(verb in GOES for verb in verbs):
            wrong += trials.in_child(
                partial(self._once_more, [v for v, (s, _) in zip(verbs, done, strict=True) if s == BUSY])
            )
        return {"verbs": verbs, "wait": wait, "statuses": [status for status, _ in done], "wrong": wrong}

    def _at(self, when: float, verb: str, number: int, wait: str) -> tuple[int, list[str]]:
        words = READING.get(verb) or [*self.words(verb), *(["--wait", wait] if verb != "gc" else [])]
        words = [word.replace("FOLDER", f"out{number}{time.monotonic()}") for word in words]
        time.sleep(max(0.0, when - time.monotonic()))
        done = trials.do(words)
        unforeseen = [] if isinstance(done.exception, SystemExit | None) else [repr(done.exception)]
        return done.exit_code, [*trials.said(done), *unforeseen]

    def _judged(self, verbs: tuple[str, str], one: tuple[str, Any], wait: str) -> Iterator[str]:
        """Yield what a verb may not say."""
        verb, found = one
        if not isinstance(found[0], int):
            yield f"{verb}: {found}"
            return
        status, lines = found
        gone = any(other in GOES for other in verbs)
        mistake = status == 2 and (gone or (verb in ONCE and verbs[0] == verbs[1]) or "rollback" in verbs)
        missed = status == 3 and verb in READING and "drop" in verbs
        busy = status == BUSY and wait == "0" and len(lines) == 1 and "process " in lines[0]
        refused = status == BUSY and verb in READING
        if status and (refused or not (mistake or missed or busy)):
            yield f"{verb}: status {status}, {lines}"

    def _once_more(self, verbs: list[str]) -> list[str]:
        """Do the verbs that came too late; return those that fail although nobody else is there."""
        done = {verb: trials.do(self.words(verb)) for verb in verbs}
        late = [f"{verb} once more: {one.stderr[-300:]}" for verb, one in done.items() if one.exit_code not in {0, 2}]
        return [*late, *self.damage()]


def slow(owner: Any, name: str, patched: pytest.MonkeyPatch) -> None:
    """Let a function begin a moment later."""
    quick: Callable[..., Any] = getattr(owner, name)

    def late(*given: Any, **options: Any) -> Any:
        time.sleep(PAUSE)
        return quick(*given, **options)

    patched.setattr(owner, name, late)


def main(folder: Path, every: int) -> None:
    """Be the program."""
    logging.disable(logging.CRITICAL)
    pairs = Pairs(folder)
    writing = [(*pair, wait) for pair in itertools.combinations_with_replacement(VERBS, 2) for wait in ("0", "2m")]
    reading = [(one, other, "0") for one in VERBS for other in READING]
    with plain_flows(), pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(folder))
        patched.setattr("aepipe.cli.doctor.packages", lambda: iter(()))
        pairs.prepare()
        slow(Folder, "write", patched)
        slow(Draft, "finish", patched)
        for first, second, wait in [*writing, *reading][every // 2 :: every]:
            print(json.dumps(pairs.attempt(first, second, wait)), flush=True)  # noqa: T201  the output


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

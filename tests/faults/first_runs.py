"""Two first runs on a store that is not there yet, each in a process of its own; a program.

    python -m tests.faults.first_runs FOLDER TIMES

Two children run at the same time, the parent only imports. In turn they make two collections, and one collection twice,
where one waits for the other. It prints a line of JSON for each time: what both said, and what is wrong afterwards.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aepipe.errors import AepipeError
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Draft, Store
from tests.faults import trials
from tests.faults.pairs import slow
from tests.support.plain_flows import plain_flows, write_collection

BOTH = (("one", "two"), ("one", "one"))
ROWS = 24


def attempt(folder: Path, names: tuple[str, str]) -> dict[str, Any]:
    """Run two recipes at once on a store that is not there; return what both said and what is wrong afterwards."""
    store = folder / "new"
    shutil.rmtree(store, ignore_errors=True)
    at = time.monotonic() + 0.05
    ends = [trials.begun(partial(_run, at, name)) for name in names]
    done = [end() for end in ends]
    wrong = [f"{name}: {found}" for name, found in zip(names, done, strict=True) if found[0] != 0]
    wrong += trials.in_child(lambda: [*_lacking(Store(store), names)])
    return {"names": names, "statuses": [found[0] for found in done], "wrong": wrong}


def _run(when: float, name: str) -> tuple[int, list[str]]:
    time.sleep(max(0.0, when - time.monotonic()))
    done = trials.do(["run", f"{name}.toml", "--home", "new", "--wait", "2m"])
    unforeseen = [] if isinstance(done.exception, SystemExit | None) else [repr(done.exception)]
    return done.exit_code, [*trials.said(done), *unforeseen]


def _lacking(store: Store, names: tuple[str, str]) -> Iterator[str]:
    """Yield what a store lacks after runs under these names."""
    if damage := lifecycle.check_all(store).damage:
        yield f"damaged: {damage}"
    if registry.names(store) != sorted(set(names)):
        yield f"in service: {registry.names(store)}"
    for name in sorted(set(names)):
        try:
            release = Release.open(store, name)
            if len(release.query(release.codes_of(release.items.ids), 1).ids) != ROWS:
                yield f"{name}: {len(release)} rows"
        except AepipeError as error:
            yield f"{name}: {error}"
        if len(registry.history(store, name)) != 1:
            yield f"{name}: {registry.history(store, name)}"


def main(folder: Path, times: int) -> None:
    """Be the program."""
    logging.disable(logging.CRITICAL)
    with plain_flows(), pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(folder))
        patched.chdir(folder)
        for name in {name for names in BOTH for name in names}:
            write_collection(folder, name)
        trials.import_early(lambda: trials.do(["run", "one.toml", "--home", "first"]), folder / "exports")
        for owner, name in ((Store, "create"), (registry, "write_durably"), (Draft, "finish")):
            slow(owner, name, patched)
        for turn in range(times):
            print(json.dumps(attempt(folder, BOTH[turn % len(BOTH)])), flush=True)  # noqa: T201  the output


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""Two first runs on a store that is not there yet, each in a process of its own; a program.

    python -m tests.faults.first_runs FOLDER TIMES [servers]

Two children run at the same time, the parent only imports. In turn they make two collections, and one collection twice,
where one waits for the other. It prints a line of JSON for each time: what both said, and what is wrong afterwards.

With ``servers``, each is a process as a person starts it, with a Prefect server of its own, which takes much longer.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aepipe.errors import AepipeError
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Draft, Store
from aepipe.store.backends.folder import Folder
from tests.faults import trials
from tests.faults.pairs import slow
from tests.support.plain_flows import plain_flows, write_collection

BOTH = (("one", "two"), ("one", "one"))
ROWS = 24
WORDS = ("run", "--home", "new", "--wait", "10m")
End = Callable[[], Any]
"""What waits for the end of a run, and gives its status and its lines."""


def attempt(folder: Path, names: tuple[str, str], begun: Callable[[str], End]) -> dict[str, Any]:
    """Run two recipes at once on a store that is not there; return what both said and what is wrong afterwards."""
    store = folder / "new"
    shutil.rmtree(store, ignore_errors=True)
    ends = [begun(name) for name in names]
    done = [end() for end in ends]
    wrong = [f"{name}: {found}" for name, found in zip(names, done, strict=True) if found[0] != 0]
    wrong += trials.in_child(lambda: [*_lacking(Store(store), names)])
    return {"names": names, "statuses": [found[0] for found in done], "wrong": wrong}


def in_child(name: str) -> End:
    """Begin a run in a child, without Prefect."""
    return trials.begun(partial(_run, name))


def with_server(name: str) -> End:
    """Begin a run with a Prefect server of its own."""
    command = [sys.executable, "-m", "aepipe", *WORDS, f"{name}.toml"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def end() -> tuple[int, list[str]]:
        _, said = process.communicate()
        return process.returncode, said.splitlines()[-3:]

    return end


def _run(name: str) -> tuple[int, list[str]]:
    done = trials.do([*WORDS, f"{name}.toml"])
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


def with_servers(folder: Path, times: int) -> None:
    """Be the program, with runs as a person starts them."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    os.chdir(folder)
    for name in {name for names in BOTH for name in names}:
        write_collection(folder, name)
    for turn in range(times):
        print(json.dumps(attempt(folder, BOTH[turn % len(BOTH)], with_server)), flush=True)  # noqa: T201  the output


def main(folder: Path, times: int) -> None:
    """Be the program."""
    logging.disable(logging.CRITICAL)
    with plain_flows(), pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(folder))
        patched.chdir(folder)
        for name in {name for names in BOTH for name in names}:
            write_collection(folder, name)
        trials.import_early(lambda: trials.do(["run", "one.toml", "--home", "first"]), folder / "exports")
        for owner, name in ((Store, "create"), (Folder, "write"), (Draft, "finish")):
            slow(owner, name, patched)
        for turn in range(times):
            print(json.dumps(attempt(folder, BOTH[turn % len(BOTH)], in_child)), flush=True)  # noqa: T201  the output


if __name__ == "__main__":
    (with_servers if "servers" in sys.argv[3:] else main)(Path(sys.argv[1]), int(sys.argv[2]))

"""Two services of one store with two collections, which answer while verbs change it, two at once; a program.

    python -m tests.faults.served FOLDER TURNS

A child asks both services all the time. It prints a line of JSON for each pair of verbs, and one for the questions:
what was tried, and what is wrong. A service may say that a collection is not there which was renamed or dropped, or a
row which was removed; nothing else but answers. After each pair both services answer by the release in service.
"""

from __future__ import annotations

import http.client
import itertools
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aepipe.errors import AepipeError
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from tests.faults import trials
from tests.faults.pairs import GOES, Pairs
from tests.faults.trials import NAME, OTHER, OTHERS, VERBS
from tests.support.plain_flows import plain_flows

SERVICES = 2
PATIENCE = 60.0
"""Seconds in which a service begins, or takes up a release."""
STOP = "stop"
"""The file that ends the questions."""
MISSING, REMOVED = 404, 422


def ask(port: int, path: str) -> tuple[int, Any]:
    """Return status and JSON of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", f"/v1/collections{path}")
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


@contextmanager
def services(folder: Path, store: Path) -> Iterator[list[int]]:
    """Start services of a store; give their ports when they are ready."""
    command = [sys.executable, "-m", "aepipe", "serve", "--port", "0", "--home", str(store)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"}
    with (folder / "services.log").open("wb") as log:
        begun = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment) for _ in range(SERVICES)
        ]
    try:
        yield [_ready(one) for one in begun]
    finally:
        for one in begun:
            one.send_signal(signal.SIGTERM)
        for one in begun:
            one.wait(PATIENCE)


def _ready(service: subprocess.Popen[bytes]) -> int:
    assert service.stdout is not None
    port = int(service.stdout.readline().decode().rstrip("/\n").rpartition(":")[2])
    until = time.monotonic() + PATIENCE
    while True:
        try:
            if ask(port, "")[0] == http.client.OK:
                return port
        except OSError:
            assert time.monotonic() < until, "the service does not begin"
        time.sleep(0.05)


def questions(ports: Sequence[int], stop: Path) -> dict[str, Any]:
    """Ask all the time until a file is there; return the counts of statuses, and what is wrong."""
    found: Counter[int] = Counter()
    wrong: list[str] = []
    for number in itertools.count():
        if stop.exists():
            break
        port = ports[number % len(ports)]
        for path in (f"/{NAME}/search?id={number % 20}&k=5", f"/{OTHER}/search?id={number % OTHERS}&k=5"):
            try:
                status, body = ask(port, path)
            except (OSError, ValueError, http.client.HTTPException) as error:
                wrong.append(f"{path}: {error!r}")
                continue
            found[status] += 1
            if status != http.client.OK and (path.startswith(f"/{OTHER}/") or status not in (MISSING, REMOVED)):
                wrong.append(f"{path}: {status} {body}")
    return {"questions": sum(found.values()), "statuses": found, "wrong": wrong[:20]}


class Served(Pairs):
    """Trials of verbs on a store that two services answer from; it is not made afresh for each."""

    def attempt_served(self, verbs: tuple[str, str], ports: Sequence[int]) -> dict[str, Any]:
        """Do two verbs at once, and return what both said and what is wrong afterwards."""
        at = time.monotonic() + 0.05
        ends = [trials.begun(partial(self._at, at, verb, number, "2m")) for number, verb in enumerate(verbs)]
        done = [end() for end in ends]
        wrong = [f"{verb}: {one}" for verb, one in zip(verbs, done, strict=True) if one[0] not in (0, 2)]
        wrong += trials.in_child(lambda: [*self.damage()])
        if any(verb in GOES for verb in verbs):
            wrong += trials.in_child(self._made_again)
        wrong += trials.in_child(lambda: [*self._unlike(ports)])
        return {"verbs": verbs, "statuses": [status for status, _ in done], "wrong": wrong}

    def words(self, verb: str) -> list[str]:
        """Return the command line of a verb that has something to do in the store as it is now."""
        words, store = super().words(verb), Store(self.held.root)
        try:
            release = Release.open(store, NAME)
        except AepipeError:
            return words
        others = (ref for ref in store.refs("release") if ref != release.ref)
        other = next((ref.digest for ref in others if store.manifest(ref).facts.get("name") == NAME), self.old)
        now = {"5": str(max(release.items.ids)), self.old: other}
        return [now.get(word, word) for word in words]

    def _made_again(self) -> list[str]:
        """Give the collection its name again, or make it."""
        trials.do(["rename", "small", NAME, "--home", "held"])
        done = trials.do(self.words("run"))
        return [] if done.exit_code == 0 else [f"run: {done.exit_code} {done.stderr[-300:]}"]

    def _unlike(self, ports: Sequence[int]) -> Iterator[str]:
        """Yield the services that do not take up the release in service."""
        digest = json.loads(trials.do(["list", "--json", "--home", "held"]).stdout)
        wanted = next(one["release"] for one in digest if one["name"] == NAME)
        until = time.monotonic() + PATIENCE
        for port in ports:
            while (status := ask(port, f"/{NAME}"))[1].get("release") != wanted:
                if time.monotonic() > until:
                    yield f"the service on {port} answers by {status}, and {wanted} is in service"
                    break
                time.sleep(0.05)


def main(folder: Path, turns: int) -> None:
    """Be the program."""
    logging.disable(logging.CRITICAL)
    served = Served(folder)
    with plain_flows(), pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(folder))
        served.prepare()
        served.copy()
        pairs = [*itertools.combinations_with_replacement(VERBS, 2)]
        random.Random(0).shuffle(pairs)
        with services(folder, served.held.root) as ports:
            asked = trials.begun(partial(questions, ports, folder / STOP))
            for verbs in itertools.islice(itertools.cycle(pairs), turns):
                print(json.dumps(served.attempt_served(verbs, ports)), flush=True)  # noqa: T201  the output
            (folder / STOP).touch()
            print(json.dumps(asked()), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""The rows of ``aepipe doctor``."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from aepipe.cli import doctor
from aepipe.cli.doctor import packages as find_packages
from aepipe.store import registry
from aepipe.store.artifacts import Ref
from tests.checks.world import NAME, Checks, Said, World

CHECKS = Checks()
NO_RELEASE = Ref("release", "a" * 64)


@CHECKS.add("doctor: packages", passes="a version is the lowest allowed", names="it is the one before", says="99.0.1")
def packages(world: World) -> Iterator[Said]:
    world.patched.setattr("importlib.metadata.requires", lambda _: ["numpy>=99.0.1"])
    for version in ("99.0.1", "99.0.0"):
        world.patched.setattr(doctor, "_version", lambda _, version=version: version)
        bad = [one.said for one in find_packages() if one.level == "bad"]
        yield Said(not bad, "\n".join(bad))


@CHECKS.add("doctor: store", passes="the folder is there", names="it is not", says="is not there yet")
def absent(world: World) -> Iterator[Said]:
    yield world.doctor()
    world.store.root.rename(world.folder / "away")
    yield world.doctor()


@CHECKS.add("doctor: writing", passes="this user may write", names="it may not", says="cannot be written")
def read_only(world: World) -> Iterator[Said]:
    yield world.doctor()
    may = os.access
    world.patched.setattr(os, "access", lambda path, mode: mode != os.W_OK and may(path, mode))
    yield world.doctor()


@CHECKS.add("doctor: privacy", passes="mode 700", names="mode 710", says="others on this machine can read it")
def privacy(world: World) -> Iterator[Said]:
    yield world.doctor()
    world.store.root.chmod(0o710)
    yield world.doctor()


@CHECKS.add(
    "doctor: disk",
    passes="as much room as two releases take",
    names="one byte less",
    says="`aepipe gc` frees some",
)
def disk(world: World) -> Iterator[Said]:
    needed = int(doctor.ROOM * doctor._largest(world.store))
    for free in (needed, needed - 1):
        world.patched.setattr("shutil.disk_usage", lambda _, free=free: type("Usage", (), {"free": free})())
        yield world.doctor()


@CHECKS.add("doctor: drafts", passes="none", names="one that a dead run left", says="1 unfinished folders")
def drafts(world: World) -> Iterator[Said]:
    yield world.doctor()
    (world.store.root / "rows" / ".tmp-elsewhere-1-x").mkdir()
    yield world.doctor()


@CHECKS.add(
    "doctor: collection",
    passes="what a question reads is there in its length",
    names="one file is a byte shorter",
    says="codes.npy",
)
def collection(world: World) -> Iterator[Said]:
    yield world.doctor()
    file = world.file("codes", "codes.npy")
    file.write_bytes(file.read_bytes()[:-1])
    yield world.doctor()


@CHECKS.add("doctor: source", passes="its folder is there", names="it has another name", says="its source")
def source(world: World) -> Iterator[Said]:
    yield world.doctor()
    world.pictures.rename(world.folder / "away")
    yield world.doctor()


@CHECKS.add(
    "doctor: refusals",
    passes="a refusal before the last promotion",
    names="one after it",
    says="the gate refused 1 since, the last aaaaaaaaaaaa: it is worse",
)
def refusals(world: World) -> Iterator[Said]:
    log, then = world.store.root / "log.jsonl", "2020-01-01T00:00:00+00:00"
    registry.refuse(world.store, NAME, NO_RELEASE, why="it is worse")
    promoted, refused = log.read_text().splitlines()
    earlier = json.dumps(json.loads(refused) | {"when": then})
    log.write_text(f"{earlier}\n{promoted}\n")
    yield world.doctor()
    log.write_text(f"{promoted}\n{refused}\n")
    yield world.doctor()


@CHECKS.add("doctor: quarantine", passes="all was read", names="a list of one item", says="what could not be read")
def quarantine(world: World) -> Iterator[Said]:
    yield world.doctor()
    (world.store.root / f"quarantine-{NAME}.parquet").write_bytes(b"")
    yield world.doctor()


@CHECKS.add("doctor: lock", passes="nobody writes", names="a process does", says=f"process {os.getpid()}")
def lock(world: World) -> Iterator[Said]:
    yield world.doctor()
    with registry.lock(world.store, NAME):
        yield world.doctor()


@CHECKS.add(
    "doctor: log",
    passes="it tells how the release came into service",
    names="its line is lost",
    says="does not tell how the release in service came there",
)
def log_lost(world: World) -> Iterator[Said]:
    yield world.doctor()
    (world.store.root / "log.jsonl").unlink()
    yield world.doctor()


@CHECKS.add(
    "doctor: log that was mended",
    passes="it is whole",
    names="it was lost, and a promotion of the release in service has begun a new one",
    says="its first lines were lost once",
)
def log_mended(world: World) -> Iterator[Said]:
    yield world.doctor()
    (world.store.root / "log.jsonl").unlink()
    assert world.aepipe("promote", world.release.ref.digest, "--name", NAME).passed
    yield world.doctor()


@CHECKS.add("doctor: service file", passes="it is there", names="it is not", says="the collection was in service")
def service_file(world: World) -> Iterator[Said]:
    yield world.doctor()
    (world.store.root / "service" / NAME).unlink()
    yield world.doctor()


def _dated(world: World, *later: timedelta) -> None:
    """Give the lines of the log dates from now on."""
    log = world.store.root / "log.jsonl"
    line = json.loads(log.read_text().splitlines()[0])
    dates = [(datetime.now(UTC) + one).isoformat() for one in later]
    log.write_text("".join(json.dumps(line | {"when": when}) + "\n" for when in dates))


@CHECKS.add(
    "doctor: clock ahead",
    passes="a change 4 minutes from now: clocks of machines differ",
    names="6 minutes",
    says="set the clock right",
)
def clock(world: World) -> Iterator[Said]:
    for minutes in (4, 6):
        _dated(world, timedelta(minutes=minutes))
        yield world.doctor()


@CHECKS.add(
    "doctor: clock set back",
    passes="changes a second apart",
    names="the later one is dated a second earlier",
    says="it was set back once",
)
def set_back(world: World) -> Iterator[Said]:
    for seconds in (-1, -3):
        _dated(world, timedelta(seconds=-2), timedelta(seconds=seconds))
        yield world.doctor()


class _Health(BaseHTTPRequestHandler):
    body = b"true"

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _served(body: bytes) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), type("Health", (_Health,), {"body": body})) as one:
        thread = Thread(target=one.handle_request)
        thread.start()
        yield f"http://127.0.0.1:{one.server_port}/api"
        thread.join()


@CHECKS.add("doctor: server", passes="it answers", names="nobody listens", says="no answer")
def server(world: World) -> Iterator[Said]:
    for url in _served(b"true"):
        yield world.doctor(PREFECT_API_URL=url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    yield world.doctor(PREFECT_API_URL=f"http://127.0.0.1:{port}/api")


@CHECKS.add("doctor: health of the server", passes="true", names="false", says="answers, but is not well")
def health(world: World) -> Iterator[Said]:
    for body in (b"true", b"false"):
        for url in _served(body):
            yield world.doctor(PREFECT_API_URL=url)

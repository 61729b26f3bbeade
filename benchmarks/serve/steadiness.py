"""The service under load: promotions, more clients than places, and bodies that are too large."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from benchmarks.serve.goals import Figure
from benchmarks.serve.running import Line, Running, service

CLIENTS, REQUESTS = 64, 100
PROMOTIONS, APART = 10, 3.0
SEARCH = "/v1/collections/benchmark/search?id=17&k=10"


def promotions(folder: Path) -> Iterator[Figure]:
    """Yield what 10 promotions under the load of 8 connections do: row 11.

    Args:
        folder: with a store that has two releases.
    """
    store = Store(folder)
    refs = sorted(store.refs("release"), key=lambda ref: ref.digest)
    rows = {ref.digest: json.loads((store.path(ref) / "release.json").read_text())["rows"] for ref in refs}
    now = registry.current(store, "benchmark")
    failed, mixed, taken, dropped = [0], [0], [], []
    done = threading.Event()

    def ask(port: int) -> None:
        line = Line(port)
        while not done.is_set():
            status, body = line.ask(SEARCH)
            answer = json.loads(body) if status == 200 else {}
            failed[0] += status != 200
            mixed[0] += status == 200 and rows[answer["release"]] != answer["rows"]

    with service(folder) as running:
        threads = [threading.Thread(target=ask, args=(running.port,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(PROMOTIONS):
            old, now = now, next(ref for ref in refs if ref != now)
            taken.append(_promoted(store, running, now))
            assert old is not None
            dropped.append(_let_go(running, store, old, now))
            time.sleep(APART)
        done.set()
        for thread in threads:
            thread.join()
    yield Figure(11, "10 promotions: answers that failed", failed[0], "")
    yield Figure(11, "10 promotions: answers of mixed releases", mixed[0], "")
    yield Figure(11, "10 promotions: longest until the new one answers", max(taken), "s")
    yield Figure(11, "10 promotions: longest until the old one is let go of", max(dropped), "s")


def _promoted(store: Store, running: Running, ref: Ref) -> float:
    line, began = Line(running.port), time.perf_counter()
    registry.promote(store, "benchmark", ref, why="benchmark")
    while json.loads(line.ask(SEARCH)[1])["release"] != ref.digest:
        time.sleep(0.005)
    return time.perf_counter() - began


def _let_go(running: Running, store: Store, old: Ref, now: Ref) -> float:
    """Return the seconds until no file is mapped that only the old release refers to."""
    parts = {ref: set((store.path(ref) / "release.json").read_text().split('"')) for ref in (old, now)}
    own, new = (
        [text.partition("/")[2] for text in parts[one] - parts[other] if text.startswith("segment/")]
        for one, other in ((old, now), (now, old))
    )
    assert any(running.maps(text) for text in new), "the files of a release are mapped by their digests"
    began = time.perf_counter()
    while any(running.maps(text) for text in own):
        assert time.perf_counter() - began < 30, "the old release is kept"
        time.sleep(0.02)
    return time.perf_counter() - began


def crowd(folder: Path) -> Iterator[Figure]:
    """Yield what 64 clients do that ask at once, where 8 may wait: row 14."""
    statuses: list[int] = []
    seconds: list[float] = []

    def ask(port: int) -> None:
        line = Line(port)
        for number in range(REQUESTS):
            began = time.perf_counter()
            status, _ = line.ask(f"{SEARCH}&oversample={1 + number % 3}")
            statuses.append(status)
            if status == 200:
                seconds.append(time.perf_counter() - began)

    with service(folder, "--queue", "8") as running:
        command = (sys.executable, "-m", "benchmarks.serve.health", str(running.port))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as health:
            threads = [threading.Thread(target=ask, args=(running.port,)) for _ in range(CLIENTS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            longest = float(health.communicate()[0])
    other = sum(status not in {200, 503} for status in statuses)
    yield Figure(14, "64 clients, a queue of 8: answers other than 200 and 503", other, "")
    yield Figure(
        14, "64 clients, a queue of 8: 99 % / median", float(np.quantile(seconds, 0.99) / np.median(seconds)), "x"
    )
    yield Figure(14, "64 clients, a queue of 8: longest of /livez", longest, "ms")
    yield Figure(0, "64 clients, a queue of 8: answered", 100 * statuses.count(200) / len(statuses), "%")


def bodies(folder: Path) -> Iterator[Figure]:
    """Yield the memory that bodies take which are too large, or whose pictures are: row 16."""
    path = "/v1/collections/benchmark/search"
    with service(folder) as running:
        line = Line(running.port)
        assert line.ask(SEARCH)[0] == 200
        before = running.memory()[1]
        yield Figure(16, "a body of 2 GB: memory", _largest(running, lambda: _pour(running.port, path)) - before, "MB")
        bomb = _png(7000)

        def ask() -> None:
            for _ in range(100):
                assert line.ask(path, bomb, "image/png")[0] in {200, 422}

        yield Figure(16, "100 PNG of 49 million pixels: memory", _largest(running, ask) - before, "MB")


def _largest(running: Running, work: object) -> float:
    """Return the most megabytes that the service holds while something is done."""
    assert callable(work)
    thread = threading.Thread(target=work)
    thread.start()
    most = 0.0
    while thread.is_alive():
        most = max(most, running.memory()[1])
        time.sleep(0.01)
    return most


def _pour(port: int, path: str) -> None:
    """Send a body of two gigabytes in chunks, until the service has had enough."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        line.sendall(head.encode())
        chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        try:
            for _ in range(2048):
                line.sendall(chunk)
        except ConnectionError:
            return
        assert b" 413 " in line.recv(64)


def _png(side: int) -> bytes:
    """Return a small file of a large white picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    rows = zlib.compress((b"\0" + b"\xff" * side) * side, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

"""Latency and throughput of the service, next to the library that it calls.

    python -m benchmarks.search.serving [--rows 1000000] [--rounds 300]

Run it from the clone. Codes and keys are made up. One process asks in turn the library and the service on 127.0.0.1, so
that other load on the machine meets both; ``wrk`` (Debian's package) asks with 8 connections for the figures of
throughput. The constant answer is ``/livez``.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.common import add_output, describe, write

PACKAGES = ("numpy", "faiss-cpu", "starlette", "uvicorn", "msgspec", "httptools")
CONNECTIONS, SECONDS = 8, 5


def main() -> None:
    """Make releases, start services, measure, and print the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=300)
    add_output(options, "serving")
    given = options.parse_args()
    print(describe(*PACKAGES))
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory(prefix="aepipe-benchmark-") as folder:
        subprocess.run((sys.executable, "-m", "benchmarks.made_up", folder, str(given.rows)), check=True)
        rows += measured(Path(folder), given)
    for row in rows:
        print(f"{row['what']:52} {row['value']:10.3f} {row['unit']}")
    write(given.json, rows, PACKAGES, settings={"rows": given.rows, "bits": 64, "rounds": given.rounds})


def measured(folder: Path, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield all figures of one store."""
    import aepipe

    began = time.perf_counter()
    with service(folder / "store") as port:
        yield figure("from start to ready", time.perf_counter() - began, "s")
        collection = aepipe.open(folder / "store")
        name = f"/v1/collections/{collection.name}"
        line = http.client.HTTPConnection("127.0.0.1", port)
        ids = np.random.default_rng(2).integers(0, given.rows, given.rounds).tolist()
        pairs: dict[str, tuple[Callable[[int], object], Callable[[int], object]]] = {
            "by id": (
                lambda one: collection.query(ids=[one], k=10),
                lambda one: ask(line, "GET", f"{name}/search?id={one}&k=10"),
            ),
            "by id, in the order of codes": (
                lambda one: collection.query(ids=[one], k=10, fast=True),
                lambda one: ask(line, "GET", f"{name}/search?id={one}&k=10&fast=true"),
            ),
            "by a JPEG of 1,024 x 768": (
                lambda _: collection.query(PICTURE, k=10),
                lambda _: ask(line, "POST", f"{name}/search?k=10", PICTURE, "image/jpeg"),
            ),
        }
        for what, (library, served) in pairs.items():
            rounds = ids if "JPEG" not in what else ids[:50]
            own, its = in_turn(rounds, library, served)
            yield figure(f"{what}: library, median", 1000 * np.median(own), "ms")
            yield figure(f"{what}: service, median", 1000 * np.median(its), "ms")
            yield figure(f"{what}: service more than the library", 1000 * (np.median(its) - np.median(own)), "ms")
            yield figure(f"{what}: service, 99 %", 1000 * np.quantile(its, 0.99), "ms")
        body = json.dumps({"queries": [{"id": int(one)} for one in range(1000)], "k": 10, "fast": True}).encode()
        own, its = in_turn(
            list(range(7)),
            lambda _: collection.query(ids=list(range(1000)), k=10, fast=True),
            lambda _: ask(line, "POST", f"{name}/search", body, "application/json"),
        )
        yield figure("1,000 ids at once: service / library", np.median(its) / np.median(own), "x")
        yield from throughput(port, name)
        yield figure("memory of the service", memory(port), "MB")


def throughput(port: int, name: str) -> Iterator[dict[str, Any]]:
    """Yield requests a second with 8 connections."""
    if not shutil.which("wrk"):
        print("wrk is not installed: no figures of throughput")
        return
    for what, path in {
        "8 connections, a constant answer": "/livez",
        "8 connections, by id": f"{name}/search?id=17&k=10",
        "8 connections, by id, in the order of codes": f"{name}/search?id=17&k=10&fast=true",
    }.items():
        command = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", f"http://127.0.0.1:{port}{path}")
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.search(r"Requests/sec:\s+([\d.]+)", said)
        assert found, said
        assert "Non-2xx" not in said, said
        yield figure(what, float(found[1]), "/s")


def in_turn(
    rounds: list[int], library: Callable[[int], object], served: Callable[[int], object]
) -> tuple[list[float], list[float]]:
    """Ask both in turn, after a tenth that is not counted; return the seconds of each."""
    found: tuple[list[float], list[float]] = ([], [])
    for number, one in enumerate([*rounds[: max(1, len(rounds) // 10)], *rounds]):
        for place, call in enumerate((library, served)):
            began = time.perf_counter()
            call(one)
            if number >= max(1, len(rounds) // 10):
                found[place].append(time.perf_counter() - began)
    return found


def ask(line: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
    """Send a request on an open connection."""
    line.request(method, path, body, {"Content-Type": kind} if kind else {})
    answer = line.getresponse()
    found = answer.read()
    assert answer.status == 200, found
    return found


@contextlib.contextmanager
def service(store: Path) -> Iterator[int]:
    """Run a service of a store; give its port once it is ready."""
    command = (sys.executable, "-u", "-m", "aepipe", "serve", "--port", "0", "--home", str(store))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
        try:
            while True:
                with contextlib.suppress(OSError, AssertionError):
                    ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/readyz")
                    break
                time.sleep(0.01)
            yield port
        finally:
            process.terminate()
            process.wait(20)


def memory(port: int) -> float:
    """Return the megabytes that the service holds, as it says itself."""
    text = ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/metrics").decode()
    found = re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
    assert found
    return float(found[1]) / 1e6


def figure(what: str, value: float, unit: str) -> dict[str, Any]:
    """Return one figure as a row of the results."""
    return {"what": what, "value": float(value), "unit": unit}


def _picture() -> bytes:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((1024, 768)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


PICTURE = _picture()

if __name__ == "__main__":
    main()

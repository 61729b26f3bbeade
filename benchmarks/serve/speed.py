"""Latency and throughput of the service, next to the library that it calls and to other servers."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import aepipe
from benchmarks.serve.goals import Figure
from benchmarks.serve.running import Line, Running, process, service

CONNECTIONS, BLOCK, ROUNDS = 8, 50, 12
"""Connections for figures of throughput, questions of one kind after each other, and how often all kinds are asked."""
SECONDS = 1
PEERS, DRAWN = (str(Path(__file__).with_name(name)) for name in ("peers.py", "drawn.lua"))

Ask = Callable[[int], object]


def picture(seed: int = 0, size: tuple[int, int] = (1024, 768)) -> bytes:
    """Return a JPEG of clouds."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def latency(store: Path, kind: str) -> Iterator[Figure]:
    """Yield what one question takes, one at a time: rows 1, 2, 7, 8 and 10."""
    with service(store) as running:
        collection = aepipe.open(store)
        name, line = f"/v1/collections/{collection.name}", Line(running.port)
        ids = np.random.default_rng(2).integers(0, len(collection), BLOCK).tolist()
        for order, fast in (("as they come", False), ("in the order of codes", True)):
            flag = "&fast=true" if fast else ""
            library = partial(_by_id, collection, fast)
            own, its, cpu = in_turn(running, library, partial(_by_id_there, line, name, flag), ids)
            about = f"{kind}, {order}"
            yield Figure(1, f"{about}: service less library, median", 1000 * (np.median(its) - np.median(own)), "ms")
            yield Figure(0, f"{about}: library, median", 1000 * np.median(own), "ms")
            yield Figure(0, f"{about}: service, median", 1000 * np.median(its), "ms")
            yield Figure(0, f"{about}: service less library, quickest tenth", 1000 * _tenth(its, own), "ms")
            yield Figure(0, f"{about}: service less library, time of the processor", 1000 * cpu, "ms")
            far = 1000 * (np.quantile(its, 0.99) - np.quantile(own, 0.99))
            yield Figure(2, f"{about}: service less library, 99 %", far, "ms")
        if kind == "flat":
            yield from _other_questions(running, collection, line)
        yield Figure(10, f"{kind}: from start to ready", running.seconds, "s")
        whole, own_memory = running.memory()
        yield Figure(10, f"{kind}: memory, without mapped files", own_memory, "MB")
        yield Figure(0, f"{kind}: memory, with the mapped embeddings", whole, "MB")


def _by_id(collection: Any, fast: bool, one: int) -> object:
    return collection.query(ids=[one], k=10, fast=fast)


def _by_id_there(line: Line, name: str, flag: str, one: int) -> object:
    return line.ask(f"{name}/search?id={one}&k=10{flag}")


def _tenth(its: list[float], own: list[float]) -> float:
    return float(np.quantile(its, 0.1) - np.quantile(own, 0.1))


def _other_questions(running: Running, collection: Any, line: Line) -> Iterator[Figure]:
    """Yield what a picture and a thousand ids take."""
    name, jpeg = f"/v1/collections/{collection.name}", picture()
    own, its, _ = in_turn(
        running,
        lambda _: collection.query(jpeg, k=10),
        lambda _: line.ask(f"{name}/search?k=10", jpeg, "image/jpeg"),
        list(range(10)),
    )
    yield Figure(8, "a JPEG of 1,024 x 768: service less library, median", 1000 * _less(its, own), "ms")
    body = json.dumps({"queries": [{"id": one} for one in range(1000)], "k": 10, "fast": True}).encode()
    own, its, _ = in_turn(
        running,
        lambda _: collection.query(ids=list(range(1000)), k=10, fast=True),
        lambda _: line.ask(f"{name}/search", body),
        [0],
    )
    yield Figure(7, "1,000 ids at once: service / library", float(np.median(its) / np.median(own)), "x")
    yield Figure(7, "1,000 ids at once: first line of NDJSON", 1000 * _first_line(running.port, name, body), "ms")


def _less(its: list[float], own: list[float]) -> float:
    return float(np.median(its) - np.median(own))


def _first_line(port: int, name: str, body: bytes) -> float:
    import http.client

    line = http.client.HTTPConnection("127.0.0.1", port)
    found = []
    for _ in range(5):
        began = time.perf_counter()
        headers = {"Content-Type": "application/json", "Accept": "application/x-ndjson"}
        line.request("POST", f"{name}/search", body, headers)
        answer = line.getresponse()
        answer.readline()
        found.append(time.perf_counter() - began)
        answer.read()
    return float(np.median(found))


def in_turn(running: Running, own: Ask, served: Ask, asked: list[int]) -> tuple[list[float], list[float], float]:
    """Ask the library and the service in turn, block by block; the first block of each does not count.

    Returns:
        The seconds of the library's answers and of the service's, and by how much more time of the processor one of
        the service takes; that one does not depend on what else the machine does.
    """
    library, service_, used = [], [], [0.0, 0.0]
    for number in range(ROUNDS + 1):
        began = time.process_time()
        some = [_timed(own, one) for one in asked]
        middle, theirs = time.process_time(), running.processor()
        others = [_timed(served, one) for one in asked]
        if number:
            library += some
            service_ += others
            used[0] += middle - began
            used[1] += running.processor() - theirs
    return library, service_, (used[1] - used[0]) / (ROUNDS * len(asked))


def _timed(call: Ask, one: int) -> float:
    began = time.perf_counter()
    call(one)
    return time.perf_counter() - began


def throughput(flat: Path, hashed: Path) -> Iterator[Figure]:
    """Yield requests a second with 8 connections: rows 3 to 5."""
    if not shutil.which("wrk"):
        print("wrk is not installed: no figures of throughput")
        return
    search = "/v1/collections/benchmark/search?k=10&fast=true&id="
    with (
        service(flat) as scanning,
        service(hashed) as hashing,
        process(PEERS, "fastapi", ready="/search?id=17&k=10") as fastapi,
        process(PEERS, "flask", ready="/knn-service?id=17&k=10") as flask,
    ):
        collection = aepipe.open(flat)
        rows = len(collection)
        arms: dict[str, Callable[[], float]] = {
            "library, 2 threads": lambda: _threads(collection, 2),
            "flat": lambda: _wrk(scanning.port, search, rows),
            "flat, re-ranked": lambda: _wrk(scanning.port, search.replace("&fast=true", ""), rows),
            "multihash": lambda: _wrk(hashing.port, search, rows),
            "multihash, the same row each time": lambda: _wrk(hashing.port, search + "17"),
            "multihash, re-ranked": lambda: _wrk(hashing.port, search.replace("&fast=true", ""), rows),
            "constant": lambda: _wrk(hashing.port, "/livez"),
            "FastAPI that searches nothing": lambda: _wrk(fastapi.port, "/search?id=17&k=10"),
            "Flask that searches nothing": lambda: _wrk(flask.port, "/knn-service?id=17&k=10"),
        }
        found: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(5):
            for name, arm in arms.items():
                found[name].append(arm())
    yield from _compared(found)


def _compared(found: Mapping[str, list[float]]) -> Iterator[Figure]:
    """Yield medians, and medians of the ratios of each round."""

    def ratio(one: str, other: str) -> float:
        return float(np.median(np.array(found[one]) / np.array(found[other])))

    yield Figure(
        3, "8 connections, flat: service / two threads of the library", ratio("flat", "library, 2 threads"), "x"
    )
    yield Figure(4, "8 connections, multihash", float(np.median(found["multihash"])), "/s")
    yield Figure(4, "8 connections, multihash / a constant answer", ratio("multihash", "constant"), "x")
    for peer in ("FastAPI", "Flask"):
        name = f"{peer} that searches nothing"
        yield Figure(5, f"8 connections, multihash / {name}", ratio("multihash", name), "x")
    for name, values in found.items():
        if name != "multihash":
            yield Figure(0, f"8 connections, {name}", float(np.median(values)), "/s")


def _wrk(port: int, path: str, rows: int | None = None) -> float:
    """Return requests a second for one path, or for one that ends in the id of a row that is drawn each time."""
    address = f"http://127.0.0.1:{port}"
    where = (address + path,) if rows is None else ("-s", DRAWN, address, "--", path, str(rows))
    command = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", *where)
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in said, said
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found, said
    return float(found[1])


def _threads(collection: Any, count: int) -> float:
    until, done = time.perf_counter() + SECONDS, [0] * count

    def ask(place: int) -> None:
        draw = random.Random(place)
        while time.perf_counter() < until:
            collection.query(ids=[draw.randrange(len(collection))], k=10, fast=True)
            done[place] += 1

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / SECONDS

"""Releases are taken up while the service answers, and a service ends as it should."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from aepipe.store import registry
from aepipe.store.artifacts import Store
from tests.serve.conftest import Client, running
from tests.support.releases import make_release

ONE = "/v1/collections/pictures"
ROOT = Path(__file__).parents[2]


def until(client: Client, digest: str) -> None:
    """Wait until a release answers."""
    end = time.monotonic() + 60
    while client.get(ONE).json["release"] != digest:
        assert time.monotonic() < end, "the release was not taken up"
        time.sleep(0.02)


def test_promotions_under_load_fail_no_request(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    refs = [make_release(store, n=40, seed=seed) for seed in (0, 1)]
    fingerprints: set[tuple[str, str]] = set()
    failed: list[int] = []
    stop = threading.Event()
    with running(store) as client:

        def ask() -> None:
            while not stop.is_set():
                found = client.get(f"{ONE}/search", id=3, k=5)
                if found.status != 200:
                    failed.append(found.status)
                    continue
                fingerprints.add((found.json["release"], found.json["fingerprint"]))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for turn in range(6):
            registry.promote(store, "pictures", refs[turn % 2], why="a test")
            until(client, refs[turn % 2].digest)
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert len(fingerprints) == 2


def test_a_damaged_release_is_not_taken_up(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    good = make_release(store, n=40, seed=0)
    with running(store) as client:
        bad = make_release(store, n=40, seed=1, promote=False)
        (next((store.path(bad)).glob("release.json"))).write_text("{")
        registry.promote(store, "pictures", bad, why="a test")
        end = time.monotonic() + 60
        while not client.get("/readyz").json["trouble"]:
            assert time.monotonic() < end
            time.sleep(0.02)
        found = client.get(f"{ONE}/search", id=3)
        assert (found.status, found.json["release"]) == (200, good.digest)
        assert client.get(ONE).json["trouble"]
        registry.promote(store, "pictures", good, why="a test")
        while client.get("/readyz").json["trouble"]:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_collections_appear_and_disappear(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=20)
    with running(store) as client:
        make_release(store, name="more", n=20)
        end = time.monotonic() + 60
        while client.get("/v1/collections/more").status != 200:
            assert time.monotonic() < end
            time.sleep(0.02)
        (store.root / "service" / "more").unlink()
        while client.get("/v1/collections/more").status != 404:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_prefix_of_a_proxy_is_known(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=20)
    with running(store, root_path="/search") as client:
        assert client.get(f"{ONE}/search", id=3).status == 200


def test_the_verb_serves_and_ends_with_status_zero(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=20)
    command = [sys.executable, "-m", "aepipe", "serve", "--port", "0", "--home", str(store.root)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        line = run.stdout.readline()
        port = int(line.rstrip("/\n").rpartition(":")[2])
        client = Client(port, None)  # type: ignore[arg-type]
        end = time.monotonic() + 120
        while True:
            try:
                if client.get("/readyz").status == 200:
                    break
            except OSError:
                assert time.monotonic() < end
            time.sleep(0.05)
        idle = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(8)]
        for connection in idle:
            connection.request("GET", f"{ONE}/search?id=3")
            assert connection.getresponse().read()
        begun = time.monotonic()
        run.send_signal(signal.SIGTERM)
        assert run.wait(120) == 0
        assert time.monotonic() - begun < 5
        assert run.stderr is not None
        assert run.stderr.read() == "aepipe: ended by SIGTERM\n"
        for connection in idle:
            connection.close()


def test_mistakes_are_said_before_anything_is_opened(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=20)
    for flags, status, text in (
        (["--host", "0.0.0.0"], 2, "--token-file"),
        (["--name", "none"], 2, "none"),
        (["--max-upload", "much"], 2, "--max-upload"),
        (["--root-path", "search"], 2, "--root-path"),
    ):
        command = [sys.executable, "-m", "aepipe", "serve", "--port", "0", "--home", str(store.root), *flags]
        found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
        assert (found.returncode, text in found.stderr, found.stdout) == (status, True, ""), found.stderr

"""Services of single shards, and one that asks them all: its answers are those of a service over the whole release."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from aepipe.client.remote import connect
from aepipe.errors import ServiceError
from aepipe.index.remote import Ask
from aepipe.index.shards import Shard
from aepipe.release.release import Release
from aepipe.serve import links
from aepipe.serve.catalog import Catalog
from aepipe.store import registry
from aepipe.store.artifacts import Store
from tests.serve.conftest import Client, Reply, running
from tests.support.releases import make_release, pictures_of

ONE = "/v1/collections/pictures"
ROOT = Path(__file__).parents[2]
COUNT = 2
NOTICED = 2.0
"""Seconds in which a shard that is killed or hangs is noticed, where the machine has time for it."""
ASKED: list[dict[str, Any]] = [
    {"id": 3},
    {"id": [3, 8], "k": 1},
    {"id": 3, "k": 60},
    {"id": 3, "others": "true", "distinct": "true"},
    {"id": 3, "fast": "true", "k": 7},
    {"id": 3, "radius": 12},
    {"id": 5, "where": "label = 'class1'", "k": 5},
    {"id": 5, "label": ["class1", "class2"], "split": "train"},
    {"id": 5, "bits": 16, "k": 4},
    {"id": 5, "oversample": 2},
    {"id": 999},
    {"id": 3, "k": 0},
    {"id": 3, "where": "no sql"},
    {},
]
PATHS = ["", "/items?limit=7", "/items?label=class1", "/items/4", "/items/4/thumb", "/explain?a=3&b=8", "/releases",
         "/feedback", "/duplicates?radius=3&alike=content", "/items/999"]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a release in two shards, and one with the same pictures in one."""
    store = Store(tmp_path_factory.mktemp("shards") / "store")
    make_release(store, n=60, embedding="int8", shards=COUNT)
    make_release(store, name="single", n=20)
    return store


def told(reply: Reply) -> tuple[int, Any]:
    """Return the status of an answer, and its body without the time that it took."""
    if "json" not in reply.headers["content-type"]:
        return reply.status, reply.body
    found = reply.json
    for answer in found.get("answers", ()):
        answer.pop("handle")
    return reply.status, {name: one for name, one in found.items() if name not in {"took_ms", "instance"}}


@contextmanager
def gathered(store: Store, **given: Any) -> Iterator[tuple[Client, list[Client]]]:
    """Run the services of all shards, and the one that asks them."""
    with ExitStack() as held:
        parts = [held.enter_context(running(store, shard=Shard(number, COUNT))) for number in range(COUNT)]
        addresses = tuple(f"http://127.0.0.1:{part.port}" for part in parts)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(links, "PATIENCE", 60.0)  # a shard on a busy machine is not silent
            client = held.enter_context(running(store, shards=addresses, **given))
        until(lambda: client.get("/readyz").json["ready"], "the shards do not answer")
        yield client, parts


@pytest.fixture(scope="module")
def services(store: Store) -> Iterator[tuple[Client, Client, list[Client]]]:
    """The service that asks shards, one over the whole release, and those of the shards."""
    with running(store, names=("pictures",)) as whole, gathered(store) as (client, parts):
        yield client, whole, parts


def test_questions_have_the_answers_of_a_whole_service(services: tuple[Client, Client, list[Client]]) -> None:
    client, whole, _ = services
    for asked in ASKED:
        assert told(client.get(f"{ONE}/search", **asked)) == told(whole.get(f"{ONE}/search", **asked)), asked
    for path in PATHS:
        assert told(client.get(f"{ONE}{path}")) == told(whole.get(f"{ONE}{path}")), path


def test_uploads_codes_pages_and_streams(services: tuple[Client, Client, list[Client]], store: Store) -> None:
    client, whole, _ = services
    file = next(pictures_of(store).rglob("*.png")).read_bytes()
    code = client.get(f"{ONE}/items/4").json["code"]
    body = {"queries": [{"id": 4}, {"code": code}, {"key": "none"}], "k": 9}
    stream = {"Accept": "application/x-ndjson"}
    assert told(client.post(f"{ONE}/search", file)) == told(whole.post(f"{ONE}/search", file))
    assert told(client.post(f"{ONE}/encode", file)) == told(whole.post(f"{ONE}/encode", file))
    assert told(client.post(f"{ONE}/search", body)) == told(whole.post(f"{ONE}/search", body))
    assert client.post(f"{ONE}/search", body, stream).body == whole.post(f"{ONE}/search", body, stream).body
    handle = client.post(f"{ONE}/search", file).json["answers"][0]["handle"]
    assert client.get(f"{ONE}/search", handle=handle, k=3).json["answers"][0]["hits"]
    after, pages = None, list[list[int]]()
    for _ in range(3):
        more: dict[str, Any] = {} if after is None else {"after": after}
        both = [each.get(f"{ONE}/search", id=3, k=8, fast="true", **more) for each in (client, whole)]
        assert told(both[0]) == told(both[1])
        after = both[0].json["answers"][0]["next"]
        pages.append([hit["id"] for hit in both[0].json["answers"][0]["hits"]])
    assert len({one for page in pages for one in page}) == 24


def test_a_shard_says_that_it_is_one(services: tuple[Client, Client, list[Client]], store: Store) -> None:
    client, whole, parts = services
    rows = whole.get(ONE).json["rows"]
    counted = 0
    for number, part in enumerate(parts):
        name, about, found = f"{number + 1}/{COUNT}", part.get(ONE).json, part.get(f"{ONE}/search", id=3, k=60).json
        assert part.get("/readyz").json["shard"] == about["shard"] == found["shard"] == name
        assert {hit["id"] % COUNT for hit in found["answers"][0]["hits"]} == {number}
        assert [one["name"] for one in part.get("/v1/collections").json["collections"]] == ["pictures"]
        counted += about["rows"]
    assert counted == rows == client.get(ONE).json["rows"]
    assert "shard" not in {**client.get(ONE).json, **whole.get(ONE).json}
    assert client.get("/readyz").json["silent"] == []
    assert 'aepipe_shard_answers{shard="2/2"} 1' in client.get("/metrics").body.decode()


def test_a_client_asks_shards_as_it_asks_one_service(services: tuple[Client, Client, list[Client]]) -> None:
    client, whole, _ = services
    found = [connect(f"http://127.0.0.1:{each.port}").query(ids=[3], k=5) for each in (client, whole)]
    assert list(map(str, found[0][0].hits)) == list(map(str, found[1][0].hits))


def test_all_shards_answer_for_the_release_that_is_asked(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    refs = [make_release(store, n=40, seed=seed, shards=COUNT) for seed in (0, 1)]
    with gathered(store, write=True) as (client, _), running(store) as whole:
        for turn in range(6):
            registry.promote(store, "pictures", refs[turn % 2], why="a test")
            end = time.monotonic() + 60
            seen = set[str]()
            while refs[turn % 2].digest not in seen:
                assert time.monotonic() < end, "the release was not taken up"
                found = client.get(f"{ONE}/search", id=3, k=5, fast="true")
                if found.status == 503:  # a shard may take the release up late
                    continue
                assert found.status == 200
                seen.add(found.json["release"])
                same = whole.get(f"{ONE}/search", id=3, k=5, fast="true", release=found.json["release"][:12])
                assert told(found) == told(same)
        assert client.post(f"{ONE}/remove", {"ids": [4, 9]}).json == {"rows": 2, "removed": True}
        left = client.get(f"{ONE}/search", id=3, k=40, fast="true")
        assert {hit["id"] for hit in left.json["answers"][0]["hits"]} == set(range(40)) - {4, 9}


def test_questions_to_the_wrong_shard_and_other_bytes_are_refused(
    services: tuple[Client, Client, list[Client]], store: Store
) -> None:
    _, whole, parts = services
    release = Release.open(store, "pictures")
    raw = {"Content-Type": "application/octet-stream"}
    ask = Ask(release.ref.digest, "2/2", release.n_bits, k=3, packed=release.codes_of([3]).packed)
    assert parts[1].post(f"{ONE}/shard", ask.pack(), raw).status == 200
    assert parts[0].post(f"{ONE}/shard", ask.pack(), raw).status == 422
    assert whole.post(f"{ONE}/shard", ask.pack(), raw).status == 404
    for data in (b"", b"\xff" * 40, ask.pack()[:-1], ask.pack() + b"0", b"\x02\0\0\0{}"):
        reply = parts[1].post(f"{ONE}/shard", data, raw)
        assert (reply.status, reply.json["type"]) == (422, "urn:aepipe:query")


def test_a_service_of_another_shard_is_silent(store: Store) -> None:
    with running(store, shard=Shard(0, COUNT)) as part:
        address = f"http://127.0.0.1:{part.port}"
        with running(store, shards=(address, address)) as client:
            until(lambda: client.get("/readyz").json["silent"] == ["2/2"], "the wrong service was not noticed")
            assert client.get("/readyz").status == 503
            reply = client.get(f"{ONE}/search", id=3)
            assert (reply.status, reply.json["type"]) == (503, "urn:aepipe:silent-shard")
            assert "shard 2/2 does not answer" in reply.json["detail"]


def test_a_damaged_release_hides_no_other_collection(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=20, shards=COUNT)
    torn = make_release(store, name="torn", n=20, shards=COUNT)
    (store.path(torn) / "manifest.json").write_text("{")
    catalog = Catalog(Store(tmp_path / "store"), count=COUNT)
    catalog.look()
    assert catalog.names == ["pictures"]
    assert "manifest.json" in catalog.trouble["torn"]


def test_a_shard_that_is_killed_or_hangs_is_noticed_and_used_again(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    port, stream = free_port(), {"Accept": "application/x-ndjson"}
    assert links.EVERY + links.PATIENCE < NOTICED
    with ExitStack() as held:
        part = held.enter_context(running(store, shard=Shard(0, COUNT)))
        last = started(store, held, port)
        addresses = (f"http://127.0.0.1:{part.port}", f"http://127.0.0.1:{port}")
        client = held.enter_context(running(store, shards=addresses))
        until(lambda: client.get("/readyz").json["ready"], "the shards do not answer")
        whole = told(client.get(f"{ONE}/search", id=3, partial="true"))
        assert whole[1]["complete"]
        for signal_of_end in (signal.SIGKILL, signal.SIGSTOP):
            last.send_signal(signal_of_end)
            until(lambda: client.get(f"{ONE}/search", id=3).status == 503, "the shard is not missed")
            assert client.get("/readyz").json == {"ready": False, "not_open": [], "trouble": [], "shards": 2,
                                                  "silent": ["2/2"]}  # fmt: skip
            found = client.get(f"{ONE}/search", id=3, partial="true")
            assert (found.json["complete"], found.json["missing"]) == (False, ["2/2"])
            assert found.headers["cache-control"] == "no-store"
            assert {hit["id"] % COUNT for hit in found.json["answers"][0]["hits"]} == {0}
            lines = client.post(f"{ONE}/search", {"queries": [{"id": 3}], "partial": True}, stream).body.splitlines()
            assert json.loads(lines[-1]) == {"missing": ["2/2"], "complete": False}
            remote = connect(f"http://127.0.0.1:{client.port}")
            with pytest.raises(ServiceError, match="shard 2/2 does not answer"):
                remote.query(ids=[3])
            assert remote.query(ids=[3], partial=True)[0].hits
            assert "these hits are a part: shard 2/2 does not answer" in caplog.text
            if signal_of_end == signal.SIGKILL:
                last = started(store, held, port)
            else:
                last.send_signal(signal.SIGCONT)
            until(lambda: client.get(f"{ONE}/search", id=3).status == 200, "the shard is not used again")
            assert told(client.get(f"{ONE}/search", id=3, partial="true")) == whole


def test_a_service_may_allow_parts_by_itself(store: Store) -> None:
    with running(store, shard=Shard(0, COUNT)) as part:
        addresses = (f"http://127.0.0.1:{part.port}", f"http://127.0.0.1:{free_port()}")
        with running(store, shards=addresses, partial=True) as client:
            until(lambda: client.get("/readyz").json["ready"], "the first shard does not answer")
            found = client.get(f"{ONE}/search", id=3)
            assert (found.json["complete"], found.json["missing"]) == (False, ["2/2"])
            assert client.get(f"{ONE}/search", id=3, partial="false").status == 503


def test_a_whole_service_is_always_complete(services: tuple[Client, Client, list[Client]]) -> None:
    _, whole, _ = services
    assert whole.get(f"{ONE}/search", id=3, partial="true").json["complete"]
    assert "complete" not in whole.get(f"{ONE}/search", id=3).json


def started(store: Store, held: ExitStack, port: int) -> subprocess.Popen[bytes]:
    """Start the service of the second shard as a process of its own."""
    command = [sys.executable, "-m", "aepipe", "serve", "--shard", "2/2", "--port", str(port), "--threads", "1"]
    environment = {**os.environ, "AEPIPE_HOME": str(store.root), "PYTHONPATH": str(ROOT)}
    found = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    held.callback(found.wait)
    held.callback(found.kill)
    return found


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def until(holds: Callable[[], bool], otherwise: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)

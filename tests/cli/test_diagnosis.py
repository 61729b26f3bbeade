"""What `aepipe doctor` finds, on sound shelves and on others."""

from __future__ import annotations

import json
import os
import socket
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from aepipe.cli import doctor
from aepipe.cli.doctor import Finding
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.support.releases import make_release, pictures_of


@pytest.fixture
def ref(store: Store) -> Ref:
    """A release in service."""
    return make_release(store, n=20, shape=(8, 8, 1))


def found(store: Store, what: str, level: str) -> list[str]:
    """What is said of one thing at one level."""
    everything = [*doctor.store_lines(store), *doctor.collection(store, "pictures"), *doctor.clock(store)]
    return [one.said for one in everything if one.what == what and one.level == level]


def test_a_sound_store(store: Store, ref: Ref) -> None:
    levels = {one.level for one in doctor.examine(store, {}) if one.what != "packages"}
    assert levels == {"ok"}
    (said,) = found(store, "collection pictures", "ok")
    assert said.startswith(f"release {ref.short} of ")
    assert said.endswith("20 rows, 64 bits")


def test_no_store_yet(store: Store) -> None:
    assert [one.level for one in doctor.store_lines(store)] == ["note"]


def test_packages_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = doctor._unfit([Requirement("numpy>=99"), Requirement("nonesuch>=1"), Requirement("pytest>=7")])
    assert list(wrong) == [
        f"numpy is {metadata.version('numpy')}, numpy>=99 is needed",
        "nonesuch is missing, nonesuch>=1 is needed",
    ]


def test_damage_is_named_with_its_file(store: Store, ref: Ref) -> None:
    folder = store.path(next(iter(store.refs("model"))))
    (folder / "encoder.onnx").unlink()
    (said,) = found(store, "collection pictures", "bad")
    assert "encoder.onnx" in said
    assert "aepipe rollback" in said


def test_a_torn_service_file(store: Store, ref: Ref) -> None:
    (store.root / "service" / "pictures").write_text("torn")
    (said,) = found(store, "collection pictures", "bad")
    assert "not one line with a digest" in said


def test_only_refusals_after_the_last_promotion_are_reported(store: Store, ref: Ref) -> None:
    registry.refuse(store, "pictures", Ref("release", "a" * 64), why="it is worse")
    (said,) = found(store, "collection pictures", "bad")
    assert said == "the gate refused 1 since, the last aaaaaaaaaaaa: it is worse"
    log = store.root / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines[1]["when"] = "2020-01-01T00:00:00+00:00"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert not found(store, "collection pictures", "bad")
    assert "was set back once" in found(store, "clock", "note")[0]


def test_a_clock_that_is_behind(store: Store, ref: Ref) -> None:
    log = store.root / "log.jsonl"
    line = json.loads(log.read_text())
    line["when"] = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    log.write_text(json.dumps(line) + "\n")
    assert "set the clock right" in found(store, "clock", "bad")[0]


def test_notes(store: Store, ref: Ref) -> None:
    store.root.chmod(0o755)
    (store.root / "quarantine-pictures.parquet").write_bytes(b"")
    (store.root / "rows" / ".tmp-elsewhere-1-x").mkdir()
    pictures_of(store).rename(store.root.parent / "moved")
    assert "chmod 700" in found(store, "store", "note")[0]
    assert "1 unfinished folders" in found(store, "drafts", "note")[0]
    source, quarantine = found(store, "collection pictures", "note")
    assert "is not there" in source
    assert "quarantine-pictures.parquet" in quarantine
    with registry.lock(store, "pictures"):
        assert f"process {os.getpid()}" in found(store, "collection pictures", "note")[-1]


def test_little_room(store: Store, ref: Ref, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    assert "`aepipe gc` frees some" in found(store, "disk", "bad")[0]


def test_a_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (one,) = doctor.server(f"http://127.0.0.1:{port}/api")
    assert (one.level, one.what) == ("bad", "server")


@pytest.mark.parametrize(("body", "level"), [(b"true", "ok"), (b"false", "bad"), (b"<html>", "bad")])
def test_a_server_that_answers(body: bytes, level: str) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Health) as one:
        thread = threading.Thread(target=one.handle_request)
        thread.start()
        findings: list[Finding] = list(doctor.server(f"http://127.0.0.1:{one.server_port}/api/"))
        thread.join()
    assert [finding.level for finding in findings] == [level]


def test_nothing_is_changed(store: Store, ref: Ref, tmp_path: Path) -> None:
    def state() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_size) for path in store.root.rglob("*") if "locks" not in path.parts)

    before = state()
    list(doctor.examine(store, {}))
    assert state() == before

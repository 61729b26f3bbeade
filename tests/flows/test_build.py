"""Flows as they run: what goes into service, what is refused, and what is repeated."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import threading
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aepipe.errors import BusyError, GateError, RecipeError, SourceError
from aepipe.log import step
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from flows.job import Job
from tests.support.samples import write_photos, write_tiny

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path, count=120, epochs=8)


def test_a_collection_from_its_first_release_to_its_next(tiny: Path, store: Store) -> None:
    from flows.build import build
    from flows.refresh import refresh

    shelf = str(store.root)
    first = build(str(tiny), shelf=shelf)
    assert first["in_service"]
    assert registry.current(store, "tiny") == Ref.parse(first["release"])
    assert len(Release.open(store, "tiny")) == 120

    again = build(str(tiny), shelf=shelf)
    assert again["release"] == first["release"]
    assert again["reasons"] == ["nothing has changed"]
    assert len(registry.history(store)) == 1
    assert not refresh(shelf=shelf)["changed"]

    # A new picture, a vanished one, and one with the bytes of another.
    write_photos(tiny.parent / "photos", start=120, count=1)
    pictures = sorted((tiny.parent / "photos").rglob("*.png"))
    pictures[0].unlink()
    shutil.copy(pictures[1], pictures[2])
    renewed = refresh("tiny", shelf=shelf)
    assert renewed["changed"]
    release = Release.open(store, "tiny")
    assert release.fingerprint == Release.open(store, ref=Ref.parse(first["release"])).fingerprint
    keys = [str(path.relative_to(tiny.parent / "photos")) for path in pictures[:3]]
    assert len(release) == 120
    codes = release.codes_of([release.id_of(key) for key in keys[1:]])
    assert codes.distances(codes).max() == 0, "a row with other bytes must get another code"

    tiny.write_text(tiny.read_text().replace("bits = 32", "bits = 1"))
    with pytest.raises(GateError, match=r"tiny: the gate refuses release \w+: .*stays in service"):
        build(str(tiny), shelf=shelf)
    assert registry.current(store, "tiny") == release.ref
    kept = build(str(tiny), shelf=shelf, promote=False)
    assert not kept["in_service"]
    assert store.has(Ref.parse(kept["release"]))


def test_a_run_replaces_no_collection_of_other_items(tiny: Path, store: Store) -> None:
    from flows.build import build
    from flows.nightly import nightly

    shelf = str(store.root)
    first = build(str(tiny), shelf=shelf)
    write_photos(tiny.parent / "others", start=200, count=60)
    other = tiny.with_name("other.toml")
    other.write_text(tiny.read_text().replace('"photos"', '"others"'))
    for run in (build, nightly):
        with pytest.raises(
            RecipeError, match=r"tiny: the collection in service under this name was made from .*photos"
        ):
            run(str(other), shelf=shelf)
        with pytest.raises(RecipeError, match="give it a name of its own with --name"):
            run(str(tiny), source=str(tiny.parent / "others"), shelf=shelf)
    assert registry.current(store, "tiny") == Ref.parse(first["release"])
    assert not build(str(other), shelf=shelf, promote=False)["in_service"], "what is kept aside replaces nothing"
    tiny.write_text(other.read_text())
    assert len(Release.open(store, ref=Ref.parse(build(str(tiny), shelf=shelf, promote=True)["release"]))) == 60


def test_artifacts_for_prefects_pages(tiny: Path, store: Store) -> None:
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

    from flows.artifacts import key_of
    from flows.build import build

    assert key_of("shown-x") == "shown-x"
    assert len({key_of(name) for name in ("shown-x", "shown.x", "shown_x", "写真", "фото")}) == 5
    build(str(tiny), shelf=str(store.root), name="shown.x")
    with get_client(sync_client=True) as client:
        run = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=["build-shown.x"])))[0]
        artifacts = client.request("POST", "/artifacts/filter").json()
    assert run.state is not None
    assert run.state.is_completed()
    ours = {artifact["key"]: artifact for artifact in artifacts if artifact["flow_run_id"] == str(run.id)}
    assert set(ours) == {f"{key_of('shown.x')}-{part}" for part in ("scores", "verdict", "training", "hits", "report")}
    assert '"system": "itq"' in ours[f"{key_of('shown.x')}-scores"]["data"]
    assert "![Hits](data:image/jpeg;base64," in ours[f"{key_of('shown.x')}-hits"]["data"]
    page = store.root / "reports" / "shown.x.html"
    assert page.as_uri() in ours[f"{key_of('shown.x')}-report"]["data"]
    assert "<li>it is the first release" in page.read_text()


def test_prefect_stores_only_the_start_and_the_end_of_a_stage() -> None:
    from flows.build import show_progress

    kept: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record.getMessage())

    handler = Kept()
    both = [logging.getLogger("prefect.extra"), logging.getLogger("aepipe")]
    for log in both:
        log.addHandler(handler)
    try:
        for _ in range(2):
            copy_context().run(show_progress)
            for done in range(1000):
                step("ingest", done, 999)
        logging.getLogger("aepipe.flows").info("all else")
    finally:
        for log in both:
            log.removeHandler(handler)
    assert kept == [*2 * ["ingest: 0/999", "ingest: 999/999"], "all else"]


def test_one_run_at_a_time(tiny: Path, store: Store) -> None:
    from flows.build import build

    with registry.lock(store, "tiny"), pytest.raises(BusyError, match="tiny: another run is writing"):
        build(str(tiny), shelf=str(store.root))
    assert not store.refs("rows")


def test_mistakes_are_found_before_anything_is_made(tiny: Path, store: Store) -> None:
    from flows.build import build

    tiny.write_text(tiny.read_text().replace("likelihood", "likelyhood"))
    with pytest.raises(RecipeError, match=r"tiny\.toml: layers\.0\.likelyhood: unknown key"):
        build(str(tiny), shelf=str(store.root))
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (OSError(errno.EIO, "I/O error"), 3),
        (ConnectionResetError(), 3),
        (SourceError("bad"), 1),
        (PermissionError(), 1),
    ],
)
def test_only_passing_errors_are_tried_again(error: Exception, tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import tasks

    calls: list[object] = []

    def fail(*_: Any, **__: Any) -> Ref:
        calls.append(error)
        raise error

    class NoPlan:
        recipe = SimpleNamespace(name="none")
        source = None

    monkeypatch.setattr("aepipe.pipeline.ingest.ingest", fail)
    quick = tasks.ingest.with_options(retries=2, retry_delay_seconds=0)
    with pytest.raises(type(error)):
        quick(Job(Store(Path("unused")), NoPlan()), None)  # type: ignore[arg-type]
    assert len(calls) == tries
    assert tasks.ingest.retries == 4


def test_a_failed_run_sends_a_message(tiny: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    from flows.build import build

    told: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    tiny.write_text(tiny.read_text().replace('path = "photos"', 'path = "gone"'))
    with HTTPServer(("127.0.0.1", 0), Hook) as hook:
        thread = threading.Thread(target=hook.handle_request, daemon=True)
        thread.start()
        block = CustomWebhookNotificationBlock(
            name="alerts",
            url=f"http://127.0.0.1:{hook.server_port}/",
            json_data={"subject": "{{subject}}", "body": "{{body}}"},
            headers=None,
            cookies=None,
        )
        block.save("alerts", overwrite=True)
        monkeypatch.setenv("AEPIPE_NOTIFY", "custom-webhook/alerts")
        with pytest.raises(SourceError):
            build(str(tiny), shelf=str(store.root))
        thread.join(60)
    (message,) = told
    assert message["subject"] == "aepipe-build: build-tiny failed"
    assert "no such file or folder" in message["body"]


def test_a_message_that_cannot_be_sent_is_logged(
    tiny: Path, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.build import build

    tiny.write_text(tiny.read_text().replace('path = "photos"', 'path = "gone"'))
    monkeypatch.setenv("AEPIPE_NOTIFY", "slack-webhook/nobody")
    with pytest.raises(SourceError):
        build(str(tiny), shelf=str(store.root))
    assert "AEPIPE_NOTIFY=slack-webhook/nobody: nobody was told" in caplog.text

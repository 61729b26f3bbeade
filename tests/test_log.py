"""JSON lines of the log: their fields, and that nothing else is written."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aepipe.cli.progress import showing
from aepipe.log import RUN, VARIABLE, step
from aepipe.store.artifacts import Store

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "json")
    monkeypatch.delenv("TRACEPARENT", raising=False)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Read the written lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.usefixtures("in_json")
def test_a_line_has_run_stage_and_ref(store: Store) -> None:
    stream, token = io.StringIO(), RUN.set("nightly-boots")
    try:
        with showing(stream):
            step("ingest", 5, 10, "1 unreadable")
            step("ingest", 6, 10)  # too soon
            with store.draft("rows") as draft:
                ref = draft.finish({"stage": "ingest"})
            logging.getLogger("aepipe.flows").warning("%s is odd", "this")
    finally:
        RUN.reset(token)
    progress, written, odd = lines(stream)
    assert progress["body"] == "ingest: 5/10  1 unreadable"
    assert progress["attributes"] == {
        "run": "nightly-boots", "stage": "ingest", "done": 5, "total": 10, "note": "1 unreadable",
    }  # fmt: skip
    assert (progress["severity_text"], progress["severity_number"], progress["scope"]) == ("INFO", 9, "aepipe.progress")
    assert progress["timestamp"].endswith("+00:00")
    assert written["attributes"].items() >= {"stage": "ingest", "ref": str(ref)}.items()
    assert written["attributes"]["seconds"] >= 0
    assert odd["body"] == "this is odd"
    assert odd["severity_number"] == 13
    assert "trace_id" not in odd


@pytest.mark.usefixtures("in_json")
@pytest.mark.parametrize(
    ("given", "expected"),
    [(f"00-{TRACE}-{SPAN}-01", {"trace_id": TRACE, "span_id": SPAN}), ("00-12-34-01", {}), ("nonsense", {})],
)
def test_a_line_belongs_to_the_trace_of_its_process(
    given: str, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", given)
    stream = io.StringIO()
    with showing(stream):
        step("views", 1, 1)
    (line,) = lines(stream)
    assert {key: line[key] for key in ("trace_id", "span_id") if key in line} == expected


def test_records_have_plain_attributes(caplog: pytest.LogCaptureFixture) -> None:
    """OpenTelemetry's handler exports numbers and strings, and drops other types."""
    with caplog.at_level(logging.INFO, logger="aepipe.progress"):
        step("encode", 3, None)
    (record,) = caplog.records
    assert [getattr(record, name) for name in ("stage", "done", "total", "note")] == ["encode", 3, None, ""]


def test_a_user_error_is_a_line_too(tmp_path: Path) -> None:
    """Nothing else is on stderr, so a collector can read all of it."""
    command = [sys.executable, "-m", "aepipe", "query", "none.png", "--home", str(tmp_path)]
    found = subprocess.run(command, env={VARIABLE: "json"}, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    (line,) = [json.loads(line) for line in found.stderr.splitlines()]
    assert line["severity_text"] == "ERROR"
    assert "no release is in service" in line["body"]

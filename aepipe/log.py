"""Progress of long work, as log records: the library says how far it is, and whoever runs it decides how to show it.

The command line draws bars, a Prefect worker writes lines to its log, a test listens or does not.
"""

# (from logs.py) The log where nobody looks on: plain lines for people, JSON lines for machines (``AEPIPE_LOG=json``).
# (from logs.py)
# (from logs.py) A JSON line has the names of OpenTelemetry's log data model, and what it is about as ``attributes``: ``run``, ``stage``,
# (from logs.py) ``done``, ``total``, ``note``, ``ref``, ``seconds``, as far as they are known. But for ``run``, the records themselves
# (from logs.py) have them as plain attributes, so that other handlers, OpenTelemetry's among them, take them along. Where
# (from logs.py) ``TRACEPARENT`` is set, as W3C's trace context has it, a line belongs to that trace.

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

logger = logging.getLogger("aepipe.progress")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one stage is.

    Attributes:
        stage: what is being done, in the user's words: ``"layer 1"``.
        done: units done so far.
        total: units in all; None where it is not known yet.
        note: what to show beside it: ``"loss 0.2831"``.
    """

    stage: str
    done: int
    total: int | None
    note: str = ""

    @classmethod
    def of(cls, record: logging.LogRecord) -> Progress | None:
        """Return what a record says of progress, None where it is about something else."""
        if not hasattr(record, "done"):
            return None
        return cls(*(getattr(record, name) for name in ("stage", "done", "total", "note")))

    @property
    def finished(self) -> bool:
        """Whether the stage is complete."""
        return self.total is not None and self.done >= self.total


def step(stage: str, done: int, total: int | None, note: str = "") -> None:
    """Log one step; the record has the attributes of a :class:`Progress`, plain ones, as every handler takes them."""
    of = f"/{total:,}" if total is not None else ""
    about = {"stage": stage, "done": done, "total": total, "note": note}
    logger.info("%s: %s%s%s", stage, f"{done:,}", of, f"  {note}" if note else "", extra=about)


def chapter(title: str) -> None:
    """Log that the stages begin anew, for something else; the record has the attribute ``chapter``."""
    logger.info("%s", title, extra={"chapter": True})


VARIABLE = "AEPIPE_LOG"
EVERY = 10.0
"""Seconds between two lines about one stage."""
RUN: ContextVar[str] = ContextVar("run", default="")
"""What the run is called, and Prefect's id of it; a flow says so."""
ATTRIBUTES = ("stage", "done", "total", "note", "ref", "seconds")
SEVERITIES = {logging.DEBUG: 5, logging.INFO: 9, logging.WARNING: 13, logging.ERROR: 17, logging.CRITICAL: 21}


class Sparse(logging.Filter):
    """Lets a step pass where a stage starts and ends, and at most one in ten seconds in between, and all else."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._shown: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record passes."""
        progress = Progress.of(record)
        if hasattr(record, "chapter"):
            self._shown.clear()
        return progress is None or self._due(progress)

    def _due(self, progress: Progress) -> bool:
        """Say whether a step is to be shown."""
        now = self._clock()
        shown = self._shown.get(progress.stage)
        # A stage that ended may say so twice.
        if shown is not None and (shown == math.inf or (not progress.finished and now - shown < EVERY)):
            return False
        self._shown[progress.stage] = math.inf if progress.finished else now
        return True


class Lines(logging.Handler):
    """Writes a line for each record that :class:`Sparse` lets pass."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self.addFilter(Sparse(clock))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self._stream.write(self.line(record) + "\n")
        self._stream.flush()

    def line(self, record: logging.LogRecord) -> str:
        """Return a record as people read it."""
        return f"{self._clock() - self._began:8.1f} s  {record.getMessage()}"


class JsonLines(Lines):
    """Writes the same, and what went onto the shelf, as JSON."""

    def line(self, record: logging.LogRecord) -> str:
        """Return a record as machines read it."""
        about = {name: getattr(record, name) for name in ATTRIBUTES if getattr(record, name, None) not in {None, ""}}
        if RUN.get():
            about = {"run": RUN.get(), **about}
        found = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity_text": record.levelname,
            "severity_number": SEVERITIES.get(record.levelno, 0),
            **_trace(),
            "scope": record.name,
            "body": record.getMessage(),
            "attributes": about,
        }
        return json.dumps(found)


def in_json() -> bool:
    """Say whether JSON lines were asked for."""
    return os.environ.get(VARIABLE, "").lower() == "json"


def _trace() -> dict[str, str]:
    """Return the trace that this process is a part of."""
    parts = os.environ.get("TRACEPARENT", "").split("-")
    if len(parts) != 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return {}
    return {"trace_id": parts[1], "span_id": parts[2]}

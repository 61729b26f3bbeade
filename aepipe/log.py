"""Progress of long work as log records, and handlers that write them as text or JSON lines.

The library only logs; the caller decides how to show it. The command line draws bars, a Prefect worker writes lines to
its log. Where output is not watched, :class:`Lines` writes text for people, and with ``AEPIPE_LOG=json``
:class:`JsonLines` writes JSON for machines.

A JSON line uses the names of OpenTelemetry's log data model. Its ``attributes`` are ``run``, ``stage``, ``done``,
``total``, ``note``, ``ref`` and ``seconds``, as far as they are known. All but ``run`` are plain attributes of the log
records, so that other handlers, such as OpenTelemetry's, export them too. Where ``TRACEPARENT`` is set (W3C trace
context), a line belongs to that trace.
"""

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

VARIABLE = "AEPIPE_LOG"
EVERY = 10.0
"""Seconds between two lines about one stage."""
RUN: ContextVar[str] = ContextVar("run", default="")
"""Name of the run, and its id in Prefect; set by a flow."""
LISTENER: ContextVar[Callable[[Progress], None] | None] = ContextVar("listener", default=None)
"""Is told each step of this thread, whatever the log shows."""
ATTRIBUTES = ("stage", "done", "total", "note", "ref", "seconds")
SEVERITIES = {logging.DEBUG: 5, logging.INFO: 9, logging.WARNING: 13, logging.ERROR: 17, logging.CRITICAL: 21}
"""OpenTelemetry's numbers of severities."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of one stage.

    Attributes:
        stage: the work, in the user's words: ``"layer 1"``.
        done: units done so far.
        total: all units; None where the number is not known yet.
        note: a text to show next to it: ``"loss 0.2831"``.
    """

    stage: str
    done: int
    total: int | None
    note: str = ""

    @classmethod
    def of(cls, record: logging.LogRecord) -> Progress | None:
        """Read the progress from a log record; None where the record is about something else."""
        if not hasattr(record, "done"):
            return None
        return cls(*(getattr(record, name) for name in ("stage", "done", "total", "note")))

    @property
    def finished(self) -> bool:
        """Whether the stage is complete."""
        return self.total is not None and self.done >= self.total


def step(stage: str, done: int, total: int | None, note: str = "") -> None:
    """Log one step; the record has the attributes of :class:`Progress`.

    They are plain numbers and strings, as other handlers need them.
    """
    listener = LISTENER.get()
    if listener is not None:
        listener(Progress(stage, done, total, note))
    of = f"/{total:,}" if total is not None else ""
    about = {"stage": stage, "done": done, "total": total, "note": note}
    logger.info("%s: %s%s%s", stage, f"{done:,}", of, f"  {note}" if note else "", extra=about)


def chapter(title: str) -> None:
    """Log that the stages start again for other work; the record has the attribute ``chapter``."""
    logger.info("%s", title, extra={"chapter": True})


class Sparse(logging.Filter):
    """Keep the first and last step of a stage, and one in ten seconds between.

    All records that are not steps pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._shown: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to keep a record."""
        progress = Progress.of(record)
        if hasattr(record, "chapter"):
            self._shown.clear()
        return progress is None or self._due(progress)

    def _due(self, progress: Progress) -> bool:
        now = self._clock()
        shown = self._shown.get(progress.stage)
        # A stage may log its end twice; it is shown once.
        if shown is not None and (shown == math.inf or (not progress.finished and now - shown < EVERY)):
            return False
        self._shown[progress.stage] = math.inf if progress.finished else now
        return True


class Lines(logging.Handler):
    """Write a text line for each record that :class:`Sparse` keeps."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self.addFilter(Sparse(clock))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record to the stream."""
        self._stream.write(self.line(record) + "\n")
        self._stream.flush()

    def line(self, record: logging.LogRecord) -> str:
        """Return the text line of a record."""
        return f"{self._clock() - self._began:8.1f} s  {record.getMessage()}"


class JsonLines(Lines):
    """Write the same records, and what was added to the store, as JSON lines."""

    def line(self, record: logging.LogRecord) -> str:
        """Return the JSON line of a record."""
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
    """Return whether the environment asks for JSON lines."""
    return os.environ.get(VARIABLE, "").lower() == "json"


def _trace() -> dict[str, str]:
    parts = os.environ.get("TRACEPARENT", "").split("-")
    if len(parts) != 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return {}
    return {"trace_id": parts[1], "span_id": parts[2]}

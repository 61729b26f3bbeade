"""Progress of long work, as log records: the library says how far it is, and whoever runs it decides how to show it.

The command line draws bars, a Prefect worker writes lines to its log, a test listens or does not.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

logger = logging.getLogger(__name__)


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

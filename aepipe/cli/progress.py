"""Progress of long verbs: bars on a terminal, lines in a pipe, JSON where that is set.

The library only logs its progress (:mod:`aepipe.log`); here is the one place that decides how that looks. It goes to
stderr, so that stdout holds only results.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from aepipe.cli.output import is_quiet, is_verbose
from aepipe.log import JsonLines, Lines, Progress, in_json

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Bars(logging.Handler):
    """A handler that draws a bar for each stage; other records become lines above the bars."""

    def __init__(self, bars: RichProgress, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._bars = bars
        self._clock = clock
        self._tasks: dict[str, TaskID] = {}
        self._first: dict[str, tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Move the bar of a stage, or print a line."""
        progress = Progress.of(record)
        if hasattr(record, "chapter"):
            self._clear()
        if progress is None:
            self._print(record)
            return
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(progress.stage, total=None, count="", rate="", note="")
            self._first[progress.stage] = (self._clock(), progress.done)
        self._bars.update(
            self._tasks[progress.stage],
            completed=progress.done,
            total=progress.total,
            count=_count(progress),
            rate=self._rate(progress),
            note=progress.note,
        )

    def _clear(self) -> None:
        """Remove the bars: stages of the next chapter have the same names."""
        for bar in self._tasks.values():
            self._bars.remove_task(bar)
        self._tasks.clear()

    def _print(self, record: logging.LogRecord) -> None:
        """Print a message above the bars; rich must not read it as markup."""
        from rich.text import Text

        style = "yellow" if record.levelno >= logging.WARNING else ""
        self._bars.console.print(Text(record.getMessage(), style=style), soft_wrap=True)

    def _rate(self, progress: Progress) -> str:
        """Return units per second of a stage; empty before two records, and for slow units."""
        began, done = self._first[progress.stage]
        seconds = self._clock() - began
        rate = (progress.done - done) / seconds if seconds > 0 else 0.0
        return f"{rate:,.0f}/s" if rate >= 10 else ""


@contextmanager
def showing(stream: TextIO | None = None) -> Iterator[None]:
    """Show the log of the library while the block runs.

    Args:
        stream: where to; stderr by default.
    """
    stream = stream or sys.stderr
    logger = logging.getLogger("aepipe")
    level = logger.level
    with _handler(stream) as handler:
        logger.addHandler(handler)
        logger.setLevel(_level())
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


def _level() -> int:
    """Return the lowest level of records that are shown."""
    if in_json() or is_verbose():
        return logging.DEBUG
    return logging.WARNING if is_quiet() else logging.INFO


@contextmanager
def _handler(stream: TextIO) -> Iterator[logging.Handler]:
    """Yield the handler that suits a stream."""
    if in_json():
        yield JsonLines(stream)
        return
    if is_quiet() or is_verbose() or not stream.isatty() or os.environ.get("TERM") == "dumb":
        yield Lines(stream)
        return
    with _bars(stream) as bars:
        yield Bars(bars)


def _bars(stream: TextIO) -> RichProgress:
    """Return the display of bars; only here is rich needed, and imported."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    def text(field: str, style: str = "none") -> TextColumn:
        return TextColumn(f"{{task.{field}}}", style=style, markup=False)

    return RichProgress(
        text("description"),
        BarColumn(bar_width=24),
        text("fields[count]"),
        TimeElapsedColumn(),
        text("fields[rate]", "dim"),
        text("fields[note]", "dim"),
        console=Console(file=stream),
        refresh_per_second=5,
    )


def _count(progress: Progress) -> str:
    return f"{progress.done:,}/{progress.total:,}" if progress.total is not None else f"{progress.done:,}"

"""What is told of a run: how long its stages took, and the figures that Prometheus collects."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aepipe.errors import AepipeError
from aepipe.evaluate.drift import Drift
from aepipe.release.release import Release
from aepipe.report import metrics
from aepipe.report.metrics import Gauge
from aepipe.store import layout, registry
from flows.job import Job

logger = logging.getLogger("aepipe.flows")


@dataclass(slots=True)
class Night:
    """What is told of a run.

    Attributes:
        began: seconds since the epoch.
        seconds: of each stage.
        rows: what is known of the rows of now.
        drift: what came of looking for it; None where nobody looked.
        done: what was done, in words.
    """

    began: float = field(default_factory=time.time)
    seconds: dict[str, float] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)
    drift: Drift | None = None
    done: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the seconds of a stage."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - began


def report(job: Job, night: Night, folder: str | None, *, passed: bool) -> None:
    """Write the figures of a run; a folder that cannot be written is no reason for it to fail.

    Args:
        job: the recipe.
        night: the run.
        folder: where ``<name>.prom`` goes; ``metrics`` in the store where it is None.
        passed: whether it did all it should.
    """
    place = Path(folder).expanduser() if folder else job.store.root / layout.Root.METRICS
    file = place / f"{job.name}.prom"
    try:
        metrics.write(list(gauges(job, night, passed=passed)), file)
    except (AepipeError, OSError) as error:
        logger.warning("%s: its figures are not written: %s", job.name, error)


def gauges(job: Job, night: Night, *, passed: bool) -> Iterator[Gauge]:
    """Give the figures of a run and of what is in service."""
    one = {"collection": job.name}
    yield Gauge("run_success", passed, one, "Whether the last run did all it should, 1 or 0.")
    yield Gauge("run_timestamp_seconds", time.time(), one, "When the last run ended.")
    yield Gauge("run_seconds", time.time() - night.began, one, "How long it took.")
    for stage, seconds in night.seconds.items():
        yield Gauge("stage_seconds", seconds, one | {"stage": stage}, "How long a stage of it took.")
    for what in ("rows", "quarantined", "new", "changed", "vanished"):
        if what in night.rows:
            yield Gauge("source_rows", night.rows[what], one | {"what": what}, "Rows of the source as last read.")
    if night.drift is not None:
        yield Gauge("drift", night.drift.found, one, "Whether new rows are unlike those of training, 1 or 0.")
        for shift in night.drift.shifts:
            yield Gauge("drift_effect", shift.effect, one | {"figure": shift.figure}, "How much a figure has moved.")
    yield from _served(job, one)


def _served(job: Job, one: dict[str, str]) -> Iterator[Gauge]:
    """Give the figures of what is in service."""
    ref = registry.current(job.store, job.name)
    if ref is None or not job.store.has(ref):
        return
    release = Release.open(job.store, ref=ref)
    for what, part in (("release", ref), ("encoder", release.part("encoder"))):
        made = datetime.fromisoformat(job.store.manifest(part).created).timestamp()
        yield Gauge("created_timestamp_seconds", made, one | {"what": what}, "When what is in service was made.")
    yield Gauge("rows", len(release), one, "Rows of the release in service.")
    for row in release.scores.get("rows", []):
        for metric, estimate in row["metrics"].items():
            labels = one | {"system": row["system"], "metric": metric}
            yield Gauge("score", estimate["value"], labels, "Scores of the release in service.")

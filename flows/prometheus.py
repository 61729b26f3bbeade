"""Figures of a run for Prometheus: a text file for the textfile collector of node_exporter.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Gauge as Family

from aepipe.errors import AepipeError
from aepipe.evaluate.drift import Drift
from aepipe.release.release import Release
from aepipe.store import layout, registry
from aepipe.store.io import write_into_folder
from flows.job import Job

logger = logging.getLogger("aepipe.flows")

PREFIX = "aepipe"


@dataclass(slots=True)
class Night:
    """The record of a run.

    Attributes:
        began: seconds since the epoch.
        seconds: of each stage.
        rows: counts of the source's rows as last read.
        drift: the result of the test; None where there was none.
        done: the steps of the run, in words.
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
        write_into_folder(file, text(gauges(job, night, passed=passed)))
    except (AepipeError, OSError) as error:
        logger.warning("%s: its figures are not written: %s", job.name, error)


@dataclass(frozen=True, slots=True)
class Gauge:
    """One number under a name, with labels.

    Attributes:
        name: without the prefix ``aepipe_``; units stand at its end.
        value: the number.
        labels: these tell it from others of that name; all of a name have the same ones.
        about: the help text of the name.
    """

    name: str
    value: float
    labels: Mapping[str, str]
    about: str


def text(gauges: Iterable[Gauge]) -> str:
    """Return gauges in Prometheus' text format; those of a name stand together."""
    registry, families = CollectorRegistry(), dict[str, Family]()
    for one in gauges:
        if one.name not in families:
            names = tuple(one.labels)
            families[one.name] = Family(one.name, one.about, names, namespace=PREFIX, registry=registry)
        families[one.name].labels(**one.labels).set(one.value)
    return generate_latest(registry).decode()


def gauges(job: Job, night: Night, *, passed: bool) -> Iterator[Gauge]:
    """Give the figures of a run and of the release in service."""
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

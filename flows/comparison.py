"""Build and measure each of several recipes; nothing goes into service.

An artifact that two of them share is made once. :mod:`flows.compare` does it by Prefect tasks. Where no server is named
to record it, the stages are called as they are: a server of its own takes longer to start than a small recipe takes to
train.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from aepipe.errors import TrainingError
from aepipe.log import chapter
from aepipe.pipeline.sweep import label
from aepipe.store import registry
from flows import stages
from flows.job import Job
from flows.making import make_parts, rows_in_service

logger = logging.getLogger("aepipe.flows")

Order = dict[str, Any]
"""Parameters of :func:`flows.job.open_job`."""


def compared(orders: list[Order], figures: list[str] | None = None, by: ModuleType = stages) -> list[dict[str, Any]]:
    """Build and measure each order.

    All orders are resolved before the first starts. Those with the same source and features share their rows, which
    are read once.

    Args:
        orders: one for each line of the comparison.
        figures: that are wanted; None for all.
        by: the module that has the stages.

    Returns:
        For each order its ``name``, ``changes`` and ``recipe``, and the refs ``release`` and ``measures``; or, in
        ``failed``, the reason why its training stopped.

    Raises:
        AepipeError: a mistake that the user can mend.
        BusyError: another run writes under the same name.
    """
    jobs = [by.resolve(order) for order in orders]
    rows: dict[str, str] = {}
    found = []
    for number, (order, job, name) in enumerate(zip(orders, jobs, _names(orders, jobs), strict=True), 1):
        chapter(f"{number}/{len(jobs)}  {name}  {label(order.get('changes') or {})}".rstrip())
        about = {"name": name, "recipe": order["recipe"], "changes": order.get("changes") or {}}
        about["source"] = job.resolved.recipe.source.model_dump_json()
        found.append(about | _attempt(job, rows, figures, by))
    return found


def _names(orders: Sequence[Order], jobs: Sequence[Job]) -> list[str]:
    """Return the name of each recipe; of recipes with one name, and nothing varied, those of their files."""
    plain = [job.name for order, job in zip(orders, jobs, strict=True) if not order.get("changes")]
    shared = {name for name in plain if plain.count(name) > 1}
    files = [str(order["recipe"]) for order in orders]
    stems = [Path(file).stem for file in files]
    told = stems if len(set(stems)) == len(stems) else files
    return [file if job.name in shared else job.name for job, file in zip(jobs, told, strict=True)]


def _attempt(job: Job, rows: dict[str, str], figures: list[str] | None, by: ModuleType) -> dict[str, Any]:
    """Build and measure one order; a loss that is not finite is a result like others.

    Args:
        job: a resolved recipe.
        rows: all rows read so far, by source and features; those of this job are added.
        figures: that are wanted; None for all.
        by: the module that has the stages.
    """
    recipe = job.resolved.recipe
    source = json.dumps([recipe.source.model_dump(mode="json"), recipe.features], sort_keys=True)
    with registry.lock(job.store, job.name):
        if source not in rows:
            rows[source] = _ingested(by, job, rows_in_service(job.store, job.name))
        try:
            parts = make_parts(by, job, rows[source])
        except TrainingError as error:
            logger.warning("%s: %s", job.name, error)
            return {"release": None, "measures": None, "failed": str(error)}
        release = by.publish(job, parts)
        return {"release": release, "measures": by.compare(job, parts, figures), "failed": None}


def _ingested(by: ModuleType, job: Job, before: str | None) -> str:
    """Read the source; an error of disk or network that may pass is waited for, which a task does on its own."""
    for attempt in range(1, stages.RETRIES + 1 if by is stages else 1):
        try:
            return stages.ingest(job, before)
        except OSError as error:
            if not stages.is_passing(error):
                raise
            logger.warning("%s: trying again in a moment", error)
            time.sleep(stages.PAUSE**attempt)
    read: str = by.ingest(job, before)
    return read

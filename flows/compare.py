"""Compare recipes, or variations of one: build and measure each; nothing goes into service.

All of them use one store, so an artifact that two of them share is made once.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from prefect import flow, runtime

from aepipe.errors import TrainingError
from aepipe.log import chapter
from aepipe.pipeline.sweep import label
from aepipe.store import registry
from flows import tasks
from flows.build import make_parts, rows_in_service, show_progress
from flows.job import Job
from flows.notify import HOOKS

logger = logging.getLogger("aepipe.flows")

Order = dict[str, Any]
"""Parameters of :func:`flows.job.open_job`."""


def run_name() -> str:
    """Return the name of a run in Prefect."""
    return f"compare-{len(runtime.flow_run.parameters['orders'])}"


@flow(name="aepipe-compare", flow_run_name=run_name, persist_result=False, **HOOKS)
def compare(orders: list[Order], figures: list[str] | None = None) -> list[dict[str, Any]]:
    """Build and measure each order.

    All orders are resolved before the first starts. Those with the same source and features share their rows, which
    are read once.

    Args:
        orders: one for each line of the comparison.
        figures: that are wanted; None for all.

    Returns:
        For each order its ``name``, ``changes`` and ``recipe``, and the refs ``release`` and ``measures``; or, in
        ``failed``, the reason why its training stopped.

    Raises:
        AepipeError: a mistake that the user can mend.
        BusyError: another run writes under the same name.
    """
    show_progress()
    jobs = [tasks.resolve(order) for order in orders]
    rows: dict[str, str] = {}
    found = []
    for number, (order, job) in enumerate(zip(orders, jobs, strict=True), 1):
        chapter(f"{number}/{len(jobs)}  {job.name}  {label(order.get('changes') or {})}".rstrip())
        about = {"name": job.name, "recipe": order["recipe"], "changes": order.get("changes") or {}}
        found.append(about | attempt(job, rows, figures))
    return found


def attempt(job: Job, rows: dict[str, str], figures: list[str] | None = None) -> dict[str, Any]:
    """Build and measure one order; a loss that is not finite is a result like others.

    Args:
        job: a resolved recipe.
        rows: all rows read so far, by source and features; those of this job are added.
        figures: that are wanted; None for all.
    """
    recipe = job.resolved.recipe
    source = json.dumps([recipe.source.model_dump(mode="json"), recipe.features], sort_keys=True)
    with registry.lock(job.store, job.name):
        if source not in rows:
            rows[source] = tasks.ingest(job, rows_in_service(job.store, job.name))
        try:
            parts = make_parts(job, rows[source])
        except TrainingError as error:
            logger.warning("%s: %s", job.name, error)
            return {"release": None, "measures": None, "failed": str(error)}
        release = tasks.publish(job, parts)
        return {"release": release, "measures": tasks.compare(job, parts, figures), "failed": None}

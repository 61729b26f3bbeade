"""Several recipes, or variations of one, made and measured one after the other; nothing goes into service.

All lie on one shelf, so what two of them share is made once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
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
    """Return what a run is called in Prefect."""
    return f"compare-{len(runtime.flow_run.parameters['orders'])}"


@flow(name="aepipe-compare", flow_run_name=run_name, persist_result=False, **HOOKS)
def compare(orders: list[Order]) -> list[dict[str, Any]]:
    """Make and measure what each order asks for.

    All of them are resolved before the first starts. Those with the same source and features get the same rows, which
    are read once.

    Args:
        orders: one for each line of the comparison.

    Returns:
        For each order its ``name``, ``changes`` and ``recipe``, and the refs ``release`` and ``measures``; or, in
        ``failed``, why its training could not go on.

    Raises:
        AepipeError: what the user can mend.
        BusyError: another run writes under the same name.
    """
    show_progress()
    jobs = [tasks.resolve(order) for order in orders]
    rows: dict[str, str] = {}
    found = []
    for number, (order, job) in enumerate(zip(orders, jobs, strict=True), 1):
        chapter(f"{number}/{len(jobs)}  {job.name}  {label(order.get('changes') or {})}".rstrip())
        found.append(_told(order, job) | attempt(job, rows))
    return found


def attempt(job: Job, rows: dict[str, str]) -> dict[str, Any]:
    """Make and measure one; that its loss is not finite is a result like others.

    Args:
        job: what to make.
        rows: those read so far, by their source; this one's are added.
    """
    source = _source(job)
    with registry.lock(job.store, job.name):
        if source not in rows:
            rows[source] = tasks.ingest(job, rows_in_service(job.store, job.name))
        try:
            parts = make_parts(job, rows[source])
        except TrainingError as error:
            logger.warning("%s: %s", job.name, error)
            return {"release": None, "measures": None, "failed": str(error)}
        release = tasks.publish(job, parts)
        return {"release": release, "measures": tasks.compare(job, parts), "failed": None}


def _told(order: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """Return what an outcome says of its order."""
    return {"name": job.name, "recipe": order["recipe"], "changes": order.get("changes") or {}}


def _source(job: Job) -> str:
    """Return everything that a recipe says of its rows."""
    recipe = job.resolved.recipe
    return json.dumps([recipe.source.model_dump(mode="json"), recipe.features], sort_keys=True)

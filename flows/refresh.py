"""Refresh a collection: encode new rows with the encoder in service; nothing is trained."""

from __future__ import annotations

import logging
from typing import Any

from prefect import flow, runtime

from aepipe import engines
from aepipe.evaluate.gate import Verdict
from aepipe.pipeline.compact import merge_rows
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Ref
from flows import artifacts, tasks
from flows.build import show_progress
from flows.job import Job, open_release_job, open_store
from flows.notify import HOOKS

logger = logging.getLogger("aepipe.flows")


def run_name() -> str:
    """Return the name of a run in Prefect."""
    return f"refresh-{runtime.flow_run.parameters.get('name') or 'collection'}"


@flow(name="aepipe-refresh", flow_run_name=run_name, persist_result=False, **HOOKS)
def refresh(
    name: str | None = None, shelf: str | None = None, device: str | None = None, wait: float = registry.WAIT
) -> dict[str, Any]:
    """Bring the collection in service up to date with its source, under its present encoder.

    Args:
        name: the collection; needed where several are in service.
        shelf: folder of the store; by default the one that every verb uses.
        device: instead of the recipe's own.
        wait: seconds to wait for another run under its name.

    Returns:
        ``name``, ``release`` (the ref now in service), ``changed``, and ``why``.

    Raises:
        AepipeError: a mistake that the user can mend.
        BusyError: another run writes under the same name.
    """
    show_progress()
    store = open_store(shelf)
    chosen, _ = registry.resolve(store, name)
    with registry.lock(store, chosen, wait=wait), engines.told_its_end():
        # Under the lock, because the release in service may change before.
        release = Release.open(store, chosen)
        job = open_release_job(store, release, device=device)
        return renew(job, release)


def renew(job: Job, release: Release) -> dict[str, Any]:
    """Publish the collection with its present rows, where anything has changed."""
    before = str(merge_rows(job.store, release))
    rows = tasks.ingest(job, before)
    if rows == before and not release.changed:
        logger.info("%s: the source has not changed, release %s stays in service", job.name, release.ref.short)
        return {"name": job.name, "release": str(release.ref), "changed": False, "why": "the source has not changed"}
    model = str(release.part("encoder"))
    codes = tasks.reuse_codes(job, [str(part) for part in release.all_parts("codes")], before, rows)
    codes = tasks.encode(job, model, rows, codes, before)
    new = renewed(job, rows, model, codes, release)
    why = f"refresh: {difference(job, rows)}"
    tasks.promote(job, new, why)
    artifacts.show(job, Ref.parse(new), Verdict(True, (why,)))
    logger.info("%s: release %s is in service: %s", job.name, Ref.parse(new).short, why)
    return {"name": job.name, "release": new, "changed": True, "why": why}


def renewed(job: Job, rows: str, model: str, codes: list[str], before: Release | None = None) -> str:
    """Publish rows under a model; baselines are those of the release before, where one is given."""
    scores = tasks.score(job, rows, model, codes, str(before.part("scores")) if before else None)
    return tasks.publish(job, {"rows": rows, "model": model, "codes": codes, "scores": scores})


def difference(job: Job, rows: str) -> str:
    """Return the number of new, changed and vanished rows as text."""
    facts = job.store.manifest(Ref.parse(rows)).facts
    return f"{facts['new']:,} new, {facts['changed']:,} changed and {facts['vanished']:,} vanished of {facts['rows']:,}"

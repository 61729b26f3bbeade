"""The order of the stages, from rows to scores.

Each function takes the module that has the stages: :mod:`flows.tasks`, or :mod:`flows.stages` where no server records
the run.
"""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

from aepipe.pipeline.compact import merge_rows
from aepipe.release.lifecycle import last_sound, mark_used
from aepipe.store import registry
from aepipe.store.artifacts import Store
from flows.job import Job

logger = logging.getLogger("aepipe.flows")


def make_parts(by: ModuleType, job: Job, rows: str | None = None) -> dict[str, Any]:
    """Make rows, views, layers, model, codes and scores, and return their references.

    Args:
        by: the module that has the stages.
        job: a resolved recipe.
        rows: of its source, where they have just been read.
    """
    rows = rows or by.ingest(job, rows_in_service(job.store, job.name))
    views = by.views(job, rows)
    layers = pretrained(by, job, views)
    model = by.finetune(job, views, layers)
    codes = by.encode(job, model, rows)
    scores = by.score(job, rows, model, codes)
    return {"rows": rows, "views": views, "layers": layers, "model": model, "codes": codes, "scores": scores}


def pretrained(by: ModuleType, job: Job, views: str) -> list[str]:
    """Return the pretrained layers, bottom up; none where the recipe switches pretraining off."""
    layers: list[str] = []
    if job.resolved.recipe.pretrain:
        for number in range(1, len(job.resolved.specs) + 1):
            layers.append(by.pretrain(job, views, layers, number))
    return layers


def rows_in_service(store: Store, name: str) -> str | None:
    """Return the rows that a run starts from, None for the first run.

    They are those of the newest sound release, so that ids stay even where the release in service is damaged.
    """
    release = last_sound(store, name)
    now = registry.current(store, name)
    if now is not None and (release is None or release.ref != now):
        logger.warning("%s: release %s, in service, is damaged; this run goes on without it", name, now.short)
    if release is None:
        return None
    mark_used(store, release.ref)
    return str(merge_rows(store, release))

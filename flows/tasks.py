"""The stages as Prefect tasks, under the names of :mod:`flows.stages`.

The names that Prefect shows are older and stay. Prefect keeps no results of its own, because the store is the cache.
Only ingestion is tried again, for it alone reads from outside, and only after an error of disk or network: repeating a
user's mistake does not mend it.
"""

from __future__ import annotations

import logging
from typing import Any

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from flows import stages

logger = logging.getLogger("aepipe.flows")

_PLAIN: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


def is_transient(_task: object, _run: object, state: State[Any]) -> bool:
    """Say whether a failed task is worth another try."""
    error = state.result(raise_on_failure=False)
    passing = stages.is_passing(error)
    if passing:
        logger.warning("%s: trying again in a moment", error)
    return passing


resolve = task(name="plan", **_PLAIN)(stages.resolve)
ingest = task(
    name="ingest",
    retries=stages.RETRIES,
    retry_delay_seconds=exponential_backoff(backoff_factor=stages.PAUSE),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
    **_PLAIN,
)(stages.ingest)
views = task(name="views", **_PLAIN)(stages.views)
pretrain = task(name="pretrain", task_run_name="pretrain-layer-{number}", **_PLAIN)(stages.pretrain)
finetune = task(name="finetune", **_PLAIN)(stages.finetune)
encode = task(name="encode", **_PLAIN)(stages.encode)
reuse_codes = task(name="keep", **_PLAIN)(stages.reuse_codes)
measure_drift = task(name="watch", **_PLAIN)(stages.measure_drift)
score = task(name="score", **_PLAIN)(stages.score)
publish = task(name="publish", **_PLAIN)(stages.publish)
compare = task(name="measure", **_PLAIN)(stages.compare)
run_gate = task(name="judge", **_PLAIN)(stages.run_gate)
promote = task(name="promote", **_PLAIN)(stages.promote)

"""The stages as Prefect tasks: each takes and returns references to artifacts in the store.

A task has the name of its stage in :mod:`aepipe.pipeline`; the names that Prefect shows are older and stay. Prefect
keeps no results of its own, because the store is the cache. Only ingestion is tried again, for it alone reads from
outside, and only after an error of disk or network: repeating a user's mistake does not mend it.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from typing import Any

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

import aepipe.pipeline.compare
import aepipe.pipeline.drift
import aepipe.pipeline.encode
import aepipe.pipeline.finetune
import aepipe.pipeline.gate
import aepipe.pipeline.ingest
import aepipe.pipeline.pretrain
import aepipe.pipeline.publish
import aepipe.pipeline.score
import aepipe.pipeline.views
import aepipe.pipeline.words
from aepipe.evaluate.drift import Drift
from aepipe.evaluate.gate import Verdict
from aepipe.pipeline.backbone import attach_backbone
from aepipe.pipeline.publish import Parts
from aepipe.store import registry
from aepipe.store.artifacts import Ref
from flows.job import Job, open_job

logger = logging.getLogger("aepipe.flows")

PASSING = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOLCK,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
"""Errors of the system that may be gone a moment later."""
_PLAIN: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


def is_transient(_task: object, _run: object, state: State[Any]) -> bool:
    """Say whether a failed task is worth another try."""
    error = state.result(raise_on_failure=False)
    passing = isinstance(error, ConnectionError | TimeoutError)
    passing = passing or (isinstance(error, OSError) and error.errno in PASSING)
    if passing:
        logger.warning("%s: trying again in a moment", error)
    return passing


@task(name="plan", **_PLAIN)
def resolve(order: dict[str, Any]) -> Job:
    """Resolve a recipe: find every mistake in it before anything starts."""
    return open_job(**order)


@task(
    name="ingest",
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
    **_PLAIN,
)
def ingest(job: Job, previous: str | None) -> str:
    """Read the source into rows; items that ``previous`` holds are not decoded again."""
    attach_backbone(job.store, job.resolved)
    source, recipe = job.resolved.source, job.resolved.recipe
    return str(aepipe.pipeline.ingest.ingest_next(job.store, source, job.name, _ref(previous), recipe=recipe))


@task(name="views", **_PLAIN)
def views(job: Job, rows: str) -> str:
    """Cut rows into the arrays that training reads."""
    return str(aepipe.pipeline.views.views(job.store, job.resolved, Ref.parse(rows)))


@task(name="pretrain", task_run_name="pretrain-layer-{number}", **_PLAIN)
def pretrain(job: Job, views: str, below: Sequence[str], number: int) -> str:
    """Pretrain one layer on top of the finished ones; ``number``, from 1, names the run."""
    return str(
        aepipe.pipeline.pretrain.pretrain(
            job.store, job.resolved, Ref.parse(views), refs(below), processes=job.processes
        )
    )


@task(name="finetune", **_PLAIN)
def finetune(job: Job, views: str, layers: Sequence[str], after: str | None = None, *, warm: bool = False) -> str:
    """Fine-tune the layers; bits get the order and sign of those of the model ``after``."""
    trained = Ref.parse(views), refs(layers)
    found = aepipe.pipeline.finetune.finetune(
        job.store, job.resolved, *trained, after=_ref(after), warm=warm, processes=job.processes
    )
    return str(found)


@task(name="encode", **_PLAIN)
def encode(job: Job, model: str, rows: str, known: Sequence[str] = (), before: str | None = None) -> list[str]:
    """Encode the rows that have no code among the known ones, of ``before``; return the segments of all rows."""
    wanted = job.resolved.recipe.index.embedding != "none"
    found = aepipe.pipeline.encode.encode_all(
        job.store, Ref.parse(model), Ref.parse(rows), known=refs(known), before=_ref(before), embedding=wanted
    )
    return [str(one) for one in found]


@task(name="keep", **_PLAIN)
def reuse_codes(job: Job, codes: Sequence[str], before: str, after: str) -> list[str]:
    """Return the known codes that still hold for the present rows."""
    rows = {"before": Ref.parse(before), "after": Ref.parse(after)}
    return [str(one) for one in aepipe.pipeline.encode.reuse_codes(job.store, refs(codes), **rows)]


@task(name="watch", **_PLAIN)
def measure_drift(job: Job, model: str, before: str, rows: str, codes: Sequence[str]) -> Drift:
    """Measure how far new rows differ from the rows that the model was trained for."""
    then, now = Ref.parse(before), Ref.parse(rows)
    return aepipe.pipeline.drift.measure_drift(job.store, Ref.parse(model), then, now, refs(codes))


@task(name="score", **_PLAIN)
def score(job: Job, rows: str, model: str, codes: Sequence[str], before: str | None = None) -> str:
    """Score codes and baselines; those fitted for the scores ``before`` are used again."""
    made = Ref.parse(rows), Ref.parse(model), refs(codes)
    return str(aepipe.pipeline.score.score(job.store, job.resolved, *made, before=_ref(before)))


@task(name="publish", **_PLAIN)
def publish(job: Job, parts: dict[str, Any]) -> str:
    """Publish a release of rows, model, codes, scores and words; it is not in service yet."""
    rows, model, scores = (Ref.parse(parts[what]) for what in ("rows", "model", "scores"))
    words = aepipe.pipeline.words.make_words(job.store, job.resolved.words, rows, model)
    made: Parts = {"rows": rows, "model": model, "codes": refs(parts["codes"]), "scores": scores, "words": words}
    recipe, root = job.resolved.recipe, job.resolved.source.location
    return str(aepipe.pipeline.publish.publish(job.store, recipe, root, recipe_file=job.recipe_file, **made))


@task(name="measure", **_PLAIN)
def compare(job: Job, parts: dict[str, Any], figures: list[str] | None = None) -> str:
    """Measure everything that a recipe built, so that it can be compared."""
    single = {what: Ref.parse(parts[what]) for what in ("rows", "views", "model", "scores")}
    layers, codes = (tuple(refs(parts[what])) for what in ("layers", "codes"))
    made = aepipe.pipeline.compare.BuildOutputs(layers=layers, codes=codes, **single)
    return str(aepipe.pipeline.compare.compare(job.store, job.resolved, made, figures=figures))


@task(name="judge", **_PLAIN)
def run_gate(job: Job, release: str) -> Verdict:
    """Compare a release with the one in service."""
    return aepipe.pipeline.gate.run_gate(job.store, job.resolved, Ref.parse(release))


@task(name="promote", **_PLAIN)
def promote(job: Job, release: str, why: str) -> None:
    """Put a release into service."""
    registry.promote(job.store, job.name, Ref.parse(release), why=why)


def refs(texts: Sequence[str]) -> list[Ref]:
    """Read several references."""
    return [Ref.parse(text) for text in texts]


def _ref(text: str | None) -> Ref | None:
    return Ref.parse(text) if text else None

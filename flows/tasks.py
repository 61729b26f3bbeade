"""The stages as Prefect tasks: few and coarse, each handing on the name of what it put in the store.

The shelf is the cache, so Prefect keeps no results of its own. Only ingestion is tried again, for only it reads what is
not ours, and only where the disk or the network stumbled: a user's mistake stays one however often it is repeated.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from typing import Any

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from aepipe.evaluate.drift import Drift
from aepipe.evaluate.gate import Verdict
from aepipe.pipeline import backbone as equipping
from aepipe.pipeline import compare as measuring
from aepipe.pipeline import drift as watching
from aepipe.pipeline import encode as encoding
from aepipe.pipeline import encode as keeping
from aepipe.pipeline import finetune as finetuning
from aepipe.pipeline import gate as judging
from aepipe.pipeline import ingest as ingestion
from aepipe.pipeline import pretrain as pretraining
from aepipe.pipeline import publish as publishing
from aepipe.pipeline import score as scoring
from aepipe.pipeline import views as viewing
from aepipe.release.lifecycle import next_id
from aepipe.store import registry
from aepipe.store.artifacts import Ref
from flows.job import Job, open_job

logger = logging.getLogger("aepipe.flows")

_PASSING = {
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
_PLAIN: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


def is_transient(_task: object, _run: object, state: State[Any]) -> bool:
    """Say whether a failed task is worth another try."""
    error = state.result(raise_on_failure=False)
    passing = isinstance(error, ConnectionError | TimeoutError)
    passing = passing or (isinstance(error, OSError) and error.errno in _PASSING)
    if passing:
        logger.warning("%s: trying again in a moment", error)
    return passing


@task(name="plan", **_PLAIN)
def plan(order: dict[str, Any]) -> Job:
    """Resolve the recipe."""
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
    """Raw things -> rows; what is known from the release in service is not read again."""
    equipping.attach_backbone(job.store, job.resolved)
    known = Ref.parse(previous) if previous else None
    return str(ingestion.ingest(job.store, job.resolved.source, previous=known, next_id=next_id(job.store, job.name)))


@task(name="views", **_PLAIN)
def views(job: Job, rows: str) -> str:
    """Rows -> the arrays that training reads."""
    return str(viewing.views(job.store, job.resolved, Ref.parse(rows)))


@task(name="pretrain", task_run_name="pretrain-layer-{number}", **_PLAIN)
def pretrain(job: Job, views: str, below: Sequence[str], number: int) -> str:
    """One more layer on the finished ones; ``number`` counts from 1 and names the run."""
    return str(pretraining.pretrain(job.store, job.resolved, Ref.parse(views), refs(below)))


@task(name="finetune", **_PLAIN)
def finetune(job: Job, views: str, layers: Sequence[str], after: str | None = None, *, warm: bool = False) -> str:
    """Layers -> a model with its frozen encoder; its bits in the order of those of the model before."""
    before = Ref.parse(after) if after else None
    return str(finetuning.finetune(job.store, job.resolved, Ref.parse(views), refs(layers), after=before, warm=warm))


@task(name="encode", **_PLAIN)
def encode(job: Job, model: str, rows: str, known: Sequence[str] = ()) -> str:
    """Rows -> codes, of those rows that have none yet."""
    wanted = job.resolved.recipe.index.embedding != "none"
    return str(encoding.encode(job.store, Ref.parse(model), Ref.parse(rows), known=refs(known), embedding=wanted))


@task(name="keep", **_PLAIN)
def keep(job: Job, codes: Sequence[str], before: str, after: str) -> list[str]:
    """Known codes -> those that still stand for the rows of now."""
    kept = keeping.reuse_codes(job.store, refs(codes), before=Ref.parse(before), after=Ref.parse(after))
    return [str(one) for one in kept]


@task(name="watch", **_PLAIN)
def watch(job: Job, model: str, before: str, rows: str, codes: Sequence[str]) -> Drift:
    """Rows of then and now -> whether the new ones are like those that the model was made for."""
    return watching.measure_drift(job.store, Ref.parse(model), Ref.parse(before), Ref.parse(rows), refs(codes))


@task(name="score", **_PLAIN)
def score(job: Job, rows: str, model: str, codes: Sequence[str], before: str | None = None) -> str:
    """Codes -> scores, beside the baselines; what earlier scores of the same model fitted is taken over."""
    known = Ref.parse(before) if before else None
    return str(scoring.score(job.store, job.resolved, Ref.parse(rows), Ref.parse(model), refs(codes), before=known))


@task(name="publish", **_PLAIN)
def publish(job: Job, parts: dict[str, Any]) -> str:
    """Rows, model, codes and scores -> a release in the store."""
    single = {what: Ref.parse(parts[what]) for what in ("rows", "model", "scores")}
    recipe, root = job.resolved.recipe, job.resolved.source.location
    return str(publishing.publish(job.store, recipe, root, codes=refs(parts["codes"]), **single))


@task(name="measure", **_PLAIN)
def measure(job: Job, parts: dict[str, Any]) -> str:
    """All that a recipe came to -> the figures by which it is compared."""
    single = {what: Ref.parse(parts[what]) for what in ("rows", "views", "model", "scores")}
    made = measuring.BuildOutputs(layers=tuple(refs(parts["layers"])), codes=tuple(refs(parts["codes"])), **single)
    return str(measuring.compare(job.store, job.resolved, made))


@task(name="judge", **_PLAIN)
def judge(job: Job, release: str) -> Verdict:
    """Compare a release with the one in service."""
    return judging.run_gate(job.store, job.resolved, Ref.parse(release))


@task(name="promote", **_PLAIN)
def promote(job: Job, release: str, why: str) -> None:
    """Put a release into service."""
    registry.promote(job.store, job.name, Ref.parse(release), why=why)


def refs(texts: Sequence[str]) -> list[Ref]:
    """Read references."""
    return [Ref.parse(text) for text in texts]

"""The stages of a run as functions, from references to artifacts in the store to others.

Each has the name of its stage in :mod:`aepipe.pipeline`. :mod:`flows.tasks` makes Prefect tasks of them; a run that
no server records calls them as they are. Stages with networks that can be trained are imported when they are called:
torch takes a second to import, and most nights train nothing.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

import aepipe.pipeline.drift
import aepipe.pipeline.encode
import aepipe.pipeline.gate
import aepipe.pipeline.ingest
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
RETRIES, PAUSE = 4, 2
"""Most further tries of ingestion after such an error; before each, so many times the seconds of the one before."""


def is_passing(error: object) -> bool:
    """Say whether ingestion is worth another try: it alone reads from outside."""
    passing = isinstance(error, ConnectionError | TimeoutError)
    return passing or (isinstance(error, OSError) and error.errno in PASSING)


def resolve(order: dict[str, Any]) -> Job:
    """Resolve a recipe: find every mistake in it before anything starts."""
    return open_job(**order)


def ingest(job: Job, previous: str | None) -> str:
    """Read the source into rows; items that ``previous`` holds are not decoded again."""
    attach_backbone(job.store, job.resolved)
    source, recipe = job.resolved.source, job.resolved.recipe
    return str(aepipe.pipeline.ingest.ingest_next(job.store, source, job.name, _ref(previous), recipe=recipe))


def views(job: Job, rows: str) -> str:
    """Cut rows into the arrays that training reads."""
    return str(aepipe.pipeline.views.views(job.store, job.resolved, Ref.parse(rows)))


def pretrain(job: Job, views: str, below: Sequence[str], number: int) -> str:
    """Pretrain one layer on top of the finished ones; ``number``, from 1, names the run."""
    from aepipe.pipeline.pretrain import pretrain

    return str(pretrain(job.store, job.resolved, Ref.parse(views), refs(below), processes=job.processes))


def finetune(job: Job, views: str, layers: Sequence[str], after: str | None = None, *, warm: bool = False) -> str:
    """Fine-tune the layers; bits get the order and sign of those of the model ``after``."""
    from aepipe.pipeline.finetune import finetune

    trained = Ref.parse(views), refs(layers)
    found = finetune(job.store, job.resolved, *trained, after=_ref(after), warm=warm, processes=job.processes)
    return str(found)


def encode(job: Job, model: str, rows: str, known: Sequence[str] = (), before: str | None = None) -> list[str]:
    """Encode the rows without a known code, of ``before``; return the segments of all rows."""
    recipe = job.resolved.recipe
    found = aepipe.pipeline.encode.encode_all(
        job.store,
        Ref.parse(model),
        Ref.parse(rows),
        known=refs(known),
        before=_ref(before),
        embedding=recipe.index.embedding != "none",
        source=(job.resolved.source, recipe),
    )
    return [str(one) for one in found]


def reuse_codes(job: Job, codes: Sequence[str], before: str, after: str) -> list[str]:
    """Return the known codes that still hold for the present rows."""
    rows = {"before": Ref.parse(before), "after": Ref.parse(after)}
    return [str(one) for one in aepipe.pipeline.encode.reuse_codes(job.store, refs(codes), **rows)]


def measure_drift(job: Job, model: str, before: str, rows: str, codes: Sequence[str]) -> Drift:
    """Measure how far new rows differ from the rows that the model was trained for."""
    then, now = Ref.parse(before), Ref.parse(rows)
    return aepipe.pipeline.drift.measure_drift(job.store, Ref.parse(model), then, now, refs(codes))


def score(job: Job, rows: str, model: str, codes: Sequence[str], before: str | None = None) -> str:
    """Score codes and baselines; those fitted for the scores ``before`` are used again."""
    made = Ref.parse(rows), Ref.parse(model), refs(codes)
    return str(aepipe.pipeline.score.score(job.store, job.resolved, *made, before=_ref(before)))


def publish(job: Job, parts: dict[str, Any]) -> str:
    """Publish a release of rows, model, codes, scores and words; it is not in service yet."""
    rows, model, scores = (Ref.parse(parts[what]) for what in ("rows", "model", "scores"))
    words = aepipe.pipeline.words.make_words(job.store, job.resolved.words, rows, model)
    made: Parts = {"rows": rows, "model": model, "codes": refs(parts["codes"]), "scores": scores, "words": words}
    recipe, root = job.resolved.recipe, job.resolved.source.location
    return str(aepipe.pipeline.publish.publish(job.store, recipe, root, recipe_file=job.recipe_file, **made))


def compare(job: Job, parts: dict[str, Any], figures: list[str] | None = None) -> str:
    """Measure everything that a recipe built, so that it can be compared."""
    from aepipe.pipeline.compare import BuildOutputs, compare

    single = {what: Ref.parse(parts[what]) for what in ("rows", "views", "model", "scores")}
    layers, codes = (tuple(refs(parts[what])) for what in ("layers", "codes"))
    made = BuildOutputs(layers=layers, codes=codes, **single)
    return str(compare(job.store, job.resolved, made, figures=figures))


def run_gate(job: Job, release: str) -> Verdict:
    """Compare a release with the one in service."""
    return aepipe.pipeline.gate.run_gate(job.store, job.resolved, Ref.parse(release))


def promote(job: Job, release: str, why: str) -> None:
    """Put a release into service."""
    registry.promote(job.store, job.name, Ref.parse(release), why=why)


def refs(texts: Sequence[str]) -> list[Ref]:
    """Read several references."""
    return [Ref.parse(text) for text in texts]


def _ref(text: str | None) -> Ref | None:
    return Ref.parse(text) if text else None

"""Build one recipe, from raw data to a release in service.

Prefect runs the order of stages, retries and logs; the store is the cache, so a second run repeats nothing.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from prefect import flow, runtime

from aepipe import engines
from aepipe.errors import GateError
from aepipe.evaluate.gate import Verdict
from aepipe.log import RUN, JsonLines, Sparse, in_json
from aepipe.pipeline import fallback
from aepipe.store import registry
from aepipe.store.artifacts import Ref
from flows import artifacts, tasks
from flows.job import Job, check_job_origin
from flows.making import make_parts
from flows.notify import HOOKS

logger = logging.getLogger("aepipe.flows")


def run_name() -> str:
    """Return the name of a run in Prefect: the collection's, else the recipe's."""
    asked = runtime.flow_run.parameters
    return f"build-{asked.get('name') or Path(str(asked['recipe'])).stem}"


@flow(name="aepipe-build", flow_run_name=run_name, persist_result=False, **HOOKS)
def build(
    recipe: str,
    source: str | None = None,
    shelf: str | None = None,
    name: str | None = None,
    device: str | None = None,
    promote: bool = True,
    changes: dict[str, Any] | None = None,
    wait: float = 0,
) -> dict[str, Any]:
    """Bring a collection's release up to date with its source and its recipe.

    Args:
        recipe: a TOML file, or the name of a recipe that comes with the package.
        source: instead of the recipe's own ``[source] path``.
        shelf: folder of the store; by default the one that every verb uses.
        name: instead of the recipe's own.
        device: instead of the recipe's own.
        promote: put the release into service if the gate lets it pass; otherwise it only stays in the store.
        changes: other values of the recipe, by key.
        wait: seconds to wait for another run under its name.

    Returns:
        ``name``, ``release`` (its ref), ``in_service``, and the gate's ``reasons`` and ``warnings``.

    Raises:
        AepipeError: a mistake that the user can mend.
        BusyError: another run writes under the same name.
        GateError: the new release is worse; it stays in the store, and the old one stays in service.
    """
    show_progress()
    order: dict[str, Any] = {"recipe": recipe, "source": source, "shelf": shelf, "name": name, "device": device}
    order["changes"] = changes
    job = tasks.resolve(order)
    with (
        registry.lock(job.store, job.name, wait=wait),
        engines.using(job.resolved.recipe.engine.text),
        engines.told_its_end(),
    ):
        if promote:
            check_job_origin(job)
        best, parts = simpler(job, make_parts(tasks, job))
        return conclude(job, tasks.publish(best, parts), promote=promote)


def simpler(job: Job, parts: dict[str, Any]) -> tuple[Job, dict[str, Any]]:
    """Return a job and its parts, or those of rotated components if they are better.

    Args:
        job: a resolved recipe.
        parts: made by its training, with their scores.
    """
    if not fallback.applies(job.resolved):
        return job, parts
    scores, metric = Ref.parse(parts["scores"]), job.resolved.recipe.gate.metric
    found = fallback.compared(job.store, scores, metric, least=fallback.least_of(job.resolved))
    if found is None:
        return job, parts
    if found.better == "stack":
        logger.info("%s: %s", job.name, found)
        return job, parts
    simple = Job(job.store, fallback.linear(job.resolved), job.recipe_file, job.processes)
    made = make_parts(tasks, simple, parts["rows"])
    if not fallback.kept_its_lead(job.store, found, Ref.parse(made["scores"]), scores):
        logger.info("%s: the trained codes are released: rotated components (ITQ), once made, measured worse", job.name)
        return job, parts
    logger.info("%s: %s", job.name, found)
    return simple, made


def conclude(job: Job, release: str, *, promote: bool) -> dict[str, Any]:
    """Run the gate, put the release into service if it passes, and show it in Prefect.

    Raises:
        GateError: the release was to go into service, and the gate refuses it.
    """
    before, new = registry.current(job.store, job.name), Ref.parse(release)
    # The gate would compare the release with itself.
    if new == before:
        return _outcome(job, new, Verdict(True, ("nothing has changed",)))
    verdict = tasks.run_gate(job, release)
    if promote and verdict.passed:
        tasks.promote(job, release, "; ".join(verdict.reasons))
    artifacts.show(job, new, verdict)
    for warning in verdict.warnings:
        logger.warning("%s: %s", job.name, warning)
    if promote and not verdict.passed:
        registry.refuse(job.store, job.name, new, why="; ".join(verdict.reasons))
        raise GateError(refusal(job.name, new, before, verdict))
    return _outcome(job, new, verdict)


def refusal(name: str, new: Ref, before: Ref | None, verdict: Verdict) -> str:
    """Return the message for a refused release: why, what stays in service, and how to force it."""
    kept = f"{before.short} stays in service" if before else "nothing is in service"
    return (
        f"{name}: the gate refuses release {new.short}: {'; '.join(verdict.reasons)}. {kept}; "
        f"`aepipe promote {new.short}` puts it into service all the same"
    )


def show_progress() -> None:
    """Let the library's progress into Prefect's log, and name the run in every line."""
    RUN.set(f"{runtime.flow_run.name}/{runtime.flow_run.id}")
    log = logging.getLogger("aepipe")
    # Prefect copies these handlers to our logger and stores every line, so only some lines of progress may pass.
    for handler in logging.getLogger("prefect.extra").handlers:
        handler.filters = [*(one for one in handler.filters if not isinstance(one, Sparse)), Sparse()]
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
        if in_json():
            log.setLevel(logging.DEBUG)
            log.addHandler(JsonLines(sys.stderr))


def _outcome(job: Job, release: Ref, verdict: Verdict) -> dict[str, Any]:
    """Log the outcome of a run, and return it."""
    in_service = registry.current(job.store, job.name) == release
    place, reasons = "in service" if in_service else "in the store", list(verdict.reasons)
    about = {"ref": str(release)}
    logger.info("%s: release %s is %s: %s", job.name, release.short, place, "; ".join(reasons), extra=about)
    return {
        "name": job.name,
        "release": str(release),
        "in_service": in_service,
        "reasons": reasons,
        "warnings": list(verdict.warnings),
    }

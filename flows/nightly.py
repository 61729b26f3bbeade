"""Bring a collection up to date every night: new rows, and a new encoder where needed.

New rows come first, because that is quick, and they can be found at once. An encoder is trained where the recipe has
changed, the encoder in service is old, the new rows have drifted from those it was trained for, or the rules ask for
it. It starts from the weights in service, and its bits keep their order and sign, so that codes change little. The gate
judges both before they go into service. Where nothing has changed, nothing is done.

This module has no postponed annotations, because Prefect reads the type of ``rules`` from them.
"""

import logging
from pathlib import Path
from typing import Any

from prefect import flow, runtime

from aepipe import engines
from aepipe.errors import GateError
from aepipe.pipeline.compact import merge_rows
from aepipe.release.lifecycle import last_sound
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Ref
from flows import tasks
from flows.build import conclude, show_progress, simpler
from flows.job import Job, check_job_origin
from flows.making import pretrained, rows_in_service
from flows.notify import HOOKS
from flows.prometheus import Night, report
from flows.quiet import NOTHING, Rules, check, differing, in_service, learned, reason, recipe_of, tidy
from flows.refresh import difference, renewed

logger = logging.getLogger("aepipe.flows")

_USUAL = Rules()


def run_name() -> str:
    """Return the name of a run in Prefect: the collection's, else the recipe's."""
    asked = runtime.flow_run.parameters
    return f"nightly-{asked.get('name') or Path(str(asked['recipe'])).stem}"


@flow(name="aepipe-nightly", flow_run_name=run_name, persist_result=False, **HOOKS)
def nightly(
    recipe: str,
    source: str | None = None,
    shelf: str | None = None,
    name: str | None = None,
    device: str | None = None,
    rules: Rules = _USUAL,
    wait: float = registry.WAIT,
    changes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Bring a collection up to date with as little work as possible.

    Args:
        recipe: a TOML file, or the name of a recipe that comes with the package.
        source: instead of the recipe's own ``[source] path``.
        shelf: folder of the store; by default the one that every verb uses.
        name: instead of the recipe's own.
        device: instead of the recipe's own.
        rules: when an encoder is trained, and what is kept.
        wait: seconds to wait for another run under its name.
        changes: other values of the recipe, by key.

    Returns:
        ``name``, ``release`` (the ref now in service), ``changed``, and ``done``, a list of the steps taken.

    Raises:
        AepipeError: a mistake that the user can mend.
        BusyError: another run writes under the same name.
        GateError: a release was refused; new rows that passed the gate before it are in service.
    """
    show_progress()
    order: dict[str, Any] = {"recipe": recipe, "source": source, "shelf": shelf, "name": name, "device": device}
    order["changes"] = changes
    job, night = tasks.resolve(order), Night()
    with (
        registry.lock(job.store, job.name, wait=wait),
        engines.using(job.resolved.recipe.engine.text),
        engines.using(rules.engine, over=True),
        engines.told_its_end(),
    ):
        before = registry.current(job.store, job.name)
        try:
            check_job_origin(job)
            pass_night(job, night, rules)
        except BaseException:
            report(job, night, rules.metrics, passed=False)
            raise
        report(job, night, rules.metrics, passed=True)
    if rules.keep:
        tidy(job.store, rules.keep, rules.hours)
    now = registry.current(job.store, job.name)
    logger.info("%s: %s", job.name, "; ".join(night.done))
    return {"name": job.name, "release": str(now), "changed": now != before, "done": night.done}


def pass_night(job: Job, night: Night, rules: Rules) -> None:
    """Do the work of one night: check, read, renew, and train where there is a reason.

    Raises:
        CorruptError: the release in service is damaged.
        GateError: a release was refused.
    """
    release = last_sound(job.store, job.name)
    with night.timed("verify"):
        check(job, release)
    with night.timed("ingest"):
        before = rows_in_service(job.store, job.name)
        rows = tasks.ingest(job, before)
    night.rows = dict(job.store.manifest(Ref.parse(rows)).facts)
    if rows == before:
        # These rows keep the counts of the run that wrote them.
        night.rows |= {"new": 0, "changed": 0, "vanished": 0}
    if release is None:
        _train(job, night, rows, "the first release")
        night.done = night.done or ["what was damaged or missing is made again"]
        return
    serving = in_service(job, release)
    if learned(serving.resolved.recipe) != learned(recipe_of(release)):
        # The encoder in service may not be able to read rows of the new recipe.
        _train(job, night, rows, "the recipe has changed", after=release)
        return
    # A refused renewal does not end the night: an encoder may be due, and a new one may mend it.
    refusal: GateError | None = None
    try:
        _renew(serving, night, release, rows)
    except GateError as error:
        refusal = error
    why = reason(job, night, release, rules)
    if why is not None:
        # Components that stand for the recipe have no weights that its layers could start from.
        _train(job, night, rows, why, after=release, warm=not rules.cold and serving is job)
    elif refusal is not None:
        raise refusal
    night.done = night.done or [NOTHING]


def _renew(job: Job, night: Night, release: Release, rows: str) -> None:
    """Bring new rows into service under the present encoder.

    Raises:
        GateError: the gate refuses the release.
    """
    before = str(merge_rows(job.store, release))
    changed = differing(recipe_of(release), job.resolved.recipe)
    if rows == before and not release.changed and not changed:
        return
    model = str(release.part("encoder"))
    with night.timed("encode"):
        codes = tasks.reuse_codes(job, [str(part) for part in release.all_parts("codes")], before, rows)
        codes = tasks.encode(job, model, rows, codes, before)
    with night.timed("watch"):
        night.drift = tasks.measure_drift(job, model, before, rows, codes)
    with night.timed("publish"):
        new = renewed(job, rows, model, codes, release)
    if _concluded(job, night, new):
        what = [] if rows == before else [difference(job, rows)]
        what += ["additions and removals are merged"] if release.changed else []
        what += [f"the recipe has changed in {', '.join(changed)}"] if changed else []
        night.done.append(f"renewed: {'; '.join([*what, str(night.drift)])}")


def _train(job: Job, night: Night, rows: str, why: str, *, after: Release | None = None, warm: bool = False) -> None:
    """Train an encoder, and put a release with it into service if the gate lets it pass.

    Args:
        job: a resolved recipe.
        night: collects reports of the run.
        rows: the present rows.
        why: reason, in words.
        after: the release in service; the new bits keep its order and sign as far as possible.
        warm: start from its weights.
    """
    model = str(after.part("encoder")) if after else None
    with night.timed("train"):
        views = tasks.views(job, rows)
        # Training on from the same weights and the same rows would give nothing new.
        if warm and after and job.store.manifest(after.part("encoder")).inputs.get("views") == views:
            logger.info("%s: %s, but the encoder in service was trained on the same rows", job.name, why)
            return
        logger.info("%s: an encoder is trained: %s", job.name, why)
        new = tasks.finetune(job, views, [] if warm else pretrained(tasks, job, views), model, warm=warm)
    with night.timed("encode"):
        codes = tasks.encode(job, new, rows)
    with night.timed("publish"):
        scores = tasks.score(job, rows, new, codes)
        best, parts = simpler(job, {"rows": rows, "model": new, "codes": codes, "scores": scores})
        release = tasks.publish(best, parts)
    if _concluded(job, night, release):
        aligned = job.store.manifest(Ref.parse(new)).facts.get("aligned")
        said = f", {aligned['flips']:.1%} of the bits differ" if aligned else ""
        night.done.append(f"trained: {why}{said}")


def _concluded(job: Job, night: Night, release: str) -> bool:
    """Run the gate, promote a release that passes, and say whether anything has changed."""
    before = registry.current(job.store, job.name)
    with night.timed("judge"):
        conclude(job, release, promote=True)
    return registry.current(job.store, job.name) != before

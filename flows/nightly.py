"""Bring a collection up to date every night: new rows, and a new encoder where needed.

New rows come first, because that is quick, and they can be found at once. An encoder is trained where the recipe has
changed, the encoder in service is old, the new rows have drifted from those it was trained for, or the rules ask for
it. It starts from the weights in service, and its bits keep their order and sign, so that codes change little. The gate
judges both before they go into service. Where nothing has changed, nothing is done.

This module has no postponed annotations, because Prefect reads the type of ``rules`` from them.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow, runtime
from pydantic import Field

from aepipe import engines
from aepipe import recipe as recipes
from aepipe.errors import GateError, RecipeError
from aepipe.pipeline import fallback
from aepipe.pipeline.compact import merge_rows
from aepipe.pipeline.resolve import WORDS, named_words
from aepipe.recipe import Options, Recipe
from aepipe.release import gc as collector
from aepipe.release.lifecycle import last_sound
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from flows import tasks
from flows.build import conclude, show_progress, simpler
from flows.job import Job, check_job_origin
from flows.making import pretrained, rows_in_service
from flows.notify import HOOKS
from flows.prometheus import Night, report
from flows.refresh import difference, renewed

logger = logging.getLogger("aepipe.flows")

RETRAIN_DAYS = 30
KEEP = 7
_NOT_LEARNED = {"name", "index", "evaluate", "gate", "compute"}
"""Tables of a recipe that the encoder does not depend on."""
_WHERE = {"path", "workers", "part", "keep", "max_bad_share", "max_vanished_share", "words"}
"""Keys of ``[source]`` that change where and how rows are read, but not the rows."""


class Rules(Options):
    """Rules of a night: when to train an encoder, and what to keep.

    Attributes:
        retrain: ``auto`` trains where there is a reason, ``always`` and ``never`` without looking for one.
        days: an older encoder is a reason.
        cold: train from random weights, layer by layer, instead of from the weights in service.
        keep: releases of each collection that stay in the store; 0 keeps all.
        hours: everything written within these hours stays.
        metrics: folder for ``<name>.prom``; by default ``metrics`` in the store.
        engine: what works on the parts of a large collection, in place of the environment's and the recipe's.
    """

    retrain: Literal["auto", "always", "never"] = "auto"
    days: Annotated[float, Field(ge=0, strict=False)] = RETRAIN_DAYS
    cold: bool = False
    keep: Annotated[int, Field(ge=0)] = KEEP
    hours: Annotated[float, Field(ge=0, strict=False)] = collector.HOURS
    metrics: str | None = None
    engine: str | None = None


_USUAL = Rules()


def read_rules(table: Mapping[str, Any]) -> Rules:
    """Read rules of a night.

    Raises:
        RecipeError: one is unknown or has a wrong value.
    """
    return recipes.options(Rules, table, "nightly")


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
    serving = _in_service(job, release)
    if _learned(serving.resolved.recipe) != _learned(_recipe_of(release)):
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
    night.done = night.done or ["nothing has changed"]


def check(job: Job, release: Release | None) -> None:
    """Read every byte of the release in service, which no query does.

    Raises:
        CorruptError: a file is damaged.
    """
    for ref in [release.ref, *(part for _, part in release.parts)] if release else []:
        job.store.verified(ref)


def reason(job: Job, night: Night, release: Release, rules: Rules) -> str | None:
    """Return the reason to train an encoder, None where there is none."""
    if rules.retrain == "always":
        return "that was asked for"
    if rules.retrain == "never":
        return None
    if night.drift is not None and night.drift.found:
        return str(night.drift)
    age = datetime.now(UTC) - datetime.fromisoformat(job.store.manifest(release.part("encoder")).created)
    return f"the encoder is {age.days} days old" if age.total_seconds() > rules.days * 86400 else None


def tidy(store: Store, keep: int, hours: float = collector.HOURS) -> None:
    """Remove artifacts that neither a release needs nor a run that is under way."""
    found = collector.clean(store, keep=keep, hours=hours)
    if found.refs:
        logger.info("%d folders that nothing needs are removed, %d bytes", len(found.refs), found.freed)


def _renew(job: Job, night: Night, release: Release, rows: str) -> None:
    """Bring new rows into service under the present encoder.

    Raises:
        GateError: the gate refuses the release.
    """
    before = str(merge_rows(job.store, release))
    recipe, now = _recipe_of(release), job.resolved.recipe.model_dump()
    then = recipe.model_dump() if recipe else {}
    changed = [name for name, table in now.items() if (name, table) not in then.items()]
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


def _in_service(job: Job, release: Release) -> Job:
    """Return the job that made the release in service: the given one, or that of the components that stand for it."""
    recipe = _recipe_of(release)
    if recipe is None or not recipe.code.stands_for or not fallback.applies(job.resolved):
        return job
    simple = Job(job.store, fallback.linear(job.resolved, trained=recipe), job.recipe_file)
    return simple if simple.resolved.recipe.code.stands_for == recipe.code.stands_for else job


def _recipe_of(release: Release) -> Recipe | None:
    """Return the recipe of a release; None where this version does not understand it."""
    try:
        return recipes.parse(release.recipe, Path(f"the recipe of release {release.ref.short}"))
    except RecipeError:
        return None


def _learned(recipe: Recipe | None) -> dict[str, Any]:
    """Return the part of a recipe that the encoder depends on."""
    if recipe is None:
        return {}
    found = {key: value for key, value in recipe.model_dump(mode="json").items() if key not in _NOT_LEARNED}
    options = found["source"]["options"]
    found["source"]["options"] = {key: value for key, value in options.items() if key not in _WHERE}
    if named_words(found["features"]):
        found["features"] = {key: value for key, value in found["features"].items() if key != WORDS}
    return found

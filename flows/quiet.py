"""Rules of a night, and nights in which nothing has changed.

Such a night needs no Prefect, and no server starts for it. Where anything has changed, or that cannot be told quickly,
nothing is done here, and the flow does the whole night.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from aepipe import recipe as recipes
from aepipe.errors import AepipeError, RecipeError
from aepipe.pipeline import fallback
from aepipe.pipeline.resolve import WORDS, named_words
from aepipe.pipeline.unchanged import unchanged
from aepipe.recipe import Options, Recipe
from aepipe.release import gc as collector
from aepipe.release.lifecycle import last_sound
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Store
from flows.job import Job
from flows.prometheus import Night, report

logger = logging.getLogger("aepipe.flows")

RETRAIN_DAYS = 30
KEEP = 7
NOTHING = "nothing has changed"
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


def read_rules(table: Mapping[str, Any]) -> Rules:
    """Read rules of a night.

    Raises:
        RecipeError: one is unknown or has a wrong value.
    """
    return recipes.options(Rules, table, "nightly")


def passed(job: Job, rules: Rules, *, wait: float = 0) -> dict[str, Any] | None:
    """Do the night of a collection in which nothing has changed.

    Args:
        job: the resolved recipe, which was checked.
        rules: when an encoder is trained, and what is kept.
        wait: seconds to wait for another run under its name.

    Returns:
        What the flow would return; None where there is more to do, or the flow has to tell what is wrong.

    Raises:
        BusyError: another run writes under the same name.
    """
    if job.name not in registry.names(job.store):
        return None
    night = Night()
    with registry.lock(job.store, job.name, wait=wait):
        try:
            release = _still(job, rules, night)
        except (AepipeError, OSError):
            return None
        if release is None:
            return None
        night.done = [NOTHING]
        report(job, night, rules.metrics, passed=True)
    if rules.keep:
        tidy(job.store, rules.keep, rules.hours)
    logger.info("%s: %s", job.name, NOTHING)
    return {"name": job.name, "release": str(release.ref), "changed": False, "done": night.done}


def _still(job: Job, rules: Rules, night: Night) -> Release | None:
    """Return the release in service where a night would leave it as it is; None where it would not, or might not."""
    release = last_sound(job.store, job.name)
    if release is None or release.ref != registry.current(job.store, job.name) or reason(job, night, release, rules):
        return None
    recipe, now = recipe_of(release), in_service(job, release).resolved.recipe
    if recipe is None or differing(recipe, now):
        return None
    with night.timed("ingest"):
        if not unchanged(job.store, release, source=job.resolved.source):
            return None
    with night.timed("verify"):
        check(job, release)
    night.rows = dict(job.store.manifest(release.part("rows")).facts) | {"new": 0, "changed": 0, "vanished": 0}
    return release


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


def in_service(job: Job, release: Release) -> Job:
    """Return the job that made the release in service.

    It is the given one, or that of the components that stand for it.
    """
    recipe = recipe_of(release)
    if recipe is None or not recipe.code.stands_for or not fallback.applies(job.resolved):
        return job
    simple = Job(job.store, fallback.linear(job.resolved, trained=recipe), job.recipe_file)
    return simple if simple.resolved.recipe.code.stands_for == recipe.code.stands_for else job


def recipe_of(release: Release) -> Recipe | None:
    """Return the recipe of a release; None where this version does not understand it."""
    try:
        return recipes.parse(release.recipe, Path(f"the recipe of release {release.ref.short}"))
    except RecipeError:
        return None


def differing(then: Recipe | None, now: Recipe) -> list[str]:
    """Return the tables and keys in which a recipe differs from an earlier one.

    Args:
        then: the earlier one; None where it is not known, and all differ.
        now: the present one.
    """
    before = then.model_dump() if then else {}
    return [name for name, table in now.model_dump().items() if (name, table) not in before.items()]


def learned(recipe: Recipe | None) -> dict[str, Any]:
    """Return the part of a recipe that the encoder depends on."""
    if recipe is None:
        return {}
    found = {key: value for key, value in recipe.model_dump(mode="json").items() if key not in _NOT_LEARNED}
    options = found["source"]["options"]
    found["source"]["options"] = {key: value for key, value in options.items() if key not in _WHERE}
    if named_words(found["features"]):
        found["features"] = {key: value for key, value in found["features"].items() if key != WORDS}
    return found

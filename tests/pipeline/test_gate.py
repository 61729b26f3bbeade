"""The gate of a run: what it says of the recipe, and of an encoder that is in service already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aepipe.pipeline import gate
from aepipe.pipeline.gate import run_gate
from aepipe.pipeline.ingest import ingest
from aepipe.recipe import GateRecipe
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from tests.support.releases import bare_plan, make_release, pictures_of, publish_rows, put_encoder

SHAPE = (8, 8, 1)


def test_a_refusal_names_what_has_changed_in_the_recipe(store: Store) -> None:
    old = Release.open(store, ref=make_release(store, n=60, shape=SHAPE))
    plan = bare_plan(store, shape=SHAPE, n_bits=1)
    strict = GateRecipe(warn_below_itq=False, max_regression=0.0)
    plan = replace(plan, recipe=plan.recipe.model_copy(update={"gate": strict}))
    model = put_encoder(store, plan, n_bits=1, seed=3)
    worse = publish_rows(store, plan, old.part("rows"), model)
    verdict = run_gate(store, plan, worse)  # type: ignore[arg-type]
    assert not verdict.passed
    said = verdict.reasons[-1]
    assert said.startswith("the recipe has changed in code.bits 64 -> 1: take that back, or allow more")


def test_an_encoder_in_service_stays_although_itq_is_better(store: Store) -> None:
    ref = make_release(store, n=60, shape=SHAPE)
    plan: Any = bare_plan(store, shape=SHAPE)
    scores = Release.open(store, ref=ref).scores
    ours, itq = ({one["system"]: one["metrics"] for one in scores["rows"]}[name] for name in ("ours", "itq"))
    verdict = run_gate(store, plan, ref)
    assert verdict.passed, verdict.reasons
    assert (itq["map_at_1000"]["value"] > ours["map_at_1000"]["value"]) is any(
        "below ITQ's" in one for one in verdict.warnings
    )


def test_of_few_rows_half_are_asked_of_the_others(store: Store) -> None:
    old = Release.open(store, ref=make_release(store, n=60, shape=SHAPE))
    next(pictures_of(store).rglob("*.png")).unlink()
    plan: Any = bare_plan(store, shape=SHAPE)
    new = Release.open(store, ref=publish_rows(store, plan, ingest(store, plan.source), old.part("encoder")))
    found = gate._asked_the_same(new, old, "map_at_1000", 100)
    assert found is not None
    assert found.n_queries == 29
    assert min(found.new, found.old) > 0.1
    assert run_gate(store, plan, new.ref).reasons


def test_rotated_components_are_not_compared_with_rotated_components(store: Store) -> None:
    old = Release.open(store, ref=make_release(store, n=60, shape=SHAPE))
    rule = GateRecipe(warn_below_itq=True)
    assert gate._rule(rule, old, None) == "refuse"
    old.recipe["code"]["objective"]["kind"] = "itq"
    assert gate._rule(rule, old, None) == "ignore"
    assert gate._rule(GateRecipe(warn_below_itq="forbid"), old, None) == "forbid"

"""Rotated components in place of trained bits that are worse: when, and what is said."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aepipe import recipe as recipes
from aepipe.evaluate.gate import KEPT
from aepipe.evaluate.scores import Estimate, Scores
from aepipe.pipeline import fallback
from aepipe.pipeline.resolve import ResolvedRecipe, resolve
from aepipe.pipeline.suggest import suggest
from aepipe.recipe import Choice, CodeRecipe, LayerRecipe
from aepipe.release.release import Release
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from tests.support.releases import bare_plan, make_release


def scored(store: Store, ours: float, itq: float, metric: str = "map_at_1000") -> Ref:
    """Return scores in a store with these figures, and no others."""
    made = Scores.from_dict(Release.open(store, ref=make_release(store, n=20, shape=(8, 8, 1))).scores)
    figures = {"ours": ours, "itq": itq}
    rows = tuple(
        replace(made.rows[0], system=name, metrics={metric: Estimate(value, value - 0.1, value + 0.1)})
        for name, value in figures.items()
    )
    with store.draft("segment") as draft:
        text = json.dumps(replace(made, rows=rows).to_dict())
        (draft.path / layout.Scores.SCORES).write_text(text)
        return draft.finish({"of": "a test", **figures}, {})


@pytest.mark.parametrize(
    ("metric", "ours", "itq", "better"),
    [
        ("map_at_1000", 0.71, 0.70, "stack"),
        ("map_at_1000", 0.70, 0.70, "stack"),
        ("map_at_1000", 0.69, 0.70, "itq"),
        ("recall_at_10", 0.45, 0.61, "stack"),
        ("recall_at_10", 0.18, 0.49, "itq"),
    ],
)
def test_what_measured_best_is_released(store: Store, metric: str, ours: float, itq: float, better: str) -> None:
    found = fallback.compared(store, scored(store, ours, itq, metric), "map_at_1000")
    assert found is not None
    assert (found.better, found.metric) == (better, metric)
    assert f"{ours:.3f}" in str(found)
    assert f"{itq:.3f}" in str(found)


def test_rotated_components_that_measure_worse_once_made_are_not_released(store: Store) -> None:
    trained = scored(store, 0.72, 0.81)
    found = fallback.compared(store, trained, "map_at_1000")
    assert found is not None
    for measured, kept in ((0.71, False), (0.72, True), (0.80, True)):
        assert fallback.kept_its_lead(store, found, scored(store, measured, 0.81), trained) is kept
    lost = replace(found, kept=0.1)
    assert fallback.kept_its_lead(store, lost, scored(store, 0.1, 0.81), trained), "neighbours are what decided"


def test_words_that_tell_rows_apart_ask_for_all_neighbours(store: Store) -> None:
    resolved = plan(store)
    assert fallback.least_of(resolved) == KEPT
    exact, kinds = (SimpleNamespace(exact=exact) for exact in (True, False))
    assert fallback.least_of(replace(resolved, words=cast(Any, kinds))) == KEPT
    least = fallback.least_of(replace(resolved, words=cast(Any, exact)))
    for ours, better in ((0.45, "itq"), (0.62, "stack")):
        found = fallback.compared(store, scored(store, ours, 0.61, "recall_at_10"), "map_at_1000", least=least)
        assert found is not None
        assert found.better == better


@pytest.mark.parametrize(
    ("itq", "recalls", "better"),
    [
        (0.72, (0.51, 0.42), "stack"),
        (0.72, (0.42, 0.51), "itq"),
        (0.85, (0.51, 0.42), "itq"),
        (0.65, (0.1, 0.9), "stack"),
    ],
)
def test_where_chance_may_be_the_reason_the_neighbours_decide(
    store: Store, itq: float, recalls: tuple[float, float], better: str
) -> None:
    """Intervals of the test's figures reach 0.1 to both sides."""
    made = json.loads((store.verified(scored(store, 0.7, itq)) / layout.Scores.SCORES).read_bytes())
    for row, value in zip(made["rows"], recalls, strict=True):
        row["metrics"]["recall_at_10"] = {"value": value, "low": value, "high": value}
    with store.draft("segment") as draft:
        (draft.path / layout.Scores.SCORES).write_text(json.dumps(made))
        measured = draft.finish({"of": "a tie", "itq": itq, "recalls": list(recalls)}, {})
    found = fallback.compared(store, measured, "map_at_1000")
    assert found is not None
    assert found.better == better
    assert ("may be chance; recall_at_10 0.510 against 0.420" in str(found)) == (better == "stack" and itq > 0.7)


def plan(store: Store) -> ResolvedRecipe:
    make_release(store, n=20, shape=(8, 8, 1))
    layers = (LayerRecipe(net=Choice(kind="dense", options={"width": 8})),)
    return resolve(bare_plan(store, shape=(8, 8, 1)).recipe.model_copy(update={"layers": layers}))


def test_the_simple_recipe_is_of_the_same_rows_and_bits(store: Store) -> None:
    resolved = plan(store)
    simple = fallback.linear(resolved)
    assert simple.recipe.source == resolved.recipe.source
    assert simple.recipe.code.bits == resolved.recipe.code.bits
    assert simple.recipe.code.objective.kind == "itq"
    assert simple.recipe.finetune.epochs == 0
    assert fallback.linear(resolved).recipe == simple.recipe
    other = replace(resolved, recipe=resolved.recipe.model_copy(update={"pretrain": False}))
    assert fallback.linear(other).recipe.code.stands_for != simple.recipe.code.stands_for


def test_it_applies_where_the_recipe_does_not_say_otherwise(store: Store) -> None:
    resolved = plan(store)
    assert fallback.applies(resolved)
    assert not fallback.applies(fallback.linear(resolved))
    never = resolved.recipe.model_copy(update={"code": CodeRecipe(fallback="none")})
    assert not fallback.applies(replace(resolved, recipe=never))
    named = CodeRecipe(normalize=False, objective=Choice(kind="itq"))
    assert not fallback.applies(replace(resolved, recipe=resolved.recipe.model_copy(update={"code": named})))


def test_rotated_components_of_a_table_read_its_holes(tmp_path: Path) -> None:
    lines = [f"{n % 7}.5,{'' if n % 3 else 'ab'[n % 2]}" for n in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["age,job", *lines]))
    text = suggest(str(tmp_path / "t.csv"), folder=tmp_path)[1]
    simple = fallback.linear(resolve(recipes.parse(tomllib.loads(text), tmp_path / "t.toml")))
    assert simple.recipe.layers[0].net.options["holes"]
    assert simple.recipe.code.embedding == "lowest"

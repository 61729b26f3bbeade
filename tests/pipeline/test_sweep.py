"""Variations of a recipe: entries that a key changes, its values, and mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aepipe import recipe
from aepipe.errors import RecipeError
from aepipe.pipeline.sweep import Variation, apply_settings, grid, label, read_variation, read_variations
from aepipe.recipe import Recipe

LAYER = {"net": {"kind": "dense", "width": 10}, "corruption": {"kind": "mask", "rate": 0.1}}


@pytest.fixture
def three() -> Recipe:
    """A recipe of three layers."""
    table: dict[str, Any] = {
        "name": "three",
        "source": {"kind": "images", "path": "x"},
        "layers": [LAYER, LAYER | {"corruption": "gaussian"}, LAYER],
        "finetune": {"corruption": [{"kind": "shift", "pixels": 1}, "mask"]},
    }
    return recipe.parse(table, Path("three.toml"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("fit.batch=64,256", (64, 256)),
        ("fit.lr=1e-3,3e-3", (1e-3, 3e-3)),
        ("pretrain=true,false", (True, False)),
        ('code.threshold="zero","median"', ("zero", "median")),
        ("code.threshold=zero, median", ("zero", "median")),
        ("code.binarize=straight-through", ("straight-through",)),
        ("code.corruption=none,{ kind = 'mask'}", ("none", {"kind": "mask"})),
        ("layers.0.net.hidden=[],[64],[64, 32]", ([], [64], [64, 32])),
        ("features.size = [28, 28]", ([28, 28],)),
    ],
)
def test_values_are_toml_and_words_need_no_quotes(text: str, values: tuple[Any, ...]) -> None:
    assert read_variation(text).values == values


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["fit.batch"], "--vary fit.batch: not of the form KEY=VALUE,VALUE"),
        (["=3"], "not of the form"),
        (["fit..lr=3"], "not of the form"),
        (["fit.lr="], "--vary fit.lr=: names no value"),
        (["fit.lr=1,2,1"], "--vary fit.lr=1,2,1: 1 stands there twice"),
        (["fit.lr=1,?"], r"--vary fit.lr=1,\?: '\?' is not a value in TOML"),
        (["fit.lr=1", "seed=1", "fit.lr=2"], "--vary fit.lr: given twice"),
        ([], "nothing varies: say what with --vary"),
    ],
)
def test_text_that_is_no_variation_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        read_variations(texts)


def test_the_grid_has_all_combinations_and_the_last_key_varies_fastest() -> None:
    found = list(grid([Variation("a", (1, 2)), Variation("b", (3.5, "x"))]))
    assert found == [{"a": 1, "b": 3.5}, {"a": 1, "b": "x"}, {"a": 2, "b": 3.5}, {"a": 2, "b": "x"}]
    assert label(found[0] | {"c": {"kind": "mask", "rate": 0.25}, "d": [1, 2], "e": True}) == (
        "a=1 b=3.5 c=mask 0.25 d=[1, 2] e=true"
    )


def test_only_the_named_entry_changes(three: Recipe) -> None:
    found = apply_settings(three, {"layers.1.net.width": 99})
    assert [one.net.options["width"] for one in found.layers] == [10, 99, 10]
    assert apply_settings(found, {"layers.1.net.width": 10}) == three
    assert found.file == three.file
    assert apply_settings(three, {"code.bits": 32, "seed": 5}) == three.model_copy(
        update={"seed": 5, "code": three.code.model_copy(update={"bits": 32})}
    )


def test_keys_are_those_of_the_written_recipe(three: Recipe) -> None:
    """A key may name an option of a choice or of a link in a chain, or the whole choice."""
    found = apply_settings(
        three,
        {
            "layers.0.corruption.rate": 0.3,
            "layers.1.corruption.sigma": 0.2,
            "finetune.corruption.0.pixels": 2,
            "finetune.corruption.1": {"kind": "mask", "rate": 0.5},
            "layers.2.corruption": "none",
        },
    )
    assert found.layers[0].corruption.options == {"rate": 0.3}
    assert (found.layers[1].corruption.kind, found.layers[1].corruption.options) == ("gaussian", {"sigma": 0.2})
    assert found.layers[2].corruption.kind == "none"
    assert found.finetune.corruption.options["of"] == [{"kind": "shift", "pixels": 2}, {"kind": "mask", "rate": 0.5}]
    assert three.finetune.corruption.options["of"][0] == {"kind": "shift", "pixels": 1}, "the first stays as it was"


def test_a_short_key_changes_several_entries(three: Recipe) -> None:
    found = apply_settings(three, {"fit.batch": 17})
    assert [one.fit.batch for one in found.layers] == [17] * 3
    assert found.code.fit.batch == 17
    assert found.finetune.batch == 17
    assert found.finetune.epochs == three.finetune.epochs
    assert [one.net.options["width"] for one in apply_settings(three, {"width": 7}).layers] == [7, 7, 7]
    assert apply_settings(three, {"depth": 2}).layers == three.layers[:2]
    both = apply_settings(three, {"width": 7, "depth": 1, "layers.0.net.activation": "tanh"})
    assert [one.net.options for one in both.layers] == [{"width": 7, "activation": "tanh"}]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fit.bath": 3}, r"layers\.0\.fit\.bath: unknown key; allowed: epochs, batch, lr"),
        ({"fit.batch": 0}, r"layers\.0\.fit\.batch: input should be greater than or equal to 1, not 0"),
        ({"fit.batch": 2.5}, r"layers\.0\.fit\.batch: .* not 2\.5"),
        ({"batch": 3}, r"batch: unknown key; allowed: name, seed"),
        ({"nothing.at.all": 3}, r"nothing: unknown key"),
        ({"layers.3.net.width": 3}, r"layers\.3: no such entry; allowed: layers\.0 to layers\.2"),
        ({"depth": 2, "layers.2.net.width": 3}, r"layers\.2: no such entry; allowed: layers\.0 to layers\.1"),
        ({"layers.top.net": "dense"}, r"layers\.top: no such entry"),
        ({"seed.x": 3}, r"seed: is 0, and has no x"),
        ({"depth": 4}, r"depth: 4 of 3 layers; allowed: whole numbers from 1 to 3"),
        ({"depth": 0}, r"depth: 0 of 3 layers"),
        ({"depth": True}, r"depth: True of 3 layers"),
        ({"depth": 1.0}, r"depth: 1\.0 of 3 layers"),
    ],
)
def test_a_key_that_the_recipe_lacks_is_refused(three: Recipe, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        apply_settings(three, settings)

"""Layers that an objective cannot train: each single choice that it refuses, from a layer that it can train."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError
from aepipe.learn import batches, objectives, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.objectives import Batch
from aepipe.recipe import CodeRecipe, ComputeRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
DENSE = {"kind": "dense", "width": 4, "activation": "linear"}
CONV = {"kind": "conv", "channels": 4, "kernel": 3}
GOOD: dict[str, dict[str, Any]] = {
    "recirculation": {"net": DENSE, "likelihood": "bernoulli"},
    "psd": {"net": DENSE, "corruption": "mask"},
    "components": {"net": DENSE},
    "adversarial": {"net": DENSE},
    "contractive": {"net": DENSE | {"tied": True}},
    "variational": {"net": DENSE, "posterior": "gaussian"},
    "walkback": {"net": DENSE, "corruption": "mask"},
}
CASES: list[tuple[str, dict[str, Any], str]] = [
    *(("recirculation", {"net": DENSE | {name: value}}, "activities pass one map each way") for name, value in
      (("hidden", [5]), ("tied", True), ("normalize", True), ("holes", True))),
    ("recirculation", {"net": CONV}, "activities pass one map each way"),
    ("recirculation", {"net": DENSE | {"activation": "prelu"}}, "without a gradient no slope is learnt"),
    ("recirculation", {"net": DENSE | {"code_activation": "prelu"}}, "without a gradient no slope is learnt"),
    ("recirculation", {"posterior": "bernoulli"}, "allowed: posterior delta, with likelihood"),
    ("recirculation", {"likelihood": "hinge"}, "allowed: posterior delta, with likelihood"),
    ("recirculation", {"corruption": "mask"}, "a row is compared with its own reconstruction"),
    *(("psd", {"net": DENSE | {name: value}}, "infers the codes of a linear decoder") for name, value in
      (("hidden", [5]), ("tied", True))),
    ("psd", {"net": CONV}, "infers the codes of a linear decoder"),
    ("psd", {"likelihood": "bernoulli"}, "infers the codes of a linear decoder"),
    ("psd", {"posterior": "bernoulli"}, "infers the codes of a linear decoder"),
    *(("components", {"net": DENSE | {name: value}}, "components are one map each way") for name, value in
      (("hidden", [5]), ("tied", True), ("normalize", True))),
    ("components", {"net": CONV}, "components are one map each way"),
    ("components", {"net": DENSE | {"activation": "tanh"}}, "components are linear, not tanh"),
    ("components", {"net": DENSE | {"code_activation": "relu"}}, "components are linear, not relu"),
    ("components", {"posterior": "bernoulli"}, "components have the least squared error"),
    ("components", {"likelihood": "bernoulli"}, "components have the least squared error"),
    ("components", {"corruption": "mask"}, "components are those of the rows as they are"),
    ("adversarial", {"posterior": "gaussian"}, "the critic looks at the code itself"),
    ("adversarial", {"posterior": "straight-through"}, "the critic looks at the code itself"),
    ("contractive", {"net": DENSE}, "a decoder with weights of its own"),
    ("contractive", {"net": DENSE | {"tied": True, "normalize": True}}, "a standardised unit depends on the other"),
    ("contractive", {"posterior": "straight-through"}, "bits do not move with the row until they flip"),
    ("variational", {"posterior": "delta"}, "a divergence from a prior needs a posterior that has one"),
    ("walkback", {"corruption": "none"}, "its chain corrupts at every step"),
]  # fmt: skip


def checked(kind: str, row: dict[str, Any]) -> layer_specs.LayerSpec:
    return layer_specs.layer_spec(LayerRecipe.model_validate({"objective": kind, **GOOD[kind], **row}), "layers.0")


@pytest.mark.parametrize("kind", GOOD)
def test_layers_that_can_be_trained(kind: str) -> None:
    checked(kind, {})


@pytest.mark.parametrize("net", [{"code_activation": "linear"}, {"holes": True}])
def test_choices_that_change_nothing_for_components(net: dict[str, Any]) -> None:
    checked("components", {"net": DENSE | net})


@pytest.mark.parametrize(("kind", "row", "said"), CASES)
def test_one_choice_is_refused(kind: str, row: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        checked(kind, row)
    assert str(caught.value).startswith(f"layers.0.objective: {said}")
    assert "; allowed: " in str(caught.value) or said.startswith("allowed: ")


@pytest.mark.parametrize(
    ("kind", "row", "said"),
    [
        ("itq", {}, None),
        ("itq", {"normalize": True}, "rotated components are centred already; allowed: normalize = false"),
        ("itq", {"corruption": "mask"}, "components are those of the rows as they are; allowed: corruption none"),
        ("copies", {}, None),
        ("neighbourhood", {}, None),
        ("sparse", {}, "`l1` is the same for all bits, which are -1 and 1; allowed: a posterior that makes no bits"),
    ],
)
def test_layers_of_bits(kind: str, row: dict[str, Any], said: str | None) -> None:
    recipe = CodeRecipe.model_validate({"bits": 4, "normalize": False, "objective": kind, **row})
    if said is None:
        layer_specs.code_spec(recipe)
        return
    with pytest.raises(RecipeError) as caught:
        layer_specs.code_spec(recipe)
    assert str(caught.value) == f"code.objective: {said}"


@pytest.mark.parametrize(
    ("bits", "scales", "nested", "said"),
    [
        (2, 2, (), None),
        (1, 2, (), "2 scales share 1 bits; allowed: at least a bit for each"),
        (8, 3, (3,), None),
        (8, 3, (2, 5), "3 scales share 2 bits; allowed: at least a bit for each"),
    ],
)
def test_each_scale_has_a_bit(bits: int, scales: int, nested: tuple[int, ...], said: str | None) -> None:
    one = {"kind": "neighbourhood", "nested": nested, "scales": [{"steps": 1 + place} for place in range(scales)]}
    recipe = CodeRecipe.model_validate({"bits": bits, "objective": one})
    if said is None:
        layer_specs.code_spec(recipe)
        return
    with pytest.raises(RecipeError) as caught:
        layer_specs.code_spec(recipe)
    assert str(caught.value) == f"code.objective: {said}"


@pytest.mark.parametrize("kind", ["reconstruction", "masked", "sparse", "variational", "walkback", "adversarial"])
def test_codes_are_drawn_while_training_and_their_mean_is_taken_else(kind: str) -> None:
    """Of coins, whose draws differ: with a generator as it says, without one always the same."""
    row = {
        "net": {"kind": "dense", "width": 4, "activation": "sigmoid"},
        "posterior": "bernoulli",
        "likelihood": "bernoulli",
        "corruption": "mask",
        "objective": {"kind": kind, "steps": 1} if kind == "walkback" else kind,
    }
    spec = layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0")
    model = stack.build([spec], (6,), seed=0)[0]
    objective = objectives.build(model, spec.training.objective, CPU)
    clean = torch.rand((9, 6), generator=torch.Generator().manual_seed(1))
    kept = torch.rand((9, 6), generator=torch.Generator().manual_seed(2)) < 0.5

    def told(seed: int | None) -> float:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        batch = Batch(clean, clean, None, generator, kept, spec.training.corruption)
        found = objective.terms(batch)
        return sum(found[name].item() for name in ("reconstruction", "hidden", "seen") if name in found)

    cells = torch.nn.functional.binary_cross_entropy_with_logits
    for seed in (None, 1, 2):
        drawn = model.encode(clean, None if seed is None else torch.Generator().manual_seed(seed)).sample
        nll = cells(model.decode(drawn), clean, reduction="none")
        weights = torch.where(kept, 0.5, 1.0) if kind == "masked" else 1.0
        assert told(seed) == pytest.approx((nll * weights).sum().item() / 9, rel=1e-5)

"""Resolved recipes: what fine-tuning may refuse, which layer names it, and what devices a recipe gets."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError
from aepipe.learn import batches
from aepipe.learn import spec as layer_specs
from aepipe.learn.autoencoder import Choices
from aepipe.learn.corruption import Mask
from aepipe.learn.likelihood import Bernoulli, Gaussian, Hinge
from aepipe.learn.objectives import reconstruction
from aepipe.learn.posterior import Coin
from aepipe.recipe import CodeRecipe, ComputeRecipe, FinetuneRecipe, LayerRecipe


def layer(likelihood: str = "gaussian", **net: Any) -> layer_specs.LayerSpec:
    row = {"net": {"kind": "dense", "width": 6, **net}, "likelihood": likelihood}
    return layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0")


CODE = layer_specs.code_spec(CodeRecipe.model_validate({"bits": 5, "binarize": "bernoulli"}))


def finetuning(specs: list[layer_specs.LayerSpec], **options: Any) -> layer_specs.Training:
    return layer_specs.finetune_training(FinetuneRecipe.model_validate(options), specs)


@pytest.mark.parametrize(("frozen", "likelihood"), [(0, Bernoulli), (1, Hinge), (2, Gaussian)])
def test_fine_tuning_may_refuse_what_it_trains(frozen: int, likelihood: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bits at the top, the likelihood of the lowest layer that is trained, and its own corruption."""
    seen: list[Choices] = []
    monkeypatch.setattr(reconstruction.Options, "refusal", lambda _, choices: seen.append(choices))
    specs = [layer("bernoulli"), layer("hinge"), CODE]
    seen.clear()
    found = finetuning(specs, frozen=frozen, corruption={"kind": "mask", "rate": 0.2}, epochs=3)
    assert (found.corruption, found.fit.epochs) == (Mask(rate=0.2), 3)
    (choices,) = seen
    assert isinstance(choices.likelihood, likelihood)
    assert isinstance(choices.posterior, Coin)
    assert (choices.net, choices.corruption) == (CODE.net, Mask(rate=0.2))
    monkeypatch.setattr(reconstruction.Options, "refusal", lambda *_: "is not for this; allowed: that")
    with pytest.raises(RecipeError, match=r"^finetune\.objective: is not for this; allowed: that$"):
        finetuning(specs)


def test_a_stack_leaves_one_layer_to_train() -> None:
    specs = [layer(), CODE]
    assert finetuning(specs, frozen=1, batch=7).fit.batch == 7
    wanted = "the stack has 1 layers and the bits, so 2 leave none to train; allowed: at most 1"
    with pytest.raises(RecipeError, match=rf"finetune\.frozen: {wanted}"):
        finetuning(specs, frozen=2)


def test_only_a_lowest_layer_that_reads_holes_is_given_some() -> None:
    """That of fine-tuning is the lowest one that is trained; edits are of rows below all layers."""
    holed, plain = layer(holes=True), layer()
    for specs, frozen, good in (([holed, CODE], 0, True), ([plain, CODE], 0, False), ([holed, plain, CODE], 1, False)):
        if good:
            assert finetuning(specs, corruption="mcar", frozen=frozen).corruption.makes_holes
        else:
            with pytest.raises(RecipeError, match=r"finetune\.corruption: leaves missing cells"):
                finetuning(specs, corruption="mcar", frozen=frozen)
    assert finetuning([holed, plain, CODE], edits="mcar", frozen=1).edited
    with pytest.raises(RecipeError, match=r"finetune\.edits: leaves missing cells, which the lowest net does not read"):
        finetuning([plain, holed, CODE], edits="mcar", frozen=1)


def test_layers_of_a_stack_are_named_by_their_places() -> None:
    """Each reads the codes of the layer below."""
    row = {"net": {"kind": "dense", "width": 3}, "likelihood": {"kind": "columns", "of": [{"columns": 6}]}}
    upper = layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.1")
    layer_specs.check_stack([layer(), upper, CODE], (9,))
    for specs, at in (([upper, CODE], r"layers\.0"), ([layer(), upper, upper, CODE], r"layers\.2")):
        with pytest.raises(RecipeError, match=rf"^{at}\.likelihood: its spans have 6 columns in all"):
            layer_specs.check_stack(specs, (9,))
    few = {"bits": 5, "likelihood": {"kind": "softmax", "classes": 4}}
    top = layer_specs.code_spec(CodeRecipe.model_validate(few))
    with pytest.raises(RecipeError, match=r"^code\.likelihood: 6 values are no multiple of 4 classes"):
        layer_specs.check_stack([layer(), top], (9,))
    row = {"net": {"kind": "dense", "width": 3}, "posterior": {"kind": "k-sparse", "k": 3}}
    dull = layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.1")
    with pytest.raises(RecipeError, match=r"^layers\.1\.posterior: k = 3 of 3 units keeps all"):
        layer_specs.check_stack([layer(), dull, CODE], (9,))


@pytest.mark.parametrize("quick", [True, False])
def test_the_precision_of_a_device_is_that_of_its_quick_products(quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": quick})
    usual = batches.resolve(ComputeRecipe(device="cpu", memory_gb=1.5))
    assert (usual.dtype, usual.device.type) == (torch.bfloat16 if quick else torch.float32, "cpu")
    assert (usual.memory, usual.shards, usual.bits) == (1_500_000_000, 1, ComputeRecipe().draws == "bits")
    for precision in ("float32", "bfloat16"):
        recipe = ComputeRecipe.model_validate({"device": "cpu", "precision": precision, "shards": 3})
        assert batches.resolve(recipe).key()["precision"] == precision
        assert batches.resolve(recipe).shards == 3

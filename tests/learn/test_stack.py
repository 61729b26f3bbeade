"""A stack of layers by hand: codes in memory or on the disk, thresholds, lift, rotation, and the joined network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

torch = pytest.importorskip("torch")

from aepipe.evaluate.baselines import itq_rotation
from aepipe.learn import batches, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.nets import Turn
from aepipe.recipe import CodeRecipe, ComputeRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
ROWS = np.random.default_rng(0).random((50, 7), np.float32)


def layer(width: int, likelihood: str = "gaussian", **net: Any) -> layer_specs.LayerSpec:
    row = {"net": {"kind": "dense", "width": width, **net}, "likelihood": likelihood}
    return layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0")


def code(bits: int = 6, **options: Any) -> layer_specs.LayerSpec:
    return layer_specs.code_spec(CodeRecipe.model_validate({"bits": bits, "normalize": False, **options}))


def stacked(*specs: layer_specs.LayerSpec, seed: int = 0) -> list[Any]:
    return [one.eval() for one in stack.build(specs, (7,), seed=seed)]


def test_codes_stay_in_memory_where_they_fit(tmp_path: Path) -> None:
    below = stacked(layer(5), layer(3))
    expected = below[1].encode(below[0].encode(torch.from_numpy(ROWS)).mean).mean.detach()
    for spare, resident in ((0, True), (-1, False)):
        tight = batches.Compute(CPU.device, CPU.dtype, memory=4 * 50 * 3 + spare)
        spill = tmp_path / f"{resident}.npy"
        found = stack.codes(below, Feed(ROWS, CPU), tight, spill=spill)
        assert (found.resident, spill.exists(), len(found), found.shape) == (resident, not resident, 50, (3,))
        torch.testing.assert_close(found.batch(torch.arange(50)), expected)
    rows = Feed(ROWS, CPU)
    assert stack.codes([], rows, CPU, spill=tmp_path / "none.npy") is rows


def test_codes_of_many_rows_are_written_block_by_block(tmp_path: Path) -> None:
    many = np.random.default_rng(1).random((batches.BLOCK + 3, 7), np.float32)
    below = stacked(layer(2))
    expected = below[0].encode(torch.from_numpy(many)).mean.detach()
    tight = batches.Compute(CPU.device, CPU.dtype, memory=1)
    for compute in (CPU, tight):
        found = stack.codes(below, Feed(many, CPU), compute, spill=tmp_path / "codes.npy")
        torch.testing.assert_close(found.batch(torch.arange(len(many))), expected)
    assert stack.lift(below[0], Feed(many, CPU)) == pytest.approx(
        2 * math.sqrt(expected.square().sum().item() / len(many)), rel=1e-5
    )


def test_a_threshold_is_zero_or_the_lower_median() -> None:
    model = stack.unroll(stacked(layer(5), code()))
    activation = np.sort(model.net.encoder(torch.from_numpy(ROWS)).detach().numpy(), axis=0)
    rows = Feed(ROWS, CPU)
    assert stack.thresholds(model, rows, "zero").tolist() == [0.0] * 6
    np.testing.assert_allclose(stack.thresholds(model, rows, "median").numpy(), activation[24], rtol=1e-5)
    assert stack.bits(model, rows, "median").sum(0).tolist() == [25] * 6, "the row of the median has a 0"
    found = stack.bits(model, rows, "zero")
    assert found.dtype == np.uint8
    assert found.sum(0).tolist() == (activation > 0).sum(0).tolist()


@pytest.mark.parametrize("iterations", [0, 1, 9])
def test_a_rotation_is_that_of_centred_activations(iterations: int) -> None:
    rotated = {"kind": "rotation", "iterations": iterations}
    model = stack.unroll(stacked(layer(5), code(4, binarize=rotated)))
    found = stack.activations(model, Feed(ROWS, CPU))
    stack.fit_rotation(model, Feed(ROWS, CPU))
    (turn,) = [part for part in model.net.encoder.modules() if isinstance(part, Turn)]
    expected = np.eye(4, dtype=np.float32)
    if iterations:
        centred = (found - found.mean(0)).numpy()
        expected = itq_rotation(centred, np.random.default_rng(0), iterations=iterations)
    np.testing.assert_allclose(turn.rotation.numpy(), expected, atol=1e-5)
    torch.testing.assert_close(stack.activations(model, Feed(ROWS, CPU)), found @ turn.rotation)


def test_joined_layers_are_one_network() -> None:
    """Down the stack, the mean of a likelihood stays within the codes of the layer below."""
    layers = stacked(layer(5, holes=True), layer(4, "bernoulli", activation="tanh"), code(3, likelihood="hinge"))
    model = stack.unroll(layers)
    assert (model.net.shape_in, model.net.shape_out, model.net.holes) == ((7,), (3,), True)
    assert (model.likelihood, model.posterior) == (layers[0].likelihood, layers[2].posterior)
    x, bits = torch.from_numpy(ROWS), torch.from_numpy(np.sign(ROWS[:, :3] - 0.5))
    first = layers[0].net.encoder(x)
    torch.testing.assert_close(model.net.encoder(x), layers[2].net.encoder(layers[1].net.encoder(first)))
    upper = (layers[2].net.decoder(bits).clamp(-1, 1) + 1) / 2
    lower = layers[1].net.decoder(upper).sigmoid().relu()
    torch.testing.assert_close(model.decode(bits), layers[0].net.decoder(lower))
    assert stack.unroll(layers[:1]) is layers[0]
    signed = stacked(layer(5), code(3))
    below = signed[1].net.decoder(bits).relu()
    assert (signed[1].net.decoder(bits) < 0).any()
    torch.testing.assert_close(stack.unroll(signed).decode(bits), signed[0].net.decoder(below))


def test_weights_of_the_first_layers_are_read_and_those_above_are_drawn(tmp_path: Path) -> None:
    specs = [layer(5), layer(4), code()]
    other, usual = stacked(*specs, seed=9), stacked(*specs, seed=3)
    save_file(other[0].state_dict(), tmp_path / "0.safetensors")
    found = stack.load(specs, (7,), [tmp_path / "0.safetensors"], seed=3, compute=CPU)
    for one, expected in zip(found, [other[0], *usual[1:]], strict=True):
        for name, value in expected.state_dict().items():
            assert torch.equal(one.state_dict()[name], value)
    alone = stack.build(specs[1:], (5,), seed=4)[0].state_dict()
    assert torch.equal(alone["net.encoder.1.weight"], usual[1].state_dict()["net.encoder.1.weight"]), "one seed more"
    save_file(stack.unroll(other).state_dict(), tmp_path / "weights.safetensors")
    stack.load_finetuned(usual, tmp_path / "weights.safetensors")
    assert torch.equal(usual[2].net.encoder[1].weight, other[2].net.encoder[1].weight)

"""Networks opened from their files give the same codes and rows as in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

torch = pytest.importorskip("torch")

from aepipe.learn import batches, generate, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.stack import unroll
from aepipe.recipe import Choice, CodeRecipe, ComputeRecipe, LayerRecipe

SHAPE = (6, 5, 1)
CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
ROWS = np.random.default_rng(0).integers(0, 256, (5000, *SHAPE), np.uint8)


def dense(**options: Any) -> LayerRecipe:
    return LayerRecipe(net=Choice(kind="dense", options=options), likelihood=Choice(kind="bernoulli"))


SPECS = [
    layer_specs.layer_spec(dense(width=12), "layers.0"),
    layer_specs.layer_spec(dense(width=9, tied=True), "layers.1"),
    layer_specs.code_spec(CodeRecipe(bits=7)),
]


@pytest.fixture(scope="module")
def layers() -> Any:
    """A stack as after training, with running averages that differ from those of a new network."""
    made = stack.build(SPECS, SHAPE, seed=3)
    made[2].train().encode(made[1].encode(made[0].encode(tensor(ROWS)).mean).mean)
    return [one.eval() for one in made]


def tensor(rows: Any) -> Any:
    return torch.from_numpy(rows).float() / (255 if rows.dtype == np.uint8 else 1)


def test_a_pretrained_stack_from_its_files(layers: Any, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for one, file in zip(layers, files, strict=True):
        save_file(one.state_dict(), file)
    opened = generate.open_stack(SPECS, SHAPE, files[:2], CPU)
    assert len(opened) == 2
    model = unroll(opened)
    with torch.no_grad():
        code = layers[1].encode(layers[0].encode(tensor(ROWS)).mean).mean
        # The upper likelihood's mean goes down, within the range of the lower layer's code.
        expected = layers[0].decode(layers[1].decode(code).sigmoid().relu()).sigmoid()
    np.testing.assert_allclose(generate.embed(model, ROWS, CPU), code.numpy(), atol=1e-5)
    np.testing.assert_allclose(generate.reconstruct_rows(model, ROWS, CPU), expected.numpy(), atol=1e-5)
    assert generate.parameters(model) == (30 * 12 + 12) + (12 * 30 + 30) + (12 * 9 + 9) + 12, "tied weights count once"


def test_a_finetuned_network_from_its_file(layers: Any, tmp_path: Path) -> None:
    save_file(unroll(layers).state_dict(), tmp_path / "weights.safetensors")
    model = generate.open_finetuned(SPECS, SHAPE, tmp_path / "weights.safetensors", CPU)
    codes = generate.embed(model, ROWS, CPU)
    with torch.no_grad():
        below = layers[1].encode(layers[0].encode(tensor(ROWS)).mean).mean
        bits = layers[2].net.encoder(below) > 0
    np.testing.assert_array_equal(codes, generate.signs(bits.numpy().astype(np.uint8)))
    found = generate.reconstruct_rows(model, ROWS, CPU)
    assert found.shape == (5000, *SHAPE)
    np.testing.assert_array_equal(found, generate.decode_codes(model, codes, CPU))
    assert found.min() > 0
    assert found.max() < 1, "the mean of coins is a probability"


def test_floats_are_taken_as_they_are_and_no_rows_give_none(layers: Any) -> None:
    model = unroll(layers[:2])
    rows = (ROWS[:10] * np.float32(1 / 255)).astype(np.float32)
    np.testing.assert_allclose(generate.embed(model, rows, CPU), generate.embed(model, ROWS[:10], CPU), atol=1e-6)
    assert generate.embed(model, rows[:0], CPU).shape == (0, 9)
    assert generate.reconstruct_rows(model, rows[:0], CPU).shape == (0, *SHAPE)

"""Aligned bits: the order and signs of old ones, also in the network behind them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.learn import batches, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.align import match_bits, reorder_bits
from aepipe.learn.batches import Feed
from aepipe.recipe import Choice, CodeRecipe, ComputeRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
K, SHAPE = 16, (20,)


def shuffled(parts: tuple[int, ...] = ()) -> tuple[Any, Any, Any, Any]:
    """Return old bits, a noisy copy in another order with other signs, and order and signs."""
    rng = np.random.default_rng(0)
    old = rng.integers(0, 2, (2000, K), dtype=np.uint8)
    bounds = [0, *parts, K]
    places = np.concatenate([start + rng.permutation(end - start) for start, end in pairwise(bounds)])
    turned = rng.integers(0, 2, K, dtype=np.uint8)
    new = np.empty_like(old)
    new[:, places] = old ^ turned
    return old, new ^ (rng.random(new.shape) < 0.1), places, turned


@pytest.mark.parametrize("parts", [(), (4, 8)])
def test_order_and_signs_are_recovered(parts: tuple[int, ...]) -> None:
    old, new, places, turned = shuffled(parts)
    order, signs = match_bits(old, new, parts)
    assert order.tolist() == places.tolist()
    assert (signs < 0).tolist() == (turned == 1).tolist()
    assert ((new[:, order] ^ (signs < 0)) != old).mean() == pytest.approx(0.1, abs=0.01)


def test_bits_stay_within_their_prefix() -> None:
    old, new, _, _ = shuffled()
    order, _ = match_bits(old, new, (4, 8))
    assert sorted(order[:4]) == [0, 1, 2, 3]
    assert sorted(order[4:8]) == [4, 5, 6, 7]


def test_equal_bits_stay_as_they_are() -> None:
    old = shuffled()[0]
    order, signs = match_bits(old, old)
    assert order.tolist() == list(range(K))
    assert signs.tolist() == [1] * K


@pytest.mark.parametrize(
    ("net", "normalize", "binarize"),
    [
        ({"width": 12}, False, "straight-through"),
        ({"width": 12}, True, "straight-through"),
        ({"width": 12}, False, "rotation"),
    ],
)
def test_a_reordered_network_decodes_the_same_rows(net: dict[str, Any], normalize: bool, binarize: str) -> None:
    specs = [
        layer_specs.layer_spec(LayerRecipe(net=Choice(kind="dense", options=net)), "layers.0"),
        layer_specs.code_spec(CodeRecipe(bits=K, normalize=normalize, binarize=Choice(kind=binarize))),
    ]
    layers = [one.eval() for one in stack.build(specs, SHAPE, seed=0)]
    drawn = torch.Generator().manual_seed(0)
    for part in layers[-1].net.encoder.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.running_mean.copy_(torch.randn(K, generator=drawn))
            part.running_var.copy_(torch.rand(K, generator=drawn) + 0.5)
    model = stack.unroll(layers)
    rows = Feed(np.random.default_rng(1).integers(0, 256, (50, *SHAPE), dtype=np.uint8), CPU)
    before, rebuilt = stack.bits(model, rows, "zero"), model.decode(model.encode(next(rows.blocks())).mean)
    rng = np.random.default_rng(2)
    order, signs = rng.permutation(K), rng.choice([-1.0, 1.0], K).astype(np.float32)
    assert reorder_bits(layers[-1], order, signs)
    assert (stack.bits(model, rows, "zero") == (before[:, order] ^ (signs < 0))).all()
    again = model.decode(model.encode(next(rows.blocks())).mean)
    assert torch.allclose(again, rebuilt, atol=1e-5)


def test_a_network_of_another_width_stays_as_it_was() -> None:
    one = stack.build([layer_specs.code_spec(CodeRecipe(bits=K))], SHAPE, seed=0)[0]
    before = {name: value.clone() for name, value in one.state_dict().items()}
    assert not reorder_bits(one, np.arange(K + 1), np.ones(K + 1, np.float32))
    assert all(torch.equal(value, before[name]) for name, value in one.state_dict().items())

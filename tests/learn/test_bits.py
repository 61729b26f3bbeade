"""Bits: their relaxations during training, and the rotation that is found afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.codes.encoder import GRAPH, Card, Encoder, write_card
from aepipe.learn import batches, posterior, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.onnx_export import BATCH, freeze
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import Choice, CodeRecipe, ComputeRecipe, FinetuneRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
SHAPE = (20,)
WIDTH = 8


def rows(n: int = 600) -> Any:
    """Draw correlated rows in 0..255."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 6)) @ rng.normal(size=(6, *SHAPE))
    return np.clip(128 + 40 * x, 0, 255).astype(np.uint8)


def trained(folder: Path, binarize: Choice, threshold: Any = "zero") -> tuple[list[Any], Any, Any]:
    """Fine-tune a small stack; return its layers, the unrolled model and thresholds."""
    specs = [
        layer_specs.layer_spec(LayerRecipe(net=Choice(kind="dense", options={"width": 16})), "layers.0"),
        layer_specs.code_spec(CodeRecipe(bits=WIDTH, binarize=binarize)),
    ]
    layers = stack.build(specs, SHAPE, seed=0)
    feed = Feed(rows(), CPU)
    training = layer_specs.finetune_training(FinetuneRecipe(epochs=4, batch=50, lr=0.01), specs)
    trainer = Trainer(stack.unroll(layers), training, train=feed, held_out=Feed(rows(50), CPU), seed=0, compute=CPU)
    trainer.run(FileCheckpoint(folder), lambda *_: None)
    stack.fit_rotation(trainer.model, feed)
    return layers, trainer.model, stack.thresholds(trainer.model, feed, threshold)


@pytest.mark.parametrize("kind", sorted(posterior.BITS))
def test_bits_are_plus_and_minus_one_and_zero_is_minus_one(kind: str) -> None:
    one: Any = posterior.BITS[kind]()
    encoding = one.encode(torch.tensor([[-2.0, 0.0, 0.5]]), None)
    assert encoding.mean.tolist() == encoding.sample.tolist() == [[-1, -1, 1]]


def test_straight_through_passes_the_gradient_of_the_clipped_line() -> None:
    x = torch.tensor([[-2.0, -0.5, 0.5, 2.0]], requires_grad=True)
    sample = posterior.StraightThrough().encode(x, torch.Generator()).sample
    assert sample.tolist() == [[-1, -1, 1, 1]]
    (sample * torch.tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 2, 3, 0]]


def test_noise_units_saturate_with_the_noise() -> None:
    x = torch.zeros(20000, 1)
    generator = torch.Generator().manual_seed(0)
    soft = posterior.Noise(sigma=0.1).encode(x, generator).sample.abs().mean()
    hard = posterior.Noise(sigma=100).encode(x, generator).sample.abs().mean()
    assert soft < 0.1
    assert hard > 0.95


@pytest.mark.parametrize("kind", sorted(posterior.BITS))
def test_gradients_pass_and_the_sample_agrees_with_the_bits(kind: str) -> None:
    x = torch.tensor([[-0.9, -0.4, 0.4, 0.9]]).repeat(4000, 1).requires_grad_()
    one = posterior.BITS[kind]()
    sample = one.encode(x, torch.Generator().manual_seed(0)).sample
    assert (sample.mean(0).sign() == torch.tensor([-1, -1, 1, 1])).all()
    torch.autograd.backward(sample.sum())
    assert x.grad is not None
    assert (x.grad.sum(0) > 0).all()


def test_relaxed_bits_are_those_of_their_formulas() -> None:
    """With the draws of the same generator; values of straight-through bits and of coins are hard."""
    x = torch.randn((50, 4), generator=torch.Generator().manual_seed(0))
    again = torch.Generator().manual_seed(5)
    normal = torch.randn(x.shape, generator=again.manual_seed(5))
    uniform = torch.rand(x.shape, generator=again.manual_seed(5))
    expected = {
        posterior.StraightThrough(noise=0.7): torch.where(x + 0.7 * normal > 0, 1.0, -1.0),
        posterior.StraightThrough(): torch.where(x > 0, 1.0, -1.0),
        posterior.Noise(sigma=1.5): torch.tanh(0.5 * (x + 1.5 * normal)),
        posterior.Coin(sharpness=3.0): torch.where(uniform < torch.sigmoid(3 * x), 1.0, -1.0),
        posterior.Rotation(): x,
    }
    for one, wanted in expected.items():
        torch.testing.assert_close(one.encode(x, again.manual_seed(5)).sample, wanted)


def test_coins_have_the_gradient_of_their_mean() -> None:
    x = torch.tensor([[-0.5, 0.1, 0.7]], requires_grad=True)
    torch.autograd.backward(posterior.Coin(sharpness=3.0).encode(x, torch.Generator().manual_seed(0)).sample.sum())
    odds = torch.sigmoid(3 * x.detach())
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 2 * 3 * odds * (1 - odds))


def test_noise_moves_the_edges_of_the_clipped_line() -> None:
    x = torch.linspace(-3, 3, 101)[None].requires_grad_()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    sample = posterior.StraightThrough(noise=0.5).encode(x, torch.Generator().manual_seed(5)).sample
    torch.autograd.backward(sample.sum())
    assert x.grad is not None
    assert torch.equal(x.grad, ((x.detach() + 0.5 * noise).abs() <= 1).float())


def test_a_tanh_becomes_a_sign() -> None:
    x = torch.tensor([[0.3, -0.3]])
    one = posterior.Tanh(start=1, end=100)
    values = [one.at(progress).encode(x, torch.Generator()).sample[0, 0].item() for progress in (0, 0.5, 1)]
    assert values == pytest.approx([np.tanh(0.3), np.tanh(3), 1.0])
    assert one.at(0.7).model_dump() == one.model_dump()


def test_training_tells_the_posterior_its_progress(tmp_path: Path) -> None:
    _, model, _ = trained(tmp_path, Choice(kind="tanh", options={"start": 1.0, "end": 100.0}))
    near_the_end = model.posterior.encode(torch.tensor([[0.05]]), torch.Generator()).sample.item()
    assert near_the_end > 0.99


def test_coins_have_the_odds_of_the_encoder() -> None:
    x = torch.tensor([[-1.0, 0.0, 0.2]]).repeat(40_000, 1)
    drawn = posterior.Coin(sharpness=2).encode(x, torch.Generator().manual_seed(0)).sample
    assert set(drawn.flatten().tolist()) == {-1, 1}
    torch.testing.assert_close(((drawn + 1) / 2).mean(0), torch.sigmoid(2 * x[0]), atol=0.01, rtol=0)


def test_a_rotation_moves_codes_to_the_corners_and_the_decoder_undoes_it(tmp_path: Path) -> None:
    _, still, _ = trained(tmp_path / "still", Choice(kind="rotation", options={"iterations": 0}))
    _, turned, _ = trained(tmp_path / "turned", Choice(kind="rotation"))
    x = Feed(rows(), CPU).batch(torch.arange(600))
    with torch.no_grad():
        before, after = (model.net.encoder(x) for model in (still, turned))
        from_numbers = [model.decode(code) for model, code in ((still, before), (turned, after))]
        from_bits = [
            (model.decode(posterior.hard_bits(code)) - x).square().mean().item()
            for model, code in ((still, before), (turned, after))
        ]
    torch.testing.assert_close(before.norm(dim=1), after.norm(dim=1))  # nothing but a rotation
    torch.testing.assert_close(from_numbers[0], from_numbers[1], atol=1e-4, rtol=1e-4)
    loss = [(code - posterior.hard_bits(code)).square().sum(1).mean().item() for code in (before, after)]
    assert loss[1] < loss[0]
    assert from_bits[1] < from_bits[0]


def test_the_frozen_encoder_rotates_too(tmp_path: Path) -> None:
    layers, model, threshold = trained(tmp_path / "work", Choice(kind="rotation"), "median")
    (tmp_path / GRAPH).write_bytes(freeze([one.eval() for one in layers], threshold, SHAPE))
    write_card(tmp_path, Card("images", {}, SHAPE, WIDTH, BATCH))
    found = Encoder.open(tmp_path).encode(rows())
    with torch.no_grad():
        logits = model.net.encoder(Feed(rows(), CPU).batch(torch.arange(600))) - threshold
    np.testing.assert_allclose(found.logits, logits.numpy(), atol=1e-4)
    assert found.codes.unpack().mean(0) == pytest.approx(np.full(WIDTH, 0.5), abs=0.01)

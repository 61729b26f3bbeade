"""The steps of a training, one by one: what a plain loop does with the same seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import TrainingError
from aepipe.learn import batches, density, stack, trainer
from aepipe.learn import spec as layer_specs
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import Feed, seed_of
from aepipe.learn.likelihood import Bernoulli, Gaussian
from aepipe.learn.nets import Standardize, Turn, TurnBack, affine, dense, gain_of
from aepipe.learn.objectives import adversarial
from aepipe.learn.pca import Components
from aepipe.learn.posterior import Delta
from aepipe.learn.posterior import Gaussian as Codes
from aepipe.learn.trainer import FileCheckpoint, Trainer, learning_rate
from aepipe.recipe import ComputeRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
ROWS = np.random.default_rng(0).random((70, 5), np.float32)
HELD = np.random.default_rng(1).random((23, 5), np.float32)
RATE, SEED = 0.3, 5


class Forgets:
    """A checkpoint that is never due."""

    def load(self) -> None:
        """Return None."""

    def due(self) -> bool:
        return False

    def save(self, tensors: Any, position: Any) -> None:
        raise AssertionError("it was not due")


def spec(**fit: Any) -> layer_specs.LayerSpec:
    row = {
        "net": {"kind": "dense", "width": 4, "activation": "tanh"},
        "corruption": {"kind": "mask", "rate": RATE},
        "fit": {"epochs": 3, "batch": 16, "lr": 0.02, "weight_decay": 0.1, "warmup": 4, **fit},
    }
    return layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0")


def made(one: layer_specs.LayerSpec, rows: Any = ROWS, held: Any = HELD) -> Trainer:
    model = stack.build([one], (5,), seed=3)[0]
    return Trainer(model, one.training, train=Feed(rows, CPU), held_out=Feed(held, CPU), seed=SEED, compute=CPU)


def loss_of(model: Any, clean: Any, generator: Any) -> Any:
    kept = torch.rand(clean.shape, generator=generator) >= RATE
    up, down = model.net.encoder[1], model.net.decoder[0]
    return 0.5 * (down(torch.tanh(up(clean * kept))) - clean).square().sum(1).mean()


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_training_is_a_plain_loop(schedule: str) -> None:
    one = made(spec(schedule=schedule))
    found = one.run(Forgets(), lambda *_: None)
    model = stack.build([spec()], (5,), seed=3)[0]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    for epoch in range(3):
        order = torch.randperm(70, generator=torch.Generator().manual_seed(seed_of(SEED, epoch)))
        total = 0.0
        for step in range(5):
            clean = torch.from_numpy(ROWS)[order[16 * step : 16 * step + 16]]
            done = 5 * epoch + step
            rate = 0.02 * min(1, (done + 1) / 4)
            optimizer.param_groups[0]["lr"] = (
                rate * (1 + math.cos(math.pi * done / 15)) / 2 if schedule == "cosine" else rate
            )
            loss = loss_of(model, clean, torch.Generator().manual_seed(seed_of(SEED, epoch, step)))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.item() * len(clean)
        with torch.no_grad():
            held = loss_of(model, torch.from_numpy(HELD), torch.Generator().manual_seed(seed_of(SEED, 2**31)))
        expected = {"reconstruction": total / 70, "loss": total / 70, "held_out": held.item()}
        assert found[epoch] == pytest.approx(expected, rel=1e-4)
    for a, b in zip(one.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert not one.model.training


def test_networks_of_an_objective_are_drawn_by_the_seed_of_its_training() -> None:
    row = {"net": {"kind": "dense", "width": 4, "activation": "linear"}, "objective": "adversarial"}
    one: Any = made(layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0"))
    drawn = adversarial._critic(4, 256, torch.Generator().manual_seed(SEED)).state_dict()
    found = one._objective.own["critic"].state_dict()
    assert all(torch.equal(value, found[name]) for name, value in drawn.items())
    assert one._objective.model is one.model


def test_reports_come_after_each_epoch_and_at_looks_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "CHECK_EVERY", 2)
    told: list[tuple[int, int, str]] = []
    curve = made(spec(epochs=2)).run(Forgets(), lambda *one: told.append(one))
    notes = [f"loss {entry['loss']:.4g}, held out {entry['held_out']:.4g}" for entry in curve]
    looks = [(epoch, 2, f"epoch {epoch + 1}: {share}") for epoch in (0, 1) for share in ("40%", "80%", "100%")]
    assert told == [*looks[:3], (1, 2, notes[0]), *looks[3:], (2, 2, notes[1])]
    alone = made(spec(epochs=1), held=HELD[:0])
    told.clear()
    (entry,) = alone.run(Forgets(), lambda *one: told.append(one))
    assert told[-1][2] == f"loss {entry['loss']:.4g}"
    assert "held_out" not in entry


@pytest.mark.parametrize("count", [23, batches.BLOCK, batches.BLOCK + 1, 2 * batches.BLOCK + 5])
def test_held_out_rows_are_looked_at_block_by_block(count: int) -> None:
    """A mean over all rows, whatever the blocks; given inputs are taken as they are, and nothing is learned."""
    one = made(spec())
    before = {name: value.clone() for name, value in one.model.state_dict().items()}
    clean, noisy = (np.random.default_rng(seed).random((count, 5), np.float32) for seed in (1, 2))
    rebuilt = one.model.decode(one.model.encode(torch.from_numpy(noisy)).mean)
    expected = 0.5 * (rebuilt - torch.from_numpy(clean)).square().sum(1).mean()
    found = one.evaluate(Feed(clean, CPU), Feed(noisy, CPU))
    assert found == pytest.approx({"reconstruction": expected.item()}, rel=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in one.model.state_dict().items())


@pytest.mark.parametrize("patience", [1, 2])
def test_patience_counts_epochs_without_a_better_one(patience: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one = made(spec(epochs=9, patience=patience))
    losses = iter([5.0, 4.0, 4.0, 3.0, 3.5, 3.2, 2.0, 9.0, 9.0])
    states = []

    def evaluate(*_: object) -> dict[str, float]:
        states.append({name: value.clone() for name, value in one.model.state_dict().items()})
        return {"a": next(losses) - 1, "b": 1.0}

    monkeypatch.setattr(one, "evaluate", evaluate)
    curve = one.run(Forgets(), lambda *_: None)
    assert [entry["held_out"] for entry in curve] == [5.0, 4.0, 4.0] + ([] if patience == 1 else [3.0, 3.5, 3.2])
    best = states[1 if patience == 1 else 3]
    assert all(torch.equal(value, best[name]) for name, value in one.model.state_dict().items())


def test_without_patience_the_last_weights_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    one = made(spec(epochs=3))
    losses = iter([1.0, 2.0, 3.0])
    states = []

    def evaluate(*_: object) -> dict[str, float]:
        states.append({name: value.clone() for name, value in one.model.state_dict().items()})
        return {"a": next(losses)}

    monkeypatch.setattr(one, "evaluate", evaluate)
    assert len(one.run(Forgets(), lambda *_: None)) == 3
    assert all(torch.equal(value, states[2][name]) for name, value in one.model.state_dict().items())


@pytest.mark.parametrize(("warmup", "step", "share"), [(0, 0, 1), (5, 0, 0.2), (5, 3, 0.8), (5, 4, 1), (5, 9, 1)])
def test_the_rate_rises_for_some_steps(warmup: int, step: int, share: float) -> None:
    one = spec(warmup=warmup, schedule="constant").training
    assert learning_rate(one, step, 5) == pytest.approx(0.02 * share)


@pytest.mark.parametrize(
    ("rows", "batch", "slices", "trained"),
    [
        (70, 16, 1, 70),
        (70, 16, 6, 70),
        (70, 16, 7, 64),
        (64, 16, 8, 64),
        (5, 16, 5, 5),
        (20, 16, 4, 20),
        (19, 16, 4, 16),
    ],
)
def test_a_last_batch_with_fewer_rows_than_slices_is_left_out(rows: int, batch: int, slices: int, trained: int) -> None:
    assert trainer._trained(rows, batch, slices) == trained


@pytest.mark.parametrize(("rows", "batch"), [(5, 16), (70, 5)])
def test_a_batch_has_a_row_for_each_slice(rows: int, batch: int) -> None:
    with pytest.raises(TrainingError, match=r"batches of 5 rows cannot be cut into 6 slices; .* at most 5"):
        trainer._trained(rows, batch, 6)


def test_a_file_is_due_after_its_seconds(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("aepipe.learn.trainer.time.monotonic", lambda: now[0])
    checkpoint = FileCheckpoint(tmp_path / "a" / "b", seconds=7)
    due = []
    for now[0] in (100.0, 106.9, 107.0):
        due.append(checkpoint.due())
    checkpoint.save({"a": torch.ones(2)}, {"epoch": 1})
    due.append(checkpoint.due())
    now[0] = 114.0
    assert [*due, checkpoint.due()] == [False, False, True, False, True]
    usual = FileCheckpoint(tmp_path)
    now[0] = 123.9
    assert not usual.due()
    now[0] = 124.0
    assert usual.due()


@pytest.mark.parametrize("samples", [1, 7, 1 << 14, 1 << 16])
def test_the_evidence_of_each_row_is_a_mean_of_weights(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks of rows, from draws of the posterior, in logarithms."""
    if samples > 7:
        monkeypatch.setattr(density, "AT_ONCE", 20 if samples == 1 << 14 else 5)
        samples = 6
    net = dense.Options(width=3).build((5,), torch.Generator().manual_seed(0), Codes().head)
    model, x = Autoencoder(net, Codes(), Gaussian(sigma=0.5)), torch.from_numpy(HELD[:8])
    found = density.log_likelihood(model, x, samples=samples, generator=torch.Generator().manual_seed(4))
    again, per_block = torch.Generator().manual_seed(4), max(1, density.AT_ONCE // samples)
    expected = []
    for block in (x[start : start + per_block] for start in range(0, 8, per_block)):
        many = block.repeat_interleave(samples, 0)
        mean, log_sigma = net.encode(many)[0].detach().double().chunk(2, -1)
        code = mean + log_sigma.exp() * torch.randn(mean.shape, generator=again).double()
        own = torch.distributions.Normal(mean, log_sigma.exp()).log_prob(code).sum(1)
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(code).sum(1)
        there = torch.distributions.Normal(model.decode(code.float()).detach().double(), 0.5).log_prob(many).sum(1)
        expected.append((prior + there - own).exp().view(-1, samples).mean(1).log())
    torch.testing.assert_close(found.double(), torch.cat(expected), rtol=1e-3, atol=1e-3)


def test_a_displacement_is_in_the_units_of_rows() -> None:
    net = dense.Options(width=3).build((5,), torch.Generator().manual_seed(0))
    model, x = Autoencoder(net, Delta(), Bernoulli()), torch.from_numpy(HELD)
    expected = model.decode(model.encode(x).mean).sigmoid().detach() - x
    torch.testing.assert_close(density.displacement(model, x), expected)
    torch.testing.assert_close(density.score(model, x, sigma=0.5), expected / 0.25)


@pytest.mark.parametrize("momentum", [0.1, 0.5])
def test_standardised_units_remember_running_averages(momentum: float) -> None:
    one = Standardize(4)
    one.momentum = momentum
    x, y = (3 * torch.randn((n, 4), generator=torch.Generator().manual_seed(n)) + 2 for n in (9, 6))
    one(x)
    mean, variance = momentum * x.mean(0), (1 - momentum) + momentum * x.var(0)
    torch.testing.assert_close(one.running_mean, mean)
    torch.testing.assert_close(one.running_var, variance)
    expected = (y[:1] - mean) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(one(y[:1]), expected)
    one.eval()
    torch.testing.assert_close(one(y), (y - mean) / (variance + 1e-5).sqrt())
    torch.testing.assert_close(one.running_mean, mean)


@pytest.mark.parametrize("gain", [None, 1.0, math.sqrt(2)])
def test_weights_are_even_within_their_bound(gain: float | None) -> None:
    made_of = affine(300, 200, torch.Generator().manual_seed(0), gain=gain)
    bound = 1 / math.sqrt(300) if gain is None else gain * math.sqrt(3 / 300)
    weight = made_of.weight.detach()
    assert weight.shape == (200, 300)
    assert weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert weight.mean().item() == pytest.approx(0, abs=bound / 100)
    biases = made_of.bias.detach().abs().max().item()
    assert biases == (pytest.approx(bound, rel=0.05) if gain is None else 0)


@pytest.mark.parametrize(
    ("activation", "gain"), [("linear", 1), ("tanh", 1), ("sigmoid", 1), ("relu", 2**0.5), ("gelu", 2**0.5)]
)
def test_rectifiers_lose_half_of_the_signal(activation: Any, gain: float) -> None:
    assert gain_of(activation) == pytest.approx(gain)


def test_a_turn_is_undone_by_its_way_back() -> None:
    turn, x = Turn(4), torch.randn((5, 4), generator=torch.Generator().manual_seed(0))
    back = TurnBack(turn)
    assert torch.equal(turn(x), x)
    turn.rotation.copy_(torch.linalg.qr(torch.randn((4, 4), generator=torch.Generator().manual_seed(1))).Q)
    torch.testing.assert_close(turn(x), x @ turn.rotation)
    torch.testing.assert_close(back(turn(x)), x)


@pytest.mark.parametrize("whiten", [0.0, 0.3, 1.0])
def test_components_are_scaled_by_a_power_of_their_deviation(whiten: float) -> None:
    variance = torch.tensor([4.0, 1.0, 4e-6 * 1.01, 4e-6 * 0.99, 0.0])
    found = Components(torch.zeros(5), torch.eye(5), variance).scale(whiten)
    expected = [4**-0.5, 1.0, (4e-6 * 1.01) ** -0.5]
    assert found[:3].tolist() == pytest.approx([one**whiten for one in expected], rel=1e-4)
    assert found[3:].tolist() == [0, 0]


def test_rows_come_in_blocks_and_bytes_are_scaled() -> None:
    bytes_of = np.random.default_rng(0).integers(0, 256, (11, 3), dtype=np.uint8)
    feed = Feed(bytes_of, CPU)
    assert [len(block) for block in feed.blocks(4)] == [4, 4, 3]
    torch.testing.assert_close(torch.cat(list(feed.blocks(4))), torch.from_numpy(bytes_of / 255).float())
    torch.testing.assert_close(feed.block(1, 4), feed.batch(torch.arange(4, 8)))
    torch.testing.assert_close(feed.block(0), feed.batch(torch.arange(11)))
    assert len(feed) == 11
    assert feed.shape == (3,)
    holes = np.ones((9000, 2), np.float32)
    assert not Feed(holes, CPU).holes
    holes[8999, 1] = np.nan
    assert Feed(holes, CPU).holes
    assert not Feed(torch.from_numpy(holes), CPU).holes, "codes of a layer below are never missing"

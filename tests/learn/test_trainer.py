"""The training loop: loss falls, runs repeat and resume exactly, early stop, clear failure."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import TrainingError
from aepipe.learn import batches, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.trainer import FileCheckpoint, Trainer, learning_rate
from aepipe.recipe import Choice, CodeRecipe, ComputeRecipe, FitRecipe, LayerRecipe

ROWS = np.random.default_rng(0).integers(0, 256, (500, 4, 4, 1), np.uint8) // 64 * 64
CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))


class Memory:
    """A checkpoint that keeps every state, due at chosen moments; it can interrupt the run."""

    def __init__(self, *, every: int = 0, die_after: int = 0) -> None:
        self.saved: Any = None
        self.every, self.die_after, self.asked = every, die_after, 0

    def load(self) -> Any:
        return copy.deepcopy(self.saved)

    def due(self) -> bool:
        self.asked += 1
        return bool(self.every) and self.asked % self.every == 0

    def save(self, tensors: Any, position: Any) -> None:
        self.saved = copy.deepcopy((tensors, position))
        if self.die_after and self.asked >= self.die_after:
            raise KeyboardInterrupt


def recipe(**fit: Any) -> LayerRecipe:
    return LayerRecipe(
        net=Choice(kind="dense", options={"width": 12}),
        likelihood=Choice(kind="bernoulli"),
        corruption=Choice(kind="mask", options={"rate": 0.3}),
        fit=FitRecipe(**{"epochs": 3, "batch": 64, **fit}),
    )


def trainer(spec: layer_specs.LayerSpec, rows: Any = ROWS, held_out: Any = ROWS[:100]) -> Trainer:
    model = stack.build([spec], (4, 4, 1), seed=3)[0]
    feed, others = Feed(rows, CPU), Feed(held_out, CPU)
    return Trainer(model, spec.training, train=feed, held_out=others, seed=5, compute=CPU)


def quiet(done: int, total: int, note: str) -> None:
    """Ignore reports."""


def weights(one: Trainer) -> dict[str, Any]:
    return {name: value.clone() for name, value in one.model.state_dict().items()}


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


CODE = layer_specs.code_spec(
    CodeRecipe(
        bits=6,
        binarize=Choice(kind="straight-through", options={"noise": 0.3}),
        fit=FitRecipe(epochs=3, batch=64, lr=0.01),
    )
)
LAYER = layer_specs.layer_spec(recipe(), "layers.0")


@pytest.mark.parametrize("spec", [LAYER, CODE], ids=["layer", "code"])
def test_loss_falls_and_the_same_seed_gives_the_same_curve(spec: layer_specs.LayerSpec) -> None:
    first, second = trainer(spec), trainer(spec)
    curve = first.run(Memory(), quiet)
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert curve[-1]["held_out"] < curve[0]["held_out"]
    assert curve == second.run(Memory(), quiet)
    assert equal(weights(first), weights(second))


@pytest.mark.parametrize("die_after", [1, 5, 8, 9, 17])
@pytest.mark.parametrize("spec", [LAYER, CODE], ids=["layer", "code"])
def test_an_interrupted_run_ends_with_the_same_weights(spec: layer_specs.LayerSpec, die_after: int) -> None:
    undisturbed = trainer(spec)
    expected = undisturbed.run(Memory(), quiet)
    checkpoint = Memory(every=1, die_after=die_after)
    with pytest.raises(KeyboardInterrupt):
        trainer(spec).run(checkpoint, quiet)
    resumed = trainer(spec)
    assert resumed.run(_then(checkpoint), quiet) == expected
    assert equal(weights(resumed), weights(undisturbed))


def _then(checkpoint: Memory) -> Memory:
    after = Memory()
    after.saved = checkpoint.saved
    return after


def test_rows_on_disk_give_the_same_weights_as_rows_on_the_device(tmp_path: Any) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    tight = batches.Compute(CPU.device, CPU.dtype, memory=100)
    feeds = [Feed(mapped, CPU), Feed(mapped, tight)]
    assert [feed.resident for feed in feeds] == [True, False]
    layers = stack.build([LAYER, CODE], (4, 4, 1), seed=0)
    kept = stack.codes(layers[:1], feeds[0], CPU, spill=tmp_path / "kept.npy")
    spilt = stack.codes(layers[:1], feeds[1], tight, spill=tmp_path / "spilt.npy")
    assert (kept.resident, spilt.resident) == (True, False)
    assert (tmp_path / "spilt.npy").exists()
    trained = []
    for codes in (kept, spilt):
        one = Trainer(copy.deepcopy(layers[1]), CODE.training, train=codes, held_out=codes, seed=1, compute=CPU)
        one.run(Memory(), quiet)
        trained.append(weights(one))
    assert equal(*trained)


def test_patience_stops_and_restores_the_best_weights() -> None:
    spec = layer_specs.layer_spec(recipe(epochs=200, lr=0.1, patience=2, schedule="constant"), "layers.0")
    one = trainer(spec, rows=ROWS[:20])
    curve = one.run(Memory(), quiet)
    held_out = [entry["held_out"] for entry in curve]
    assert len(curve) < 200
    assert min(held_out) == held_out[-3]
    assert sum(one.evaluate(one.held_out).values()) == pytest.approx(min(held_out))


def test_corruption_is_on_the_input_and_the_target_is_clean() -> None:
    one = trainer(LAYER)
    clean = one.train.batch(torch.arange(8))
    batch = one._batch(clean, torch.Generator().manual_seed(0))
    assert torch.equal(batch.clean, clean)
    assert not torch.equal(batch.noisy, clean)
    assert ((batch.noisy == clean) | (batch.noisy == 0)).all()


def test_a_loss_that_is_not_finite_is_named() -> None:
    spec = layer_specs.layer_spec(
        recipe(lr=1e30, epochs=20).model_copy(update={"likelihood": Choice(kind="gaussian")}), "x"
    )
    with pytest.raises(
        TrainingError, match=r"'reconstruction' is (nan|inf) in epoch \d+, among rows 1 to 500 .* lr 1e\+30"
    ):
        trainer(spec).run(Memory(), quiet)


def test_a_batch_of_one_row_trains() -> None:
    spec = layer_specs.code_spec(CodeRecipe(bits=6, fit=FitRecipe(epochs=2, batch=64)))
    assert np.isfinite(trainer(spec, rows=ROWS[:65]).run(Memory(), quiet)[-1]["loss"])


def test_learning_rate_rises_and_falls() -> None:
    spec = layer_specs.layer_spec(recipe(epochs=2, lr=1.0, warmup=4), "x").training
    rates = [learning_rate(spec, step, 10) for step in range(20)]
    assert rates[:3] == pytest.approx([0.25, 0.5 * np.cos(np.pi / 40) ** 2, 0.75 * np.cos(np.pi / 20) ** 2])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] < 0.01


def test_file_checkpoint_survives_and_ignores_garbage(tmp_path: Any) -> None:
    checkpoint = FileCheckpoint(tmp_path, seconds=0)
    assert checkpoint.load() is None
    assert checkpoint.due()
    checkpoint.save({"a": torch.arange(3.0)}, {"epoch": 2, "best": float("inf")})
    loaded = FileCheckpoint(tmp_path).load()
    assert loaded is not None
    assert torch.equal(loaded[0]["a"], torch.arange(3.0))
    assert loaded[1] == {"epoch": 2, "best": float("inf")}
    (tmp_path / "checkpoint.safetensors").write_bytes(b"torn")
    assert checkpoint.load() is None


def test_file_checkpoint_resumes_a_whole_run(tmp_path: Any) -> None:
    undisturbed = trainer(CODE)
    expected = undisturbed.run(Memory(), quiet)
    first = trainer(CODE)
    with pytest.raises(KeyboardInterrupt):
        first.run(FileCheckpoint(tmp_path, seconds=0), _stop_after(2))
    resumed = trainer(CODE)
    assert resumed.run(FileCheckpoint(tmp_path, seconds=0), quiet) == expected
    assert equal(weights(resumed), weights(undisturbed))


def _stop_after(epochs: int) -> Any:
    def report(done: int, total: int, note: str) -> None:
        if done >= epochs:
            raise KeyboardInterrupt

    return report


def test_the_deep_network_shares_the_layers_parameters() -> None:
    layers = stack.build([LAYER, CODE], (4, 4, 1), seed=0)
    deep = stack.unroll(layers)
    assert {id(p) for p in deep.parameters()} == {id(p) for one in layers for p in one.parameters()}
    deep.eval()
    x = Feed(ROWS, CPU).batch(torch.arange(10))
    bits = deep.encode(x).mean
    assert set(bits.flatten().tolist()) == {-1, 1}
    by_hand = layers[0].net.decoder(torch.relu(layers[1].net.decoder(bits)))
    assert torch.allclose(deep.decode(bits), by_hand)


@pytest.mark.parametrize("kind", ["zero", "median"])
def test_thresholds(kind: Any) -> None:
    deep = stack.unroll(stack.build([LAYER, CODE], (4, 4, 1), seed=0)).eval()
    feed = Feed(ROWS, CPU)
    threshold = stack.thresholds(deep, feed, kind)
    with torch.no_grad():
        share = (deep.net.encoder(next(feed.blocks(500))) > threshold).float().mean(0)
    assert (threshold == 0).all() if kind == "zero" else ((share - 0.5).abs() < 0.05).all()

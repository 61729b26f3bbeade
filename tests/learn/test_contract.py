"""Every objective, found by its file: loss falls, runs repeat and resume, both halves learn."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.learn import batches, objectives, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.objectives import Batch
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import CodeRecipe, ComputeRecipe, FitRecipe, LayerRecipe
from tests.docs.blocks import blocks

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
RNG = np.random.default_rng(0)
KINDS_OF_ROWS = RNG.integers(0, 2, (16, 12), np.uint8)
ROWS = np.where(RNG.random((300, 12)) < 0.05, 1, KINDS_OF_ROWS[RNG.integers(0, 16, 300)]).astype(np.uint8) * 255
KINDS = sorted(objectives.kinds())


def trainer(kind: str) -> Trainer:
    fit = FitRecipe(epochs=4, batch=32, lr=0.01)
    common = {"corruption": {"kind": "mask", "rate": 0.2}, "objective": {"kind": kind}, "fit": fit}
    example = objectives.kinds()[kind].example
    net = {"kind": "dense", "width": 8, "activation": "sigmoid"}
    if "normalize" in example:
        spec = layer_specs.code_spec(CodeRecipe.model_validate({"bits": 8, **common, **example}))
    elif example:
        spec = layer_specs.layer_spec(LayerRecipe.model_validate({"net": net, **common, **example}), kind)
    else:
        spec = layer_specs.code_spec(CodeRecipe.model_validate({"bits": 8, **common}))
    model = stack.build([spec], (12,), seed=1)[0]
    feed = Feed(ROWS, CPU)
    return Trainer(model, spec.training, train=feed, held_out=feed, seed=2, compute=CPU)


def state(one: Trainer) -> bytes:
    return b"".join(value.numpy().tobytes() for value in one.model.state_dict().values())


def batch(one: Trainer, **changes: Any) -> Batch:
    clean = one.train.batch(torch.arange(32))
    return Batch(clean, clean.clone(), None, None)._replace(**changes)


def quiet(done: int, total: int, note: str) -> None:
    """Ignore reports."""


def by_hand(features: np.ndarray, k: int) -> np.ndarray:
    """Return the k nearest other rows of each, by a sort of all pairs."""
    pairs = features @ features.T
    np.fill_diagonal(pairs, -np.inf)
    return np.argsort(-pairs, axis=1, kind="stable")[:, :k].astype(np.int32)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_finite_falls_and_repeats_itself(kind: str, tmp_path: Path) -> None:
    first, second = trainer(kind), trainer(kind)
    untrained = sum(first.evaluate(first.train).values())
    curve = first.run(FileCheckpoint(tmp_path), quiet, neighbours=by_hand)
    assert all(np.isfinite(list(entry.values())).all() for entry in curve)
    options = objectives.kinds()[kind]
    before, after = (curve[0], curve[-1]) if options.descends else ({"loss": untrained}, curve[0])
    assert after[options.falls] < before[options.falls]
    assert curve == second.run(FileCheckpoint(tmp_path / "other"), quiet, neighbours=by_hand)
    assert state(first) == state(second)


@pytest.mark.parametrize("kind", KINDS)
def test_it_resumes_exactly(kind: str, tmp_path: Path) -> None:
    undisturbed = trainer(kind)
    expected = undisturbed.run(FileCheckpoint(tmp_path / "none"), quiet, neighbours=by_hand)

    def stop(done: int, total: int, note: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(kind).run(FileCheckpoint(tmp_path, seconds=0), stop, neighbours=by_hand)
    resumed = trainer(kind)
    assert resumed.run(FileCheckpoint(tmp_path), quiet, neighbours=by_hand) == expected
    assert state(resumed) == state(undisturbed)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_both_halves_and_the_batch_stays_as_it_is(kind: str) -> None:
    one = trainer(kind)
    one.model.train()
    given = batch(one, generator=torch.Generator().manual_seed(0))
    before = [given.clean.clone(), given.noisy.clone()]
    weights = {name: p.clone() for name, p in one.model.named_parameters()}
    objective = objectives.build(one.model, one.training.objective, CPU)
    objective.prepare(one.train, by_hand)
    for phase in objective.phases():
        phase.step(given)
    for half in ("net.encoder", "net.decoder"):
        reached = [(name, p) for name, p in one.model.named_parameters() if name.startswith(half)]
        if one.training.objective.descends:
            assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for _, p in reached)
        else:
            assert all(p.grad is None and not torch.equal(p, weights[name]) for name, p in reached)
    assert torch.equal(given.clean, before[0])
    assert torch.equal(given.noisy, before[1])


@pytest.mark.parametrize("kind", KINDS)
def test_unobserved_cells_of_the_target_change_nothing(kind: str) -> None:
    one = trainer(kind)
    one.model.eval()
    objective = objectives.build(one.model, one.training.objective, CPU)
    observed = torch.arange(12) < 9
    given = batch(one, observed=observed)
    garbled = given._replace(clean=torch.where(observed, given.clean, 0.123))
    with torch.no_grad():
        a, b = objective.terms(given), objective.terms(garbled)
    assert {name: term.item() for name, term in a.items()} == {name: term.item() for name, term in b.items()}


def test_the_example_of_the_pages_is_an_objective() -> None:
    (example,) = [one.text for one in blocks("docs/contributing/extending.md") if "objectives/" in one.title]
    module = ModuleType("example")
    sys.modules["example"] = module
    exec(example, module.__dict__)
    one = trainer("reconstruction")
    objective = objectives.build(one.model, module.Options(weight=0.5), CPU)
    terms = objective.terms(batch(one))
    assert terms.keys() == {"reconstruction", "sparsity"}
    assert terms["sparsity"].item() == pytest.approx(0.5 * 8)  # eight bits of absolute value 1

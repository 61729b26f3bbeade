"""Neighbourhood: its loss by hand, its scales and prefixes, and better whole rankings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import RecipeError
from aepipe.evaluate.retrieval import retrieval
from aepipe.index.float_knn import neighbours
from aepipe.learn import batches, objectives, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.objectives import Batch
from aepipe.learn.objectives.neighbourhood import surprise
from aepipe.learn.stack import unroll
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import CodeRecipe, ComputeRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))


def spec(objective: dict[str, Any], bits: int = 16, **more: Any) -> layer_specs.LayerSpec:
    return layer_specs.code_spec(CodeRecipe.model_validate({"bits": bits, "objective": objective, **more}))


def test_the_surprise_is_the_cross_entropy_of_both_ways() -> None:
    rng = np.random.default_rng(0)
    here, there = (np.where(rng.random((5, 9)) < 0.5, -1.0, 1.0) for _ in range(2))
    agreement = 0.7 / 9**0.75 * here @ there.T
    expected = 0.0
    for row in range(5):
        along = [math.exp(agreement[row, other]) for other in range(5)]
        down = [math.exp(agreement[other, row]) for other in range(5)]
        expected -= 0.5 * (math.log(along[row] / sum(along)) + math.log(down[row] / sum(down))) / 5
    assert surprise(torch.tensor(here), torch.tensor(there), 0.7).item() == pytest.approx(expected, rel=1e-5)


def test_bits_take_turns_between_scales_and_prefixes_are_codes() -> None:
    scales = [{"steps": 6}, {"steps": 2, "weight": 3.0}]
    choices = spec({"kind": "neighbourhood", "scales": scales, "nested": [8], "k": 4, "reconstruction": 0.0})
    rows = Feed(np.random.default_rng(0).random((40, 12), np.float32), CPU)
    model = stack.build([choices], (12,), seed=0)[0].eval()
    objective = objectives.build(model, choices.training.objective, CPU)
    objective.prepare(rows, neighbours)
    positions, clean = torch.arange(40), rows.batch(torch.arange(40))
    batch = Batch(clean, clean, None, torch.Generator(), positions=positions, pass_seed=3)
    terms = objective.terms(batch)
    again = CPU.generator(3)
    ends = [objective.graph.walk_all(steps, again) for steps in (6, 2)]  # type: ignore[attr-defined]
    codes = [model.encode(rows.batch(where)).mean for where in (positions, *ends)]
    for place, (steps, weight) in enumerate([(6, 1.0), (2, 3.0)]):
        parts = [
            surprise(codes[0][:, place:length:2], codes[place + 1][:, place:length:2], 2.0).item() for length in (8, 16)
        ]
        assert terms[f"within {steps}"].item() == pytest.approx(weight * sum(parts) / 2, rel=1e-5)
    assert terms["reconstruction"].item() == 0
    assert_walks_are_those_of_the_pass(objective, batch)
    assert set(objective.terms(Batch(clean, clean, None, None))) == {"reconstruction", "decorrelation"}


def test_a_shared_scale_is_learned_by_all_bits() -> None:
    scales = [{"steps": 6}, {"steps": 2, "shared": True}]
    choices = spec({"kind": "neighbourhood", "scales": scales, "k": 4, "by": "distance"})
    rows = Feed(np.random.default_rng(0).random((40, 12), np.float32), CPU)
    model = stack.build([choices], (12,), seed=0)[0].eval()
    objective = objectives.build(model, choices.training.objective, CPU)
    objective.prepare(rows, neighbours)
    clean, again = rows.batch(torch.arange(40)), CPU.generator(3)
    terms = objective.terms(Batch(clean, clean, None, torch.Generator(), positions=torch.arange(40), pass_seed=3))
    ends = [objective.graph.walk_all(steps, again) for steps in (6, 2)]  # type: ignore[attr-defined]
    here, far, near = (model.encode(rows.batch(where)).mean for where in (torch.arange(40), *ends))
    assert terms["within 6"].item() == pytest.approx(surprise(here[:, ::2], far[:, ::2], 2.0).item(), rel=1e-5)
    assert terms["within 2"].item() == pytest.approx(surprise(here, near, 2.0).item(), rel=1e-5)


def of_eight_bits(options: dict[str, Any]) -> Any:
    """Return the objective of eight bits over rows of six cells."""
    choices = spec(options, 8)
    return objectives.build(stack.build([choices], (6,), seed=0)[0], choices.training.objective, CPU)


def test_dependence_of_neighbourhood_is_a_mean_over_pairs_for_each_length() -> None:
    options = {"kind": "neighbourhood", "nested": [4, 6, 40], "reconstruction": 0.3, "decorrelation": 0.7}
    one: Any = of_eight_bits(options)
    one.model.eval()
    clean = torch.rand((30, 6), generator=torch.Generator().manual_seed(1))
    terms = one.terms(Batch(clean, clean, None, None))
    code = one.model.encode(clean).mean.detach().numpy()
    apart = [np.square(np.cov(code.T[:n], bias=True) - np.eye(n)).sum() / n**2 for n in (4, 6, 8)]
    assert terms["decorrelation"].item() == pytest.approx(0.7 * sum(apart), rel=1e-4)
    nll = 0.5 * (one.model.decode(torch.from_numpy(code)) - clean).square().sum().item() / 30
    assert terms["reconstruction"].item() == pytest.approx(0.3 * nll, rel=1e-4)


def test_found_edges_take_the_place_of_the_last_ones() -> None:
    """Of six edges a third is found by the codes, after every second pass, and once in a pass."""
    asked: list[tuple[np.ndarray, int]] = []

    def neighbours(features: np.ndarray, k: int) -> np.ndarray:
        asked.append((features, k))
        return (np.arange(len(features))[:, None] + len(asked) + np.arange(k)).astype(np.int32) % len(features)

    options = {"kind": "neighbourhood", "k": 6, "refresh": 2, "refreshed": 0.34, "scales": [{"steps": 1}]}
    one: Any = of_eight_bits(options)
    rows = Feed(np.random.default_rng(0).random((20, 6), np.float32), CPU)
    one.model.train()
    one.prepare(rows, neighbours)
    assert [k for _, k in asked] == [6]
    for passes, calls in ((0, 1), (1, 1), (2, 2), (2, 2), (3, 2), (4, 3)):
        one._refresh(passes)
        assert len(asked) == calls, passes
    assert one.model.training
    features, k = asked[-1]
    assert k == 2
    one.model.eval()
    code = one.model.net.encoder(rows.batch(torch.arange(20))).detach().tanh()
    centred = (code - code.mean(0)).numpy()
    np.testing.assert_allclose(features, centred / np.linalg.norm(centred, axis=1, keepdims=True), atol=1e-5)
    first = (np.arange(20)[:, None] + 1 + np.arange(4)) % 20
    assert (
        one.graph.near_NK.tolist()
        == np.concatenate([first, (np.arange(20)[:, None] + 3 + np.arange(2)) % 20], 1).tolist()
    )
    other: Any = of_eight_bits(options)
    other.own.load_state_dict(one.own.state_dict())
    other.prepare(rows, lambda features, k: np.tile(np.arange(k, dtype=np.int32), (len(features), 1)))
    assert other.graph.near_NK[:, 4:].tolist() == one.graph.near_NK[:, 4:].tolist(), "they are saved with the training"
    assert other.graph.near_NK[:, :4].tolist() == [[0, 1, 2, 3]] * 20


def assert_walks_are_those_of_the_pass(objective: Any, batch: Batch) -> None:
    """Check that a row's walks do not depend on its batch, and that each pass has new walks."""
    last = batch._replace(clean=batch.clean[30:], noisy=batch.noisy[30:], positions=torch.arange(30, 40))
    for whole, part in zip(objective._others(batch), objective._others(last), strict=True):
        torch.testing.assert_close(whole[30:], part)
    other = objective._others(batch._replace(pass_seed=4))
    assert any(not torch.equal(one, two) for one, two in zip(objective._others(batch), other, strict=True))


@pytest.mark.parametrize(
    ("objective", "bits", "message"),
    [
        ({"kind": "neighbourhood"}, 1, "2 scales share 1 bits"),
        ({"kind": "neighbourhood", "nested": [1]}, 16, "2 scales share 1 bits"),
        ({"kind": "neighbourhood", "scales": []}, 16, "code.objective.scales"),
        ({"kind": "neighbourhood", "scales": [{"steps": 0}]}, 16, "code.objective.scales.0.steps"),
    ],
)
def test_unsuitable_layers_are_refused(objective: dict[str, Any], bits: int, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        spec(objective, bits)


def test_a_layer_without_bits_is_refused() -> None:
    row = {"net": {"kind": "dense", "width": 8}, "objective": "neighbourhood"}
    with pytest.raises(RecipeError, match="agreement is counted in bits"):
        layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0")


def rings(n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points of four noisy loops in 20 dimensions: groups that are long, not round."""
    rng = np.random.default_rng(seed)
    group, angle = rng.integers(0, 4, n_rows), rng.random(n_rows) * 2 * np.pi
    planes = np.linalg.qr(np.random.default_rng(9).standard_normal((20, 20)))[0].reshape(10, 2, 20)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    rows = np.einsum("nc,ncd->nd", circle, planes[group]) + 0.05 * rng.standard_normal((n_rows, 20))
    return rows.astype(np.float32), group


def test_the_whole_ranking_is_better_than_by_reconstruction(tmp_path: Path) -> None:
    """On a loop, the opposite point is of the same kind but far away: only a graph shows it."""
    (rows, groups), (asked, truth) = rings(2000, 0), rings(200, 1)
    found = {}
    for kind in ("reconstruction", "neighbourhood"):
        hidden = layer_specs.layer_spec(LayerRecipe.model_validate({"net": {"kind": "dense", "width": 64}}), "layers.0")
        fit = {"epochs": 12, "batch": 128, "lr": 0.01}
        top = spec({"kind": kind}, bits=16, fit=fit)
        feed = Feed(rows, CPU)
        model = unroll(stack.build([hidden, top], (20,), seed=0))
        one = Trainer(model, top.training, train=feed, held_out=Feed(rows[:0], CPU), seed=0, compute=CPU)
        one.run(FileCheckpoint(tmp_path / kind), lambda *_: None, neighbours=neighbours)
        with torch.no_grad():
            codes = [BitCodes.from_bits(model.encode(torch.from_numpy(x)).mean.numpy() > 0) for x in (rows, asked)]
        found[kind] = retrieval(codes[0], codes[1], groups, truth).map.mean()
    assert found["neighbourhood"] > 0.8
    assert found["neighbourhood"] > found["reconstruction"] + 0.2

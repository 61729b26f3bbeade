"""Rotated components as the layer of bits: the same bits as the baseline, and a decoder of least squares."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aepipe import recipe as recipes
from aepipe.errors import RecipeError
from aepipe.evaluate.baselines import fit_itq, itq_rotation
from aepipe.learn import batches, stack
from aepipe.learn.batches import Feed
from aepipe.learn.objectives import itq
from aepipe.learn.objectives.itq import Objective, Options
from aepipe.learn.pca import Components
from aepipe.learn.spec import code_spec
from aepipe.recipe import CodeRecipe, ComputeRecipe

RNG = np.random.default_rng(0)
CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))


def rows(count: int = 400, width: int = 12) -> NDArray[np.float32]:
    """Rows with components of different variance, off the origin."""
    return (RNG.normal(size=(count, width)) * np.linspace(3, 0.3, width) + 2).astype(np.float32)


def fitted(seen: NDArray[np.float32], n_bits: int) -> Objective:
    spec = code_spec(CodeRecipe.model_validate({"bits": n_bits, "normalize": False, "objective": "itq"}))
    (model,) = stack.build([spec], seen.shape[1:], seed=0)
    found = Objective(model, Options(), CPU, seed=0)
    found.prepare(Feed(seen, CPU), None)
    return found


def test_bits_are_those_of_the_baseline() -> None:
    seen = rows()
    objective = fitted(seen, 8)
    with torch.no_grad():
        ours = objective.model.net.encoder(torch.from_numpy(seen)).numpy() > 0
    theirs = fit_itq(seen, 8, 0).codes(seen).unpack().astype(bool)
    # Signs of components are free, so the first rotations differ; what they end in keeps the same distances.
    far = [(bits[:, None] != bits[None]).sum(2) for bits in (ours, theirs)]
    assert np.corrcoef(far[0].ravel(), far[1].ravel())[0, 1] > 0.95
    assert (np.abs(ours.mean(0) - 0.5) < 0.2).all()


@pytest.mark.parametrize(("n_bits", "whiten", "most"), [(5, 0.0, 1000), (6, 0.5, 100), (15, 1.0, 70)])
def test_every_weight_by_hand(n_bits: int, whiten: float, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotations are found on a sample of many rows; of fewer components than bits, further ones side by side."""
    monkeypatch.setattr(itq, "ROWS", most)
    seen = rows(count=300, width=7)
    seen[::9, 2] = np.nan  # counts as zero
    spec = code_spec(CodeRecipe.model_validate({"bits": n_bits, "normalize": False, "objective": "itq"}))
    (model,) = stack.build([spec], (7,), seed=0)
    Objective(model, Options(whiten=whiten, iterations=3), CPU, seed=4).prepare(Feed(seen, CPU), None)
    up, down = model.net.encoder[1], model.net.decoder[0]  # type: ignore[index]
    whole = np.nan_to_num(seen).astype(np.float64)
    found = Components.of(Feed(seen, CPU), min(n_bits, 7))
    axes = (found.axes * found.scale(whiten)).numpy()
    projected, rng = ((whole - whole.mean(0)) @ axes).astype(np.float32), np.random.default_rng(4)
    if len(projected) > most:
        projected = projected[np.sort(rng.choice(300, most, replace=False))]
    turns = [itq_rotation(projected, rng, iterations=3) for _ in range(3 if n_bits == 15 else 1)]
    turned = axes @ np.concatenate(turns, axis=1)[:, :n_bits]
    np.testing.assert_allclose(up.weight.detach().numpy(), turned.T, atol=1e-3)
    np.testing.assert_allclose(up.bias.detach().numpy(), -whole.mean(0) @ turned, atol=5e-3)
    with torch.no_grad():
        bits = np.where(up(torch.from_numpy(whole).float()).numpy() > 0, 1.0, -1.0)
    one, other = bits - bits.mean(0), whole - whole.mean(0)
    weight = np.linalg.solve(one.T @ one / 300 + 1e-4 * np.eye(n_bits), one.T @ other / 300).T
    np.testing.assert_allclose(down.weight.detach().numpy(), weight, atol=1e-4, rtol=1e-3)
    bias = whole.mean(0) - weight @ bits.mean(0)
    np.testing.assert_allclose(down.bias.detach().numpy(), bias, atol=1e-4, rtol=1e-3)


def test_the_decoder_has_the_least_squared_error() -> None:
    seen = torch.from_numpy(rows())
    model = fitted(seen.numpy(), 8).model
    with torch.no_grad():
        bits = torch.where(model.net.encoder(seen) > 0, 1.0, -1.0)
        error = (model.net.decoder(bits) - seen).square().mean()
        best = torch.cat([bits, torch.ones(len(bits), 1)], 1)
        found = best @ torch.linalg.lstsq(best, seen).solution
    assert error <= (found - seen).square().mean() * 1.001


def test_more_bits_than_components_are_further_rotations() -> None:
    seen = rows(width=6)
    with torch.no_grad():
        bits = fitted(seen, 16).model.net.encoder(torch.from_numpy(seen)).numpy() > 0
    assert bits.shape == (400, 16)
    assert len(np.unique(bits.T, axis=0)) == 16


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ('objective = "itq"', "normalize = false"),
        ('objective = "itq"\nnormalize = false\ncorruption = { kind = "mask", rate = 0.2 }', "corruption none"),
    ],
)
def test_what_does_not_go_with_it_is_refused(code: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        code_spec(CodeRecipe.model_validate(tomllib.loads(code)))


def test_a_recipe_can_name_it() -> None:
    text = """
name = "x"
[source]
kind = "vectors"
path = "x.npy"
[[layers]]
net = { kind = "dense", width = 8, activation = "linear" }
objective = { kind = "components", whiten = 0.0 }
[code]
bits = 8
normalize = false
objective = "itq"
[finetune]
epochs = 0
"""
    assert recipes.parse(tomllib.loads(text), Path("x.toml")).code.objective.kind == "itq"

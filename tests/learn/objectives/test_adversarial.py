"""The adversarial autoencoder: all codes together pass the two-sample test with the prior."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError
from aepipe.learn import batches, objectives, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.objectives import Batch, adversarial
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import ComputeRecipe, LayerRecipe
from tests.learn.two_sample import two_sample
from tests.support.samples import pixels

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def normal(rows: int, seed: int, width: int = 3) -> Any:
    return torch.randn((rows, width), generator=generator(seed))


def test_equal_distributions_are_rarely_told_apart_and_others_always() -> None:
    rejected = [two_sample(normal(60, i), normal(60, 100 + i), generator=generator()).p_value < 0.05 for i in range(40)]
    assert sum(rejected) <= 6
    for other in (normal(200, 1) + 0.5, normal(200, 1) * 1.6, torch.rand((200, 3), generator=generator()) * 3.4 - 1.7):
        assert two_sample(normal(200, 0), other, generator=generator()).p_value < 0.02


def trained(objective: dict[str, Any], tmp_path: Any) -> Any:
    recipe = LayerRecipe.model_validate(
        {
            "net": {"kind": "dense", "width": 2, "hidden": [64], "code_activation": "linear"},
            "objective": objective,
            "fit": {"epochs": 80, "batch": 64, "lr": 2e-3},
        }
    )
    spec = layer_specs.layer_spec(recipe, "layers.0")
    rows = pixels(2000, side=14)
    feed = Feed(rows, CPU)
    one = Trainer(
        stack.build([spec], rows.shape[1:], seed=0)[0], spec.training, train=feed, held_out=feed, seed=0, compute=CPU
    )
    one.run(FileCheckpoint(tmp_path), lambda *_: None)
    with torch.no_grad():
        return one.model.encode(feed.batch(torch.arange(150))).mean


def test_the_codes_of_all_rows_match_the_prior(tmp_path: Any) -> None:
    options = adversarial.Options()
    draws = options.draw(150, 2, generator(7))
    matched = trained({"kind": "adversarial", "hidden": 64}, tmp_path / "a")
    free = trained({"kind": "reconstruction"}, tmp_path / "b")
    found = two_sample(matched, draws, generator=generator())
    without = two_sample(free, draws, generator=generator())
    assert found.p_value > 0.01, found
    assert without.p_value < 0.01, without
    assert found.statistic < 0.1 * without.statistic
    # The code has the prior's spread and still describes the row: neighbours are alike.
    assert matched.std(0).min() > 0.5


@pytest.mark.parametrize("prior", ["gaussian", "uniform", "bernoulli", "ring"])
def test_draws_have_the_distribution_of_their_name(prior: Any) -> None:
    drawn = adversarial.Options(prior=prior).draw(5000, 3, generator()).numpy()
    assert drawn.shape == (5000, 3)
    np.testing.assert_allclose(drawn.mean(0), 0, atol=0.06)
    if prior == "uniform":
        assert np.abs(drawn).max() <= 1
        assert drawn.std() == pytest.approx(1 / np.sqrt(3), abs=0.02)
    elif prior == "bernoulli":
        assert set(np.unique(drawn)) == {-1, 1}
    elif prior == "ring":
        radius = np.hypot(drawn[:, 0], drawn[:, 1])
        assert radius.mean() == pytest.approx(2, abs=0.05)
        assert radius.std() < 0.15
    else:
        assert drawn.std() == pytest.approx(1, abs=0.03)


def test_what_was_pooled_returns_to_its_places() -> None:
    row = {"net": {"kind": "conv", "channels": 3, "kernel": 3, "pool": 2}, "objective": "adversarial"}
    spec = layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0")
    model, x = stack.build([spec], (6, 6, 1), seed=0)[0], torch.rand((9, 6, 6, 1), generator=generator())
    found = objectives.build(model, spec.training.objective, CPU)._nll(Batch(x, x, None, generator()))  # type: ignore[attr-defined]
    encoding = model.encode(x)
    there, spread = (
        model.likelihood.nll(model.decode(encoding.mean, at), x).mean() for at in (encoding.switches, None)
    )
    torch.testing.assert_close(found, there)
    assert abs(found - spread) > 1e-3


def test_posteriors_that_are_no_points_are_refused() -> None:
    row = {"net": {"kind": "dense", "width": 4}, "posterior": "gaussian", "objective": "adversarial"}
    with pytest.raises(RecipeError, match=r"layers\.0\.objective: the critic looks at the code itself; allowed: poste"):
        layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0")

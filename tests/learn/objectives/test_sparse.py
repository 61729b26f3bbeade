"""Sparse codes: penalties and gradients against closed forms, and codes of real images."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError
from aepipe.learn import batches, objectives, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.objectives import Batch, sparse
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import Choice, CodeRecipe, ComputeRecipe, FitRecipe, LayerRecipe
from tests.support.samples import SAMPLE

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))


def spec(net: dict[str, Any], **options: Any) -> layer_specs.LayerSpec:
    return layer_specs.layer_spec(
        LayerRecipe(
            net=Choice(kind="dense", options={"width": 6, **net}),
            objective=Choice(kind="sparse", options=options),
            fit=FitRecipe(epochs=6, batch=100, lr=3e-3),
        ),
        "layers.0",
    )


def terms(activation: str, **options: Any) -> tuple[dict[str, Any], Any, Any]:
    """Return the terms of a small batch, the encoder's affine map and the rows."""
    one = spec({"activation": activation}, **options)
    model = stack.build([one], (5,), seed=0)[0]
    x = torch.randn((40, 5), generator=torch.Generator().manual_seed(1))
    found = objectives.build(model, one.training.objective, CPU).terms(Batch(x, x, None, None))
    return found, model.net.encoder[1], x  # type: ignore[index]


def test_the_gradient_of_the_absolute_values_is_their_sign() -> None:
    found, up, x = terms("linear", l1=0.3)
    assert found.keys() == {"reconstruction", "sparsity"}
    h = up(x).detach()
    assert found["sparsity"].item() == pytest.approx(0.3 * h.abs().sum().item() / 40)
    found["sparsity"].backward()
    torch.testing.assert_close(up.bias.grad, 0.3 * h.sign().mean(0))
    torch.testing.assert_close(up.weight.grad, 0.3 * h.sign().T @ x / 40)


def test_the_gradient_of_the_rate_is_that_of_coins() -> None:
    found, up, x = terms("sigmoid", l1=0.0, kl=2.0, rate=0.2)
    assert found.keys() == {"reconstruction", "rate"}
    h = up(x).sigmoid().detach()
    mean = h.mean(0)
    by_hand = 0.2 * (0.2 / mean).log() + 0.8 * (0.8 / (1 - mean)).log()
    assert found["rate"].item() == pytest.approx(2.0 * by_hand.sum().item(), rel=1e-5)
    torch.autograd.backward(found["rate"])
    wanted = 2.0 * (0.8 / (1 - mean) - 0.2 / mean) * (h * (1 - h)).mean(0)
    torch.testing.assert_close(up.bias.grad, wanted)


def test_the_constant_is_the_rest_of_the_prior() -> None:
    found, up, x = terms("linear", l1=0.3)
    prior = torch.distributions.Laplace(0.0, 1 / 0.3)
    by_hand = -prior.log_prob(up(x)).sum(1).mean()
    assert found["sparsity"].item() + sparse.constant(0.3, 6) == pytest.approx(by_hand.item())


def test_the_rate_of_a_map_is_over_its_places_and_never_infinite() -> None:
    code = torch.rand((3, 2, 2, 4), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sparse.divergence(code, 0.1), sparse.divergence(code.view(12, 4), 0.1))
    assert sparse.divergence(torch.full((5, 4), 0.1), 0.1).item() == pytest.approx(0, abs=1e-6)
    for end in (torch.zeros(5, 4), torch.ones(5, 4)):
        assert math.isfinite(sparse.divergence(end, 0.1).item())


@pytest.fixture(scope="module")
def images() -> Any:
    """The first thousand images of the sample."""
    rows = pq.read_table(SAMPLE).slice(0, 1000).to_pylist()
    return np.stack([np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows])[..., None]


def codes(one: layer_specs.LayerSpec, images: Any, folder: Path) -> Any:
    """Return the codes of the images after training on them."""
    model, rows = stack.build([one], (28, 28, 1), seed=0)[0], Feed(images, CPU)
    trainer = Trainer(model, one.training, train=rows, held_out=Feed(images[:0], CPU), seed=0, compute=CPU)
    trainer.run(FileCheckpoint(folder), lambda done, total, note: None)
    with torch.no_grad():
        return model.encode(rows.batch(torch.arange(len(images)))).mean


def test_a_larger_weight_gives_more_zeros(images: Any, tmp_path: Path) -> None:
    net = {"width": 64, "activation": "relu", "tied": True}
    found = [codes(spec(net, l1=weight), images, tmp_path / str(weight)) for weight in (0.001, 0.1, 0.4)]
    zeros = [(code == 0).float().mean().item() for code in found]
    assert zeros[0] + 0.05 < zeros[1] < zeros[2] - 0.05
    assert (found[2] > 0).any(), "the code does not vanish"


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_the_mean_activation_goes_to_the_rate(rate: float, images: Any, tmp_path: Path) -> None:
    net = {"width": 64, "activation": "sigmoid"}
    free = codes(spec(net, l1=0.0, kl=1e-9, rate=rate), images, tmp_path / "free").mean(0)
    held = codes(spec(net, l1=0.0, kl=60.0, rate=rate), images, tmp_path / "held").mean(0)
    assert (free - rate).abs().mean() > 0.1
    assert (held - rate).abs().mean() < 0.025


@pytest.mark.parametrize(
    ("net", "options", "message"),
    [
        ({}, {"l1": 0.0}, "layers.0.objective: has no penalty, only the reconstruction; allowed: `l1` or `kl`"),
        ({"activation": "tanh"}, {"kl": 1.0}, "not kept within 0..1; allowed: a net whose `activation`"),
        ({"activation": "sigmoid", "code_activation": "relu"}, {"kl": 1.0}, "not kept within 0..1"),
        ({}, {"l1": -1.0}, "layers.0.objective.l1: input should be greater than or equal to 0"),
        ({}, {"rate": 1.0}, "layers.0.objective.rate: input should be less than 1"),
    ],
)
def test_unsuitable_layers_are_refused(net: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        spec(net, **options)
    assert message in str(caught.value)


def test_a_sigmoid_code_above_other_activations_has_a_rate() -> None:
    spec({"hidden": [8], "activation": "relu", "code_activation": "sigmoid"}, kl=1.0)


def test_bits_have_no_zeros() -> None:
    with pytest.raises(RecipeError, match=r"code\.objective: `l1` is the same for all bits.*allowed: a posterior"):
        layer_specs.code_spec(CodeRecipe(objective=Choice(kind="sparse")))

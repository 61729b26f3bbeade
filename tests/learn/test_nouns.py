"""Likelihoods, posteriors, networks and the objective against closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError
from aepipe.learn import autoencoder, batches, likelihood, nets, objectives, posterior, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.nets import dense
from aepipe.learn.objectives import Batch, reconstruction
from aepipe.recipe import Choice, CodeRecipe, ComputeRecipe, FinetuneRecipe, FitRecipe, LayerRecipe, resolve

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))


def draw(*shape: int, seed: int = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_gaussian_is_half_the_squared_error() -> None:
    params, x = draw(5, 7), draw(5, 7, seed=1)
    torch.testing.assert_close(likelihood.Gaussian().nll(params, x), 0.5 * ((params - x) ** 2).sum(1))
    assert torch.equal(likelihood.Gaussian().mean(params), params)


def test_bernoulli_is_the_cross_entropy() -> None:
    params, x = draw(5, 7), torch.rand(5, 7, generator=torch.Generator().manual_seed(1))
    p = params.sigmoid()
    by_hand = -(x * p.log() + (1 - x) * (1 - p).log()).sum(1)
    torch.testing.assert_close(likelihood.Bernoulli().nll(params, x), by_hand)
    torch.testing.assert_close(likelihood.Bernoulli().mean(params), p)


def test_hinge_is_the_distance_from_the_right_side_of_the_margin() -> None:
    params, x = torch.tensor([[0.5, 0.0, 3.0, 0.5, -2.0]]), torch.tensor([[0.0, 0.25, 0.5, 1.0, 0.0]])
    torch.testing.assert_close(likelihood.Hinge().cells(params, x), torch.tensor([[1.5, 0.5, 0.0, 0.5, 0.0]]))


SPANS: list[dict[str, Any]] = [{"columns": 4}, {"columns": 4, "likelihood": {"kind": "categorical", "classes": 2}}]


def a_likelihood(kind: str, *, columns: int = 8) -> Any:
    """Return a likelihood of rows of ``columns`` columns; choices have two classes."""
    options: dict[str, Any] = {}
    if kind in {"categorical", "softmax"}:
        options = {"classes": 2}
    elif kind == "columns":
        options = {"of": [{**span, "columns": columns // 2} for span in SPANS]}
    return resolve(likelihood.KINDS, Choice(kind=kind, options=options), "likelihood")


@pytest.mark.parametrize("kind", sorted(likelihood.KINDS))
def test_unobserved_cells_change_nothing(kind: str) -> None:
    one = a_likelihood(kind)
    params, x = draw(3, 8), draw(3, 8, seed=1).sigmoid()
    observed = torch.arange(8) < 6
    garbled = torch.where(observed, x, torch.full_like(x, 0.123))
    nll = one.nll(params, x, observed)
    assert torch.equal(nll, one.nll(params, garbled, observed))
    if kind != "columns":
        torch.testing.assert_close(nll, one.nll(params[:, :6], x[:, :6]))


@pytest.mark.parametrize("kind", sorted(likelihood.KINDS))
def test_samples_average_to_the_mean(kind: str) -> None:
    one = a_likelihood(kind, columns=4)
    params = draw(1, 4).expand(20000, 4)
    sample = one.sample(params, torch.Generator().manual_seed(0))
    torch.testing.assert_close(sample.mean(0), one.mean(params)[0], atol=0.03, rtol=0)


def test_delta_is_the_activation() -> None:
    x = draw(4, 3)
    encoding = posterior.Delta().encode(x, torch.Generator())
    assert encoding.mean is x
    assert encoding.sample is x


def test_dense_by_hand() -> None:
    net = dense.Options(width=5, activation="tanh").build((2, 3), torch.Generator().manual_seed(0))
    x = draw(4, 2, 3)
    up, down = net.encoder[1], net.decoder[0]  # type: ignore[index]
    code = torch.tanh(x.flatten(1) @ up.weight.T + up.bias)
    torch.testing.assert_close(net.encoder(x), code)
    torch.testing.assert_close(net.decoder(code), (code @ down.weight.T + down.bias).view(4, 2, 3))
    assert (net.shape_in, net.shape_out) == ((2, 3), (5,))


def test_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = dense.Options(width=5).build((7,), torch.Generator().manual_seed(0)).state_dict()
    torch.manual_seed(2)
    second = dense.Options(width=5).build((7,), torch.Generator().manual_seed(0)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_layers_weights_do_not_depend_on_layers_above() -> None:
    spec = layer_specs.layer_spec(LayerRecipe(net=Choice(kind="dense", options={"width": 5})), "x")
    alone, below = stack.build([spec], (7,), seed=4)[0], stack.build([spec, spec], (7,), seed=4)[0]
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), below.parameters(), strict=True))


@pytest.mark.parametrize("activation", sorted(nets.ACTIVATIONS))
def test_only_relu_codes_are_kept_from_being_negative(activation: Any) -> None:
    lower = dense.Options(width=5, activation=activation).build((7,), torch.Generator().manual_seed(0))
    upper = dense.Options(width=3).build((5,), torch.Generator().manual_seed(1))
    layers = [
        autoencoder.Autoencoder(lower, posterior.Delta(), likelihood.Bernoulli()),
        autoencoder.Autoencoder(upper, posterior.Delta(), likelihood.Gaussian()),
    ]
    deep = stack.unroll(layers)
    code = draw(6, 3)
    between = upper.decoder(code)
    expected = lower.decoder(between.relu() if activation == "relu" else between)
    torch.testing.assert_close(deep.decode(code), expected)


def test_standardize_uses_the_batch_then_the_running_average() -> None:
    one = nets.Standardize(4)
    x = draw(64, 4) * 3 + 2
    y = one(x)
    torch.testing.assert_close(y.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(0, unbiased=False), torch.ones(4), atol=1e-4, rtol=0)
    one.eval()
    assert not torch.allclose(one(x), y)


def test_reconstruction_is_the_likelihood_of_the_clean_row() -> None:
    spec = layer_specs.layer_spec(LayerRecipe(net=Choice(kind="dense", options={"width": 5})), "x")
    model = stack.build([spec], (7,), seed=0)[0]
    clean, noisy = draw(4, 7), draw(4, 7, seed=1)
    terms = objectives.build(model, spec.training.objective, CPU).terms(Batch(clean, noisy, None, None))
    by_hand = 0.5 * ((model.decode(model.encode(noisy).mean) - clean) ** 2).sum(1).mean()
    torch.testing.assert_close(terms["reconstruction"], by_hand)
    assert terms.keys() == {"reconstruction"}


def test_dependence_is_zero_for_independent_balanced_bits() -> None:
    bits = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4)
    assert reconstruction.dependence(bits).item() == pytest.approx(0)
    twice = torch.cat([bits[:, :1], bits[:, :1]], 1)
    assert reconstruction.dependence(twice).item() == pytest.approx(2)
    assert reconstruction.dependence(torch.ones(8, 3)).item() == pytest.approx(3)


def test_gradients_reach_both_halves_and_the_batch_stays_as_it_is() -> None:
    spec = layer_specs.code_spec(
        CodeRecipe(bits=6, objective=Choice(kind="reconstruction", options={"decorrelation": 0.1}))
    )
    model = stack.build([spec], (7,), seed=0)[0]
    clean = draw(32, 7)
    before = clean.clone()
    for phase in objectives.build(model, spec.training.objective, CPU).phases():
        phase.step(Batch(clean, clean, None, torch.Generator().manual_seed(0)))
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.net.encoder.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.net.decoder.parameters())
    assert torch.equal(clean, before)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            LayerRecipe(net=Choice(kind="dens")),
            "layers.0.net: unknown kind 'dens'; allowed: conv, dense, gru, residual",
        ),
        (LayerRecipe(net=Choice(kind="dense")), "layers.0.net.width: missing"),
        (LayerRecipe(net=Choice(kind="dense", options={"width": 0})), "layers.0.net.width: input should be"),
        (
            LayerRecipe(net=Choice(kind="dense", options={"width": 4, "widht": 4})),
            "layers.0.net.widht: unknown key; allowed: width, hidden, activation, code_activation, normalize, tied",
        ),
        (
            LayerRecipe(
                net=Choice(kind="dense", options={"width": 4}), corruption=Choice(kind="mask", options={"rate": 2})
            ),
            "layers.0.corruption.rate: input should be less than 1, not 2",
        ),
    ],
)
def test_a_wrong_choice_is_named(recipe: LayerRecipe, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        layer_specs.layer_spec(recipe, "layers.0")
    assert message in str(caught.value)


def test_a_code_must_be_bits() -> None:
    with pytest.raises(
        RecipeError, match=r"code.binarize: unknown kind 'delta'; allowed: bernoulli, noise, rotation, "
    ):
        layer_specs.code_spec(CodeRecipe(binarize=Choice(kind="delta")))


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(RecipeError, match=r"compute\.device: 'cudda' cannot be used here"):
        batches.resolve(ComputeRecipe(device="cudda"))


def test_the_key_holds_every_choice() -> None:
    base = LayerRecipe(net=Choice(kind="dense", options={"width": 4}))
    changes: list[dict[str, Any]] = [
        {"net": Choice(kind="dense", options={"width": 5})},
        {"likelihood": Choice(kind="bernoulli")},
        {"corruption": Choice(kind="mask")},
        {"objective": Choice(kind="reconstruction", options={"decorrelation": 0.5})},
        {"fit": FitRecipe(epochs=11)},
    ]
    keys = [layer_specs.layer_spec(base.model_copy(update=change), "x").key() for change in [{}, *changes]]
    assert len({str(key) for key in keys}) == len(keys)
    finetuning = FinetuneRecipe(epochs=3)
    assert layer_specs.training(finetuning, "finetune", finetuning).key()["fit"]["epochs"] == 3


def test_seeds_mix() -> None:
    assert len({batches.seed_of(a, b) for a in range(20) for b in range(20)}) == 400
    assert math.log2(batches.seed_of(1)) < 63

"""Terms of the objectives are those of their formulas, written down once more without their code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F

from aepipe.learn import batches, objectives, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.edits import Edits
from aepipe.learn.objectives import Batch, adversarial, reconstruction
from aepipe.learn.objectives.psd import Energy, descent, largest_eigenvalue
from aepipe.recipe import CodeRecipe, ComputeRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
D, H = 6, 4


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 1) -> Any:
    return torch.rand(shape, generator=generator(seed))


def built(objective: dict[str, Any], shape: tuple[int, ...] = (D,), **row: Any) -> Any:
    """Return the objective of a small dense layer."""
    net = {"kind": "dense", "width": H, "activation": "sigmoid"}
    spec = layer_specs.layer_spec(LayerRecipe.model_validate({"net": net, "objective": objective, **row}), "layers.0")
    return objectives.build(stack.build([spec], shape, seed=0)[0], spec.training.objective, CPU, seed=3)


def of_bits(objective: dict[str, Any], bits: int, shape: tuple[int, ...], **row: Any) -> Any:
    """Return the objective of a small layer of bits."""
    spec = layer_specs.code_spec(CodeRecipe.model_validate({"bits": bits, "objective": objective, **row}))
    return objectives.build(stack.build([spec], shape, seed=0)[0], spec.training.objective, CPU, seed=3)


def half_squares(params: Any, clean: Any) -> Any:
    return 0.5 * (params - clean) ** 2


@pytest.mark.parametrize("observed", [None, draw(9, D, seed=3) < 0.7])
@pytest.mark.parametrize("posterior", ["delta", "gaussian"])
def test_masked_cells_have_their_weights(observed: Any, posterior: str) -> None:
    one = built({"kind": "masked", "hidden": 1.5, "seen": 0.25}, posterior=posterior)
    clean, noisy, kept = draw(9, D), draw(9, D, seed=2), draw(9, D, seed=4) < 0.5
    terms = one.terms(Batch(clean, noisy, observed, None, kept=kept))
    encoding = one.model.encode(noisy)
    cells = half_squares(one.model.decode(encoding.mean), clean)
    there = torch.ones_like(kept) if observed is None else observed
    assert terms["hidden"].item() == pytest.approx(1.5 * cells[there & ~kept].sum().item() / 9, rel=1e-5)
    assert terms["seen"].item() == pytest.approx(0.25 * cells[there & kept].sum().item() / 9, rel=1e-5)
    assert ("kl" in terms) is (posterior == "gaussian")
    if posterior == "gaussian":
        assert terms["kl"].item() == pytest.approx(encoding.kl.mean().item())


def test_without_marks_cells_that_are_alike_were_kept() -> None:
    one = built({"kind": "masked", "hidden": 1.0, "seen": 2.0})
    clean = torch.full((1, D), 0.5)
    noisy = clean + torch.tensor([[0.0, 0.0009, -0.0009, 0.0012, -0.0012, 0.3]])
    terms = one.terms(Batch(clean, noisy, None, None))
    cells = half_squares(one.model.decode(one.model.encode(noisy).mean), clean)[0]
    assert terms["seen"].item() == pytest.approx(2 * cells[:3].sum().item(), rel=1e-5)
    assert terms["hidden"].item() == pytest.approx(cells[3:].sum().item(), rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_dependence_is_the_distance_of_the_covariance_from_the_identity(weight: float) -> None:
    one = built({"kind": "reconstruction", "decorrelation": weight})
    clean = draw(30, D)
    code = one.model.encode(clean).mean.detach().numpy()
    expected = np.square(np.cov(code.T, bias=True) - np.eye(H)).sum()
    assert reconstruction.dependence(torch.from_numpy(code)).item() == pytest.approx(expected, rel=1e-5)
    terms = one.terms(Batch(clean, clean, None, None))
    assert ("decorrelation" in terms) is (weight > 0)
    if weight:
        assert terms["decorrelation"].item() == pytest.approx(weight * expected, rel=1e-5)


@pytest.mark.parametrize("samples", [1, 3])
def test_the_variational_bound_is_a_mean_over_draws(samples: int) -> None:
    options = {"kind": "variational", "samples": samples, "beta": 0.5}
    one = built(options, posterior="gaussian", likelihood="bernoulli")
    clean, again = draw(9, D), generator(5)
    terms = one.terms(Batch(clean, clean, None, generator(5)))
    drawn = [one.model.decode(one.model.encode(clean, again).sample) for _ in range(samples)]
    cross = [F.binary_cross_entropy_with_logits(params, clean, reduction="sum") / 9 for params in drawn]
    assert terms["reconstruction"].item() == pytest.approx(torch.stack(cross).mean().item(), rel=1e-5)
    kl = one.model.encode(clean).kl.mean().item()
    assert terms["kl"].item() == pytest.approx(0.5 * kl, rel=1e-5)
    free = built({**options, "free_nats": 0.25 * kl}, posterior="gaussian", likelihood="bernoulli")
    assert free.terms(Batch(clean, clean, None, None))["kl"].item() == pytest.approx(0.5 * 0.75 * kl, rel=1e-4)


@pytest.mark.parametrize("posterior", ["delta", "gaussian"])
def test_each_step_of_a_walk_goes_on_from_a_corrupted_draw(posterior: str) -> None:
    likelihood = {"kind": "gaussian", "sigma": 0.5}
    noise = {"kind": "gaussian", "sigma": 0.3}
    one = built({"kind": "walkback", "steps": 3}, posterior=posterior, likelihood=likelihood, corruption=noise)
    spec = layer_specs.layer_spec(
        LayerRecipe.model_validate({"net": {"kind": "dense", "width": H}, "corruption": noise}), "layers.0"
    )
    clean, noisy, again = draw(9, D), draw(9, D, seed=2), generator(5)
    terms = one.terms(Batch(clean, noisy, None, generator(5), None, spec.training.corruption))
    nll, kl, at = [], [], noisy
    for _ in range(3):
        encoding = one.model.encode(at, again)
        params = one.model.decode(encoding.sample)
        nll.append((half_squares(params, clean) / 0.25).sum(1).mean())
        kl.append(0 if encoding.kl is None else encoding.kl.mean())
        drawn = params + 0.5 * torch.randn(params.shape, generator=again)
        at = drawn + 0.3 * torch.randn(drawn.shape, generator=again)
    assert terms["reconstruction"].item() == pytest.approx(torch.stack(nll).mean().item(), rel=1e-4)
    assert ("kl" in terms) is (posterior == "gaussian")
    if posterior == "gaussian":
        assert terms["kl"].item() == pytest.approx(torch.stack(kl).mean().item(), rel=1e-4)
    assert one.options.steps == 3
    alone = one.terms(Batch(clean, noisy, None, generator(5)))["reconstruction"]
    assert alone.item() == pytest.approx(nll[0].item(), rel=1e-5), "without a corruption there is one step"


@pytest.mark.parametrize("observed", [None, draw(9, D, seed=3) < 0.7])
@pytest.mark.parametrize("share", [0.75, 0.2])
def test_recirculation_moves_rows_and_codes_by_the_share_that_is_new(observed: Any, share: float) -> None:
    one = built({"kind": "recirculation", "regression": share}, likelihood="bernoulli")
    clean = draw(9, D)
    up, down = one.model.net.encoder[1], one.model.net.decoder[0]
    with torch.no_grad():
        code_1 = up(clean).sigmoid()
        decoded = down(code_1).sigmoid()
        decoded = decoded if observed is None else torch.where(observed, decoded, clean)
        row_2 = share * clean + (1 - share) * decoded
        code_3 = share * code_1 + (1 - share) * up(row_2).sigmoid()
        params = down(up(clean).sigmoid())
    batch = Batch(clean, clean, observed, None)
    with torch.no_grad():
        found = one.go_round(batch)
    for name, expected in (("row_0", clean), ("code_1", code_1), ("row_2", row_2), ("code_3", code_3)):
        torch.testing.assert_close(getattr(found, name), expected, msg=name)
    (phase,) = one.phases()
    terms = phase.step(batch)
    torch.testing.assert_close(down.weight.grad, (row_2 - clean).T @ code_1 / 9, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(down.bias.grad, (row_2 - clean).mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(up.weight.grad, (code_3 - code_1).T @ row_2 / 9, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(up.bias.grad, (code_3 - code_1).mean(0), rtol=1e-4, atol=1e-6)
    cells = F.binary_cross_entropy_with_logits(params, clean, reduction="none")
    cells = cells if observed is None else cells * observed
    assert terms["reconstruction"].item() == pytest.approx(cells.sum().item() / 9, rel=1e-5)


def game(**options: Any) -> Any:
    return built(
        {"kind": "adversarial", "hidden": 5, "critic_lr": 0.5, "generator_lr": 0.25, "sharpness": 0.3, **options},
        net={"kind": "dense", "width": H, "activation": "linear"},
    )


def test_the_three_phases_of_the_game() -> None:
    """Against losses by hand: reconstruction, a critic with the slope at the draws, and the encoder against it."""
    one, clean = game(), draw(9, D)
    phases = {phase.name: phase for phase in one.phases()}
    assert {name: phase.lr for name, phase in phases.items()} == {
        "reconstruction": 1.0,
        "critic": 0.5,
        "generator": 0.25,
    }
    own = set(one.own.parameters())
    assert {name: len(own.intersection(phase.parameters)) for name, phase in phases.items()} == {
        "reconstruction": 0,
        "critic": 6,
        "generator": 0,
    }
    assert set(phases["generator"].parameters) == set(one.model.net.encoder.parameters())
    assert set(phases["reconstruction"].parameters) == set(one.model.parameters())
    maps = [part for part in one.own["critic"] if isinstance(part, torch.nn.Linear)]
    assert [part.weight.shape for part in maps] == [(5, H), (5, 5), (1, 5)]

    def critic(code: Any) -> Any:
        for part in maps[:-1]:
            code = F.leaky_relu(part(code), 0.2)
        return maps[-1](code)

    batch = Batch(clean, clean, None, generator(5))
    code = one.model.encode(clean).mean
    nll = half_squares(one.model.decode(code), clean).sum(1).mean()
    deceived = torch.log1p(torch.exp(-critic(code))).mean()
    terms = one.terms(batch)
    assert terms.keys() == {"reconstruction", "generator"}
    assert terms["reconstruction"].item() == pytest.approx(nll.item(), rel=1e-5)
    assert terms["generator"].item() == pytest.approx(deceived.item(), rel=1e-5)
    draws = torch.randn((9, H), generator=generator(5), requires_grad=True)
    loss = torch.log1p(torch.exp(-critic(draws))).mean() + torch.log1p(torch.exp(critic(code.detach()))).mean()
    (slope,) = torch.autograd.grad(critic(draws).sum(), draws, create_graph=True)
    loss = loss + 0.3 / 2 * slope.square().sum(1).mean()
    for name, wanted in (("reconstruction", nll), ("critic", loss), ("generator", deceived)):
        moved = list(phases[name].parameters)
        expected = torch.autograd.grad(wanted, moved, allow_unused=True, retain_graph=True)
        for parameter in (*one.model.parameters(), *own):
            parameter.grad = None
        told = phases[name].step(batch._replace(generator=generator(5)))
        assert list(told) == ([] if name == "critic" else [name])
        for parameter, gradient in zip(moved, expected, strict=True):
            if gradient is not None:
                torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)
        if name == "critic":
            assert all(parameter.grad is None for parameter in one.model.parameters())


@pytest.mark.parametrize("width", [1, 3])
def test_draws_from_a_prior_by_their_formulas(width: int) -> None:
    normal = torch.randn((500, width), generator=generator(5))
    assert torch.equal(adversarial.Options().draw(500, width, generator(5)), normal)
    uniform = 2 * torch.rand((500, width), generator=generator(5)) - 1
    assert torch.equal(adversarial.Options(prior="uniform").draw(500, width, generator(5)), uniform)
    coins = adversarial.Options(prior="bernoulli").draw(500, width, generator(5))
    assert torch.equal(coins, torch.where(normal > 0, 1.0, -1.0))
    ring = adversarial.Options(prior="ring").draw(500, width, generator(5))
    if width == 1:
        assert torch.equal(ring, normal)
        return
    assert torch.equal(ring[:, 2:], normal[:, 2:])
    centre = (ring[:, :2] - 0.1 * normal[:, :2]).numpy() / 2
    tenth = np.arctan2(centre[:, 1], centre[:, 0]) / (2 * math.pi / 10)
    np.testing.assert_allclose(np.hypot(*centre.T), 1, atol=1e-5)
    np.testing.assert_allclose(tenth, tenth.round(), atol=1e-4)
    assert set(np.round(tenth).astype(int) % 10) == set(range(10))


def energy(observed: Any = None, *, rectified: bool = False) -> Energy:
    return Energy(draw(5, D), observed, draw(D, H, seed=2), draw(5, H, seed=3) - 0.5, 0.3, 0.7, rectified)


@pytest.mark.parametrize("observed", [None, (draw(5, D, seed=4) < 0.6).float()])
def test_the_energy_of_codes_is_that_of_its_formula(observed: Any) -> None:
    one, code = energy(observed), draw(5, H, seed=6) - 0.4
    decoded = code @ one.atoms.T
    error = (decoded - one.target).numpy() * (1 if observed is None else observed.numpy())
    np.testing.assert_allclose(one.error(decoded), error, rtol=1e-6)
    expected = 0.5 * (error**2).sum(1) + 0.3 * np.abs(code.numpy()).sum(1)
    expected += 0.7 / 2 * ((code - one.predicted).numpy() ** 2).sum(1)
    np.testing.assert_allclose(one.cost(code, decoded), expected, rtol=1e-5)


@pytest.mark.parametrize("rectified", [False, True])
def test_the_proximal_map_has_the_least_cost(rectified: bool) -> None:
    """Of all codes on a fine grid, cell by cell: distance from the point, absolute value, and from the prediction."""
    one, point, rate = energy(rectified=rectified), 2 * draw(5, H, seed=6) - 1, torch.tensor(0.4)
    grid = np.linspace(0 if rectified else -2, 2, 40_001)
    found = one.proximal(point, rate).numpy()
    for at, predicted, told in zip(point.flatten(), one.predicted.flatten(), found.ravel(), strict=True):
        cost = (grid - float(at)) ** 2 / 2 + 0.4 * (0.3 * np.abs(grid) + 0.7 / 2 * (grid - float(predicted)) ** 2)
        assert told == pytest.approx(grid[cost.argmin()], abs=2e-4)


@pytest.mark.parametrize("shape", [(3, 9), (9, 3), (4, 4)])
def test_the_step_is_that_of_the_largest_eigenvalue(shape: tuple[int, int]) -> None:
    """The bound is the 64th root of the trace of the 64th power, after six squarings."""
    atoms = draw(*shape).double()
    values = np.linalg.svd(atoms.numpy(), compute_uv=False) ** 2
    assert float(largest_eigenvalue(atoms)) == pytest.approx((values**64).sum() ** (1 / 64), rel=1e-9)


@pytest.mark.parametrize("observed", [None, draw(9, D, seed=3) < 0.7])
def test_terms_of_sparse_decomposition(observed: Any) -> None:
    options = {"kind": "psd", "sparsity": 0.2, "prediction": 0.6, "iterations": 7}
    one = built(options, likelihood={"kind": "gaussian", "sigma": 0.5})
    clean, noisy = draw(9, D), draw(9, D, seed=2)
    down = one.model.net.decoder[0]
    with torch.no_grad():
        down.bias.copy_(draw(D, seed=8))
    batch = Batch(clean, noisy, observed, None)
    predicted = one.model.encode(noisy).mean.detach()
    found = one.energy(batch, predicted)
    torch.testing.assert_close(found.target, 2 * (clean - down.bias))
    torch.testing.assert_close(found.atoms, 2 * down.weight)
    assert torch.equal(found.predicted, predicted)
    assert (found.sparsity, found.prediction, found.rectified) == (0.2, 0.6, False)
    assert found.observed is None if observed is None else torch.equal(found.observed, observed.float())
    with torch.no_grad():
        steps = descent(found)
        code = [next(steps)[0] for _ in range(8)][-1]
    assert torch.equal(one.infer(batch, predicted), code)
    terms = one.terms(batch)
    cells = half_squares(one.model.decode(code), clean) / 0.25
    cells = cells if observed is None else cells * observed
    expected = {
        "reconstruction": cells.sum().item() / 9,
        "sparsity": 0.2 * code.abs().sum().item() / 9,
        "prediction": 0.6 * 0.5 * (code - predicted).square().sum().item() / 9,
    }
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)
    with torch.no_grad():
        down.weight[:, 0] = 0
        down.weight[:, 1] *= 3
    one.descend(batch)
    assert down.weight.norm(dim=0).tolist() == pytest.approx([0, 1, 1, 1], abs=1e-5)


def test_terms_of_contraction_have_their_weight_and_their_probes() -> None:
    clean = draw(9, D)
    for net, probes in (({}, 1), ({"hidden": [3]}, 4)):
        one = built(
            {"kind": "contractive", "weight": 0.4, "probes": probes},
            net={"kind": "dense", "width": H, "activation": "sigmoid", "tied": True, **net},
        )
        terms = one.terms(Batch(clean, clean, None, generator(5)))
        norm = 0.0
        again = generator(5)
        for _ in range(probes):
            x = clean.clone().requires_grad_()
            code = one.model.encode(x).mean
            if not net:
                slopes = [torch.autograd.grad(code[:, unit].sum(), x, retain_graph=True)[0] for unit in range(H)]
                norm += sum(slope.square().sum().item() for slope in slopes) / 9
                continue
            signs = torch.randint(0, 2, code.shape, generator=again) * 2.0 - 1
            norm += torch.autograd.grad(code, x, signs)[0].square().sum().item() / 9 / probes
        assert terms["contraction"].item() == pytest.approx(0.4 * norm, rel=1e-4)
        nll = half_squares(one.model.decode(one.model.encode(clean).mean), clean).sum().item() / 9
        assert terms["reconstruction"].item() == pytest.approx(nll, rel=1e-5)


@pytest.mark.parametrize("plain", [0.0, 0.5, 1.0])
def test_terms_of_copies_compare_two_edited_versions(plain: float) -> None:
    options = {"plain": plain, "sharpness": 1.5, "reconstruction": 0.2, "decorrelation": 0.7}
    one = of_bits({"kind": "copies", **options}, 6, (8, 8, 1))
    one.model.eval()
    x, again = draw(12, 8, 8, 1), generator(5)
    terms = one.terms(Batch(x, x, None, generator(5)))
    edited = Edits().apply(x, again)
    kept = torch.rand(12, generator=again) < plain
    first = torch.where(kept[:, None, None, None], x, edited)
    second = Edits().apply(x, again)
    here, there = (one.model.encode(rows).mean.detach().double().numpy() for rows in (first, second))
    agreement = 1.5 * 6**-0.75 * here @ there.T
    log = [np.diag(matrix - np.log(np.exp(matrix).sum(1, keepdims=True))) for matrix in (agreement, agreement.T)]
    assert terms["copies"].item() == pytest.approx(-0.5 * (log[0].mean() + log[1].mean()), rel=1e-4)
    apart = np.square(np.cov(here.T, bias=True) - np.eye(6)).sum() / 36
    assert terms["decorrelation"].item() == pytest.approx(0.7 * apart, rel=1e-4)
    nll = half_squares(one.model.decode(torch.from_numpy(here).float()), x).sum().item() / 12
    assert terms["reconstruction"].item() == pytest.approx(0.2 * nll, rel=1e-4)


def test_the_sum_of_terms_leaves_the_gradient() -> None:
    one, clean = built({"kind": "sparse", "l1": 0.3, "kl": 0.2}), draw(9, D)
    batch = Batch(clean, clean, None, None)
    terms = one.terms(batch)
    expected = torch.autograd.grad(sum(terms.values()), list(one.model.parameters()))
    (phase,) = one.phases()
    assert phase.lr == 1.0
    told = phase.step(batch)
    assert {name: term.item() for name, term in told.items()} == {name: term.item() for name, term in terms.items()}
    assert not any(term.requires_grad for term in told.values())
    for parameter, gradient in zip(phase.parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)

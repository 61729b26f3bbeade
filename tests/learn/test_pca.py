"""Principal components: against a decomposition, block by block or iterated, and as a layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError
from aepipe.learn import batches, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.pca import Components
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import ComputeRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))


def rows(n: int = 400) -> Any:
    """Draw rows far from the origin, of clearly different spread along six axes."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    return (rng.standard_normal((n, 6)) * [5, 4, 3, 2, 1, 0.5] @ turn + 7).astype(np.float32)


@pytest.mark.parametrize("widest", [4096, 5])
@pytest.mark.parametrize("whiten", [0.0, 0.5, 1.0])
def test_components_are_those_of_the_decomposition(whiten: float, widest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aepipe.learn.pca.WIDEST", widest)
    monkeypatch.setattr("aepipe.learn.pca.OVERSAMPLING", 2)
    x = rows()
    feed = Feed(x, CPU)
    found = torch.cat(list(Components.of(feed, 3).blocks(feed, whiten))).numpy()
    left, spread, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    expected = (left * spread)[:, :3] / (spread[:3] / np.sqrt(400)) ** whiten
    assert np.abs(found) == pytest.approx(np.abs(expected), rel=0.01, abs=0.02)


@pytest.mark.parametrize("widest", [4096, 32])
def test_rounding_errors_are_not_blown_up(widest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aepipe.learn.pca.WIDEST", widest)
    x = np.zeros((60, 200), np.float32)
    x[:, :3] = np.random.default_rng(0).standard_normal((60, 3))
    feed = Feed(x, CPU)
    found = torch.cat(list(Components.of(feed, 8).blocks(feed, 1.0))).numpy()
    assert np.isfinite(found).all()
    assert np.abs(found[:, :3]).max() > 0.1
    assert np.abs(found[:, 3:]).max() == 0


def made(x: Any, width: int, whiten: float, folder: Path, **net: Any) -> Any:
    """Train a layer of components and return it."""
    spec = layer_specs.layer_spec(
        LayerRecipe.model_validate(
            {
                "net": {"kind": "dense", "width": width, "activation": "linear", **net},
                "objective": {"kind": "components", "whiten": whiten},
                "fit": {"epochs": 1, "batch": 64},
            }
        ),
        "layers.0",
    )
    model, feed = stack.build([spec], x.shape[1:], seed=0)[0], Feed(x, CPU)
    trainer = Trainer(model, spec.training, train=feed, held_out=Feed(x[:9], CPU), seed=0, compute=CPU)
    trainer.run(FileCheckpoint(folder), lambda *_: None)
    return model


@pytest.mark.parametrize("whiten", [0.0, 0.5, 1.0])
def test_the_layer_rebuilds_as_well_as_components_do(whiten: float, tmp_path: Path) -> None:
    x = rows()
    model = made(x, 3, whiten, tmp_path)
    with torch.no_grad():
        code = model.encode(torch.from_numpy(x)).mean
        error = (model.decode(code) - torch.from_numpy(x)).square().sum(1).mean().item()
    left_out = np.linalg.svd(x - x.mean(0), compute_uv=False)[3:]
    assert error == pytest.approx((left_out**2).sum() / 400, rel=1e-3)
    assert code.square().mean().item() == pytest.approx(1, rel=1e-3)
    spread = code.std(0)
    assert (spread[0] / spread[2]).item() == pytest.approx((5 / 3) ** (1 - whiten), rel=0.1)


def test_units_beyond_the_cells_stay_silent(tmp_path: Path) -> None:
    x = rows()
    model = made(x, 9, 0.5, tmp_path)
    with torch.no_grad():
        code = model.encode(torch.from_numpy(x)).mean
        torch.testing.assert_close(model.decode(code), torch.from_numpy(x), atol=1e-3, rtol=0)
    assert code[:, 6:].abs().max() == 0


def test_units_that_stay_silent_do_not_count_in_the_mean_square(tmp_path: Path) -> None:
    x = rows()
    x[:, 2:] = 7
    with torch.no_grad():
        code = made(x, 4, 1.0, tmp_path).encode(torch.from_numpy(x)).mean
    assert code[:, 2:].abs().max() == 0
    assert code[:, :2].square().mean().item() == pytest.approx(1, rel=1e-3)


def test_missing_cells_count_as_zero_in_a_layer_that_reads_holes(tmp_path: Path) -> None:
    x = rows() - 7
    x[::3, 2] = x[::5, 0] = np.nan
    filled = np.nan_to_num(x)
    with torch.no_grad():
        found = made(x, 6, 0.0, tmp_path / "holes", holes=True).encode(torch.from_numpy(x)).mean
        expected = made(filled, 6, 0.0, tmp_path / "filled").encode(torch.from_numpy(filled)).mean
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"net": {"kind": "dense", "width": 3}}, "components are linear, not relu"),
        ({"net": {"kind": "dense", "width": 3, "hidden": [4]}}, "components are one map each way"),
        ({"likelihood": "bernoulli"}, "components have the least squared error"),
        ({"corruption": "mask"}, "components are those of the rows as they are"),
    ],
)
def test_layers_without_a_closed_form_are_refused(changed: Any, message: str) -> None:
    good = {"net": {"kind": "dense", "width": 3, "activation": "linear"}, "objective": "components"}
    layer_specs.layer_spec(LayerRecipe.model_validate(good), "layers.0")
    with pytest.raises(RecipeError, match=f"layers.0.objective: {message}"):
        layer_specs.layer_spec(LayerRecipe.model_validate(good | changed), "layers.0")


def test_a_decomposition_that_does_not_converge_is_made_in_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed(rows(), CPU)
    expected = Components.of(feed, 3)

    def fails(_: object) -> None:
        raise torch.linalg.LinAlgError("failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    found = Components.of(feed, 3)
    assert found.variance.numpy() == pytest.approx(expected.variance.numpy(), rel=1e-5)
    assert (found.axes * expected.axes).sum(0).abs().numpy() == pytest.approx(np.ones(3), abs=1e-5)


@pytest.mark.parametrize(("oversampling", "width"), [(2, 5), (90, 12)])
def test_components_of_wide_rows_are_those_of_the_iteration(
    oversampling: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of rows that spread alike in all directions, each pass changes them: it is done once more than ITERATIONS."""
    monkeypatch.setattr("aepipe.learn.pca.WIDEST", 11)
    monkeypatch.setattr("aepipe.learn.pca.OVERSAMPLING", oversampling)
    monkeypatch.setattr("aepipe.learn.pca.ITERATIONS", 2)
    x = np.random.default_rng(0).standard_normal((40, 12)).astype(np.float32)
    found = Components.of(Feed(x, CPU), 3)
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    basis = torch.randn((12, width), generator=torch.Generator().manual_seed(0)).double().numpy()
    for _ in range(3):
        before = np.linalg.qr(basis)[0]
        basis = centred.T @ (centred @ before)
    variance, turn = np.linalg.eigh(before.T @ basis / 40)
    assert found.variance.numpy() == pytest.approx(variance[::-1][:3], rel=1e-4)
    axes = before @ turn[:, ::-1][:, :3]
    assert np.abs((found.axes.numpy() * axes).sum(0)) == pytest.approx(np.ones(3), abs=1e-4)
    assert found.axes.shape == (12, 3)
    assert found.mean.numpy() == pytest.approx(x.mean(0), abs=1e-5)

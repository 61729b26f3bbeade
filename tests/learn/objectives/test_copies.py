"""Codes of edited copies: edits keep shape and range, repeat, and trained bits agree between versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
from torch import Tensor

from aepipe.learn import batches, objectives, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.autoencoder import Choices
from aepipe.learn.batches import Feed
from aepipe.learn.edits import Edits
from aepipe.learn.objectives import Batch
from aepipe.learn.objectives.copies import Options
from aepipe.learn.posterior import Delta
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import CodeRecipe, ComputeRecipe, FitRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
NONE: dict[str, float] = dict.fromkeys(
    ("crop", "frame", "turn", "mirror", "light", "contrast", "blur", "noise", "band"), 0.0
)


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return smooth random pictures, uint8[N, 16, 16, 1]."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, 5, 5, 1), np.float32)
    rows = torch.nn.functional.interpolate(torch.from_numpy(coarse).permute(0, 3, 1, 2), size=(16, 16), mode="bicubic")
    found: NDArray[np.uint8] = (rows.permute(0, 2, 3, 1).numpy().clip(0, 1) * 255).astype(np.uint8)
    return found


def edited(x: Tensor, options: dict[str, float] | None = None, *, seed: int = 0) -> Tensor:
    return Edits.model_validate(options or {}).apply(x, torch.Generator().manual_seed(seed))


def test_edits_keep_shape_and_range_and_repeat() -> None:
    x = Feed(pictures(64), CPU).batch(torch.arange(64))
    first, second = edited(x), edited(x)
    assert torch.equal(first, second)
    assert first.shape == x.shape
    assert bool(((first >= 0) & (first <= 1)).all())
    assert not torch.equal(first, edited(x, seed=1))


def test_without_strength_nothing_changes() -> None:
    x = Feed(pictures(8), CPU).batch(torch.arange(8))
    assert torch.allclose(edited(x, NONE), x, atol=1e-4)


def test_a_mirrored_row_is_the_row_mirrored() -> None:
    x = Feed(pictures(8), CPU).batch(torch.arange(8))
    assert torch.allclose(edited(x, NONE | {"mirror": 1}), x.flip(2), atol=1e-4)


@pytest.mark.parametrize("one", ["crop", "turn", "light", "contrast", "blur", "noise", "band", "frame"])
def test_each_edit_changes_some_rows_and_not_all(one: str) -> None:
    x = Feed(pictures(64), CPU).batch(torch.arange(64))
    strength = {"turn": 12.0}.get(one, 0.3)
    changed = (edited(x, NONE | {one: strength}) - x).abs().flatten(1).mean(1) > 1e-3
    assert 0 < changed.sum() < 64


def test_vectors_get_light_and_noise() -> None:
    x = torch.rand(32, 10, generator=torch.Generator().manual_seed(0))
    assert edited(x).shape == x.shape
    assert not torch.equal(edited(x), x)


def test_codes_that_are_no_bits_are_refused() -> None:
    spec = layer_specs.code_spec(CodeRecipe(bits=8))
    choices = Choices(spec.net, Delta(), spec.likelihood, spec.training.corruption)
    assert "agreement is counted in bits" in (Options().refusal(choices) or "")
    assert Options().refusal(spec.choices) is None


def test_bits_of_two_versions_agree_after_training(tmp_path: Path) -> None:
    recipe = CodeRecipe.model_validate(
        {"bits": 16, "objective": "copies", "fit": FitRecipe(epochs=15, batch=64, lr=5e-3)}
    )
    spec = layer_specs.code_spec(recipe)
    feed, held_out = Feed(pictures(512), CPU), Feed(pictures(128, seed=1), CPU)
    model = stack.build([spec], (16, 16, 1), seed=0)[0]

    def share() -> float:
        """Return how many held-out pictures are nearest to their own edited version."""
        x = held_out.batch(torch.arange(128))
        model.eval()
        with torch.no_grad():
            own, other = (
                model.encode(rows).mean.sign() for rows in (x, edited(x, {"crop": 0.15, "band": 0, "turn": 5}))
            )
        return float(((own @ other.T).argmax(1) == torch.arange(128)).float().mean())

    before = share()
    trainer = Trainer(model, spec.training, train=feed, held_out=held_out, seed=0, compute=CPU)
    trainer.run(FileCheckpoint(tmp_path), lambda done, total, note: None, neighbours=None)
    assert share() > before + 0.1


def test_only_training_has_the_term_of_copies() -> None:
    spec = layer_specs.code_spec(CodeRecipe.model_validate({"bits": 8, "objective": "copies"}))
    model = stack.build([spec], (16, 16, 1), seed=0)[0]
    objective = objectives.build(model, spec.training.objective, CPU)
    x = Feed(pictures(16), CPU).batch(torch.arange(16))
    assert set(objective.terms(Batch(x, x, None, None))) == {"reconstruction", "decorrelation"}
    trained = objective.terms(Batch(x, x, None, torch.Generator().manual_seed(0)))
    assert set(trained) == {"reconstruction", "decorrelation", "copies"}

"""Edited rows: whole items change below the frozen layers, as far as rows bear it; edges are found anew by codes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError
from aepipe.index.float_knn import neighbours
from aepipe.learn import batches, edited_rows, stack
from aepipe.learn import corruption as corruptions
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.edited_rows import EditedRows, edited_rows_of
from aepipe.learn.trainer import Trainer
from aepipe.recipe import CodeRecipe, ComputeRecipe, FinetuneRecipe, LayerRecipe
from tests.learn.test_trainer import Memory, equal, quiet, weights

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
ROWS = np.random.default_rng(0).integers(0, 256, (96, 6, 6, 1), np.uint8)
LOWEST = layer_specs.layer_spec(LayerRecipe.model_validate({"net": {"kind": "dense", "width": 20}}), "layers.0")
CODE = layer_specs.code_spec(CodeRecipe(bits=8))
WALKS = {"kind": "neighbourhood", "k": 6, "scales": [{"steps": 3}]}


def finetuning(**options: Any) -> layer_specs.Training:
    recipe = {"frozen": 1, "epochs": 5, "batch": 32, "objective": WALKS, "corruption": "mask"} | options
    return layer_specs.finetune_training(FinetuneRecipe.model_validate(recipe), [LOWEST, CODE])


def trainer(training: layer_specs.Training, *, edited: bool = True) -> Trainer:
    layers = stack.build([LOWEST, CODE], (6, 6, 1), seed=0)
    raw = Feed(ROWS, CPU)
    seen = stack.codes(layers[:1], raw, CPU, spill=None)  # type: ignore[arg-type]
    nothing = Feed(np.zeros((0, 20), np.float32), CPU)
    edits = EditedRows(raw, training.edits, layers[:1]) if edited else None
    return Trainer(layers[1], training, train=seen, held_out=nothing, seed=2, compute=CPU, edits=edits)


def curve(training: layer_specs.Training, checkpoint: Memory | None = None, **options: Any) -> tuple[Any, Trainer]:
    one = trainer(training, **options)
    return one.run(checkpoint or Memory(), quiet, neighbours=neighbours), one


def test_an_edit_is_made_below_the_frozen_layers() -> None:
    layers = stack.build([LOWEST, CODE], (6, 6, 1), seed=0)
    raw, kind = Feed(ROWS, CPU), corruptions.Jitter()
    index = torch.tensor([3, 50, 3])
    found = EditedRows(raw, kind, layers[:1]).batch(index, CPU.generator(4))
    expected = layers[0].encode(kind.corrupt_tensor(raw.batch(index), CPU.generator(4))[0]).mean
    torch.testing.assert_close(found, expected)
    assert not torch.equal(found[0], found[2])  # the same row twice, each with an edit of its own
    assert not found.requires_grad


def test_training_sees_edited_rows_and_their_edited_partners() -> None:
    still = {"kind": "jitter", "shift": 0.0, "turn": 0.0, "scale": 0.0}
    plain, _ = curve(finetuning(), edited=False)
    moved, _ = curve(finetuning(edits="jitter"))
    same, _ = curve(finetuning(edits={**still, "mirror": 1.0}))
    assert moved != plain
    assert same != plain
    assert all(np.isfinite(one["loss"]) for one in moved)


def test_the_graph_is_found_anew_by_the_codes() -> None:
    plain, first = curve(finetuning())
    fresh, second = curve(finetuning(objective={**WALKS, "refresh": 2}))
    assert fresh[:2] == plain[:2]
    assert fresh[2] != plain[2]
    before, now = (one._objective.graph.near_NK for one in (first, second))  # type: ignore[attr-defined]
    np.testing.assert_array_equal(now[:, :3], before[:, :3])  # half of the edges stay
    assert (now[:, 3:] != before[:, 3:]).any()
    assert now.shape == before.shape
    whole, third = curve(finetuning(objective={**WALKS, "refresh": 2, "refreshed": 1.0}))
    assert third._objective.graph.near_NK.shape == (96, 6)  # type: ignore[attr-defined]
    assert whole[:2] == plain[:2]


@pytest.mark.parametrize("die_after", [2, 7, 8, 13])
def test_a_training_that_goes_on_has_the_edges_it_had(die_after: int) -> None:
    training = finetuning(edits="jitter", objective={**WALKS, "refresh": 2})
    expected, undisturbed = curve(training)
    checkpoint, after = Memory(every=1, die_after=die_after), Memory()
    with pytest.raises(KeyboardInterrupt):
        curve(training, checkpoint)
    after.saved = copy.deepcopy(checkpoint.saved)
    found, resumed = curve(training, after)
    assert found == expected
    assert equal(weights(resumed), weights(undisturbed))


def test_digests_know_edits_and_refreshing_only_where_there_are_any() -> None:
    plain = finetuning().key()
    assert "edits" not in plain
    assert {"refresh", "refreshed"}.isdisjoint(plain["objective"])
    assert finetuning(edits="jitter").key()["edits"]["kind"] == "corrupt.Jitter"
    assert finetuning(objective={**WALKS, "refresh": 3}).key()["objective"]["refresh"] == 3
    assert "edits" not in FinetuneRecipe().model_dump()


def test_rows_that_are_no_pictures_are_not_turned() -> None:
    layer_specs.check_edits(finetuning(edits="jitter"), (28, 28, 1))
    with pytest.raises(RecipeError, match=r"finetune\.edits: turns and moves pictures.*shape \(16,\)"):
        layer_specs.check_edits(finetuning(edits="jitter"), (16,))
    with pytest.raises(RecipeError, match=r"finetune\.edits: leaves missing cells"):
        finetuning(edits="mcar")


def squares(*, lined_up: bool = False, leaning: bool = False) -> Any:
    """Return pictures of two squares each, anywhere or on a grid; the left one is the brighter one, or either."""
    rng = np.random.default_rng(0)
    x = np.zeros((1500, 18, 18, 1), np.float32)
    for row in x:
        places = [4 * rng.integers(0, 4, 2) + 1 if lined_up else rng.integers(0, 14, 2) for _ in range(2)]
        for bright, (i, j) in zip((1, 0.4), sorted(places, key=lambda one: one[1]) if leaning else places, strict=True):
            row[i : i + 4, j : j + 4] = bright
    return x


def borne(rows: Any, within: float = 1.1, **options: float) -> Any:
    feed = Feed(rows, CPU)
    found = edited_rows_of(corruptions.Jitter(**options), within, rows=feed, below=[], seen=feed, compute=CPU)
    assert found is not None
    return found.kind


def test_rows_bear_the_moves_that_they_differ_by() -> None:
    only = {"shift": 2.0, "turn": 0.0, "scale": 0.0}
    assert borne(squares(), **only).shift > 1
    assert borne(squares(lined_up=True), **only).shift < 0.5
    assert borne(squares(lined_up=True), within=0, **only).shift == 2
    assert borne(squares(lined_up=True), **only) == borne(squares(lined_up=True), **only)


def test_what_is_never_mirrored_is_not_mirrored() -> None:
    options = {"shift": 0.0, "turn": 0.0, "scale": 0.0, "mirror": 0.5}
    assert borne(squares(leaning=True), **options).mirror == 0
    assert borne(squares(), **options).mirror == 0.5


def test_few_rows_tell_nothing_about_edits() -> None:
    options = {"shift": 2.0, "turn": 0.0, "scale": 0.0}
    assert borne(squares(lined_up=True)[:10], **options).shift == 2
    assert borne(squares(lined_up=True)[:400], **options).shift < 2


def test_changes_without_parts_stay_as_they_are() -> None:
    feed = Feed(ROWS, CPU)
    assert edited_rows_of(corruptions.Clean(), 1.1, rows=feed, below=[], seen=feed, compute=CPU) is None
    mask = edited_rows_of(corruptions.Mask(), 1.1, rows=feed, below=[], seen=feed, compute=CPU)
    assert mask is not None
    assert mask.kind == corruptions.Mask()


def test_strangeness_is_the_growth_of_the_distance_from_the_nearest_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sampled rows, one minus the cosine of centred rows; a row is no neighbour of its own."""
    for name, value in (("ASKED", 6), ("COMPARED", 25), ("NEAREST", 3)):
        monkeypatch.setattr(edited_rows, name, value)
    feed = Feed(ROWS, CPU)
    kind = corruptions.Jitter(shift=1.0, turn=20.0)
    for values, count in ((1 << 26, 25), (36 * 9, 9), (36, 6)):  # fewer of wide rows, but twice the nearest at least
        monkeypatch.setattr(edited_rows, "VALUES", values)
        one = edited_rows.Strangeness(EditedRows(feed, corruptions.Clean(), []), feed, CPU)
        known = torch.randperm(96, generator=torch.Generator().manual_seed(0))[:count]
        rows = feed.batch(known).flatten(1).double().numpy()
        moved = kind.corrupt_tensor(feed.batch(known[:6]), CPU.generator(0))[0].flatten(1).double().numpy()
        far = []
        for asked in (rows[:6], moved):
            left, right = (some - rows.mean(0) for some in (asked, rows))
            lengths = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
            cosine = left @ right.T / lengths
            others = [np.sort(np.delete(row, place))[::-1][:3] for place, row in enumerate(cosine)]
            far.append(1 - np.mean(others))
        assert one.of(kind) == pytest.approx(far[1] / far[0], rel=1e-4)
        assert one.of(corruptions.Clean()) == pytest.approx(1.0, rel=1e-5)


def test_each_part_is_as_strong_as_rows_bear_and_then_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eleven strengths the strongest that stays within; the last one, which changes nothing, always does."""
    asked = []

    def of(self: object, kind: Any) -> float:
        asked.append((kind.shift, kind.turn))
        return float(max(kind.shift / 4, kind.turn / 20) + (kind.shift / 40 if kind.turn else 0))

    monkeypatch.setattr(edited_rows.Strangeness, "of", of)
    kind, feed = corruptions.Jitter(shift=10.0, turn=10.0, scale=0.0), Feed(ROWS, CPU)
    found = edited_rows_of(kind, 1.0, rows=feed, below=[], seen=feed, compute=CPU)
    assert found is not None
    assert (found.kind.shift, found.kind.turn) == (3.6, 9.0)  # type: ignore[attr-defined]
    assert asked[:7] == [(10.0, 0.0), (9.0, 0.0), (8.0, 0.0), (7.0, 0.0), (6.0, 0.0), (5.0, 0.0), (4.0, 0.0)]
    assert asked[-2:] == [(4.0, 10.0), (3.6, 9.0)]
    none = edited_rows_of(kind, 0.01, rows=feed, below=[], seen=feed, compute=CPU)
    assert none is not None
    assert (none.kind.shift, none.kind.turn) == (0.0, 0.0)  # type: ignore[attr-defined]
    asked.clear()
    for count in (10, 11):
        few = Feed(ROWS[:count], CPU)
        edited_rows_of(kind, 1.0, rows=few, below=[], seen=few, compute=CPU)
        assert bool(asked) is (count == 11)
    asked.clear()
    whole = edited_rows_of(kind, 0.0, rows=feed, below=[], seen=feed, compute=CPU)
    assert whole is not None
    assert (whole.kind, asked) == (kind, []), "taken as it is, and nothing is measured"

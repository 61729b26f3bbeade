"""The space of a search: what suits a recipe, and files that name keys and ranges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from aepipe import recipe as recipes
from aepipe.errors import RecipeError
from aepipe.pipeline.resolve import ResolvedRecipe, resolve
from aepipe.pipeline.space import Dimension, as_dict, from_dict, read_space, space_of, space_text

WALKS = """name = "v"
[source]
kind = "vectors"
path = "v.npy"
[[layers]]
net = { kind = "dense", width = 8, activation = "linear" }
objective = "components"
fit = { epochs = 1, batch = 4096 }
[[layers]]
net = { kind = "dense", width = 300 }
[code]
bits = 8
[finetune]
epochs = 6
frozen = 1
corruption = [{ kind = "mask", rate = 0.7 }, { kind = "gaussian", sigma = 0.1 }]
objective = { kind = "neighbourhood", k = 3 }
"""


def resolved(folder: Path, text: str = WALKS) -> ResolvedRecipe:
    np.save(folder / "v.npy", np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32))
    (folder / "v.toml").write_text(text)
    return resolve(recipes.load(folder / "v.toml"))


def test_it_has_what_the_recipe_trains_and_holds_what_it_says(tmp_path: Path) -> None:
    found = {one.key: one for one in space_of(resolved(tmp_path))}
    assert list(found) == [
        "layers.0.objective.whiten",
        "layers.1.net.width",
        "finetune.lr",
        "finetune.batch",
        "finetune.epochs",
        "finetune.corruption.0.rate",
        "finetune.corruption.1.sigma",
        "finetune.objective.k",
        "finetune.objective.whiten",
        "finetune.objective.decorrelation",
    ]
    assert found["layers.0.objective.whiten"].own == 0.5, "a default that the recipe does not name"
    assert 300 in found["layers.1.net.width"].values
    assert (found["finetune.epochs"].low, found["finetune.epochs"].high) == (2, 18)
    assert found["finetune.corruption.0.rate"].high == 0.7, "beyond the usual range"
    assert found["finetune.objective.k"].low == 3
    assert found["finetune.objective.k"].whole


def test_without_fine_tuning_the_bits_are_searched_and_without_training_nothing(tmp_path: Path) -> None:
    plain = WALKS[: WALKS.index("[finetune]")] + "[finetune]\nepochs = 0\n"
    keys = [one.key for one in space_of(resolved(tmp_path, plain))]
    assert {"code.fit.lr", "code.fit.epochs", "code.objective.decorrelation"} <= set(keys)
    assert not any(key.startswith("finetune") for key in keys)
    layer = '[[layers]]\nnet = { kind = "dense", width = 8, activation = "linear" }\nobjective = "itq"\n'
    nothing = plain.replace("[code]", '[code]\nnormalize = false\nobjective = "itq"')
    first, second = nothing.index('[[layers]]\nnet = { kind = "dense", width = 300'), nothing.index("[code]")
    kept = [one.key for one in space_of(resolved(tmp_path, nothing[:first] + nothing[second:]))]
    assert kept == ["layers.0.objective.whiten"], layer


def test_its_text_is_a_file_that_gives_it_again(tmp_path: Path) -> None:
    plan = resolved(tmp_path)
    found = space_of(plan)
    (tmp_path / "space.toml").write_text(space_text(found))
    assert read_space(tmp_path / "space.toml", plan) == found
    assert [from_dict(as_dict(one)) for one in found] == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("finetune.lr = 3", "neither a list of values nor"),
        ("finetune.lr = { low = 2.0, high = 1.0 }", "no range"),
        ("finetune.lr = { low = 0.0, high = 1.0, log = true }", "no range"),
        ("finetune.lr = { low = 0.1, high = 1.0, step = 2 }", "no range"),
        ("finetune.lrs = [1.0]", "no such key"),
        ("layers.7.net.width = [4]", "allowed: layers.0 to layers.1"),
        ("source.kind = { low = 1, high = 2 }", "no number"),
        ("finetune.objective = ['neighbourhood']", "name a key below it"),
        ("finetune.lr = [", "not a readable TOML file"),
        ("", "names no key"),
    ],
)
def test_a_file_that_cannot_be_searched_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "space.toml").write_text(text)
    with pytest.raises(RecipeError, match="--space") as refused:
        read_space(tmp_path / "space.toml", resolved(tmp_path))
    assert said in str(refused.value)


def test_a_list_keeps_its_order_and_gains_what_the_recipe_says(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text('[finetune]\nlr = [1e-2, 1e-4]\nschedule = ["constant"]\n')
    lr, schedule = read_space(tmp_path / "space.toml", resolved(tmp_path))
    assert lr == Dimension("finetune.lr", values=(1e-2, 1e-4, 1e-3), own=1e-3)
    assert schedule.values == ("constant", "cosine")

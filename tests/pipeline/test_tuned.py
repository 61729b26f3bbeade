"""The recipe that a search found, as a file: comments kept, values changed, reasons on top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tomlkit")
pytest.importorskip("torch")

from aepipe import recipe as recipes
from aepipe.errors import RecipeError
from aepipe.pipeline.sweep import apply_settings
from aepipe.pipeline.tuned import tuned_text

TEXT = """# my recipe
name = "v"

[source]
kind = "vectors"
path = "v.npy"  # the vectors

[[layers]]
net = { kind = "dense", width = 8 }  # small
objective = "components"

[code]
bits = 8
fit = { epochs = 2 }

[finetune]
lr = 1e-3  # usual
corruption = [{ kind = "mask", rate = 0.2 }, "none"]
"""
CHANGES: dict[str, Any] = {
    "finetune.lr": 0.00423,
    "finetune.batch": 64,
    "finetune.corruption.0.rate": 0.4,
    "finetune.objective.decorrelation": 0.1,
    "layers.0.net.width": 16,
    "layers.0.objective.whiten": 0.3,
    "code.fit.lr": 0.01,
    "code.objective.decorrelation": 0.05,
    "views.holdout": 0.1,
    "seed": 3,
}


def test_values_are_changed_wherever_they_stand_and_comments_stay(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text(TEXT)
    text = tuned_text(file, CHANGES, folder=tmp_path, source=None, reasons=["It is better. " * 20, "  lr: 1 -> 2"])
    assert text.startswith("# It is better.")
    assert "#   lr: 1 -> 2\n" in text
    assert all(len(line) <= 120 for line in text.splitlines())
    for comment in ("# my recipe", "# the vectors", "# small", "# usual"):
        assert comment in text
    (tmp_path / "better.toml").write_text(text)
    read, wanted = recipes.load(tmp_path / "better.toml"), apply_settings(recipes.load(file), CHANGES)
    assert read.model_dump() == wanted.model_dump()


def test_paths_hold_where_the_file_goes(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text(TEXT.replace("[finetune]", '[gate]\ncanaries = "c.toml"\n\n[finetune]'))
    elsewhere = tmp_path / "other"
    moved = tuned_text(file, {"seed": 1}, folder=elsewhere, source=None, reasons=["."])
    assert f'path = "{tmp_path / "v.npy"}"' in moved
    assert f'canaries = "{tmp_path / "c.toml"}"' in moved
    asked = tuned_text(file, {"seed": 1}, folder=tmp_path, source="s3://b/v.npy", reasons=["."])
    assert 'path = "s3://b/v.npy"' in asked
    assert 'canaries = "c.toml"' in asked


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text(TEXT)
    with pytest.raises(RecipeError, match=r"do so by hand: fit\.batch=64"):
        tuned_text(file, {"fit.batch": 64}, folder=tmp_path, source=None, reasons=["."])

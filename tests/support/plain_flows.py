"""Flows as plain functions, for tests that run hundreds of them: no server, no retries, no pages of Prefect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from aepipe.store.artifacts import Store

RECIPE = """
name = "{name}"
[source]
kind = "images"
path = "{name}"
label = "parent"
split = {{ test = 0.2 }}
max_vanished_share = 1
[features]
size = [8, 8]
color = "gray"
[[layers]]
net = {{ kind = "dense", width = 8 }}
likelihood = "bernoulli"
fit = {{ epochs = 1, batch = 16 }}
[code]
bits = 8
threshold = "median"
fallback = "none"
fit = {{ epochs = 1, batch = 16 }}
[finetune]
epochs = 1
batch = 16
[evaluate]
queries = 8
[gate]
max_regression = 1.0
warn_below_itq = false
"""


@contextmanager
def plain_flows() -> Iterator[None]:
    """Let ``run``, ``nightly`` and ``refresh`` do their work in this process, without Prefect."""
    from prefect import Flow, Task

    from flows import artifacts, build, local_server, nightly, refresh, tasks

    @contextmanager
    def session(
        _store: Store, _server: str | None = None, check: Callable[[], object] = lambda: None
    ) -> Iterator[None]:
        check()
        yield

    with pytest.MonkeyPatch.context() as patched:
        for name, task in vars(tasks).copy().items():
            if isinstance(task, Task):
                patched.setattr(tasks, name, task.fn)
        for module, name in ((build, "build"), (nightly, "nightly"), (refresh, "refresh")):
            flow = getattr(module, name)
            assert isinstance(flow, Flow)
            patched.setattr(module, name, flow.fn)
            patched.setattr(module, "show_progress", lambda: None)
        for kind in ("table", "markdown", "link"):
            patched.setattr(artifacts, f"create_{kind}_artifact", lambda *_, **__: None)
        patched.setattr(artifacts, "shown", _no_pictures)
        patched.setattr(local_server, "session", session)
        yield


def _no_pictures(*_: object) -> Mapping[str, str]:
    return {}


def write_collection(folder: Path, name: str = "tiny", numbers: range = range(24)) -> Path:
    """Write a recipe and some pictures of two classes, and return the recipe."""
    import numpy as np

    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 128, (4, 4), np.uint8) + 120 * (number % 2)
        file = folder / name / f"class{number % 2}" / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).resize((8, 8), Image.Resampling.BILINEAR).save(file)
    recipe = folder / f"{name}.toml"
    recipe.write_text(RECIPE.format(name=name))
    return recipe

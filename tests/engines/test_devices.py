"""A network on a graphics card asks engines for one, for each part; nobody needs one to see that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aepipe import engines, recipe
from aepipe.codes import encoder
from aepipe.engines import Done, Needs, Part, Work
from aepipe.errors import EngineError
from aepipe.pipeline.backbone import attach_backbone
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.resolve import ResolvedRecipe, resolve
from aepipe.sources.networks import graph
from aepipe.store.artifacts import Store
from tests.support.networks import vision

N = 24


class Asked:
    """Does all work here, and keeps what it needs."""

    def __init__(self) -> None:
        self.needs: list[Needs] = []

    def map(self, work: Work, parts: Sequence[Part], needs: Needs) -> Iterator[Done]:
        """Yield what has become of each part."""
        self.needs.append(needs)
        yield from map(work, parts)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that knows graphics cards, on a machine that has none."""
    monkeypatch.setattr(graph, "has_cuda", lambda: True)
    monkeypatch.setattr(encoder, "has_cuda", lambda: False)


def opened(folder: Path, store: Store, provider: str) -> ResolvedRecipe:
    """Return a recipe for pictures in parts, seen by a network."""
    if not (folder / "pictures").exists():
        (folder / "pictures").mkdir()
        rng = np.random.default_rng(0)
        for number in range(N):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"pictures/{number:02d}.png")
        vision(folder / "net.onnx", "image_embeds")
    table = {
        "name": "seen",
        "source": {"kind": "images", "path": str(folder / "pictures"), "part": 8},
        "features": {"backbone": str(folder / "net.onnx"), "size": [8, 8], "provider": provider},
        "layers": [{"net": {"kind": "dense", "width": 8}}],
        "code": {"bits": 8},
    }
    found = resolve(recipe.parse(table, folder / "seen.toml"))
    attach_backbone(store, found)
    return found


@pytest.mark.usefixtures("card")
def test_parts_ask_for_a_card(store: Store, tmp_path: Path) -> None:
    found = {}
    for provider in ("cpu", "cuda"):
        asked = Asked()
        made = opened(tmp_path, store, provider)
        ref = ingest(store, made.source, recipe=made.recipe, engine=asked)
        found[provider] = store.manifest(ref).inputs["features"]
        assert len(store.parts(ref)) > 1
        assert [one.gpus for one in asked.needs] == [1.0 if provider == "cuda" else 0.0]
    assert found["cuda"]["backbone"] == found["cpu"]["backbone"] | {"provider": "cuda"}


@pytest.mark.usefixtures("card")
def test_a_cluster_without_one_is_refused(
    store: Store, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aepipe.engines.dask.ANSWERS_IN", 0.2)
    made = opened(tmp_path, store, "cuda")
    with pytest.raises(EngineError, match=r"of \d workers there is none with GPU=1 under --resources"):
        ingest(store, made.source, recipe=made.recipe, engine=engines.resolve(cluster))

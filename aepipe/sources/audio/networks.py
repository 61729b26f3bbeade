"""The frozen network that a recipe for recordings names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aepipe.errors import RecipeError, SourceError
from aepipe.sources.backbone import GRAPH, BackboneSpec
from aepipe.sources.networks import hearing
from aepipe.sources.networks.folder import Folder, missing, with_pooler
from aepipe.sources.networks.hearing import Hearing, SoundEncoder


@dataclass(frozen=True, slots=True)
class Network:
    """A network for recordings, and how it hears them."""

    spec: BackboneSpec
    hearing: Hearing


def named(name: str, chosen: Mapping[str, Any], base: Path, window: float | Literal["whole"]) -> Network:
    """Return the network of a recipe.

    Args:
        name: as the recipe has it: a folder, or an ONNX file.
        chosen: the options of networks that the recipe sets.
        base: the folder that paths are relative to.
        window: seconds of an item.

    Raises:
        SourceError: there is no such network, its folder lacks something, or it takes shorter recordings.
        RecipeError: an option says nothing of a file.
        CorruptError: the file is none.
    """
    chosen = with_pooler(chosen)
    path = (base / Path(name).expanduser()).resolve()
    if path.is_dir():
        folder = Folder.at(path, "audio", chosen.get("graph"))
        how, said = hearing.read(folder, chosen)
        return _tried(folder.graph, how, said, window)
    if not path.is_file():
        raise missing(path, name, "a folder with a network, or an ONNX file")
    if "graph" in chosen:
        raise RecipeError(f"graph under [features] names a file in a folder, and {name} is none")
    return _tried(path, Hearing.of(chosen), (), window)


def _tried(graph: Path, how: Hearing, said: tuple[str, ...], window: float | Literal["whole"]) -> Network:
    """Return a network after it has heard a second: only a run tells the number of its features."""
    network = SoundEncoder(graph, how)
    if network.fixed is not None and (window == "whole" or round(window * how.rate) > network.fixed):
        most = network.fixed / how.rate
        raise SourceError(f"{graph}: takes {network.fixed:,} samples; say window = {most:g} under [features], or less")
    width = len(network(np.sin(np.arange(how.rate) * 0.1)))
    spec = BackboneSpec("", {GRAPH: graph}, network.sha256, width, output=how.output, said=said)
    return Network(spec, how)

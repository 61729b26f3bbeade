"""The frozen network that a recipe for pictures names: of a package, a folder, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aepipe.errors import RecipeError
from aepipe.sources.backbone import GRAPH, BackboneSpec
from aepipe.sources.networks.folder import Folder, missing, with_pooler
from aepipe.sources.networks.packaged import PICTURES
from aepipe.sources.networks.pictures import Backbone
from aepipe.sources.networks.seeing import Seeing

OWN = ("channels", "pooling", "output")
"""Options of a network of the user's own, in a folder or as a file."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network for pictures, and how it sees them.

    Attributes:
        spec: its files, and where they are from.
        size: height and width of the pictures that it takes.
        seen_by: what :class:`aepipe.sources.networks.pictures.Backbone` is told.
        prepared: what :func:`aepipe.sources.images.decode.decode` is told beside the size.
    """

    spec: BackboneSpec
    size: tuple[int, int]
    seen_by: Mapping[str, Any]
    prepared: Mapping[str, Any] = field(default_factory=dict)


def named(name: str, chosen: Mapping[str, Any], base: Path) -> Network:
    """Return the network of a recipe.

    Args:
        name: as the recipe has it.
        chosen: the options under ``[features]`` that the recipe sets.
        base: the folder that paths are relative to.

    Raises:
        SourceError: there is no such network, or its folder lacks something.
        RecipeError: an option says nothing of such a network.
        CorruptError: the file is none, or takes no pictures of this size.
    """
    chosen = with_pooler(chosen)
    if name in PICTURES:
        return _packaged(name, chosen)
    path = (base / Path(name).expanduser()).resolve()
    if path.is_dir():
        return _of_folder(Folder.at(path, "vision", chosen.get("graph")), chosen)
    if not path.is_file():
        raise missing(path, name, f"{', '.join(PICTURES)}, a folder with a network, or an ONNX file")
    if "graph" in chosen:
        raise RecipeError(f"graph under [features] names a file in a folder, and {name} is none")
    own = {option: chosen[option] for option in OWN if option in chosen}
    return _tried(path, chosen.get("size", (224, 224)), {**_normal(chosen), **own})


def _packaged(name: str, chosen: Mapping[str, Any]) -> Network:
    if said := [option for option in (*OWN, "graph") if option in chosen]:
        raise RecipeError(f"{said[0]} under [features] is for networks of your own; {name} has its own")
    found = PICTURES[name]
    found.check()
    size = chosen.get("size", (found.side, found.side))
    return Network(BackboneSpec(name, {}, "", found.width, size), size, _normal(chosen))


def _of_folder(folder: Folder, chosen: Mapping[str, Any]) -> Network:
    seeing = Seeing.read(folder, chosen)
    seen_by = {name: getattr(seeing, name) for name in ("channels", "pooling", "output")}
    seen_by |= {"mean": list(seeing.mean), "scale": list(seeing.scale)}
    network = _tried(folder.graph, seeing.size, seen_by, seeing.said)
    prepared: dict[str, Any] = {"resample": seeing.resample}
    if seeing.resize is not None:
        prepared["resize"] = seeing.resize if isinstance(seeing.resize, int) else list(seeing.resize)
    return Network(network.spec, network.size, seen_by, prepared)


def _tried(file: Path, size: tuple[int, int], seen_by: Mapping[str, Any], said: tuple[str, ...] = ()) -> Network:
    """Return a network after a look at one picture: only a run tells its features, and whether it takes this size."""
    network = Backbone.of(file.parent, file.name, seen_by)
    width = len(network(np.zeros((*size, 3), np.uint8)))
    spec = BackboneSpec("", {GRAPH: file}, network.sha256, width, size, seen_by.get("output", ""), said)
    return Network(spec, size, seen_by)


def _normal(chosen: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return mean and scale as features have them; the defaults are those of EfficientNet-Lite."""
    return {"mean": list(chosen.get("mean", (127.0,))), "scale": list(chosen.get("scale", (128.0,)))}

"""The frozen network that a recipe for documents names: of a package, a folder, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aepipe.errors import RecipeError, SourceError
from aepipe.sources.backbone import GRAPH, TOKENIZER, BackboneSpec
from aepipe.sources.networks import reading
from aepipe.sources.networks.folder import Folder, missing, with_pooler
from aepipe.sources.networks.packaged import TEXTS
from aepipe.sources.networks.texts import Reading, SentenceEncoder

OWN = ("pooling", "output", "longest", "prompts")
"""Options of a network of the user's own, in a folder or as a file."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network for documents, and how it reads them.

    Attributes:
        spec: its files, and where they are from.
        read_by: what :class:`aepipe.sources.networks.texts.Reading` has; empty for a network that reads as they always
            did.
    """

    spec: BackboneSpec
    read_by: Mapping[str, Any] = field(default_factory=dict)


def named(name: str, chosen: Mapping[str, Any], base: Path) -> Network:
    """Return the network of a recipe.

    Args:
        name: as the recipe has it.
        chosen: the options of networks that the recipe sets.
        base: the folder that paths are relative to.

    Raises:
        SourceError: there is no such network, or its folder lacks something.
        RecipeError: an option says nothing of such a network.
        CorruptError: the file is none, or its tokenizer cannot be used.
    """
    chosen = with_pooler(chosen)
    if name in TEXTS:
        if chosen:
            raise RecipeError(f"{min(chosen)} under [features] is for networks of your own; {name} has its own")
        TEXTS[name].check()
        return Network(BackboneSpec(name, {}, "", TEXTS[name].width), TEXTS[name].read_by)
    path = (base / Path(name).expanduser()).resolve()
    if path.is_dir():
        folder = Folder.at(path, "text", chosen.get("graph"))
        how, said = reading.read(folder, chosen)
        return _tried(folder.graph, path / TOKENIZER, how, said)
    tokenizer = path.with_name(TOKENIZER)
    if not path.is_file():
        raise missing(path, name, f"{', '.join(TEXTS)}, a folder with a network, or an ONNX file")
    if not tokenizer.is_file():
        raise SourceError(f"{path}: no {TOKENIZER} next to it, which cuts texts into tokens")
    if "graph" in chosen:
        raise RecipeError(f"graph under [features] names a file in a folder, and {name} is none")
    return _tried(path, tokenizer, Reading.of(chosen) if chosen else None, ())


def _tried(graph: Path, tokenizer: Path, how: Reading | None, said: tuple[str, ...]) -> Network:
    """Return a network after it has read one letter: only a run tells the number of its features."""
    network = SentenceEncoder(graph.parent, graph.name, how, tokenizer)
    files = {GRAPH: graph, TOKENIZER: tokenizer}
    spec = BackboneSpec("", files, network.sha256, len(network("a")), output=how.output if how else "", said=said)
    return Network(spec, how.to_json() if how else {})

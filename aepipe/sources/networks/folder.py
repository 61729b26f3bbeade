"""Folders of networks as people have them.

Optimum of Hugging Face, transformers.js and sentence-transformers write them. A folder has a graph, ``model.onnx``
itself or below ``onnx/``, and beside it what the network expects of its inputs. Its files may be links, as those in a
cache of Hugging Face are; nothing of it is executed but the graph.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from aepipe.errors import CorruptError, SourceError
from aepipe.sources.networks.graph import first_line

Tower = Literal["vision", "text", "audio"]
"""The part of a network that is wanted, as the files of two towers are named."""
_HUB = re.compile(r"[A-Za-z0-9][\w-]*/[\w.-]*[A-Za-z][\w.-]*(?<!\.onnx)")
_LARGEST = 1 << 28
"""Bytes of a file of settings; a larger one is none."""


@dataclass(frozen=True)
class Folder:
    """The folder of a network.

    Attributes:
        path: of the folder.
        graph: the file of the graph.
    """

    path: Path
    graph: Path

    @classmethod
    def at(cls, path: Path, tower: Tower, graph: str | None = None) -> Folder:
        """Find the graph of a folder.

        Args:
            path: of the folder.
            tower: that is wanted, where each has a file of its own.
            graph: the file's name in the folder, where the recipe says it.

        Raises:
            SourceError: there is none, or there are several; the text says which.
        """
        if graph is not None:
            file = path / graph
            if not file.is_file() or ".." in file.parts:
                raise SourceError(f"{path}: no graph {graph!r} in it; {_listed(_graphs(path), path)}")
            return cls(path, file)
        # Exports of Whisper have the encoder and the decoder apart.
        encoder = ("encoder_model.onnx",) if tower == "audio" else ()
        for name in (f"{tower}_model.onnx", "model.onnx", *encoder):
            for folder in (path / "onnx", path):
                if (folder / name).is_file():
                    return cls(path, folder / name)
        found = _graphs(path)
        if len(found) == 1:
            return cls(path, found[0])
        if found:
            raise SourceError(
                f"{path}: several graphs and no model.onnx: {_listed(found, path)}; say which: "
                f'graph = "{found[0].relative_to(path)}" under [features]'
            )
        weights = sorted(one.name for one in path.glob("*") if one.suffix in {".safetensors", ".bin", ".pt", ".pth"})
        has = f"; {weights[0]} is not executed: export it by `optimum-cli export onnx`" if weights else ""
        raise SourceError(f"{path}: no model.onnx in it or in onnx/{has}")

    def settings(self, *names: str) -> dict[str, Any]:
        """Return what the first of some files that is there says; empty where none is.

        Raises:
            SourceError: it is not JSON.
        """
        for name in names:
            file = self.path / name
            if not file.is_file():
                continue
            if file.stat().st_size > _LARGEST:
                raise SourceError(f"{file}: too large for settings")
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise SourceError(f"{file}: not readable: {first_line(error)}") from None
            return {"modules": found} if isinstance(found, list) else table(found)
        return {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.json``, which says what sort of network it is."""
        return self.settings("config.json")

    @property
    def sort(self) -> str:
        """The type of the network, as transformers names it; empty where it is not said."""
        return str(self.config.get("model_type", ""))

    def part(self, name: str) -> dict[str, Any]:
        """Return what ``config.json`` says of one tower of two, under this name; else all of it."""
        return table(self.config.get(name)) or self.config

    @cached_property
    def ends(self) -> tuple[dict[str, list[Any]], list[str]]:
        """The shapes of the graph's inputs by name, and the names of its outputs.

        Raises:
            CorruptError: it is no graph.
        """
        import onnx

        try:
            graph = onnx.load(self.graph, load_external_data=False).graph
        except Exception as error:  # the library's errors have no base in common
            raise CorruptError(f"{self.graph}: not a network that can be used: {first_line(error)}") from None
        constants = {one.name for one in graph.initializer}
        inputs = {
            one.name: [dim.dim_value or dim.dim_param for dim in one.type.tensor_type.shape.dim]
            for one in graph.input
            if one.name not in constants
        }
        return inputs, [one.name for one in graph.output]

    def output(self, wanted: str | None, order: Iterable[str]) -> str:
        """Return the output to take: the one that is wanted, or the first of an order that there is.

        Where there is none of these, it is the first one that is not the scores of a classifier.

        Raises:
            SourceError: the graph has no such output.
        """
        outputs = self.ends[1]
        if wanted is not None:
            if wanted not in outputs:
                raise SourceError(f"{self.graph}: no output {wanted!r}; allowed: {', '.join(outputs)}")
            return wanted
        rest = [name for name in outputs if not name.startswith("logits")]
        return next((name for name in order if name in outputs), (rest or outputs)[0])

    def said(self, output: str) -> str:
        """Return which graph and which output are taken, in words."""
        others = [name for name in self.ends[1] if name != output]
        also = f" (not {', '.join(others)})" if others else ""
        return f"{self.graph.relative_to(self.path)}, output {output}{also}"


def missing(path: Path, name: str, allowed: str) -> SourceError:
    """Return the error that there is no such network.

    A name as Hugging Face has it gets the way to a folder.

    Args:
        path: where it would be.
        name: as the recipe has it.
        allowed: what could be named.
    """
    hub = f". Nothing is downloaded: `optimum-cli export onnx --model {name} FOLDER` makes a folder of it"
    return SourceError(f"{path}: no such backbone; allowed: {allowed}{hub if _HUB.fullmatch(name) else ''}")


def with_pooler(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a recipe says, with the output that ``pooling = "pooler"`` stands for."""
    if chosen.get("pooling") != "pooler":
        return dict(chosen)
    return {"output": "pooler_output", **{name: value for name, value in chosen.items() if name != "pooling"}}


def table(value: object) -> dict[str, Any]:
    """Return a table of settings; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def number(value: object, file: str, key: str, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a number of a file of settings.

    Raises:
        SourceError: it is none, or outside of the bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most or math.isinf(value):
        shown = json.dumps(value)[:60]
        raise SourceError(f"{file}: {key} = {shown} is not what is expected; say it under [features]")
    return float(value)


def _graphs(path: Path) -> list[Path]:
    return sorted(one for folder in (path, path / "onnx") for one in folder.glob("*.onnx") if one.is_file())


def _listed(found: Sequence[Path], path: Path) -> str:
    names = [str(one.relative_to(path)) for one in found]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "it has none"

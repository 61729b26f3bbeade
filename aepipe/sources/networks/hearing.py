"""Networks that hear recordings: raw sound in, features out; and how their folders want it.

Legend: N samples, T steps in time, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError, SourceError
from aepipe.sources.networks.folder import Folder, number, table, with_pooler
from aepipe.sources.networks.graph import REALS, Graph, digest_of_bytes, pooled, unit, whole_graph

FILE = "preprocessor_config.json"
SHORTEST = 0.1
"""Seconds that a recording is filled up to with silence; a network needs some steps in time."""
_OUTPUTS = ("audio_embeds", "embeddings", "pooler_output", "last_hidden_state")
_MASK = "attention_mask"


@dataclass(frozen=True, slots=True)
class Hearing:
    """How a network hears.

    Attributes:
        output: that has the features.
        pooling: how steps in time become one vector.
        rate: samples in a second.
        normalize: whether each recording is brought to mean 0 and variance 1 first.
    """

    output: str = ""
    pooling: str = "mean"
    rate: int = 16_000
    normalize: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it for the features of a source."""
        return asdict(self)

    @classmethod
    def of(cls, heard_by: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_json` wrote; other names are passed over."""
        return cls(**{one.name: heard_by[one.name] for one in fields(cls) if one.name in heard_by})


def read(folder: Folder, chosen: Mapping[str, Any]) -> tuple[Hearing, tuple[str, ...]]:
    """Read the files of a folder.

    Args:
        folder: of the network.
        chosen: what the recipe says in place of them, by the names of :class:`Hearing`.

    Returns:
        How the network hears, and what was read, in words.

    Raises:
        SourceError: something is missing, with its name.
    """
    chosen = with_pooler(chosen)
    given = folder.settings(FILE)
    given = given or table(folder.settings("processor_config.json").get("feature_extractor"))
    if "rate" not in chosen and "sampling_rate" not in given:
        raise SourceError(f"{folder.path}: no sampling_rate in {FILE}; say rate = 16000 under [features]")
    output = folder.output(chosen.get("output"), ("last_hidden_state",) if "pooling" in chosen else _OUTPUTS)
    found = Hearing(
        output=output,
        pooling=chosen.get("pooling", "mean"),
        rate=chosen["rate"]
        if "rate" in chosen
        else int(number(given["sampling_rate"], FILE, "sampling_rate", 1000, 192_000)),
        normalize=chosen.get("normalize", bool(given.get("do_normalize", False))),
    )
    loud = ", each brought to mean 0 and variance 1" if found.normalize else ""
    said = [f"{folder.path.name}: {folder.said(output)}", f"recordings: {found.rate:,} samples in a second{loud}"]
    own = sorted(chosen.keys() & {one.name for one in fields(Hearing)})
    return found, tuple(said + ([f"from the recipe: {', '.join(own)}"] if own else []))


class SoundEncoder:
    """A network for recordings, [1, N].

    Its output is [1, F], or [1, T, F] of steps in time, which become one vector.

    Args:
        file: of the graph, ONNX.
        hearing: how it hears.

    Attributes:
        sha256: of the graph with its weights, hex.
        fixed: N, where the graph takes recordings of one length; else None.

    Raises:
        CorruptError: the file is no such graph.
    """

    def __init__(self, file: Path, hearing: Hearing) -> None:
        try:
            data = whole_graph(file, hearing.output)
        except OSError as error:
            raise CorruptError(f"{file}: not a network that can be used: {error}") from None
        self._graph, self._file, self._hearing = Graph(data, file, hearing.output), file, hearing
        sound = [name for name in self._graph.inputs if name != _MASK]
        kind, shape = self._graph.inputs[sound[0]] if len(sound) == 1 else ("", [])
        if len(shape) != 2 or kind not in REALS:
            takes = ", ".join(f"{name} {shape}" for name, (_, shape) in self._graph.inputs.items())
            raise CorruptError(f"{file}: takes {takes}, and raw sound, input_values [1, N], is what can be given")
        self._input, self.fixed = sound[0], self._graph.length(sound[0], 1)
        self.sha256 = digest_of_bytes(data)

    def __call__(self, samples: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
        """Return the features of a recording, float[N] at the network's rate, float16[F], of unit length.

        Raises:
            CorruptError: the network fails, or its output has another shape.
        """
        heard = samples.astype(np.float64)
        if self._hearing.normalize:
            heard = (heard - heard.mean()) / np.sqrt(heard.var() + 1e-7)
        length = self.fixed or max(len(heard), round(SHORTEST * self._hearing.rate))
        own = np.arange(length) < len(heard)
        filled = np.pad(heard[:length], (0, max(0, length - len(heard))))
        given = {self._input: filled[None], _MASK: own[None].astype(np.int64)}
        found = self._graph.run({name: given[name] for name in self._graph.inputs})
        return unit(pooled(found, self._hearing.pooling), self._file)

"""Networks that hear recordings: sound or spectrograms in, features out; their folders.

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
from aepipe.sources.networks.spectra import EXTRACTORS, FILE, Spectra

SHORTEST = 0.1
"""Seconds that a recording is filled up to with silence; a network needs some steps in time."""
_OUTPUTS = ("audio_embeds", "embeddings", "pooler_output", "last_hidden_state")
_MASK, _LONGER = "attention_mask", "is_longer"


@dataclass(frozen=True, slots=True)
class Hearing:
    """How a network hears.

    Attributes:
        output: that has the features.
        pooling: how steps in time become one vector.
        rate: samples in a second.
        normalize: whether each recording is brought to mean 0 and variance 1 first.
        spectra: the spectrogram that it hears; None for raw sound.
    """

    output: str = ""
    pooling: str = "mean"
    rate: int = 16_000
    normalize: bool = False
    spectra: Spectra | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it for the features of a source."""
        found = asdict(self)
        # Rows of raw sound keep the digest that they had before there were spectrograms.
        return found if self.spectra else {name: value for name, value in found.items() if name != "spectra"}

    @classmethod
    def of(cls, heard_by: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_json` wrote; other names are passed over."""
        found = {one.name: heard_by[one.name] for one in fields(cls) if one.name in heard_by}
        return cls(**(found | {"spectra": Spectra.of(found["spectra"])} if found.get("spectra") else found))


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
    rate = chosen.get("rate")
    rate = rate or int(number(given["sampling_rate"], FILE, "sampling_rate", 1000, 192_000))
    spectra = Spectra.read(given, rate, normalize=chosen.get("normalize"))
    normalize = spectra is None and chosen.get("normalize", bool(given.get("do_normalize", False)))
    found = Hearing(output, chosen.get("pooling", "mean"), rate, normalize, spectra)
    how = ", each brought to mean 0 and variance 1" if normalize else f", a {spectra}" if spectra else ""
    said = [f"{folder.path.name}: {folder.said(output)}", f"recordings: {rate:,} samples in a second{how}"]
    own = sorted(chosen.keys() & {one.name for one in fields(Hearing)})
    return found, tuple(said + ([f"from the recipe: {', '.join(own)}"] if own else []))


class SoundEncoder:
    """A network for recordings, [1, N], or for their spectrograms.

    Its output is [1, F], or [1, T, F] of steps in time, which become one vector.

    Args:
        file: of the graph, ONNX.
        hearing: how it hears.
        provider: see :class:`aepipe.sources.networks.graph.Graph`.

    Attributes:
        sha256: of the graph with its weights, hex.
        fixed: N, where the network takes recordings of one length; else None.

    Raises:
        CorruptError: the file is no such graph.
    """

    def __init__(self, file: Path, hearing: Hearing, provider: str = "cpu") -> None:
        try:
            data = whole_graph(file, hearing.output)
        except OSError as error:
            raise CorruptError(f"{file}: not a network that can be used: {error}") from None
        self._graph, self._file, self._hearing = Graph(data, file, hearing.output, provider), file, hearing
        self._input, shape = self._sound()
        wanted = hearing.spectra.shape if hearing.spectra else (None,)
        fixed = [self._graph.length(self._input, axis) for axis in range(1, len(shape))] if self._input else []
        if len(fixed) != len(wanted) or any(
            None not in pair and pair[0] != pair[1] for pair in zip(fixed, wanted, strict=True)
        ):
            raise CorruptError(f"{file}: takes {self._takes()}, and {_given(hearing)} is what can be given")
        self.fixed = hearing.spectra.longest if hearing.spectra else fixed[0]
        self.sha256 = digest_of_bytes(data)

    def __call__(self, samples: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
        """Return the features of a recording, float[N] at the network's rate, float16[F], of unit length.

        Raises:
            CorruptError: the network fails, or its output has another shape.
        """
        heard, how = samples.astype(np.float64), self._hearing
        if how.spectra:
            shown = how.spectra(heard[: how.spectra.longest])
            given = {self._input: shown[None], _LONGER: np.array([[how.spectra.fused]])}
        else:
            given = self._raw(heard)
        found = self._graph.run({name: given[name] for name in self._graph.inputs})
        return unit(pooled(found, how.pooling, self._own(len(heard), found)), self._file)

    def _raw(self, heard: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Return the inputs of a network for raw sound."""
        if self._hearing.normalize:
            heard = (heard - heard.mean()) / np.sqrt(heard.var() + 1e-7)
        length = self.fixed or max(len(heard), round(SHORTEST * self._hearing.rate))
        own = np.arange(length) < len(heard)
        filled = np.pad(heard[:length], (0, max(0, length - len(heard))))
        return {self._input: filled[None], _MASK: own[None].astype(np.int64)}

    def _own(self, samples: int, found: NDArray[np.float64]) -> NDArray[np.bool_] | None:
        """Return which steps of an output are the recording's own, bool[T]; None for all.

        Whisper hears 30 seconds, however short a recording is, and most steps of a short one are silence.
        """
        how = self._hearing.spectra
        if how is None or how.kind != "whisper" or found.ndim != 3:
            return None
        own: NDArray[np.bool_] = np.arange(found.shape[1]) < max(1, -(-found.shape[1] * samples // how.longest))
        return own

    def _sound(self) -> tuple[str, list[Any]]:
        """Return the input that takes sound, and its shape; neither where there is none."""
        beside = {_LONGER} if self._hearing.spectra else {_MASK}
        names = [name for name in self._graph.inputs if name not in beside]
        kind, shape = self._graph.inputs[names[0]] if len(names) == 1 else ("", [])
        return (names[0], shape) if kind in REALS else ("", [])

    def _takes(self) -> str:
        return ", ".join(f"{name} {shape}" for name, (_, shape) in self._graph.inputs.items())


def _given(how: Hearing) -> str:
    """Return what a network can be given, in words."""
    if how.spectra:
        return f"a {how.spectra}, {[1, *how.spectra.shape]},"
    return f"raw sound, input_values [1, N], or a spectrogram as of {', '.join(EXTRACTORS)} in {FILE}"

"""Log-mel spectrograms for networks of sound: AST, Whisper's encoder, CLAP's audio tower.

Each is computed as the feature extractor of transformers computes it with NumPy, from the numbers in
``preprocessor_config.json``. A recording is no longer than the network takes, so nothing is drawn at random.

Legend: N samples, T steps in time, B bands, S samples of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from aepipe.sources.networks.folder import number

FILE = "preprocessor_config.json"
Kind = Literal["ast", "whisper", "clap"]
EXTRACTORS: Mapping[str, Kind] = {
    "ASTFeatureExtractor": "ast",
    "WhisperFeatureExtractor": "whisper",
    "ClapFeatureExtractor": "clap",
}
"""Programs that prepare recordings in transformers, and what they are called here."""
CALLED: Mapping[Kind, str] = {"ast": "AST", "whisper": "Whisper", "clap": "CLAP"}
"""Their names for people."""
PREEMPHASIS, FLOOR, LEAST = 0.97, 1.192092955078125e-07, 1e-10
"""Of AST: the share of a sample that is taken from the next one, and the least power; and the least power of others."""
DEEPEST = 8.0
"""Powers of ten below the loudest cell, where Whisper's spectrograms end."""
CHANNELS = 4
"""Spectrograms that CLAP fuses: of a recording that is not longer than it takes, all are the same."""
WHISPER_HIGHEST = 8000.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spectra:
    """How a network wants spectrograms.

    Attributes:
        kind: of network.
        rate: samples in a second.
        bands: B.
        steps: T.
        frame: S.
        hop: samples from one frame to the next.
        size: samples of the Fourier transform.
        low: lowest frequency, in hertz.
        high: highest frequency, in hertz.
        mean: subtracted from all cells.
        scale: that they are then divided by.
        repeat: whether a recording that is too short is repeated before it is filled up with silence.
        fused: whether several spectrograms stand side by side.
    """

    kind: Kind
    rate: int
    bands: int
    steps: int
    frame: int
    hop: int
    size: int
    low: float
    high: float
    mean: float = 0.0
    scale: float = 1.0
    repeat: str = "pad"
    fused: bool = False

    @classmethod
    def read(cls, given: Mapping[str, Any], rate: int, *, normalize: bool | None = None) -> Self | None:
        """Return what a file of settings says; None where it is not of such a network.

        Args:
            given: the file.
            rate: samples in a second.
            normalize: whether cells are brought to a common scale, where the recipe says it.

        Raises:
            SourceError: a number is none.
        """
        kind = EXTRACTORS.get(str(given.get("feature_extractor_type", "")))
        if kind is None:
            return None

        def said(key: str, usual: float, least: float = 1, most: float = 1e6) -> int:
            return int(number(given.get(key, usual), FILE, key, least, most))

        if kind == "ast":
            scaled = bool(given.get("do_normalize", True)) if normalize is None else normalize
            mean, deviation = (
                number(given.get(key, usual), FILE, key) for key, usual in (("mean", -4.2677393), ("std", 4.5689974))
            )
            shift = (mean, 2 * deviation) if scaled else (0.0, 1.0)
            bands, steps = said("num_mel_bins", 128), said("max_length", 1024)
            return cls(kind, rate, bands, steps, 400, 160, 512, 20.0, rate // 2, *shift)
        if kind == "whisper":
            size, hop = said("n_fft", 400, 16), said("hop_length", 160)
            steps = said("chunk_length", 30, 1, 600) * rate // hop
            return cls(kind, rate, said("feature_size", 80), steps, size, hop, size, 0.0, WHISPER_HIGHEST, -4.0, 4.0)
        size, hop = said("fft_window_size", 1024, 16), said("hop_length", 480)
        steps = said("max_length_s", 10, 1, 600) * rate // hop + 1
        low, high = (
            number(given.get(key, usual), FILE, key, 0, rate / 2)
            for key, usual in (("frequency_min", 0), ("frequency_max", 14_000))
        )
        fused = given.get("truncation", "fusion") == "fusion"
        repeat = str(given.get("padding", "repeatpad"))
        bands = said("feature_size", 64)
        return cls(kind, rate, bands, steps, size, hop, size, low, high, repeat=repeat, fused=fused)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_json` wrote; other names are passed over."""
        return cls(**{one.name: told[one.name] for one in fields(cls) if one.name in told})

    def to_json(self) -> dict[str, Any]:
        """Return it for the features of a source."""
        return asdict(self)

    @property
    def longest(self) -> int:
        """Samples that the network takes."""
        if self.kind == "ast":
            return (self.steps - 1) * self.hop + self.frame
        return (self.steps - (self.kind == "clap")) * self.hop

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an input of the network, after the first axis."""
        if self.kind == "clap":
            return (CHANNELS if self.fused else 1, self.steps, self.bands)
        return (self.bands, self.steps) if self.kind == "whisper" else (self.steps, self.bands)

    def __str__(self) -> str:
        return f"spectrogram of {self.bands} mel bands and {self.steps:,} steps, as of {CALLED[self.kind]}"

    def __call__(self, samples: Floats) -> Floats:
        """Return the spectrogram of a recording, float64[N] to float64 of :attr:`shape`.

        Args:
            samples: no more than :attr:`longest`; what is missing is filled up.
        """
        if self.kind == "ast":
            return self._ast(samples)
        if self.kind == "whisper":
            power = self._power(np.pad(samples, (0, self.longest - len(samples))))[: self.steps]
            logs = np.log10(np.maximum(power, LEAST))
            return np.asarray((np.maximum(logs, logs.max() - DEEPEST) - self.mean).T / self.scale)
        times = max(1, self.longest // max(1, len(samples)))
        if self.repeat == "repeat":
            samples = np.tile(samples, times + 1)[: self.longest]
        elif self.repeat == "repeatpad":
            samples = np.tile(samples, times)
        decibels = 10 * np.log10(np.maximum(self._power(np.pad(samples, (0, self.longest - len(samples)))), LEAST))
        return np.repeat(decibels[None], self.shape[0], axis=0)

    def _ast(self, samples: Floats) -> Floats:
        """Return float64[T, B]: what is missing at the end is filled up with zeros."""
        samples = np.pad(samples, (0, max(0, self.frame - len(samples))))
        frames = _frames(samples, self.frame, self.hop)[: self.steps]
        frames = frames - frames.mean(axis=1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        power = _spectra((frames - PREEMPHASIS * before) * np.hanning(self.frame), self.size) @ _bands(self)
        found = np.zeros((self.steps, self.bands))
        found[: len(power)] = np.log(np.maximum(power, FLOOR))
        return (found - self.mean) / self.scale

    def _power(self, samples: Floats) -> Floats:
        """Return the power in each band around each step, float64[T, B]."""
        around = np.pad(samples, self.frame // 2, mode="reflect")
        return _spectra(_frames(around, self.frame, self.hop) * np.hanning(self.frame + 1)[:-1], self.size) @ _bands(
            self
        )


def _frames(samples: Floats, frame: int, hop: int) -> Floats:
    """Return the frames of a recording, float64[T, S]."""
    return np.lib.stride_tricks.sliding_window_view(samples, frame)[::hop]


def _spectra(frames: Floats, size: int) -> Floats:
    """Return the power at each frequency, float64[T, size / 2 + 1]."""
    found: Floats = np.square(np.abs(np.fft.rfft(frames, size, axis=1)))
    return found


# All recordings of a collection use the same filters.
@lru_cache(maxsize=8)
def _bands(how: Spectra) -> Floats:
    """Return the filters of the bands, float64[size / 2 + 1, B]: triangles of equal width in mel.

    Those of Whisper, and of CLAP where nothing is fused, have equal areas (Slaney, "Auditory Toolbox", 1998).
    """
    slaney = how.kind == "whisper" or (how.kind == "clap" and not how.fused)
    low, high = (float(_mel(np.array(one), slaney=slaney)) for one in (how.low, how.high))
    mels = np.linspace(low, high, how.bands + 2)
    frequencies = np.linspace(0, how.rate // 2, how.size // 2 + 1)
    if how.kind == "ast":  # its triangles are straight in mel
        edges, places = mels, _mel(np.arange(how.size // 2 + 1) * how.rate / how.size, slaney=False)
    else:
        edges, places = _hertz(mels, slaney=slaney), frequencies
    steps = np.diff(edges)
    slopes = edges[None] - places[:, None]
    found = np.maximum(0, np.minimum(-slopes[:, :-2] / steps[:-1], slopes[:, 2:] / steps[1:]))
    return found * (2 / (edges[2:] - edges[:-2])) if slaney else np.asarray(found)


def _mel(hertz: Floats, *, slaney: bool) -> Floats:
    """Return frequencies in mel; Slaney's are straight up to 1,000 Hz."""
    if not slaney:
        return np.asarray(2595 * np.log10(1 + hertz / 700))
    return np.where(hertz < 1000, 3 * hertz / 200, 15 + np.log(np.maximum(hertz, 1) / 1000) * 27 / np.log(6.4))


def _hertz(mels: Floats, *, slaney: bool) -> Floats:
    """Return mels as frequencies."""
    if not slaney:
        return np.asarray(700 * (10 ** (mels / 2595) - 1))
    return np.where(mels < 15, 200 * mels / 3, 1000 * np.exp(np.log(6.4) / 27 * (mels - 15)))

"""Decode recordings: a stretch of sound becomes its mel spectrogram.

A row is uint8[bands, frames, 1]: the power in each mel band and frame, in decibels below the loudest cell: 255 at the
loudest, 0 at 80 dB below it or less. So a row does not depend on the loudness of the recording.

Source: Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word recognition", 1980; the
mel scale is O'Shaughnessy's, 2595 log10(1 + f / 700).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError, EmptyItemError, QueryError
from aepipe.sources.asked import nothing_at, path_named
from aepipe.sources.audio.reading import Samples, samples_of
from aepipe.sources.files import WholeFile
from aepipe.sources.item import Decode, Item, Reader
from aepipe.sources.streams import opened
from aepipe.store import layout

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = 1
EXTRAS = {"soundfile": "audio", "soxr": "audio"}
MARK = "t"
"""Begins the places of windows: ``file.wav#t1.5+1``, a start and a length in seconds."""
FRAME = 0.032
"""Seconds of one spectrum; spectra overlap by half of it or more."""
DEEPEST = 80.0
"""Decibels below the loudest cell at which a cell is 0."""
SILENCE = 1e-10
"""Power of the loudest cell, where full scale is 1, below which a recording is silence: 100 dB below full scale."""
_SLICE = re.compile(r"(?P<file>.+)@(?P<start>\d+(\.\d+)?)(-(?P<end>\d+(\.\d+)?))?$")


@dataclass(frozen=True, slots=True)
class Slice:
    """Reads a slice of a recording as a WAV file.

    Attributes:
        whole: reads the recording.
        start: in seconds.
        seconds: to read at most.
    """

    whole: Reader
    start: float
    seconds: float

    def __call__(self, key: str) -> bytes:
        """Return the bytes."""
        with opened(self.whole, key) as stream:
            return slice_of(stream, key, self.start, self.seconds)


def decoder(features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes a row of a recording: its spectrogram, or float16[F] by a network.

    A file that is longer than a window is cut after the first one; a shorter one is filled up with silence. With
    ``window = "whole"`` the frames of a row are spread over the whole file.

    The function raises :class:`ItemError` for bytes that are no recording or are cut off, and for samples that are not
    numbers; :class:`EmptyItemError` for silence, whose rows would all be equal.

    Raises:
        CorruptError: the network is not the one that made the rows of the collection.
    """
    if heard_by := features.get("backbone"):
        return _by_network(heard_by, features["window"], folder)
    return _spectrogram(features)


def _by_network(heard_by: Mapping[str, Any], window: float | str, folder: Path | None) -> Decode:
    """Return what makes rows by the network in a folder."""
    from aepipe.sources.networks.hearing import Hearing, SoundEncoder

    assert folder is not None, "the network lies in the model's folder"
    hearing = Hearing.of(heard_by)
    network = SoundEncoder(folder / layout.Backbone.GRAPH, hearing, heard_by.get("provider", "cpu"))
    if network.sha256 != heard_by["sha256"]:
        raise CorruptError(f"{folder}: not the network that the collection was heard by; run again")

    def row(data: bytes, key: str) -> NDArray[np.float16]:
        longest = float("inf") if window == "whole" else float(window)
        samples = at_rate(*samples_of(data, key, seconds=longest), hearing.rate)
        if not len(samples) or float(np.square(samples).max()) < SILENCE:
            raise EmptyItemError(key, "silence")
        return network(samples)

    return row


def _spectrogram(features: Mapping[str, Any]) -> Decode:
    """Return what makes the mel spectrogram of a recording, uint8[bands, frames, 1]."""
    rate, bands, frames, window = (features[name] for name in ("rate", "bands", "frames", "window"))

    def row(data: bytes, key: str) -> NDArray[np.uint8]:
        # No more than the window, as it is cut from a file at ingestion: so both give the same row.
        longest = float("inf") if window == "whole" else window
        samples = at_rate(*samples_of(data, key, seconds=longest), rate)
        if window != "whole":
            samples = _fitted(samples, round(window * rate))
        power = powers(samples, rate, bands, frames)
        loudest = float(power.max())
        if loudest < SILENCE:
            raise EmptyItemError(key, "silence")
        decibels = 10 * np.log10(np.maximum(power / loudest, 1e-12))
        return np.floor(np.clip(1 + decibels / DEEPEST, 0, 1) * 255 + 0.5).astype(np.uint8)[:, :, None]

    return row


def query_items(text: str) -> Iterator[Item]:
    """Yield a file, or a slice of it: ``file.wav@1.5`` to its end, or ``file.wav@1.5-2.5``.

    Raises:
        QueryError: the slice ends before it starts.
    """
    path = path_named(text)
    found = None if path else _SLICE.match(text)
    if found is None:
        yield Item(text, text, WholeFile(str(path))) if path else nothing_at(text, "recordings, also file@start-end")
        return
    start, end = float(found["start"]), float(found["end"] or "inf")
    if end <= start:
        raise QueryError(f"{text}: the slice ends before it starts")
    file = path_named(found["file"])
    reader = Slice(WholeFile(str(file)), start, end - start)
    yield Item(text, text, reader) if file else nothing_at(text, "recordings, also file@start-end")


def preview(whole: Path | Reader, at: str, key: str) -> bytes:
    """Return the slice ``t<start>+<seconds>`` of a recording as a WAV file.

    Raises:
        ItemError: as :func:`aepipe.sources.audio.reading.samples_of`.
    """
    start, _, seconds = at.removeprefix(MARK).partition("+")
    return Slice(WholeFile(str(whole)) if isinstance(whole, Path) else whole, float(start), float(seconds))(key)


def draw(data: bytes, key: str, longest: int, features: Callable[[], Mapping[str, Any]]) -> Image:
    """Return the spectrogram of a recording, with high frequencies at the top.

    Raises:
        ItemError: as the function of :func:`decoder`.
    """
    from PIL import Image

    row = _spectrogram(features())(data, key)
    return Image.fromarray(row[::-1, :, 0].copy())


def slice_of(data: bytes | BinaryIO, key: str, start: float, seconds: float) -> bytes:
    """Return a slice of a recording as :func:`wav_of` writes it.

    Raises:
        ItemError: as :func:`aepipe.sources.audio.reading.samples_of`.
    """
    return wav_of(*samples_of(data, key, start, seconds))


def wav_of(samples: Samples, rate: int) -> bytes:
    """Return samples as a WAV file: of 16 bits where these lose nothing, else of floats."""
    steps = np.rint(samples * 32768)
    # Near full scale an older version wrote other numbers than these; floats are right for both.
    short = bool(np.abs(samples).max() < 0.49) and bool((steps == samples * 32768).all())
    data = steps.astype("<i2").tobytes() if short else samples.astype("<f4").tobytes()
    code, size = (1, 2) if short else (3, 4)
    # By hand, because the library writes the time into files of floats, and the same sound has to be the same bytes.
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, 1, rate, size * rate, size, 8 * size)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE") + form + struct.pack("<4sI", b"data", len(data)) + data
    )


def at_rate(samples: Samples, rate: int, wanted: int) -> Samples:
    """Return samples at the wanted rate."""
    if rate == wanted:
        return samples
    import soxr

    found: Samples = soxr.resample(samples, rate, wanted)
    return found


def powers(samples: Samples, rate: int, bands: int, frames: int) -> NDArray[np.float64]:
    """Return the mean power in each mel band and frame, float64[bands, frames].

    The frames cover all samples.
    """
    # A power of two, which the Fourier transform likes best.
    size = 1 << max(4, (round(FRAME * rate) - 1).bit_length())
    padded = np.pad(samples.astype(np.float64), (size // 2, size // 2))
    # Where there would be gaps between frames, each frame is the mean of several spectra.
    dense = max(1, math.ceil(len(samples) / frames / (size / 2)))
    places = np.linspace(0, max(len(samples) - 1, 0), frames * dense).round().astype(np.int64)
    windows = padded[places[:, None] + np.arange(size)] * np.hanning(size)
    spectra = np.square(np.abs(np.fft.rfft(windows, axis=1))) / np.square(np.hanning(size).sum() / 2)
    found: NDArray[np.float64] = (spectra @ _filters(rate, size, bands)).reshape(frames, dense, bands).mean(axis=1).T
    return found


# All rows of a collection use the same filters.
@lru_cache(maxsize=8)
def _filters(rate: int, size: int, bands: int) -> NDArray[np.float64]:
    """Return the mel filters: triangles of equal mel width, float64[size / 2 + 1, bands]."""
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), bands + 2) / 2595) - 1)
    # A band narrower than the distance of two frequencies would contain none.
    edges = np.maximum.accumulate(np.maximum(edges, np.arange(bands + 2) * frequencies[1] * 0.5))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - low) / (middle - low)
    falling = (high - frequencies[:, None]) / (high - middle)
    weights = np.maximum(0.0, np.minimum(rising, falling))
    found: NDArray[np.float64] = weights / np.maximum(weights.sum(axis=0), 1e-12)
    return found


def _fitted(samples: Samples, length: int) -> Samples:
    return np.pad(samples[:length], (0, max(0, length - len(samples))))

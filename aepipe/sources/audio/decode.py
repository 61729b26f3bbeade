"""Decode recordings: a stretch of sound becomes its mel spectrogram.

A row is uint8[bands, frames, 1]: the power in each mel band and frame, in decibels below the loudest cell: 255 at the
loudest, 0 at 80 dB below it or less. So a row does not depend on the loudness of the recording.

Source: Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word recognition", 1980; the
mel scale is O'Shaughnessy's, 2595 log10(1 + f / 700).
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError, QueryError
from aepipe.sources.files import WholeFile
from aepipe.sources.item import Decode, Item

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
"""Power of the loudest cell, where full scale is 1, below which a recording is silent."""
_SLICE = re.compile(r"(?P<file>.+)@(?P<start>\d+(\.\d+)?)(-(?P<end>\d+(\.\d+)?))?$")

Samples = NDArray[np.float32]


def decoder(features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes a row of the bytes of a WAV or FLAC file.

    A file that is longer than a window is cut after the first one; a shorter one is filled up with silence. With
    ``window = "whole"`` the frames of a row are spread over the whole file.

    The function raises :class:`ItemError` for bytes that are no recording, are cut off, or are silent.
    """
    rate, bands, frames, window = (features[name] for name in ("rate", "bands", "frames", "window"))

    def row(data: bytes, key: str) -> NDArray[np.uint8]:
        samples = at_rate(*samples_of(data, key), rate)
        if window != "whole":
            samples = _fitted(samples, round(window * rate))
        power = powers(samples, rate, bands, frames)
        loudest = float(power.max())
        if loudest < SILENCE:
            raise ItemError(key, "silent")
        decibels = 10 * np.log10(np.maximum(power / loudest, 1e-12))
        return np.floor(np.clip(1 + decibels / DEEPEST, 0, 1) * 255 + 0.5).astype(np.uint8)[:, :, None]

    return row


def query_items(text: str) -> Iterator[Item]:
    """Yield a file, or a slice of it: ``file.wav@1.5`` to its end, or ``file.wav@1.5-2.5``.

    Raises:
        QueryError: the slice ends before it starts.
    """
    found = None if Path(text).is_file() else _SLICE.match(text)
    if found is None:
        yield Item(text, text, WholeFile(text))
        return
    start, end = float(found["start"]), float(found["end"] or "inf")
    if end <= start:
        raise QueryError(f"{text}: the slice ends before it starts")
    file = found["file"]
    yield Item(text, text, lambda key: slice_of(WholeFile(file)(key), key, start, end - start))


def preview(path: Path, at: str, key: str) -> bytes:
    """Return the slice ``t<start>+<seconds>`` of a recording as a WAV file.

    Raises:
        ItemError: as :func:`slice_of`.
    """
    start, _, seconds = at.removeprefix(MARK).partition("+")
    return slice_of(WholeFile(str(path))(key), key, float(start), float(seconds))


def draw(data: bytes, key: str, longest: int, features: Callable[[], Mapping[str, Any]]) -> Image:
    """Return the spectrogram of a recording, with high frequencies at the top.

    Raises:
        ItemError: as the function of :func:`decoder`.
    """
    from PIL import Image

    row = decoder(features())(data, key)
    return Image.fromarray(row[::-1, :, 0].copy())


def samples_of(data: bytes, key: str, start: float = 0.0, seconds: float | None = None) -> tuple[Samples, int]:
    """Return the mean of the channels of a recording, float32[n], and its sampling rate.

    Args:
        data: a WAV or FLAC file.
        key: for errors.
        start: seconds to leave out at the beginning.
        seconds: to read at most; None reads to the end.

    Raises:
        ItemError: the bytes are no recording, or are cut off.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate, whole = int(file.samplerate), int(file.frames)
            first = min(round(start * rate), whole)
            file.seek(first)
            wanted = whole - first if seconds is None or seconds == float("inf") else round(seconds * rate)
            wanted = min(wanted, whole - first)
            found = file.read(wanted, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
        why = str(error).partition(": ")[2] or str(error)  # the library names its own stream first
        raise ItemError(key, f"not a recording that can be read: {why}") from None
    if not len(found):
        raise ItemError(key, "nothing recorded there")
    if len(found) < wanted or _cut_off(data):
        raise ItemError(key, "cut off")
    return found.mean(axis=1), rate


def slice_of(data: bytes, key: str, start: float, seconds: float) -> bytes:
    """Return a slice of a recording as a WAV file of 16 bits, one channel.

    Raises:
        ItemError: as :func:`samples_of`.
    """
    import soundfile

    samples, rate = samples_of(data, key, start, seconds)
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()


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


def _cut_off(data: bytes) -> bool:
    """Whether a WAV file is shorter than its header says, which the library does not check."""
    at = data.find(b"data", 12) if data.startswith(b"RIFF") else -1
    if at < 0 or len(data) < at + 8:
        return False
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    # A program that writes to a pipe does not know the length, and writes this number.
    return size != 0xFFFFFFFF and at + 8 + size > len(data)

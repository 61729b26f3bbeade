"""Read samples of recordings: by libsndfile, and by FFmpeg (PyAV) what libsndfile does not know.

libsndfile reads WAV, FLAC, MP3, Ogg (Vorbis, Opus), AIFF, AU, CAF, W64 and RF64; FFmpeg M4A, AAC, WMA, Matroska and
WAV files with other codecs.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError
from aepipe.sources.audio import wav
from aepipe.sources.files import MAX_BYTES
from aepipe.sources.streams import Region

if TYPE_CHECKING:
    import av
    import soundfile

Samples: TypeAlias = NDArray[np.float32]

_ENDLESS = 1 << 48  # frames; libsndfile says more where the header leaves the length open
_BLOCK = 1 << 16  # frames read at a time, where the length is not known
_BEFORE = 1.0  # seconds decoded before a window, so that its first samples are right
_SEEKABLE = ("mov", "matroska", "asf")
_HEADS = (b"fLaC", b"OggS", b"ID3", b".snd", b"caff", b"riff.\x91\xcf\x11", b"ADIF", b"#!AMR", b"wvpk", b"MAC ", b"TTA1")
_FAMILIES = {b"RIFF": (b"WAVE",), b"RIFX": (b"WAVE",), b"RF64": (b"WAVE",), b"BW64": (b"WAVE",)}
_FAMILIES |= {b"FORM": (b"AIFF", b"AIFC")}
_ASF, _EBML = bytes.fromhex("3026b2758e66cf11"), b"\x1a\x45\xdf\xa3"
_FILMS = (bytes.fromhex("c0ef19bc4d5bcf11"), b"V_", b"\x80theora")  # in the header of ASF, Matroska, Ogg
_SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")


def is_recording(head: bytes, name: str = "") -> bool:
    """Recognise a recording by its first bytes; of containers that films have, too, by what the header or name says."""
    if head[4:8] == b"ftyp":
        return head[8:12] in _SOUND_BRANDS or name.lower().endswith((".m4a", ".m4b", ".aac"))
    if head.startswith((_ASF, _EBML, b"OggS")):
        return not any(mark in head for mark in _FILMS)
    return head.startswith(_HEADS) or head[8:12] in _FAMILIES.get(head[:4], ()) or _is_mpeg(head)


def seconds_of(stream: BinaryIO, key: str) -> tuple[float, bool]:
    """Return the length of a recording in seconds, as far as it is there; and whether it is cut off.

    Raises:
        ItemError: it is none, or nothing is recorded in it.
    """
    with _opened(stream, key) as (file, cut_off):
        if file is not None:
            seconds = _frames(file) / file.samplerate
    if file is None:
        with _by_ffmpeg(stream, key) as box:
            seconds = _stated_seconds(box)
    if seconds <= 0:
        raise ItemError(key, "cut off" if cut_off else "nothing recorded in it")
    return seconds, cut_off


def samples_of(
    data: bytes | BinaryIO, key: str, start: float = 0.0, seconds: float = float("inf")
) -> tuple[Samples, int]:
    """Return the mean of the channels of a recording, float32[n], and its sampling rate.

    Args:
        data: the file, or its bytes.
        key: for errors.
        start: seconds to leave out at the beginning.
        seconds: to read at most.

    Raises:
        ItemError: it is no recording, is cut off, has nothing there, or a sample is not a number.
    """
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    with _opened(stream, key) as (file, cut_off):
        if file is not None:
            found, rate = _read(file, key, start, seconds, cut_off=cut_off)
    if file is None:
        with _by_ffmpeg(stream, key) as box:
            found, rate = _decoded(box, key, start, seconds)
    if not len(found):
        raise ItemError(key, "nothing recorded there")
    if not np.isfinite(found).all():
        raise ItemError(key, "a sample is not a number")
    return found, rate


@contextmanager
def _opened(stream: BinaryIO, key: str) -> Iterator[tuple[soundfile.SoundFile | None, bool]]:
    """Open a recording by libsndfile; tell whether it is cut off, too.

    Yields None where libsndfile does not know it, and it may be something for FFmpeg.
    """
    import soundfile

    try:
        sound = wav.find(stream)
        whole = Region(stream, sound.offset, sound.size, sound.header) if sound else stream
        whole.seek(0)
        file = soundfile.SoundFile(whole)
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
        stream.seek(0)
        if not is_recording(stream.read(1 << 13), "x.m4a"):
            why = str(error).partition(": ")[2] or str(error)  # the library names its own stream first
            raise ItemError(key, f"not a recording that can be read: {why}") from None
        yield None, False
        return
    try:
        with file:
            yield file, bool(sound and sound.cut_off)
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
        raise ItemError(key, f"not a recording that can be read: {error}") from None


def _read(file: soundfile.SoundFile, key: str, start: float, seconds: float, *, cut_off: bool) -> tuple[Samples, int]:
    """Return the mean of the channels, and the rate."""
    rate, whole = int(file.samplerate), _frames(file)
    first = min(round(start * rate), whole)
    wanted = min(whole - first, whole if seconds == float("inf") else round(seconds * rate))
    _check_size(wanted * file.channels, key)
    file.seek(first)
    found = file.read(wanted, dtype="float32", always_2d=True)
    # MP3 and Ogg have no length of their own: their last frames may be lost.
    if len(found) < wanted and (cut_off or file.format not in {"MP3", "OGG"}) or cut_off and first + wanted >= whole:
        raise ItemError(key, "cut off")
    return cast(Samples, found.mean(axis=1)), rate


def _frames(file: soundfile.SoundFile) -> int:
    """Return the number of frames; counted, where the header leaves it open."""
    if 0 < file.frames < _ENDLESS:
        return int(file.frames)
    file.seek(0)
    total = 0
    while found := len(file.read(_BLOCK, dtype="float32")):
        total += found
    return total


@contextmanager
def _by_ffmpeg(stream: BinaryIO, key: str) -> Iterator[av.container.InputContainer]:
    """Open a recording by FFmpeg."""
    import av

    lenient: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "ignore"}
    stream.seek(0)
    try:
        with av.open(stream, "r", **lenient) as box:
            if not box.streams.audio:
                raise ItemError(key, "no sound in it")
            yield box
    except av.error.FFmpegError as error:
        raise ItemError(key, f"not a recording that can be read: {error.strerror}") from None


def _stated_seconds(box: av.container.InputContainer) -> float:
    """Return the length of a recording; of a stream without an index, by its packets."""
    sound = box.streams.audio[0]
    unit = float(sound.time_base or 0)
    if not box.format.name.startswith(_SEEKABLE):
        return sum((packet.duration or 0) * unit for packet in box.demux(sound))
    if sound.duration:
        return float(sound.duration * unit)
    return float(box.duration or 0) / 1e6 - max(0.0, (sound.start_time or 0) * unit)


def _decoded(box: av.container.InputContainer, key: str, start: float, seconds: float) -> tuple[Samples, int]:
    """Return the mean of the channels, and the rate."""
    import av

    sound = box.streams.audio[0]
    begin, unit, rate = float((sound.start_time or 0) * (sound.time_base or 0)), sound.time_base or 1, int(sound.rate)
    first, last = round(start * rate), float("inf") if seconds == float("inf") else round((start + seconds) * rate)
    # Other streams have no index, and FFmpeg would only guess where the second lies.
    if start > _BEFORE and box.format.name.startswith(_SEEKABLE):
        box.seek(int((start - _BEFORE + begin) / unit), stream=sound, backward=True)
    to_float, at, parts = av.AudioResampler(format="fltp"), 0, list[Samples]()
    for frame in box.decode(sound):
        at = at if frame.time is None else round((frame.time - begin) * rate)
        for part in to_float.resample(frame):
            values = part.to_ndarray().mean(axis=0)
            parts.append(values[max(0, first - at) : int(max(0, min(len(values), last - at)))])
            at += len(values)
        if at >= last:
            break
        _check_size(sum(map(len, parts)), key)
    return np.concatenate([*parts, np.empty(0, np.float32)]).astype(np.float32), rate


def _check_size(samples: int, key: str) -> None:
    if samples > MAX_BYTES:
        raise ItemError(key, f"more than {MAX_BYTES:,} samples at once; say window = 1.0 under [features]")


def _is_mpeg(head: bytes) -> bool:
    """Tell whether a file begins with a frame of MP3 or of AAC (ADTS)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    layer, adts = head[1] >> 1 & 3, head[1] & 0xF6 == 0xF0
    return adts or (layer != 0 and head[1] & 0x18 != 0x08 and head[2] >> 4 not in {0, 15} and head[2] >> 2 & 3 != 3)

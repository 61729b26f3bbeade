"""Read samples of recordings by libsndfile, and by FFmpeg where that does not know them.

libsndfile reads WAV, FLAC, MP3, Ogg (Vorbis, Opus), AIFF, AU, CAF, W64 and RF64; FFmpeg M4A, AAC, WMA, Matroska and
WAV files with other codecs.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError
from aepipe.sources.audio import chunks
from aepipe.sources.audio.quiet import quiet
from aepipe.sources.files import EMPTY, MAX_BYTES, pointer_in
from aepipe.sources.streams import Region

if TYPE_CHECKING:
    import av
    import soundfile

Samples: TypeAlias = NDArray[np.float32]

SLOWEST, FASTEST = 100, 20_000_000
"""Samples in a second; a header with less or more is damaged, or is not one of sound."""
NOT_A_NUMBER = "a sample is not a number"

_ENDLESS = 1 << 48  # frames; libsndfile says more where the header leaves the length open
_BLOCK = 1 << 16  # samples decoded at a time
_EXACT = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_TROUBLE = (RuntimeError, ValueError, TypeError)  # of libsndfile's own errors, too
_HEADS = (*(b"fLaC", b"ID3", b".snd", b"caff", b"riff\x2e\x91\xcf\x11", b"ADIF", b"#!AMR", b"wvpk", b"MAC ", b"TTA1"),)
_FAMILIES: dict[bytes, tuple[bytes, ...]] = dict.fromkeys((b"RIFF", b"RIFX", b"RF64", b"BW64"), (b"WAVE",))
_FAMILIES[b"FORM"] = (b"AIFF", b"AIFC")
_HERTZ = (44_100, 48_000, 32_000)
_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBIT = (
    {1: _LOW, 2: _LOW},
    {
        1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
        2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    },
)
"""Bit rates of MPEG 2 and MPEG 1 by layer, as headers write it: 1 is layer 3, 2 is layer 2."""
_ASF, _EBML = bytes.fromhex("3026b2758e66cf11"), b"\x1a\x45\xdf\xa3"
_FILMS = (bytes.fromhex("c0ef19bc4d5bcf11"), b"V_", b"\x80theora")  # in the header of ASF, Matroska, Ogg
_SOUNDS = (bytes.fromhex("409e69f84d5bcf11"), b"A_")
_SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")


def is_recording(head: bytes, name: str = "") -> bool:
    """Recognise a recording by its first bytes, and by its name where films have such bytes."""
    if head[4:8] == b"ftyp":
        named = head[8:12] in _SOUND_BRANDS or name.lower().endswith((".m4a", ".m4b", ".aac"))
        return named or (b"soun" in head and b"vide" not in head and _has_one_track(head))
    if head.startswith((_ASF, _EBML)):
        return any(mark in head for mark in _SOUNDS) and not any(mark in head for mark in _FILMS)
    if head.startswith(b"OggS"):
        return _FILMS[2] not in head
    return head.startswith(_HEADS) or head[8:12] in _FAMILIES.get(head[:4], ()) or _is_mpeg(head)


def not_read(head: bytes) -> str | None:
    """Return what bytes are instead of a recording, and what to do; None for unknown ones."""
    if head[4:8] == b"ftyp" or head.startswith((_ASF, _EBML)):
        return "a film, or sound in a file of that sort: give it a name in .m4a, .mka or .wma if it is sound"
    return None


@dataclass(frozen=True, slots=True)
class Recording:
    """An open recording.

    Attributes:
        key: for errors.
        rate: samples in a second.
        frames: how many samples each channel has, as far as the file says so.
        cut_off: the file is shorter than its header says.
        read: returns the mean of the channels between two samples; None where only a pass from the beginning on gives
            the same samples each time.
        blocks: yields the mean of the channels from the beginning on.
    """

    key: str
    rate: int
    frames: int | None
    cut_off: bool
    read: Callable[[int, int], Samples] | None
    blocks: Callable[[], Iterator[Samples]]

    @property
    def is_whole(self) -> bool:
        """Whether its samples can be read at any place, up to the last one that the header promises."""
        if self.read is None or not self.frames:
            return False
        try:
            return len(self.read(self.frames - 1, 1)) == 1
        except ItemError:
            return False

    def between(self, start: float, seconds: float) -> Samples:
        """Return the samples from a second on.

        Raises:
            ItemError: the recording is cut off there.
        """
        first, wanted = round(start * self.rate), 1 << 62 if seconds == float("inf") else round(seconds * self.rate)
        if self.read is not None and self.frames is not None:
            first = min(first, self.frames)
            return self.read(first, min(wanted, self.frames - first))
        parts, at = [np.empty(0, np.float32)], 0
        for block in self.blocks():
            parts.append(block[max(0, first - at) : max(0, first + wanted - at)])
            at += len(block)
            _check_size(max(0, at - first), self.key)
            if at >= first + wanted:
                break
        return np.concatenate(parts)

    def windows(self, seconds: float, hop: float) -> Iterator[tuple[float, Samples]]:
        """Yield second and samples of windows, in one pass; the last one may be cut by half.

        Raises:
            ItemError: the recording is damaged or cut off there.
        """
        size, blocks, at, held = round(seconds * self.rate), self.blocks(), 0, np.empty(0, np.float32)
        for number in itertools.count():
            start = round(number * hop, 3)
            first = round(start * self.rate)
            while at + len(held) < first + size and (block := next(blocks, None)) is not None:
                held = np.concatenate([held, block])
                gone = min(max(0, first - at), len(held))
                held, at = held[gone:], at + gone
            found = held[max(0, first - at) :][:size]
            if len(found) == 0 or (number and len(found) < size / 2):
                return
            yield start, found


@contextmanager
def recording(stream: BinaryIO, key: str) -> Iterator[Recording]:
    """Open a recording.

    Raises:
        ItemError: it is none.
    """
    sound = chunks.find_wave(stream)
    if sound and sound.plain:
        yield _by_hand(stream, sound, key)
        return
    with quiet(), _by_library(stream, sound, key) as found:
        yield found


@contextmanager
def _by_library(stream: BinaryIO, sound: chunks.Sound | None, key: str) -> Iterator[Recording]:
    """Open a recording by a library."""
    cut_off = sound.cut_off if sound else chunks.is_cut_off(stream)
    import soundfile

    try:
        # A region, because libsndfile seeks to places before 0 in damaged files.
        size = stream.seek(0, io.SEEK_END)
        whole = Region(stream, sound.offset, sound.size, sound.header) if sound else Region(stream, 0, size)
        file = soundfile.SoundFile(whole)
        # libsndfile cannot read such a file in one pass.
        broken = file.format == "FLAC" and not _reaches_end(file) and find_spec("av") is not None
    except _TROUBLE as error:
        stream.seek(0)
        head = stream.read(1 << 13)
        if not (is_recording(head, "x.m4a") or is_recording(head.lstrip(b"\0"))):
            why = str(error).partition(": ")[2] or str(error)  # the library names its own stream first
            why = f"not a recording that can be read: {why.rstrip('.')}" if head else EMPTY
            raise ItemError(key, pointer_in(head) or why) from None
        with _by_ffmpeg(stream, key, cut_off=cut_off) as found:
            yield found
        return
    if broken:
        with _by_ffmpeg(stream, key, cut_off=cut_off, promised=file.frames) as found:
            yield found
        return
    with file:
        yield _by_libsndfile(file, key, cut_off=cut_off)


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
    with recording(io.BytesIO(data) if isinstance(data, bytes) else data, key) as found:
        return checked(found.between(start, seconds), key), found.rate


def checked(samples: Samples, key: str) -> Samples:
    """Return samples that can become a row.

    Raises:
        ItemError: there are none, or one is not a number.
    """
    if not len(samples):
        raise ItemError(key, "nothing recorded there")
    if not np.isfinite(samples).all():
        raise ItemError(key, NOT_A_NUMBER)
    return samples


def _by_hand(stream: BinaryIO, sound: chunks.Sound, key: str) -> Recording:
    """Return a WAV file whose samples are plain numbers, which need no library."""
    _, channels, rate, _, block, _ = sound.form
    frames, kind = sound.size // block, np.dtype(sound.plain)

    def taken(first: int, wanted: int) -> Samples:
        _check_size(wanted * channels, key)
        stream.seek(sound.offset + first * block)
        found = np.frombuffer(stream.read(wanted * block), kind).reshape(-1, channels).astype(np.float32)
        if len(found) < wanted:
            raise ItemError(key, "cut off")
        return _mean(found / np.float32(32768 if kind.kind == "i" else 1))

    def read(first: int, wanted: int) -> Samples:
        if sound.cut_off and first + wanted >= frames:
            raise ItemError(key, "cut off")
        return taken(first, wanted)

    def blocks() -> Iterator[Samples]:
        yield from (taken(first, min(_BLOCK, frames - first)) for first in range(0, frames, _BLOCK))
        if sound.cut_off:
            raise ItemError(key, "cut off")

    return Recording(key, _checked_rate(rate, key), frames, sound.cut_off, read, blocks)


def _mean(samples: NDArray[np.float32]) -> Samples:
    """Return the mean of the channels, float32[n], of float32[n, channels]."""
    found: Samples = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    return found


def _reaches_end(file: soundfile.SoundFile) -> bool:
    """Tell whether the last sample that the header promises is there."""
    try:
        file.seek(file.frames - 1)
        there = len(file.read(1)) == 1
        file.seek(0)
    except _TROUBLE:
        return False
    return there


def _by_libsndfile(file: soundfile.SoundFile, key: str, *, cut_off: bool) -> Recording:
    """Return a recording that libsndfile has opened."""
    known = int(file.frames) if 0 <= file.frames < _ENDLESS else None
    # Others begin anew at a place that is near the wanted one, and their first samples there are not the same.
    exact = known is not None and file.subtype.startswith(_EXACT)

    def read(first: int, wanted: int) -> Samples:
        _check_size(wanted * file.channels, key)
        with _blaming(key):
            file.seek(first)
            found = file.read(wanted, dtype="float32", always_2d=True)
        if len(found) < wanted or (cut_off and first + wanted >= (known or 0)):
            raise ItemError(key, "cut off")
        return _mean(found)

    def blocks() -> Iterator[Samples]:
        total = 0
        with _blaming(key):
            while len(found := file.read(_BLOCK, dtype="float32", always_2d=True)):
                yield _mean(found)
                total += len(found)
        # The number that MP3 states may be off by a few frames.
        if cut_off or (known is not None and total < 0.98 * known - file.samplerate / 10):
            raise ItemError(key, "cut off")

    return Recording(key, _checked_rate(file.samplerate, key), known, cut_off, read if exact else None, blocks)


@contextmanager
def _blaming(key: str) -> Iterator[None]:
    try:
        yield
    except _TROUBLE as error:
        raise ItemError(key, f"damaged or cut off: {str(error).removeprefix('Error : ').rstrip('.')}") from None


@contextmanager
def _by_ffmpeg(stream: BinaryIO, key: str, *, cut_off: bool, promised: int = 0) -> Iterator[Recording]:
    """Open a recording by FFmpeg."""
    import av

    lenient: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "ignore"}
    stream.seek(0)
    try:
        with av.open(stream, "r", **lenient) as box:
            if not box.streams.audio:
                raise ItemError(key, "no sound in it")
            if box.streams.audio[0].codec_context is None:
                raise ItemError(key, "sound in a codec that is not known here")
            rate = _checked_rate(box.streams.audio[0].rate, key)

            def blocks() -> Iterator[Samples]:
                total = 0
                for block in _decoded(box, key):
                    yield block
                    total += len(block)
                if cut_off or total < promised < _ENDLESS:
                    raise ItemError(key, "cut off")

            yield Recording(key, rate, None, cut_off, None, blocks)
    except av.error.FFmpegError as error:
        raise ItemError(key, f"not a recording that can be read: {error.strerror}") from None


def _decoded(box: av.container.InputContainer, key: str) -> Iterator[Samples]:
    """Yield the mean of the channels, frame by frame."""
    import av

    try:
        sound, setup, to_float = box.streams.audio[0], None, av.AudioResampler(format="flt")
        for frame in itertools.chain(box.decode(sound), [None]):
            now = frame and (frame.format.name, frame.layout.name, frame.sample_rate)
            parts = list[av.AudioFrame]()
            # A stream may change its channels and its rate on the way; what is left in the one before comes first.
            if now != setup:
                parts += to_float.resample(None) if setup else []
                to_float, setup = av.AudioResampler(format="flt", rate=sound.rate), now
            # One plane for all channels: PyAV reads beyond the planes of more than 8.
            for part in [*parts, *(to_float.resample(frame) if frame else [])]:
                yield part.to_ndarray().reshape(part.samples, -1).mean(axis=1, dtype=np.float32)
    except av.error.FFmpegError as error:
        raise ItemError(key, f"damaged or cut off: {error.strerror}") from None


def _checked_rate(rate: int, key: str) -> int:
    if not SLOWEST <= rate <= FASTEST:
        raise ItemError(key, f"samples in a second are not within {SLOWEST:,} and {FASTEST:,}")
    return int(rate)


def _check_size(samples: int, key: str) -> None:
    if samples > MAX_BYTES:
        raise ItemError(key, f"more than {MAX_BYTES:,} samples at once; say window = 1.0 under [features]")


def _has_one_track(head: bytes) -> bool:
    """Tell whether an MP4 file has one track only; that of the pictures may come after these first bytes."""
    at = head.find(b"mvhd")
    size = int.from_bytes(head[max(0, at - 4) : at], "big")
    return at > 0 and int.from_bytes(head[at + size - 8 : at + size - 4], "big") == 2  # the number of the next track


def _is_mpeg(head: bytes) -> bool:
    """Tell whether a file begins with two frames of MP3 or of AAC (ADTS); UTF-16 begins with bytes like the first."""
    size = _frame_bytes(head)
    return size > 0 and (len(head) == size or _frame_bytes(head[size:]) > 0)


def _frame_bytes(head: bytes) -> int:
    """Return the length of the frame that begins there; 0 where none does."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    if head[1] & 0xF6 == 0xF0:
        return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    version, layer, rate, hertz = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer not in _KBIT[version == 3] or rate in {0, 15} or hertz == 3:
        return 0
    kbit = _KBIT[version == 3][layer][rate - 1]
    samples = 1152 if version == 3 or layer == 2 else 576
    return samples * kbit * 125 // (_HERTZ[hertz] >> (2, 0, 1, 0)[version]) + (head[2] >> 1 & 1)

"""Cut frames out of videos: each becomes a picture file, decoded as pictures are.

The key of a frame has its second, ``clip.mp4@12.5``. Times are those that the file gives its frames, so a changing
frame rate does no harm. Frames are turned upright as the file says, and made smaller where their longest side is above
1,024 pixels.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from aepipe.errors import ItemError, QueryError
from aepipe.sources.asked import file_named, nothing_at, path_named
from aepipe.sources.files import EMPTY, WholeFile, pointer_in
from aepipe.sources.images import decode
from aepipe.sources.item import Decode, Item, Reader
from aepipe.sources.streams import opened

if TYPE_CHECKING:
    import av

VERSION = decode.VERSION  # plus one for each change here that makes other frames of the same file
PICTURES = True
draw = decode.draw
EXTRAS = {"av": "video"}
MARK = "v"
"""What a place ``clip.mp4#v12.5`` begins with after the file: a second."""
LONGEST = 1024
CLOSE = 0.0005
"""Seconds by which a frame's time may differ from the one in its key, which has three decimals."""
SHORT = 2.0
"""Seconds that may be missing at the end of a file before it counts as cut off."""
_HEADS = (b"\x1a\x45\xdf\xa3", bytes.fromhex("3026b2758e66cf11"), b"FLV\x01", b"\0\0\x01\xba")
_ENDS = ("matroska", "asf")  # formats that state the second at which they end, and may begin late
_COVER = 0x400 | 0x800  # FFmpeg's marks of attached pictures and of thumbnails
_NO_FILMS = (
    *(
        b"avif",
        b"avis",
        b"heic",
        b"heix",
        b"heim",
        b"heis",
        b"hevc",
        b"hevx",
        b"hevm",
        b"hevs",
        b"mif1",
        b"mif2",
        b"msf1",
    ),
    *(b"miaf", b"crx ", b"jxl ", b"jp2 ", b"jpx ", b"M4A ", b"M4B ", b"M4P "),
)
"""Brands of pictures, of raw pictures and of recordings, which lie in the same containers."""
_SLICE = re.compile(r"(?P<file>.+)@(?P<start>\d+(\.\d+)?)$")


def decoder(features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes a row of a picture file: a frame of a video, or any other picture."""
    return decode.decoder(features, folder)


def query_items(text: str) -> Iterator[Item]:
    """Yield pictures, or a frame of a video: ``clip.mp4@12.5``, else its middle one.

    Raises:
        QueryError: a file cannot be read, or a folder has no pictures.
    """
    path = path_named(text)
    found = None if path else _SLICE.match(text)
    film = file_named(found["file"]) if found else None
    if path is None and film is None:
        yield nothing_at(text, "videos, also file@second, pictures")
    elif found and film is not None:
        second = float(found["start"])
        yield Item(text, text, lambda key: frame_at(film, key, second))
    elif path is not None and path.is_file() and is_video(_head(str(path))):
        yield Item(text, text, lambda key: frame_at(path, key, _length(path, key) / 2))
    else:
        yield from decode.query_items(text)


def preview(whole: Path | Reader, at: str, key: str) -> bytes:
    """Return the frame ``v<second>`` of a video as a picture file.

    Raises:
        ItemError: as :func:`frame_at`.
    """
    return frame_at(whole, key, float(at.removeprefix(MARK)))


def is_video(head: bytes) -> bool:
    """Recognise MP4, QuickTime, Matroska, WebM, AVI, WMV, FLV, MPEG and Ogg by their bytes."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in _NO_FILMS
    if head.startswith(b"OggS"):
        return b"\x80theora" in head
    stream = head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G"  # packets of MPEG-TS
    return stream or head.startswith(_HEADS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")


def frames(film: Path | Reader, key: str, step: float) -> Iterator[tuple[float, bytes]]:
    """Yield the first frame of each ``step`` seconds: its second, and a picture file of it.

    Args:
        film: where it lies, or what reads it.
        key: for errors.
        step: seconds from one frame to the next; a stretch without frames is left out.

    Raises:
        ItemError: it is no video; or, after the frames that can be read, it is damaged or cut off.
    """
    due, last = 0.0, None
    with _opened(film, key) as video:
        for second, frame in _timed(video, key):
            last = second
            if second + CLOSE >= due:
                yield second, _picture(frame)
                # The next multiple of the step, so that a gap in the video does not shift the frames after it.
                due = (int((second + CLOSE) / step) + 1) * step
        says = _stated(video)
    if last is None:
        raise ItemError(key, "no frames in it")
    if says - last > max(SHORT, step, 0.1 * says):
        raise ItemError(key, f"cut off: its last frame is at {named(last)} of {says:.0f} seconds")


def frame_at(film: Path | Reader, key: str, second: float) -> bytes:
    """Return a picture file of the first frame at a second or later.

    Raises:
        ItemError: it is no video, or it ends before.
    """
    with _opened(film, key) as video:
        stream = _pictures(video)
        # MPEG streams have no index: FFmpeg would only guess the place.
        if second > CLOSE and stream.time_base and not video.format.name.startswith("mpeg"):
            begin = stream.start_time or 0
            # Seeking stops at the key frame before; from there on frames are decoded up to the wanted one.
            video.seek(begin + int(second / stream.time_base), stream=stream, backward=True)
        found = next((frame for at, frame in _timed(video, key) if at + CLOSE >= second), None)
        if found is None:
            raise ItemError(key, f"no frame at {second:g} seconds or later")
        return _picture(found)


def named(second: float) -> str:
    """Return a second as keys write it."""
    return f"{second:.3f}".rstrip("0").rstrip(".")


@contextmanager
def _opened(film: Path | Reader, key: str) -> Iterator[av.container.InputContainer]:
    """Open a video; raise ItemError with the reason where that fails."""
    import av

    # A title in an unknown encoding is no reason to refuse a video; PyAV 19 and later do not.
    lenient: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "ignore"}
    head = b""
    try:
        # FFmpeg gets an open file, not a name, which it could take for an address or a list of other files.
        reader = WholeFile(str(film)) if isinstance(film, Path) else film
        with opened(reader, key) as file:
            head = file.read(64)
            file.seek(0)
            with av.open(file, "r", **lenient) as video:
                yield _checked(video, key)
    except av.error.FFmpegError as error:
        why = f"not a video that can be read: {error.strerror}" if head else EMPTY
        raise ItemError(key, pointer_in(head) or why) from None


def _checked(video: av.container.InputContainer, key: str) -> av.container.InputContainer:
    """Return a video that has pictures to decode.

    Raises:
        ItemError: it has none, or too large ones.
    """
    stream = _pictures(video)
    if stream is None:
        raise ItemError(key, "sound only, no film" if video.streams.audio else "no pictures in it")
    if stream.codec_context is None:
        raise ItemError(key, "pictures in a codec that is not known here")
    if stream.codec_context.width * stream.codec_context.height > decode.MAX_PIXELS:
        raise ItemError(key, f"more than {decode.MAX_PIXELS:,} pixels")
    stream.thread_type = "AUTO"
    return video


def _pictures(video: av.container.InputContainer) -> Any:  # noqa: ANN401  a cold query has no types of PyAV
    """Return the stream of the film; None where all are covers, which are pictures that a file has with it."""
    films = [one for one in video.streams.video if not one.disposition.value & _COVER]
    best = video.streams.best("video") if len(films) > 1 else None
    return best if best in films else next(iter(films), None)


def _timed(video: av.container.InputContainer, key: str) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield the frames from the current position on, each with its second after the beginning.

    Raises:
        ItemError: the file is damaged or cut off there.
    """
    import av

    stream = _pictures(video)
    begin = float((stream.start_time or 0) * (stream.time_base or 0))
    second = 0.0
    try:
        for frame in video.decode(stream):
            second = max(0.0, frame.time - begin) if frame.time is not None else second
            yield second, frame
    except av.error.FFmpegError:
        raise ItemError(key, f"damaged or cut off after {named(second)} seconds") from None


def _picture(frame: av.VideoFrame) -> bytes:
    """Return a frame as a BMP file: quick to write, and the same bytes on every machine."""
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    if frame.rotation % 90 == 0 and frame.rotation % 360:
        image = image.rotate(frame.rotation, expand=True)
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    image.save(stream, "BMP")
    return stream.getvalue()


def _length(film: Path | Reader, key: str) -> float:
    """Return the length of a film in seconds; by its packets, where the file does not state it."""
    with _opened(film, key) as video:
        stated = _stated(video)
        if stated > 0:
            return stated
        stream = _pictures(video)
        times = [packet.pts for packet in video.demux(stream) if packet.pts is not None]
        return float((max(times) - min(times)) * stream.time_base) if times else 0.0


def _stated(video: av.container.InputContainer) -> float:
    """Return the length that the file states, in seconds; 0 or less where it states none."""
    stream = _pictures(video)
    unit = float(stream.time_base or 0)
    stated = stream.duration * unit if stream.duration else float(video.duration or 0) / 1_000_000
    return stated - (stream.start_time or 0) * unit if video.format.name.startswith(_ENDS) else stated


def _head(path: str) -> bytes:
    """Return the first bytes of a file.

    Raises:
        QueryError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(1 << 13)
    except OSError as error:
        raise QueryError(f"{path}: cannot be read: {error.strerror}") from None

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
from aepipe.sources.files import open_file
from aepipe.sources.images import decode
from aepipe.sources.item import Decode, Item

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
_SLICE = re.compile(r"(?P<file>.+)@(?P<start>\d+(\.\d+)?)$")


def decoder(features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes a row of a picture file: a frame of a video, or any other picture."""
    return decode.decoder(features, folder)


def query_items(text: str) -> Iterator[Item]:
    """Yield pictures, or a frame of a video: ``clip.mp4@12.5``, else its middle one.

    Raises:
        QueryError: a file cannot be read, or a folder has no pictures.
    """
    found = None if Path(text).is_file() else _SLICE.match(text)
    if found is not None:
        file, second = found["file"], float(found["start"])
        yield Item(text, text, lambda key: frame_at(Path(file), key, second))
        return
    if Path(text).is_file() and is_video(_head(text)):
        yield Item(text, text, lambda key: frame_at(Path(text), key, _length(Path(text), key) / 2))
        return
    yield from decode.query_items(text)


def preview(path: Path, at: str, key: str) -> bytes:
    """Return the frame ``v<second>`` of a video as a picture file.

    Raises:
        ItemError: as :func:`frame_at`.
    """
    return frame_at(path, key, float(at.removeprefix(MARK)))


def is_video(head: bytes) -> bool:
    """Recognise a video by its first bytes: MP4 and QuickTime, Matroska and WebM, AVI."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
    return head.startswith(b"\x1a\x45\xdf\xa3") or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")


def frames(path: Path, key: str, step: float) -> Iterator[tuple[float, bytes]]:
    """Yield the first frame of each ``step`` seconds: its second, and a picture file of it.

    Args:
        path: of the video.
        key: for errors.
        step: seconds from one frame to the next; a stretch without frames is left out.

    Raises:
        ItemError: it is no video; or, after the frames that can be read, it is damaged or cut off.
    """
    due, last = 0.0, None
    with _opened(path, key) as video:
        for second, frame in _timed(video, key):
            last = second
            if second + CLOSE >= due:
                yield second, _picture(frame)
                # The next multiple of the step, so that a gap in the video does not shift the frames after it.
                due = (int((second + CLOSE) / step) + 1) * step
        says = _seconds(video)
    if last is None:
        raise ItemError(key, "no frames in it")
    if says - last > max(SHORT, step, 0.1 * says):
        raise ItemError(key, f"cut off: its last frame is at {named(last)} of {says:.0f} seconds")


def frame_at(path: Path, key: str, second: float) -> bytes:
    """Return a picture file of the first frame at a second or later.

    Raises:
        ItemError: it is no video, or it ends before.
    """
    with _opened(path, key) as video:
        (stream,) = video.streams.video[:1]
        if second > CLOSE and stream.time_base:
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
def _opened(path: Path, key: str) -> Iterator[av.container.InputContainer]:
    """Open a video; raise ItemError with the reason where that fails."""
    import av

    # A title in an unknown encoding is no reason to refuse a video; PyAV 19 and later do not.
    lenient: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "ignore"}
    try:
        # FFmpeg gets an open file, not a name, which it could take for an address or a list of other files.
        with open_file(str(path)) as file, av.open(file, "r", **lenient) as video:
            if not video.streams.video:
                raise ItemError(key, "no pictures in it")
            context = video.streams.video[0].codec_context
            if context.width * context.height > decode.MAX_PIXELS:
                raise ItemError(key, f"more than {decode.MAX_PIXELS:,} pixels")
            video.streams.video[0].thread_type = "AUTO"
            yield video
    except av.error.FFmpegError as error:
        raise ItemError(key, f"not a video that can be read: {error.strerror}") from None
    except OSError as error:
        raise ItemError(key, f"cannot be read: {error.strerror}") from None


def _timed(video: av.container.InputContainer, key: str) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield the frames from the current position on, each with its second after the beginning.

    Raises:
        ItemError: the file is damaged or cut off there.
    """
    import av

    stream = video.streams.video[0]
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


def _length(path: Path, key: str) -> float:
    with _opened(path, key) as video:
        return _seconds(video)


def _seconds(video: av.container.InputContainer) -> float:
    """Return the length that the file states, in seconds; 0 where it states none."""
    stream = video.streams.video[0]
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return float(video.duration or 0) / 1_000_000


def _head(path: str) -> bytes:
    """Return the first bytes of a file.

    Raises:
        QueryError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(16)
    except OSError as error:
        raise QueryError(f"{path}: cannot be read: {error.strerror}") from None

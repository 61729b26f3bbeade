"""Open picture files: header, limits, and pixels at a fraction of the size.

Memory is bounded in three ways. A picture with more pixels than the limit is refused by its header. JPEG, JPEG 2000
and large WebP are decoded at a fraction of their size, large HEIC by the copy that is in the file; others are made
smaller in bands as soon as they are decoded. And pictures that are decoded at the same time share :data:`MEMORY`: one
that needs more of it waits for the others, whatever the number of threads.
"""

from __future__ import annotations

import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from importlib import import_module
from io import BytesIO
from typing import Any

from PIL import Image, ImageFile

from aepipe.sources import pictures
from aepipe.sources.images import camera, deep, jpeg_2000, values, webp

MAX_PIXELS = 200_000_000
"""The limit where a recipe sets none."""
LARGE = 50_000_000
"""Decoded pixels from which a picture is made smaller in bands."""
MEMORY = 1 << 30
"""Bytes that pictures which are decoded at the same time may take together; a single one may take more."""
SMALL = 1 << 24
"""Bytes from which a picture asks for its share."""
FEW = 1 << 19
"""Pixels below which it never needs that much; only a TIFF may have blocks that are larger than its picture."""
DEEPEST = 9
"""Decoded bytes for each pixel that is allowed; a file that needs more is made to fill the memory."""
PLAUSIBLE, RATIO = 1 << 28, 500
"""Decoded bytes up to which a picture may be any times as large as its file, and the times above: only an empty one is
packed that well."""
_ORIENTATION = 0x0112  # the EXIF tag
_NODATA = 42113  # the tag of GDAL
_DEPTH, _SAMPLES, _STRIP, _TILE_WIDTH, _TILE_HEIGHT = 258, 277, 278, 322, 323  # tags of TIFF
TROUBLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""Errors of Pillow's plugins over damaged bytes; a lack of memory is not among them."""
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2}
"""Bytes of a pixel in memory, by mode; 4 for all others."""
_CODECS = {"WebP": 12, "AVIF": 5, "HEIC": 4, "JPEG XL": 4, "JPEG 2000": 15}
"""What decoders take beside the picture itself, in bytes for each of its pixels; measured."""
_WARNS = frozenset({"TIFF", "GIF", "WebP"})
"""Formats whose headers warn, or have a limit of Pillow's own."""
_SILENT = frozenset({"JPEG", "PNG", "WebP", "BMP", "GIF", "AVIF", "HEIC", "JPEG XL", "JPEG 2000"})
"""Formats that never warn when pixels are decoded, so that many threads may decode at once."""
_one_at_a_time = threading.Lock()


class UnreadableError(Exception):
    """A picture that is not decoded; the text says why."""


class _Room:
    """A number of bytes that several threads share."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        """Hold some bytes for the block; wait until they are free. More than all of them are all of them."""
        share = min(wanted, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify_all()


ROOM = _Room(MEMORY)


@contextmanager
def upright(data: bytes, kind: str, *, least: tuple[int, int], gray: bool, limit: int) -> Iterator[Image.Image]:
    """Open a picture for the block: upright, in 8 bits and without transparency, as L or RGB.

    Args:
        data: the bytes of the file.
        kind: its format, as :func:`aepipe.sources.pictures.format_of` tells it.
        least: width and height that a picture decoded at less than full size still has.
        gray: colour is not needed.
        limit: pixels that are allowed.

    Raises:
        UnreadableError: it has more pixels, or needs too much memory; or a camera's file has no picture in it.
        ModuleNotFoundError: the package that reads the format is missing.
    """
    data, kind, turn = _developed(data, kind)
    image = opened(data, kind, limit)
    pixels = image.width * image.height
    if kind == "JPEG":
        turn = orientation(image) if turn == 1 else turn
    # Pictures of orientations 5 to 8 lie on their side: their width is stored as the height.
    least = least[::-1] if turn >= 5 else least
    halvings = _reduced(image, kind, least, gray)
    need = 0 if pixels < FEW and kind != "TIFF" else _memory(image, kind, pixels >> 2 * halvings, pixels)
    _check_need(need, len(data), limit)
    with ROOM.taken(need) if need >= SMALL else nullcontext():
        whole, nodata = _loaded(image, kind, data, least, limit)
        if kind not in ("JPEG", "TIFF"):  # a PNG may have the tag at its end; Pillow turns a TIFF by itself
            turn = orientation(whole)
        by = _fraction(whole, least) if whole.width * whole.height > LARGE else 1
        yield turned(values.flattened(whole, by, nodata), turn)


def _check_need(need: int, size: int, limit: int) -> None:
    """Check what decoding takes, before it begins.

    Args:
        need: bytes.
        size: of the file.
        limit: pixels that are allowed; a recipe that sets it trusts its files.

    Raises:
        UnreadableError: it is more than pixels of any sort need, or than a file of that size plausibly holds.
    """
    if need > DEEPEST * limit:
        raise UnreadableError(f"made to take more than {DEEPEST * limit / 1e9:.1f} GB of memory")
    if limit == MAX_PIXELS and need > max(PLAUSIBLE, RATIO * size):
        raise UnreadableError(
            f"{need / 1e6:,.0f} MB out of {size / 1e6:.2f} MB, which is not plausible; a max_megapixels above "
            f"{MAX_PIXELS / 1e6:g} under [source] allows it"
        )


def opened(data: bytes, kind: str, limit: int = MAX_PIXELS) -> ImageFile.ImageFile:
    """Read the header only.

    Pillow's own ``open`` compares with a global limit and warns. Its plugins, called directly, do not.

    Raises:
        UnreadableError: the picture has more pixels than the limit.
    """
    module, name = pictures.READERS[kind]
    plugin = getattr(import_module(module), name)
    if kind == "TIFF":
        _silence_libtiff()
    try:
        with quiet(limit) if _may_warn(data, kind) else nullcontext():
            image: ImageFile.ImageFile = plugin(BytesIO(data))
        if image.width * image.height > limit:
            raise Image.DecompressionBombError
    except Image.DecompressionBombError:  # a few plugins count by themselves
        raise _too_large(limit) from None
    return image


def _too_large(limit: int) -> UnreadableError:
    return UnreadableError(f"more than {limit / 1e6:g} megapixels, which max_megapixels under [source] can allow")


def _developed(data: bytes, kind: str) -> tuple[bytes, str, int]:
    """Return bytes, format and orientation of a picture; of a camera's file those of the picture in it."""
    if kind == pictures.RAW or (kind == "TIFF" and camera.is_raw(data)):
        try:
            found, turn = camera.preview(data)
        except LookupError:
            raise UnreadableError("a camera's file without a picture in it: export it as JPEG") from None
        return found, "JPEG", turn
    return data, kind, 1


def _fraction(image: Image.Image, least: tuple[int, int]) -> int:
    """Return the largest whole number by which the sides can be divided and stay above the least ones."""
    return max(1, min(image.width // least[0], image.height // least[1]))


def _reduced(image: Any, kind: str, least: tuple[int, int], gray: bool) -> int:  # noqa: ANN401  attributes of plugins
    """Ask the decoder for a fraction of the size, not below the least one; return how often JPEG 2000 is halved."""
    if kind == "JPEG" or (kind == "HEIC" and image.width * image.height > LARGE):
        image.draft("L" if gray else None, least)
    elif kind == "JPEG 2000":
        return jpeg_2000.halve(image, _fraction(image, least).bit_length() - 1)
    return 0


def _memory(image: Any, kind: str, halved: int, pixels: int) -> int:  # noqa: ANN401  attributes of plugins
    """Return the bytes that decoding takes.

    Args:
        image: not decoded yet.
        kind: its format.
        halved: pixels that JPEG 2000 decodes; of other formats all.
        pixels: that it has.
    """
    each = _BYTES.get(image.mode, 4) + 4 * image.has_transparency_data
    if kind == "JPEG":
        return int(each * image.width * image.height) + _coefficients(image, pixels)
    if kind == "TIFF":
        return int(each * pixels) + _block(image)
    if kind == "WebP" and pixels > LARGE and _scales(image):
        return int(each * pixels)
    return int((each + _CODECS.get(kind, 0)) * halved)


def _coefficients(image: Any, pixels: int) -> int:  # noqa: ANN401  attributes of plugins
    """Return the bytes of all coefficients, which a progressive JPEG keeps until its last scan."""
    if not image.info.get("progressive"):
        return 0
    widest, highest = (max(layer[at] for layer in image.layer) for at in (1, 2))
    return int(2 * pixels * sum(layer[1] * layer[2] for layer in image.layer) // (widest * highest))


def _block(image: Any) -> int:  # noqa: ANN401  attributes of plugins
    """Return the bytes of a strip or a tile of a TIFF, which libtiff holds as a whole."""
    with quiet():
        tags = image.tag_v2
        depth = tags.get(_DEPTH, (1,))[0] * tags.get(_SAMPLES, 1)
        wide = tags.get(_TILE_WIDTH, image.width)
        high = tags.get(_TILE_HEIGHT, min(tags.get(_STRIP, image.height), image.height))
    return int(wide * high * depth // 8)


def _scales(image: Any) -> bool:  # noqa: ANN401  attributes of plugins
    """Tell whether a WebP can be decoded at a fraction of its size."""
    return not getattr(image, "is_animated", False) and webp.can_scale()


def _loaded(
    image: ImageFile.ImageFile, kind: str, data: bytes, least: tuple[int, int], limit: int
) -> tuple[Image.Image, float | None]:
    """Decode the pixels; return the picture, and the value that it calls no data."""
    if kind == "WebP" and image.width * image.height > LARGE and _scales(image):
        by = _fraction(image, least)
        size = -(-image.width // by), -(-image.height // by)
        small = webp.scaled(data, size, alpha=image.has_transparency_data)
        small.info = image.info
        return small, None
    few = kind in ("PNG", "TIFF") and deep.has_16_bits(image)
    try:
        with nullcontext() if kind in _SILENT else quiet(limit):
            image.load()
            nodata = _nodata(image) if kind == "TIFF" else None
    except Image.DecompressionBombError:  # a picture in an icon
        raise _too_large(limit) from None
    if few and image.width * image.height <= LARGE and deep.uses_few_bits(image):
        return _with_lower_bits(image, kind, data), nodata
    return image, nodata


def _with_lower_bits(image: ImageFile.ImageFile, kind: str, data: bytes) -> Image.Image:
    lower = deep.swapped(opened(data, kind))
    with quiet():
        lower.load()
    joined = deep.joined(image, lower)
    joined.info = image.info
    return joined


def _nodata(image: Any) -> float | None:  # noqa: ANN401  attributes of plugins
    with suppress(ValueError, TypeError, LookupError):
        return float(str(image.tag_v2[_NODATA]).strip("\0 "))
    return None


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    if not image.info.keys() & {"exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"}:
        return 1
    try:
        with quiet():
            turn = image.getexif().get(_ORIENTATION, 1)
    except TROUBLE:  # a picture with damaged tags is still good
        return 1
    return turn if turn in range(1, 9) else 1


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Undo the camera's orientation (EXIF 2.3, tag 274)."""
    turn = Image.Transpose
    ways = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    return image.transpose(ways[orientation]) if orientation in ways else image


def _may_warn(data: bytes, kind: str) -> bool:
    # Tags, a GIF's frames and animated PNGs are what Pillow warns about; the rarer formats may about anything.
    return kind in _WARNS or kind not in _SILENT or b"Exif" in data or b"acTL" in data or b"xmp" in data


@contextmanager
def quiet(limit: int = MAX_PIXELS) -> Iterator[None]:
    """Keep Pillow's warnings about files from users, who can do nothing about them.

    The filters belong to the whole process, so threads take turns. They lose little by it: parsing headers holds
    Python's own lock anyway.

    Args:
        limit: pixels above which Pillow refuses a picture; it has a limit of its own, for a few formats.
    """
    logger = logging.getLogger("PIL")
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, logger.propagate = logger.propagate, False
        pixels, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limit // 2  # it warns from there on, and refuses twice
        logger.addHandler(_NOWHERE)  # without a handler Python would print the lines itself
        try:
            yield
        finally:
            logger.propagate, Image.MAX_IMAGE_PIXELS = before, pixels
            logger.removeHandler(_NOWHERE)


_NOWHERE = logging.NullHandler()


@cache
def _silence_libtiff() -> None:
    """Keep libtiff from writing to the terminal; Pillow raises an error where there is one."""
    import ctypes

    from PIL import _imaging

    with suppress(OSError, AttributeError):
        # The library is found through Pillow's own module, which has loaded it.
        library = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            handler = getattr(library, name)
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)

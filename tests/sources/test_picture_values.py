"""Different pictures have different rows: grounds of transparency, and depths of more than eight bits."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from aepipe.sources.images import values
from aepipe.sources.images.decode import decode

H, W = 20, 30


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def gray(data: bytes) -> NDArray[np.uint8]:
    return decode(data, key="k", size=(H, W), color="gray")[..., 0]


def icon(shape: str, colour: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGBA", (W, H), (*colour, 0))
    draw = ImageDraw.Draw(image)
    getattr(draw, shape)((5, 4, 24, 15), fill=(*colour, 255))
    return image


@pytest.mark.parametrize("kind", ["PNG", "WebP", "TIFF"])
@pytest.mark.parametrize("shade", [255, 250, 241, 128, 14, 0])
def test_icons_of_one_colour_on_transparency_stay_apart(kind: str, shade: int) -> None:
    options = {"lossless": True} if kind == "WebP" else {}
    round_one, square = (gray(saved(icon(s, (shade,) * 3), kind, **options)) for s in ("ellipse", "rectangle"))
    assert np.abs(round_one.astype(int) - square).max() >= values.CONTRAST - 2
    assert round_one.std() > 2


def test_white_is_the_ground_where_anything_is_seen_on_it() -> None:
    for colour in ((0, 0, 0), (255, 255, 0), (200, 0, 0)):
        assert (decode(saved(icon("ellipse", colour)), key="k", size=(H, W))[0, 0] == 255).all()
    assert (gray(saved(icon("ellipse", (255, 255, 255))))[0, 0] == 0).all()
    palette = Image.new("P", (W, H), 1)
    palette.putpalette([255, 255, 255, 255, 255, 255])
    palette.paste(0, (0, 0, W // 2, H))
    found = gray(saved(palette, transparency=0))
    assert (found[0, 0], found[0, -1]) == (0, 255)
    assert (gray(saved(Image.new("RGBA", (W, H), (9, 9, 9, 0)))) == 255).all()  # nothing to be seen on any ground


def ramp(high: float, low: float = 0) -> NDArray[np.float64]:
    return np.linspace(low, high, H * W).reshape(H, W)


@pytest.mark.parametrize("bits", [1, 4, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_white_is_the_highest_value_of_the_bits_that_are_used(kind: str, bits: int) -> None:
    white = (1 << bits) - 1
    whole = np.rint(ramp(white)).astype("<u2")
    found = gray(saved(Image.fromarray(whole), kind))
    np.testing.assert_allclose(found, whole * 255.0 / white, atol=1.01)
    half = gray(saved(Image.fromarray((whole // 2 + (white + 1) // 2).astype("<u2")), kind))
    assert abs(int(half.min()) - 255 * ((white + 1) // 2) / white) <= 1.01  # one white for all pictures of a camera


def test_rows_of_a_full_range_are_those_of_before() -> None:
    whole = np.rint(ramp(65535, 100)).astype("<u2")
    np.testing.assert_array_equal(gray(saved(Image.fromarray(whole))), np.floor(whole / 65535 * 255 + 0.5))


@pytest.mark.parametrize(("low", "high"), [(29_000, 31_000), (1000, 1010), (65_000, 65_535)])
def test_a_narrow_range_is_stretched(low: int, high: int) -> None:
    found = gray(saved(Image.fromarray(np.rint(ramp(high, low)).astype("<u2"))))
    assert (found.min(), found.max()) == (0, 255)


def test_one_value_keeps_its_shade() -> None:
    shades = [
        gray(saved(Image.fromarray(np.full((H, W), value, "<u2"))))[0, 0] for value in (0, 20_000, 40_000, 65_535)
    ]
    assert shades == [0, 78, 156, 255]


def png_16(pixels: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits with 3 or 4 channels, which Pillow does not write."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def tiff_16(pixels: NDArray[np.uint16], order: str) -> bytes:
    """A TIFF of 16 bits with 3 channels, without compression, which Pillow does not write."""
    height, width, channels = pixels.shape
    body = pixels.astype(f"{order}u2").tobytes()
    depths = 8 + len(body)
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, depths), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 8), (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(body))]
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count)
        + (struct.pack(f"{order}HH", value, 0) if (kind, count) == (3, 1) else struct.pack(f"{order}I", value))
        for tag, kind, count, value in tags
    )
    place = struct.pack(f"{order}I", depths + 6)
    folder = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    head = (b"II*\0" if order == "<" else b"MM\0*") + place
    return head + body + struct.pack(f"{order}HHH", 16, 16, 16) + folder


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF <", "TIFF >"])
def test_colours_of_few_of_16_bits_are_scaled_too(kind: str, bits: int) -> None:
    white = (1 << bits) - 1
    gradient = np.stack([ramp(white), ramp(white)[::-1], ramp(white)[:, ::-1]], axis=-1)
    pixels = np.rint(gradient).astype(np.uint16)
    data = png_16(pixels) if kind == "PNG" else tiff_16(pixels, kind[-1])
    found = decode(data, key="k", size=(H, W))
    np.testing.assert_allclose(found, pixels * 255.0 / white, atol=1.01)


def test_transparency_of_few_of_16_bits_is_scaled_too() -> None:
    pixels = np.zeros((H, W, 4), np.uint16)
    pixels[..., 0] = np.rint(ramp(4095))
    pixels[..., 3] = 4095
    found = decode(png_16(pixels), key="k", size=(H, W))
    np.testing.assert_allclose(found[..., 0], pixels[..., 0] * 255.0 / 4095, atol=1.01)
    assert (found[..., 1] == 0).all()


@pytest.mark.parametrize("mark", [np.nan, np.inf, -np.inf, -3.4e38, 1e38])
def test_marks_of_missing_values_do_not_hide_a_map(mark: float) -> None:
    heights = ramp(900, -30).astype(np.float32)
    heights[:3] = mark
    found = gray(saved(Image.fromarray(heights), "TIFF"))
    assert (found[:3] == 0).all()
    assert found[3:].max() == 255
    assert len(np.unique(found)) > 200


def test_the_value_that_a_map_calls_no_data_counts_as_the_lowest() -> None:
    heights = ramp(900, 30).astype(np.float32)
    heights[:3] = -9999
    found = gray(saved(Image.fromarray(heights), "TIFF", tiffinfo={42113: "-9999"}))
    assert (found[:3] == 0).all()
    assert len(np.unique(found)) > 200
    whole = np.rint(ramp(4000, 30)).astype("<u2")
    whole[:3] = 65535
    found = gray(saved(Image.fromarray(whole), "TIFF", tiffinfo={42113: "65535"}))
    assert len(np.unique(found)) > 200


def test_floats_of_a_narrow_range_are_stretched() -> None:
    found = gray(saved(Image.fromarray(ramp(0.03, 0.01).astype(np.float32)), "TIFF"))
    assert (found.min(), found.max()) == (0, 255)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "I;16", "I", "F", "1", "LA"])
def test_bands_give_the_same_as_the_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    colours = Image.fromarray(rng.integers(0, 256, (97, 31, 4), np.uint8))
    deep = {"I;16": "<u2", "I": "<i4", "F": "<f4"}
    if mode in deep:
        image = Image.fromarray(rng.integers(0, 60_000, (97, 31)).astype(deep[mode]))
    else:
        image = colours.convert("RGB").convert(mode) if mode in ("CMYK", "P", "1") else colours.convert(mode)
    whole = values.flattened(image)
    monkeypatch.setattr(values, "BAND", 200)
    np.testing.assert_array_equal(np.asarray(values.flattened(image)), np.asarray(whole))
    small = values.flattened(image, by=4)
    assert small.size == (8, 25)
    assert np.abs(np.asarray(small).astype(int) - np.asarray(whole.reduce(4))).max() <= 1

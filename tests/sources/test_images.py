"""The decoder of pictures: formats, modes, orientations, depths, and other bytes."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from aepipe.errors import ItemError
from aepipe.sources.images.decode import MAX_PIXELS, Color, Fit, decode, thumbnail

FORMATS = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF")
H, W = 20, 30


def picture(height: int = H, width: int = W) -> NDArray[np.uint8]:
    """A smooth colour picture without symmetry, uint8[H, W, 3]."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [255 * x / width, 255 * y / height, 255 * (x * y) / (width * height)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def as_is(data: bytes, height: int = H, width: int = W, color: Color = "rgb") -> NDArray[np.uint8]:
    return decode(data, key="k", size=(height, width), color=color)


def reason(data: bytes) -> str:
    with pytest.raises(ItemError) as caught:
        decode(data, key="the key", size=(8, 8))
    assert caught.value.key == "the key"
    return caught.value.reason


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_each_format_decodes_to_what_was_encoded(kind: str, mode: str) -> None:
    image = Image.fromarray(picture()).convert(mode)
    options: dict[str, dict[str, Any]] = {"WebP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}
    found = as_is(saved(image, kind, **options.get(kind, {})))
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert found.shape == (H, W, 3)
    assert found.dtype == np.uint8
    assert found.flags.owndata or found.base is not None
    tolerance = {"JPEG": 8, "GIF": 60 if mode == "RGB" else 0}.get(kind, 0)
    assert np.abs(found - expected).max() <= tolerance


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_gray_is_the_luma(kind: str) -> None:
    image = Image.fromarray(picture())
    found = as_is(saved(image, kind), color="gray")
    expected = picture().astype(float) @ [0.299, 0.587, 0.114]
    assert found.shape == (H, W, 1)
    assert np.abs(found[..., 0] - expected).max() <= (6 if kind == "JPEG" else 1)


def test_cmyk_and_one_bit() -> None:
    image = Image.fromarray(picture())
    unconverted = as_is(saved(image, "JPEG", quality=98, keep_rgb=True), color="gray")
    assert np.abs(unconverted - as_is(saved(image), color="gray").astype(int)).max() <= 6
    cmyk = as_is(saved(image.convert("CMYK"), "JPEG", quality=98))
    assert np.abs(cmyk.astype(int) - picture()).max() <= 12
    bits = np.arange(H * W).reshape(H, W) % 3 == 0
    found = as_is(saved(Image.fromarray(bits), "PNG"), color="gray")
    np.testing.assert_array_equal(found[..., 0], bits * 255)


def test_transparency_is_laid_on_white() -> None:
    rgba = np.zeros((H, W, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:, : W // 2, 3] = 255
    rgba[:, W // 2 :, 3] = 51  # a fifth
    for kind in ("PNG", "WebP", "TIFF"):
        found = as_is(saved(Image.fromarray(rgba), kind, **({"lossless": True} if kind == "WebP" else {})))
        np.testing.assert_array_equal(found[0, 0], [200, 0, 0])
        np.testing.assert_allclose(found[0, -1], [244, 204, 204], atol=1)
    gray = Image.merge("LA", (Image.new("L", (W, H), 0), Image.new("L", (W, H), 0)))
    assert (as_is(saved(gray)) == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palettes_with_and_without_transparency(kind: str) -> None:
    image = Image.new("P", (W, H), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, W // 2, H))
    plain, holed = as_is(saved(image, kind)), as_is(saved(image, kind, transparency=0))
    np.testing.assert_array_equal(plain[0, 0], [255, 0, 0])
    np.testing.assert_array_equal(holed[0, 0], [255, 255, 255])
    for found in (plain, holed):
        np.testing.assert_array_equal(found[0, -1], [0, 0, 255])


def test_a_colour_key_is_transparent() -> None:
    data = saved(Image.new("RGB", (W, H), (9, 8, 7)), transparency=(9, 8, 7))
    assert (as_is(data) == 255).all()


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind: str, dtype: str) -> None:
    values = np.linspace(0, 65535, H * W).reshape(H, W)
    image = Image.fromarray(values.astype(dtype))
    if kind == "PNG" and dtype == ">u2":
        image = Image.fromarray(values.astype("<u2"))
    found = as_is(saved(image, kind), color="gray")[..., 0]
    np.testing.assert_allclose(found, values / 257, atol=0.51)
    assert len(np.unique(found)) == 256


def test_sixteen_bit_colour_is_not_clipped() -> None:
    values = np.linspace(0, 65535, H * W).reshape(H, W).astype(">u2")
    rows = b"".join(b"\0" + np.repeat(row[:, None], 3, axis=1).astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", W, H, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    found = as_is(data)
    np.testing.assert_allclose(found[..., 1], values.astype(float) / 257, atol=1.1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.linspace(0, 1, H * W, dtype=np.float32), np.linspace(0, 255, H * W)),
        (np.linspace(0, 255, H * W, dtype=np.float32), np.linspace(0, 255, H * W)),
        (np.linspace(-3, 900, H * W, dtype=np.float32), np.linspace(0, 255, H * W)),
        (np.linspace(0, 65535, H * W).astype(np.int32), np.linspace(0, 255, H * W)),
        (np.linspace(0, 2**30, H * W).astype(np.int32), np.linspace(0, 255, H * W)),
        (np.linspace(-(2**30), 2**30, H * W).astype(np.int32), np.linspace(0, 255, H * W)),
    ],
)
def test_thirty_two_bits_are_scaled_and_not_clipped(values: NDArray[Any], expected: NDArray[Any]) -> None:
    data = saved(Image.fromarray(values.reshape(H, W)), "TIFF")
    np.testing.assert_allclose(as_is(data, color="gray").ravel(), expected, atol=0.51)


def test_values_that_are_not_finite_count_as_the_lowest() -> None:
    values = np.full((H, W), 0.5, np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    values[0, 2] = 0
    found = as_is(saved(Image.fromarray(values), "TIFF"), color="gray")[0, :4, 0]
    np.testing.assert_array_equal(found, [0, 0, 0, 128])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations(kind: str, orientation: int) -> None:
    upright = Image.fromarray(picture(64, 96))
    ways = Image.Transpose
    stored_by = {
        2: ways.FLIP_LEFT_RIGHT,
        3: ways.ROTATE_180,
        4: ways.FLIP_TOP_BOTTOM,
        5: ways.TRANSPOSE,
        6: ways.ROTATE_90,
        7: ways.TRANSVERSE,
        8: ways.ROTATE_270,
    }
    stored = upright.transpose(stored_by[orientation]) if orientation in stored_by else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WebP": {"lossless": True}}
    data = saved(stored, kind, exif=exif, **options.get(kind, {}))
    np.testing.assert_allclose(as_is(data, 64, 96), picture(64, 96), atol=8)
    assert np.abs(as_is(data, 16, 24).astype(int) - as_is(saved(upright), 16, 24)).max() <= 8
    small = thumbnail(data, "k", longest=48)
    assert small.size == (48, 32)
    assert np.abs(np.asarray(small).astype(int) - np.asarray(upright.resize((48, 32)))).max() <= 12


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_fit_at_the_right_aspect_changes_nothing(fit: Fit) -> None:
    found = decode(saved(Image.fromarray(picture())), key="k", size=(H, W), fit=fit)
    np.testing.assert_array_equal(found, picture())


def test_fits_of_another_aspect() -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20, 0] = wide[:, 20:40, 1] = wide[:, 40:, 2] = 200
    data = saved(Image.fromarray(wide))
    crop, pad, stretch = (decode(data, key="k", size=(20, 20), fit=fit) for fit in ("crop", "pad", "stretch"))
    np.testing.assert_array_equal(crop, wide[:, 20:40])
    assert (pad[:6] == 255).all()
    assert (pad[-6:] == 255).all()
    assert (pad[9, 9] == [0, 200, 0]).all()
    assert (stretch[10, [2, 9, 17]] == np.eye(3) * 200).all()


def test_reducing_does_not_alias() -> None:
    checkers = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = decode(saved(Image.fromarray(checkers)), key="k", size=(16, 16), color="gray")
    np.testing.assert_allclose(found, 127.5, atol=2)


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_a_jpeg_read_at_less_than_full_size_is_near_the_full_one(color: Color) -> None:
    data = saved(Image.fromarray(picture(480, 640)), "JPEG", quality=95)
    found = decode(data, key="k", size=(32, 32), color=color)
    with Image.open(BytesIO(data)) as full:
        expected = full.convert("L" if color == "gray" else "RGB").resize((32, 32), Image.Resampling.BILINEAR)
    assert np.abs(found.astype(int) - np.asarray(expected).reshape(found.shape)).max() <= 4


def test_the_same_bytes_give_the_same_array_in_every_thread_and_order() -> None:
    rng = np.random.default_rng(5)
    noise = [Image.fromarray(rng.integers(0, 256, (130, 170, 3), np.uint8)) for _ in range(6)]
    datas = [saved(image, kind) for image in noise for kind in FORMATS]
    alone = [decode(data, key="k", size=(24, 24)) for data in datas]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda data: decode(data, key="k", size=(24, 24)), datas[::-1] * 3))
    for found, expected in zip(together, alone[::-1] * 3, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    data = saved(Image.fromarray(picture()), "TIFF")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(as_is, [data] * 400))
    assert list(warnings.filters) == before


def test_only_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (W, H), color) for color in ("red", "lime")]
    for kind in ("GIF", "WebP", "PNG", "TIFF"):
        options = {"lossless": True} if kind == "WebP" else {}
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(as_is(data)[0, 0], [255, 0, 0])


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_off_files(kind: str) -> None:
    rng = np.random.default_rng(0)
    data = saved(Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)), kind)
    assert reason(data[: len(data) // 2]) in ({"truncated", "damaged"} if kind == "TIFF" else {"truncated"})
    for length in range(4, 200, 7):
        assert reason(data[:length]) in {"truncated", "damaged", "not an image"}


def test_a_png_with_a_wrong_byte_is_damaged() -> None:
    rng = np.random.default_rng(0)
    data = bytearray(saved(Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))))
    data[len(data) // 2] ^= 0xFF
    assert reason(bytes(data)) == "damaged"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty file"),
        (b"not a picture, whatever its name says", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG, a drawing and not a picture: export it as PNG"),
        (b"<?xml version='1.0'?>\n<!-- x -->\n<svg/>", "SVG, a drawing and not a picture: export it as PNG"),
        (b"<?xml version='1.0'?>\n<html/>", "not an image"),
        (b"\x00\x00\x00\x20ftypavif" + bytes(40), "damaged AVIF"),
        (b"\x00\x00\x00\x20ftypheic" + bytes(40), "damaged HEIC"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(40), "a film and not a picture"),
        (b"\xff\x0a" + bytes(99), "damaged JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "damaged JPEG 2000"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript, a drawing and not a picture: export it as PNG"),
        (b"%PDF-1.7", "PDF, a document and not a picture: export its pages as PNG"),
        (b"gimp xcf v011", "XCF, which is not read: export it as PNG"),
        (b"P5 is not always a picture, and P1 neither", "not an image"),
        (bytes(200), "not an image"),
        (b"BM is not always a bitmap, it may begin a sentence", "not an image"),
    ],
)
def test_bytes_that_are_no_picture(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def _png_bomb(width: int, height: int) -> bytes:
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(9999)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def _webp_bomb(width: int, height: int) -> bytes:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime")]
    data = bytearray(saved(frames[0], "WebP", save_all=True, append_images=frames[1:], lossless=True))
    assert data[12:16] == b"VP8X"
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def _jpeg_bomb(width: int, height: int) -> bytes:
    data = bytearray(saved(Image.new("L", (8, 8)), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def _gif_bomb(width: int, height: int) -> bytes:
    data = bytearray(saved(Image.new("L", (8, 8)), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def _bmp_bomb(width: int, height: int) -> bytes:
    data = bytearray(saved(Image.new("L", (8, 8)), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


@pytest.mark.parametrize("bomb", [_png_bomb, _jpeg_bomb, _gif_bomb, _bmp_bomb, _webp_bomb])
@pytest.mark.parametrize("side", [14_143, 16_000, 40_000])  # just too large; Pillow would warn; Pillow would refuse
def test_bombs_are_refused_by_their_header(bomb: Callable[[int, int], bytes], side: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = reason(bomb(side, side))
    assert said == "more than 200 megapixels, which max_megapixels under [source] can allow"


def test_the_limit_itself_is_allowed_and_may_be_another() -> None:
    assert MAX_PIXELS == 200_000_000
    assert reason(_png_bomb(20_000, 10_000)) in {"truncated", "damaged"}  # the header passes, there is no picture
    assert Image.MAX_IMAGE_PIXELS != MAX_PIXELS
    data = saved(Image.fromarray(picture()))
    with pytest.raises(ItemError, match=r"more than 0\.0005 megapixels"):
        decode(data, key="k", size=(8, 8), limit=500)
    assert decode(data, key="k", size=(8, 8), limit=H * W).shape == (8, 8, 3)


def test_a_picture_with_damaged_tags_is_decoded_without_warnings() -> None:
    bad = b"Exif\0\0II*\0\x08\0\0\0\xff\x00" + b"\x12\x01\x03\0\xff\xff\xff\xff\x06\0\0\0" * 9
    data = saved(Image.fromarray(picture()), "JPEG", exif=bad, quality=95)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = as_is(data)
        as_is(saved(Image.fromarray(picture()), "TIFF")[:-1] + b"\0")
    assert not said
    assert np.abs(found.astype(int) - picture()).max() <= 12


def test_fuzzed_bytes_raise_item_errors_only() -> None:
    rng = np.random.default_rng(1)
    image = Image.fromarray(picture())
    for kind in FORMATS:
        data = np.frombuffer(saved(image, kind), np.uint8)
        for _ in range(150):
            hit = data.copy()
            places = rng.integers(0, len(hit), 4)
            hit[places] = rng.integers(0, 256, 4)
            with suppress(ItemError):
                assert as_is(hit.tobytes()).shape == (H, W, 3)


def test_thumbnail_keeps_the_aspect_and_never_enlarges() -> None:
    data = saved(Image.fromarray(picture(400, 600)), "JPEG")
    assert thumbnail(data, "k").size == (96, 64)
    assert thumbnail(saved(Image.fromarray(picture())), "k").size == (W, H)
    assert thumbnail(data, "k").mode == "RGB"
    with pytest.raises(ItemError):
        thumbnail(b"", "k")


def test_orientation_is_that_of_pillow() -> None:
    exif = Image.Exif()
    exif[0x0112] = 7
    data = saved(Image.fromarray(picture()), "PNG", exif=exif)
    with Image.open(BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(as_is(data, W, H), np.asarray(expected))

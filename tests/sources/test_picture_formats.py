"""Formats of pictures beside the common ones: each is told by its bytes, read, and says nothing on the terminal."""

from __future__ import annotations

import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from aepipe.errors import ExtraError, ItemError, SourceError
from aepipe.recipe import parse
from aepipe.sources import pictures, resolve
from aepipe.sources.images import decode as decoder
from aepipe.sources.images import reading
from aepipe.sources.images import source as images
from aepipe.sources.images.decode import decode
from aepipe.sources.item import Source
from aepipe.sources.pictures import SUFFIXES, format_of, not_read

H, W = 24, 32
WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    "AVIF": ("AVIF", {"quality": 95}),
    "JPEG 2000": ("JPEG2000", {}),
    "ICO": ("ICO", {"sizes": [(W, H)], "bitmap_format": "bmp"}),
    "ICNS": ("ICNS", {}),
    "PPM": ("PPM", {}),
    "TGA": ("TGA", {}),
    "QOI": ("QOI", {}),
    "PCX": ("PCX", {}),
    "DDS": ("DDS", {}),
    "SGI": ("SGI", {}),
    "DIB": ("DIB", {}),
    "IM": ("IM", {}),
    "TIFF": ("TIFF", {"big_tiff": True}),
}


def picture() -> NDArray[np.uint8]:
    """A smooth colour picture without symmetry, uint8[H, W, 3]."""
    y, x = np.mgrid[0:H, 0:W]
    return np.stack([255 * x / W, 255 * y / H, 255 * x * y / (W * H)], axis=-1).astype(np.uint8)


def source_of(folder: Path) -> Source:
    table = {"name": "a", "source": {"kind": "images", "path": str(folder)}, "layers": [{"net": "dense"}]}
    return resolve(parse(table, folder / "a.toml"))


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def near(data: bytes, expected: NDArray[Any], tolerance: int) -> None:
    found = decode(data, key="k", size=(H, W))
    assert np.abs(found.astype(int) - expected).max() <= tolerance


def heic(image: Image.Image, **options: Any) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return saved(image, "HEIF", quality=95, **options)


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_pillow_writes_is_read(kind: str) -> None:
    name, options = WRITTEN[kind]
    image = Image.fromarray(picture())
    data = saved(image.resize((128, 128)) if kind == "ICNS" else image, name, **options)
    assert format_of(data) == format_of(data[:8192]) == kind
    near(data, picture(), 12 if kind in ("AVIF", "ICNS") else 1)


def test_heic_is_read_upright() -> None:
    data = heic(Image.fromarray(picture()))
    assert format_of(data) == "HEIC"
    near(data, picture(), 12)
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(picture()).transpose(Image.Transpose.ROTATE_90)
    near(heic(lying, exif=exif.tobytes()), picture(), 16)


def test_jpeg_xl_is_read_in_gray_colour_and_with_transparency() -> None:
    import pylibjxl

    colours = picture()
    clear = np.dstack([colours, np.full((H, W, 1), 0, np.uint8)])
    near(pylibjxl.encode(colours, lossless=True), colours, 0)
    near(pylibjxl.encode(np.ascontiguousarray(colours[..., :1]), lossless=True), colours[..., :1].repeat(3, axis=2), 0)
    near(pylibjxl.encode(clear, lossless=True), np.full((H, W, 3), 255), 0)
    with pytest.raises(ItemError, match=r"damaged|truncated"):
        decode(pylibjxl.encode(colours, lossless=True)[:60], key="k", size=(8, 8))


@pytest.mark.parametrize("size", [(640, 480), (641, 479), (1000, 333), (97, 1031)])
@pytest.mark.parametrize("tiles", [None, (128, 128)])
def test_jpeg_2000_of_any_size_is_decoded_at_a_fraction(size: tuple[int, int], tiles: tuple[int, int] | None) -> None:
    image = Image.fromarray(picture()).resize(size, Image.Resampling.BICUBIC)
    data = saved(image, "JPEG2000", **({"tile_size": tiles} if tiles else {}))
    for side in (2, 9, 40):
        found = decode(data, key="k", size=(side, side))
        expected = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(found - expected).max() <= 12


def test_a_photoshop_file_is_read_by_its_composite() -> None:
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, H, W, 8, 3)
    planes = picture().transpose(2, 0, 1).tobytes()
    near(header + struct.pack(">IIIH", 0, 0, 0, 0) + planes, picture(), 0)


def test_an_icon_is_read_at_its_largest_size() -> None:
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (64, 64), "blue")
    found = decode(saved(blue, "ICO", sizes=[(16, 16), (64, 64)], append_images=[red]), key="k", size=(8, 8))
    assert (found == [0, 0, 255]).all()


@pytest.mark.parametrize(("header", "white"), [(b"P5\n# x\n4 2\n1023\n", 1023), (b"P5\n4 2\n65535\n", 65535)])
def test_greymaps_are_scaled_by_their_own_white(header: bytes, white: int) -> None:
    values = (np.arange(8) * white // 7).astype(">u2")
    found = decode(header + values.tobytes(), key="k", size=(2, 4), color="gray")
    np.testing.assert_allclose(found.ravel(), np.arange(8) * 255 / 7, atol=1)


def test_float_maps_are_read() -> None:
    values = np.linspace(-2, 3, 8, dtype="<f4")
    found = decode(b"Pf\n4 2\n-1.0\n" + values.tobytes(), key="k", size=(2, 4), color="gray")
    np.testing.assert_allclose(np.sort(found.ravel()), np.arange(8) * 255 / 7, atol=1)


def test_colours_of_cmyk_and_lab_become_rgb() -> None:
    image = Image.fromarray(picture())
    near(saved(image.convert("CMYK"), "TIFF"), picture(), 12)
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    soft = Image.blend(image, Image.new("RGB", image.size, "gray"), 0.7)  # all of it within both colour spaces
    as_lab = ImageCms.profileToProfile(soft, rgb, lab, outputMode="LAB")
    assert as_lab is not None
    near(saved(as_lab, "TIFF"), np.asarray(soft), 6)


def test_text_is_no_picture() -> None:
    for text in (b"P6 or P5\n12", b"BMW and others", b"IM a text", b"#define x 3\n", b"\n\x05\x01 text", b"icon"):
        assert format_of(text + b" and so on, and so on, and so on") is None
    rng = np.random.default_rng(0)
    kinds = [format_of(rng.bytes(64)) for _ in range(20_000)]
    assert sum(kind is not None for kind in kinds) <= 3


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        (b"heic\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1avif", "AVIF"),
        (b"avif\0\0\0\0mif1miaf", "AVIF"),
        (b"crx \0\0\0\x01crx isom", pictures.RAW),
        (b"isom\0\0\0\0mp41avc1", None),
        (b"qt  \0\0\0\0qt  \0\0\0\0", None),
    ],
)
def test_media_files_are_told_by_their_brands(brands: bytes, kind: str | None) -> None:
    assert format_of(struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands) == kind


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = heic(Image.fromarray(picture()))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    with pytest.raises(ItemError, match=r"HEIC, which pip install 'aepipe\[pictures\]' makes readable"):
        decode(data, key="k", size=(8, 8))
    (tmp_path / "a.HEIC").write_bytes(data)
    (tmp_path / "b.png").write_bytes(saved(Image.fromarray(picture())))
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    with pytest.raises(ExtraError, match=r"aepipe\[pictures\]"):
        source_of(tmp_path)
    (tmp_path / "a.HEIC").unlink()
    assert len(list(source_of(tmp_path).items())) == 1


def test_packages_of_pictures_have_their_extra() -> None:
    assert {decoder.EXTRAS[package] for package in pictures.PACKAGES.values()} == {"pictures"}
    assert not set(decoder.BACKBONES) & set(pictures.PACKAGES.values())
    assert all(ending in SUFFIXES for endings in pictures.ENDINGS.values() for ending in endings)


def test_each_reader_exists() -> None:
    for kind in pictures.READERS:
        with pytest.raises((*reading.TROUBLE, ItemError)):
            reading.opened(b"no picture at all, but long enough to be looked at", kind)


def test_what_is_no_picture_has_a_name() -> None:
    assert not_read(b"") == "empty file"
    assert not_read(bytes(128) + b"DICM") == "DICOM, which is not read: convert it to PNG"
    assert not_read(b"a text") is None


NOISY = """
import io, sys, logging, numpy as np
from PIL import Image
from aepipe.errors import ItemError
from aepipe.sources.images.decode import decode, thumbnail
rng = np.random.default_rng(0)
image = Image.fromarray(rng.integers(0, 255, (60, 60, 3), dtype=np.uint8))
files = []
for kind, options in (("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_adobe_deflate"}),
                      ("TIFF", {"compression": "jpeg"}), ("TIFF", {"compression": "group4"}), ("TIFF", {}),
                      ("GIF", {}), ("PNG", {}), ("JPEG", {}), ("JPEG2000", {}), ("AVIF", {}), ("WEBP", {}), ("TGA", {}),
                      ("ICO", {})):
    stream = io.BytesIO()
    (image.convert("1") if options.get("compression") == "group4" else image).save(stream, kind, **options)
    files.append(stream.getvalue())
for data in files:
    for _ in range(60):
        hit = bytearray(data)
        for place in rng.integers(4, len(hit), 5):
            hit[place] = rng.integers(0, 256)
        for work in (lambda: decode(bytes(hit), key="k", size=(8, 8)), lambda: thumbnail(bytes(hit), "k")):
            try:
                work()
            except ItemError:
                pass
print("done")
"""


def test_damaged_files_write_nothing_on_the_terminal() -> None:
    done = subprocess.run([sys.executable, "-W", "always", "-c", NOISY], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_drawings_are_passed_over_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    with pytest.raises(SourceError, match="no images there"):
        source_of(tmp_path)
    (tmp_path / "b.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    (tmp_path / "notes").write_bytes(b"a text")
    (tmp_path / "camera").write_bytes(saved(Image.fromarray(picture()), "JPEG2000"))
    source = source_of(tmp_path)
    assert [item.key for item in source.items()] == ["camera"]
    assert source.passed_over.first == {
        "SVG, a drawing and not a picture: export it as PNG": ["a.svg"],
        "PostScript, a drawing and not a picture: export it as PNG": ["b.eps"],
        "not a picture": ["notes"],
    }

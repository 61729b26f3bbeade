"""Formats of pictures: their endings, their first bytes, and who reads each.

The first bytes decide; endings only say which files are worth a look.
"""

from __future__ import annotations

import re
import struct

READERS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "DIB": ("PIL.BmpImagePlugin", "DibImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pillow_heif.as_plugin", "HeifImageFile"),
    "JPEG 2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "JPEG XL": ("aepipe.sources.images.jpeg_xl", "JpegXLFile"),
    "PSD": ("PIL.PsdImagePlugin", "PsdImageFile"),
    "ICO": ("PIL.IcoImagePlugin", "IcoImageFile"),
    "CUR": ("PIL.CurImagePlugin", "CurImageFile"),
    "ICNS": ("PIL.IcnsImagePlugin", "IcnsImageFile"),
    "PPM": ("PIL.PpmImagePlugin", "PpmImageFile"),
    "TGA": ("PIL.TgaImagePlugin", "TgaImageFile"),
    "QOI": ("PIL.QoiImagePlugin", "QoiImageFile"),
    "PCX": ("PIL.PcxImagePlugin", "PcxImageFile"),
    "DCX": ("PIL.DcxImagePlugin", "DcxImageFile"),
    "DDS": ("PIL.DdsImagePlugin", "DdsImageFile"),
    "SGI": ("PIL.SgiImagePlugin", "SgiImageFile"),
    "SUN": ("PIL.SunImagePlugin", "SunImageFile"),
    "XBM": ("PIL.XbmImagePlugin", "XbmImageFile"),
    "XPM": ("PIL.XpmImagePlugin", "XpmImageFile"),
    "FLI": ("PIL.FliImagePlugin", "FliImageFile"),
    "PCD": ("PIL.PcdImagePlugin", "PcdImageFile"),
    "MSP": ("PIL.MspImagePlugin", "MspImageFile"),
    "IM": ("PIL.ImImagePlugin", "ImImageFile"),
    "PIXAR": ("PIL.PixarImagePlugin", "PixarImageFile"),
    "GBR": ("PIL.GbrImagePlugin", "GbrImageFile"),
    "BLP": ("PIL.BlpImagePlugin", "BlpImageFile"),
    "FTEX": ("PIL.FtexImagePlugin", "FtexImageFile"),
    "FITS": ("PIL.FitsImagePlugin", "FitsImageFile"),
    "thumbnail of XV": ("PIL.XVThumbImagePlugin", "XVThumbImageFile"),
}
"""Module and class that read each format."""
RAW = "camera raw"
"""The format of files of cameras, which are read by the picture that the camera made for its own screen."""
PACKAGES = {"HEIC": "pillow_heif", "JPEG XL": "pylibjxl"}
"""Packages that Pillow does not bring, by format."""
EXTRA = "pictures"
"""The extra of aepipe that brings them."""
ENDINGS = {"HEIC": (".heic", ".heif", ".hif"), "JPEG XL": (".jxl",)}
"""Endings of the formats that need a package."""
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".jpe", ".jfif", ".mpo", ".apng", ".dib", ".avif", ".heic", ".heif", ".hif"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jxl", ".psd", ".ico", ".cur", ".icns"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".qoi", ".pcx", ".dcx", ".dds"),
    *(".sgi", ".xbm", ".xpm", ".fli", ".flc", ".pcd", ".blp"),
    *(".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".dng", ".raf", ".orf", ".rw2"),
    *(".pef", ".srw", ".3fr", ".erf", ".mrw", ".x3f", ".iiq"),
)
"""Endings of pictures that are believed without a look: what is no picture after all is refused when it is decoded."""

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",  # BigTIFF: offsets of 64 bits
    b"MM\x00+": "TIFF",
    b"II\x00*": "TIFF",  # written by mistake, and read by everyone
    b"MM*\x00": "TIFF",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL \r\n\x87\n": "JPEG XL",
    b"8BPS\x00\x01": "PSD",
    b"icns": "ICNS",
    b"qoif": "QOI",
    b"\xb1\x68\xde\x3a": "DCX",
    b"DDS ": "DDS",
    b"\x59\xa6\x6a\x95": "SUN",
    b"/* XPM */": "XPM",
    b"DanM": "MSP",
    b"LinS": "MSP",
    b"Image type: ": "IM",
    b"\x80\xe8\x00\x00": "PIXAR",
    b"BLP1": "BLP",
    b"BLP2": "BLP",
    b"FTEX": "FTEX",
    b"SIMPLE  =": "FITS",
    b"P7 332": "thumbnail of XV",
    b"IIRO": RAW,  # Olympus
    b"IIRS": RAW,
    b"MMOR": RAW,
    b"IIU\x00": RAW,  # Panasonic
    b"FUJIFILMCCD-RAW": RAW,
    b"\x00MRM": RAW,  # Minolta
    b"FOVb": RAW,  # Sigma
    b"II\x1a\x00\x00\x00HEAPCCDR": RAW,  # the first of Canon's
}
_BY_TWO = {
    two: [(signature, kind) for signature, kind in _SIGNATURES.items() if signature[:2] == two]
    for two in dict.fromkeys(signature[:2] for signature in _SIGNATURES)
}
"""The signatures by their first two bytes, because each item of a collection is looked up here."""
_PATTERNS = {
    # A text may begin with P1 or P5, too; the numbers of width and height tell them apart.
    "PPM": re.compile(rb"(P[1-6fF]|P0CMYK|PyP|PyRGBA|PyCMYK)\s(\s|#[^\n]*\n)*\d+(\s|#[^\n]*\n)+\d+\s"),
    "XBM": re.compile(rb"\s*#define[ \t]+\S*_width[ \t]+\d+\s"),
}
_HEADERS = (12, 40, 52, 56, 64, 108, 124)
"""Lengths of the second header of a bitmap."""
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": RAW} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2", b"heif"),
    "HEIC",
)
"""Formats by the brand of an ISO media file; all other brands are films."""
_SVG = re.compile(
    rb"(\xef\xbb\xbf)?\s*((<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE\s+svg[^>\[]*(\[.*?\])?\s*>)\s*)*<(\w+:)?svg[\s>/]",
    re.DOTALL,
)
"""A drawing, whose first element is this; web pages have drawings in them, too."""
_NOT_READ = {
    b"%!PS": "PostScript, a drawing and not a picture: export it as PNG",
    b"\xc5\xd0\xd3\xc6": "PostScript, a drawing and not a picture: export it as PNG",
    b"%PDF": "PDF, a document and not a picture: export its pages as PNG",
    b"\xd7\xcd\xc6\x9a": "WMF, a drawing and not a picture: export it as PNG",
    b"8BPS\x00\x02": "PSB, which is not read: save it as PSD or TIFF",
    b"\x89HDF\r\n\x1a\n": "HDF5, data and not a picture",
    b"GRIB": "GRIB, data and not a picture",
    b"BUFR": "BUFR, data and not a picture",
    b"gimp xcf ": "XCF, which is not read: export it as PNG",
    b"\x76\x2f\x31\x01": "OpenEXR, which is not read: convert it to TIFF",
    b"#?RADIANCE": "Radiance HDR, which is not read: convert it to TIFF",
    b"#?RGBE": "Radiance HDR, which is not read: convert it to TIFF",
    b"AT&TFORM": "DjVu, a document and not a picture: export its pages as PNG",
    b"II\xbc\x01": "JPEG XR, which is not read: convert it to PNG",
    b"P7\n": "PAM, which is not read: convert it to PNG",
    b"\x00\x00\x01\xb3": "MPEG, a film and not a picture",
    b"\x00\x00\x01\xba": "MPEG, a film and not a picture",
    b"\x1a\x45\xdf\xa3": "a film and not a picture",
    b"version https://git-lfs": "a pointer of Git LFS, and not the picture itself: run git lfs pull",
}


def format_of(data: bytes) -> str | None:
    """Return a picture's format by its first 8 kB; None where it is not decoded here."""
    kind = next((kind for signature, kind in _BY_TWO.get(data[:2], ()) if data.startswith(signature)), None)
    if kind == "TIFF" and data[8:10] == b"CR":
        return RAW
    if kind is None and data[:4] == b"RIFF":
        return "WebP" if data[8:12] == b"WEBP" else None
    if kind is None and data[4:8] == b"ftyp":
        return _media(data)
    return kind or _by_bitmap(data) or _by_pattern(data) or _by_fields(data)


def is_picture(head: bytes) -> bool:
    """Tell by its first bytes whether a file is a picture that is decoded here."""
    return format_of(head) is not None


def is_drawing(head: bytes) -> bool:
    """Tell by its first bytes whether a file is a drawing, which has no pixels."""
    return "a drawing" in (not_read(head) or "")


def not_read(data: bytes) -> str | None:
    """Return what bytes are instead of a picture, and what to do; None where that is not known."""
    known = next((why for signature, why in _NOT_READ.items() if data.startswith(signature)), None)
    if known or not data:
        return known or "empty file"
    if data[4:8] == b"ftyp" or (data[:4] == b"RIFF" and data[8:12] == b"AVI "):
        return "a film and not a picture"
    if _SVG.match(data[:8192]):
        return "SVG, a drawing and not a picture: export it as PNG"
    if data[40:44] == b" EMF":
        return "EMF, a drawing and not a picture: export it as PNG"
    return "DICOM, which is not read: convert it to PNG" if data[128:132] == b"DICM" else None


def _media(data: bytes) -> str | None:
    """Return the format of an ISO media file by its brands, the major one first; None for a film."""
    end = min(int.from_bytes(data[:4], "big"), 4096)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]
    found = _BRANDS.get(brands[0])
    # `mif1` is the brand of all of them, so one that is not AVIF by its first name may be by another.
    if found == "HEIC" and brands[0] in (b"mif1", b"msf1", b"mif2") and {b"avif", b"avis"} & {*brands}:
        return "AVIF"
    return found


def _by_bitmap(data: bytes) -> str | None:
    # A text may begin with the two letters of a bitmap; the length of the second header tells them apart.
    return "BMP" if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _HEADERS else None


def _by_pattern(data: bytes) -> str | None:
    head = data[:1024]
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.match(head)), None)


def _by_fields(data: bytes) -> str | None:
    """Return a format whose first bytes are numbers within narrow bounds."""
    if len(data) < 18:
        return None
    tests = {
        "ICO": data[:4] == b"\0\0\1\0" and _is_icon(data),
        "CUR": data[:4] == b"\0\0\2\0" and _is_icon(data),
        "PCX": data[0] == 10 and data[1] in (0, 2, 3, 5) and data[2] in (0, 1) and data[3] in (1, 2, 4, 8),
        "SGI": data[:2] == b"\x01\xda" and data[2] in (0, 1) and data[3] in (1, 2) and data[4] == 0,
        "GBR": data[4:7] == b"\0\0\0" and data[20:24] == b"GIMP",
        "FLI": data[4:6] in (b"\x11\xaf", b"\x12\xaf") and data[12:14] == b"\x08\x00",
        "PCD": data[2048:2052] == b"PCD_",
        "DIB": _is_dib(data),
        "TGA": _is_tga(data),
    }
    return next((kind for kind, holds in tests.items() if holds), None)


def _is_icon(data: bytes) -> bool:
    return data[4] > 0 and data[5] == 0 and data[9] == 0


def _is_dib(data: bytes) -> bool:
    header, planes, bits = struct.unpack_from("<I8xHH", data)
    return header in _HEADERS[1:] and planes == 1 and bits in (1, 4, 8, 16, 24, 32)


def _is_tga(data: bytes) -> bool:
    """Recognise a Targa file, which has no signature: kind, palette and depth must agree."""
    _, palette, kind, first, length, entry, _, _, width, height, depth, flags = struct.unpack_from(
        "<BBBHHBHHHHBB", data
    )
    depths = {1: (8,), 9: (8,), 2: (16, 24, 32), 10: (16, 24, 32), 3: (1, 8, 16), 11: (1, 8, 16)}
    if depth not in depths.get(kind, ()) or not width or not height or flags & 0xC0:
        return False
    if palette == 1:
        return 0 < length <= 256 and first < 256 and entry in (15, 16, 24, 32)
    return palette == 0 and not first and not length

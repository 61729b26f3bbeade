"""Decode large WebP pictures at a fraction of their size, by the library that Pillow brings.

Pillow asks libwebp for all pixels, four times over. The library can make the picture smaller row by row while it
decodes; the structures below are those of its header ``webp/decode.h``, whose layout the version number promises.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from PIL import Image

_VERSION = 0x0209
_RGB, _RGBA = 0, 1


class _Input(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_int) for name in ("width", "height", "alpha", "animation", "format")),)
    _fields_ += (("pad", ctypes.c_uint32 * 5),)


class _Pixels(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("stride", ctypes.c_int), ("size", ctypes.c_size_t))


class _Planes(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p * 4), ("strides", ctypes.c_int * 4), ("sizes", ctypes.c_size_t * 4))


class _Buffer(ctypes.Union):
    _fields_ = (("pixels", _Pixels), ("planes", _Planes))


class _Output(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("colours", "width", "height", "external")),
        ("buffer", _Buffer),
        ("pad", ctypes.c_uint32 * 4),
        ("private", ctypes.c_void_p),
    )


class _Options(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("unfiltered", "plain", "crop", "left", "top", "crop_width", "crop_height")),
        *((name, ctypes.c_int) for name in ("scale", "width", "height", "threads", "dither", "flip", "dither_alpha")),
        ("pad", ctypes.c_uint32 * 5),
    )


class _Config(ctypes.Structure):
    _fields_ = (("input", _Input), ("output", _Output), ("options", _Options))


@cache
def _library() -> Any:  # noqa: ANN401  ctypes has no types for functions
    """Return libwebp; None where it is not to be found, or is of another version."""
    try:
        from PIL import _webp

        library = ctypes.CDLL(_webp.__file__)
        assert library.WebPInitDecoderConfigInternal(ctypes.byref(_Config()), _VERSION)
    except (ImportError, OSError, AttributeError, AssertionError):
        return None
    library.WebPDecode.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(_Config)]
    library.WebPFreeDecBuffer.argtypes = [ctypes.POINTER(_Output)]
    library.WebPFreeDecBuffer.restype = None
    return library


def can_scale() -> bool:
    """Tell whether the library is there."""
    return _library() is not None


def scaled(data: bytes, size: tuple[int, int], *, alpha: bool) -> Image.Image:
    """Return a picture of one frame, decoded at another width and height, as RGB or RGBA.

    Raises:
        OSError: it is damaged or cut off.
    """
    library, config = _library(), _Config()
    library.WebPInitDecoderConfigInternal(ctypes.byref(config), _VERSION)
    config.output.colours = _RGBA if alpha else _RGB
    config.options.scale, config.options.width, config.options.height = 1, *size
    try:
        if library.WebPDecode(data, len(data), ctypes.byref(config)):
            raise OSError("libwebp cannot decode it")
        pixels, mode = config.output.buffer.pixels, "RGBA" if alpha else "RGB"
        found = ctypes.string_at(pixels.data, pixels.stride * config.output.height)
        return Image.frombytes(mode, size, found, "raw", mode, pixels.stride)
    finally:
        library.WebPFreeDecBuffer(ctypes.byref(config.output))

"""Read JPEG XL with pylibjxl: the header first, the pixels on demand."""

from __future__ import annotations

from typing import Any

import pylibjxl
from PIL import Image, ImageFile


class JpegXLFile(ImageFile.ImageFile):
    """A picture whose pixels are not decoded yet; the decoder turns it upright by itself."""

    format = "JXL"
    format_description = "JPEG XL"

    def _open(self) -> None:
        assert self.fp is not None
        self._bytes = self.fp.read()
        said = pylibjxl.probe(self._bytes)
        self._size = said["width"], said["height"]
        colours = "L" if said["color_channels"] == 1 else "RGB"
        self._mode = f"{colours}A" if said["has_alpha"] else colours

    def load(self) -> Any:  # noqa: ANN401  a type of Pillow's own
        """Decode the pixels, once."""
        if self._im is None:
            image = Image.fromarray(pylibjxl.decode(self._bytes))
            self._mode, self._size, self._im = image.mode, image.size, image.im
            self._bytes = b""
        return Image.Image.load(self)

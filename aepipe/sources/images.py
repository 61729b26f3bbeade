"""Images: a folder, a glob, Parquet files, a list of paths, a tar archive or IDX files; ``kind = "images"``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aepipe import recipe
from aepipe.sources import decode, items
from aepipe.sources.containers import Columns, open_container
from aepipe.sources.containers.walk import Files

Side = Annotated[int, Field(ge=1, le=4096, strict=True)]


class Options(items.Options):
    """Options under ``[source]``.

    Attributes:
        image: the column of images, or of paths to them, in Parquet and CSV.
    """

    image: str = "image"


class Features(recipe.Options):
    """Options under ``[features]``.

    Attributes:
        size: height and width of a row, in pixels.
        color: ``gray`` or ``rgb``.
        fit: what becomes of another aspect: ``stretch``, ``crop`` or ``pad``; see :mod:`aepipe.sources.decode`.
    """

    size: Annotated[tuple[Side, Side], Field(strict=False)] = (32, 32)
    color: decode.Color = "rgb"
    fit: decode.Fit = "stretch"


def open_source(options: Options, features: Features, *, base: Path, name: str) -> Images:
    """Return the source; see :func:`aepipe.sources.resolve`."""
    return Images(options, features, base=base, name=name)


class Images(items.ItemSource):
    """A source of images; see :class:`aepipe.sources.Source`.

    Raises:
        SourceError: the path does not exist or holds no images, or a column is missing.
    """

    kind = "images"
    called = "images"
    dtype = "uint8"

    def __init__(self, options: Options, features: Features, *, base: Path, name: str) -> None:
        self._features = features
        files = Files.at(options.path, base)
        super().__init__(options, name, files, open_container(files, Columns(options.image, options.key)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a row."""
        return (*self._features.size, 1 if self._features.color == "gray" else 3)

    def features(self) -> dict[str, Any]:
        """Return what decides a row: the options, the kind, and the version of the decoder."""
        return {"kind": self.kind, "decoder": decode.VERSION, **self._features.model_dump(mode="json")}

    def row(self, data: bytes, key: str) -> NDArray[np.uint8]:
        """Decode one image, uint8[H, W, C]."""
        options = self._features
        return decode.decode(data, key=key, size=options.size, color=options.color, fit=options.fit)

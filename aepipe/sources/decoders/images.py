"""Pictures in a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import QueryError
from aepipe.sources import RawItem, decode
from aepipe.sources.decoders import Decode
from aepipe.sources.readers import WholeFile

VERSION = decode.VERSION


def decoder(features: Mapping[str, Any]) -> Decode:
    """Return what makes uint8[H, W, C] of a picture's bytes."""
    size, color, fit = tuple(features["size"]), features["color"], features["fit"]

    def row(data: bytes, key: str) -> NDArray[np.generic]:
        return decode.decode(data, key=key, size=size, color=color, fit=fit)

    return row


def asked(text: str) -> Iterator[RawItem]:
    """Give a file, or the images of a folder and of those below it, by their paths."""
    from aepipe.sources.containers.folder import Folder
    from aepipe.sources.containers.walk import Files

    if not Path(text).is_dir():
        yield RawItem(text, text, WholeFile(text))
        return
    empty = True
    for item in Folder(Files.at(text, Path.cwd())).items():
        empty = False
        yield replace(item, key=str(Path(text) / item.key))
    if empty:
        raise QueryError(f"{text}: no images in this folder")

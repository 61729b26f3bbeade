"""Pictures in a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError, QueryError
from aepipe.sources import RawItem, decode
from aepipe.sources.decoders import Decode
from aepipe.sources.decoders.backbone import GRAPH, Backbone
from aepipe.sources.readers import WholeFile

VERSION = decode.VERSION


def decoder(features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes uint8[H, W, C] of a picture's bytes; or float16[F], where a network in the folder looks at it.

    Raises:
        CorruptError: the network is not the one that the collection was seen by.
    """
    size, color, fit = tuple(features["size"]), features["color"], features["fit"]

    def row(data: bytes, key: str) -> NDArray[np.generic]:
        return decode.decode(data, key=key, size=size, color=color, fit=fit)

    seen_by = features.get("backbone")
    if seen_by is None:
        return row
    assert folder is not None, "the network lies in the model's folder"
    network = Backbone(folder / GRAPH, mean=seen_by["mean"], scale=seen_by["scale"])
    if network.sha256 != seen_by["sha256"]:
        raise CorruptError(f"{folder / GRAPH}: not the network that the collection was seen by; run again")

    def look(data: bytes, key: str) -> NDArray[np.generic]:
        return network(decode.decode(data, key=key, size=size, color=color, fit=fit))

    return look


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

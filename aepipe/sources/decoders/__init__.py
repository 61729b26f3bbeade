"""What a query needs of a kind of source: bytes become a row here exactly as they did at ingestion.

A module of this room bears the name of a kind and has ``VERSION``, which changes whenever the same bytes would give
another row; ``decoder(features, folder) -> Decode``; and ``asked(text) -> Iterator[RawItem]``, what an argument on
the command line names. Nothing here may import what a cold query does without: pydantic, pyarrow, torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from aepipe.sources import RawItem

Decode = Callable[[bytes, str], NDArray[np.generic]]
"""Turns bytes into one row; the second argument is the key, for messages. Raises :class:`aepipe.errors.ItemError`."""


def decoder(kind: str, features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes rows of bytes.

    Args:
        kind: of the source.
        features: as :meth:`aepipe.sources.Source.features` gives them.
        folder: of the model, where larger things lie that belong to the features.
    """
    return cast(Decode, import_module(f"{__name__}.{kind}").decoder(features, folder))


def asked(kind: str, text: str) -> Iterator[RawItem]:
    """Give the items that an argument names, their bytes not read yet.

    Raises:
        QueryError: there is no such file.
    """
    return cast(Iterator[RawItem], import_module(f"{__name__}.{kind}").asked(text))


def version(kind: str) -> int:
    """Return the version of a kind's decoder."""
    return cast(int, import_module(f"{__name__}.{kind}").VERSION)

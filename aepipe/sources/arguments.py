"""Items that the arguments of a query stand for: files, words, objects of Python."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aepipe.errors import QueryError
from aepipe.sources import query_items
from aepipe.sources.asked import STDIN
from aepipe.sources.item import Item
from aepipe.sources.remote import fetched, is_address

_SLICE = re.compile(r"(?P<file>.+)@(?P<slice>p?[\d.]+(-[\d.]+)?)")


def items_named(kind: str, texts: Sequence[str], features: Mapping[str, Any] | None = None) -> Iterator[Item]:
    """Yield the items that texts name; their bytes are not read yet.

    Args:
        kind: of the source.
        texts: files, folders, words, a row as JSON, addresses, ``-`` for stdin.
        features: ``[features]`` of the recipe.

    Raises:
        QueryError: there is no such file.
    """
    for text in texts:
        if text == STDIN:
            yield Item(STDIN, STDIN, lambda _: sys.stdin.buffer.read())
        elif is_address(text):
            # The part of a recording or a film, ``s3://bucket/clip.mp4@12.5``, is cut from the copy that was fetched.
            sliced = _SLICE.fullmatch(text)
            here = f"{fetched(sliced['file'])}@{sliced['slice']}" if sliced else str(fetched(text))
            for item in query_items(kind, here, features):
                yield replace(item, key=text)
        else:
            yield from query_items(kind, text, features)


def file_bytes(thing: Any) -> tuple[str, bytes]:  # noqa: ANN401  whatever a caller gives
    """Return a thing in memory as the bytes of a file, with a name for messages.

    Raises:
        QueryError: it is neither bytes nor a picture nor an array.
    """
    if isinstance(thing, bytes | bytearray):
        return "bytes", bytes(thing)
    stream = io.BytesIO()
    if isinstance(thing, np.ndarray) and (thing.ndim == 1 or thing.dtype.kind == "f"):
        np.save(stream, thing)
        return f"array{list(thing.shape)}", stream.getvalue()
    import PIL.Image

    picture = PIL.Image.fromarray(np.squeeze(thing)) if isinstance(thing, np.ndarray) else thing
    if not isinstance(picture, PIL.Image.Image):
        raise QueryError(f"{type(thing).__name__}: ask with a path, words, bytes, a picture, an array or a mapping")
    picture.save(stream, "PNG")
    return "picture", stream.getvalue()

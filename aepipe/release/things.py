"""Questions from Python objects: paths, words, bytes, pictures, arrays, and mappings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.release.asked_rows import check_rows
from aepipe.release.query import questions_from_bytes, questions_from_paths
from aepipe.release.release import Release
from aepipe.release.search import Question
from aepipe.release.words import NOTHING, Mixture
from aepipe.sources.arguments import file_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

Thing: TypeAlias = "str | PathLike[str] | bytes | Image | NDArray[np.generic] | Mapping[str, Any]"
"""A path or words; the bytes of a file; a picture; an array of pixels or a vector; a row of a table."""


def questions_from_things(release: Release, things: Sequence[Thing], mixture: Mixture = NOTHING) -> Iterator[Question]:
    """Yield a question for each item in things; a folder stands for all of its items.

    Args:
        release: that is asked.
        things: paths, words and objects.
        mixture: words that are added to each.

    Raises:
        QueryError: a path does not exist, a thing is of another type, or words are added and the collection answers
            none.
        FingerprintError: this version decodes in another way than the release's encoder expects.
    """
    if any(isinstance(thing, Mapping) for thing in things):
        check_rows(release)
    # Neighbours of one sort go together: the encoder takes a batch in the time that it takes for one item.
    for named, some in groupby(things, lambda thing: isinstance(thing, str | PathLike | Mapping)):
        if named:
            yield from questions_from_paths(release, [_text(thing) for thing in some], mixture)
        else:
            yield from questions_from_bytes(release, [file_bytes(thing) for thing in some], mixture)


def _text(thing: Any) -> str:  # noqa: ANN401  a path, words or a mapping
    return json.dumps(dict(thing)) if isinstance(thing, Mapping) else str(thing)

"""Vectors of another model, in NumPy arrays or in Parquet; ``kind = "vectors"``."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aepipe import recipe
from aepipe.errors import ItemError, SourceError
from aepipe.sources import base
from aepipe.sources.files import Files
from aepipe.sources.formats import arrays, clip_retrieval, records, schemas
from aepipe.sources.item import Container, Decode, Item
from aepipe.sources.vectors import decode
from aepipe.sources.vectors.cells import column_of_lists, is_column, vector_bytes
from aepipe.sources.vectors.numbers import NPY, numbers


class Options(base.TableOptions):
    """Options under ``[source]``.

    Attributes:
        vectors: the column of vectors in a table, or their array in ``.npz``; ``img_emb`` or ``text_emb`` in a folder
            of clip-retrieval.
    """

    vectors: str = "embedding"


class Features(recipe.Options):
    """Options under ``[features]``.

    Attributes:
        normalize: ``unit`` keeps the direction only, as the cosine does; ``standard`` gives all columns the same mean
            and variance; ``none`` takes the numbers as they are.
    """

    normalize: Literal["unit", "standard", "none"] = "unit"


def open_source(options: Options, features: Features, *, base: Path, name: str) -> Vectors:
    """Return the source; see :func:`aepipe.sources.resolve`."""
    return Vectors(options, features, base=base, name=name)


class Vectors(base.ItemSource):
    """A source of vectors; see :class:`aepipe.sources.item.Source`.

    Raises:
        SourceError: the path does not exist or holds no vectors, or a column is missing.
    """

    kind = "vectors"
    called = "vectors"
    dtype = "float32"

    def __init__(self, options: Options, features: Features, *, base: Path, name: str) -> None:
        self._features = features
        self._learned: dict[str, list[float]] = {"mean": [], "scale": []}
        self._decode: Decode | None = None
        files = Files.at(options.path, base, options.exclude, options.root)
        container, self._width = _container(files, options)
        super().__init__(options, name, files, container)

    @property
    def shape(self) -> tuple[int]:
        """Numbers of a vector."""
        return (self._width,)

    def features(self) -> dict[str, Any]:
        """Return the options, and the learned mean and scale."""
        options = {"kind": self.kind, "decoder": decode.VERSION, "width": self._width}
        return options | self._features.model_dump(mode="json") | self._learned

    def fitted(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source with mean and deviation of each column, where ``normalize`` needs them."""
        other, mine = copy.copy(self), self.features()
        same = known is not None and all(known.get(name) == mine[name] for name in mine.keys() - self._learned.keys())
        if known and same:
            other._learned = {name: known[name] for name in self._learned}
        elif self._features.normalize == "standard":
            other._learned = self._learn()
        other._decode = decode.decoder(other.features())
        return other

    def row(self, data: bytes, key: str) -> NDArray[np.generic]:
        """Return one vector, float32[D]."""
        assert self._decode is not None, "fitted() comes first"
        return self._decode(data, key)

    def _learn(self) -> dict[str, list[float]]:
        """Return mean, and one over the standard deviation, of each column over the train split."""
        count, total, squares = 0, np.zeros(self._width), np.zeros(self._width)
        for item in self.items():
            try:
                data = item.read()
                vector = numbers(data, item.key, self._width).astype(np.float64)
            except ItemError:  # ingestion reports it
                continue
            if self.split(item, hashlib.sha256(data).digest()) == "train":
                count, total, squares = count + 1, total + vector, squares + np.square(vector)
        mean = total / max(count, 1)
        deviation = np.sqrt(np.maximum(squares / max(count, 1) - np.square(mean), 0.0))
        # A constant column becomes zeros; dividing by its deviation would blow rounding errors up.
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-6 * (1 + np.abs(mean)))
        return {"mean": mean.tolist(), "scale": scale.tolist()}


def _container(files: Files, options: Options) -> tuple[Container, int]:
    """Return what holds the vectors, and the numbers of each."""
    if clip_retrieval.holds(files):
        folder = clip_retrieval.ClipRetrieval(files, options.vectors, key=options.key)
        return folder, folder.width
    tables = any(map(records.holds, files))
    if files.first(arrays.claims, None if tables else arrays.is_array):
        held = arrays.Arrays(files, options.vectors, key=options.key)
        return held, held.width
    if not tables and not records.prevail(files):
        raise SourceError(f"{files.given}: no .npy, .npz or .parquet in it")
    width: list[int] = []

    def content(record: records.Record) -> bytes:
        return vector_bytes(record.get(options.vectors), *width)

    container = records.Records(files, content, used=[options.vectors], key=options.key, given=options.given)
    width.append(_length(container, files, options.vectors))
    if schemas.is_bytes(container.type_of(options.vectors)):
        container.note(f"column {options.vectors!r} holds bytes, read as {width[0]:,} numbers of float32 each")
    return container, width[0]


def _length(container: records.Records, files: Files, column: str) -> int:
    """Return the numbers of the vectors of a column: by its type, else as most of the first have them.

    Raises:
        SourceError: none of the first is a vector, or the types of two files tell other lengths.
    """
    kind, first = container.type_of(column), ("", 0)
    for path, own in container.types_in_files(column):
        if pa.types.is_fixed_size_list(own):
            first = first if first[1] else (path, own.list_size)
            arrays.check_width(path, own.list_size, *first)
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    seen, reason = Counter[int](), "no rows"
    for item in islice(container.items(), base.LOOKED_AT):
        try:
            seen[len(item.read()) // 4] += 1
        except ItemError as error:
            reason = error.reason
    if not seen:
        raise SourceError(f"{files.given}: column {column!r} is {kind}, not a list of numbers: {reason}")
    return seen.most_common(1)[0][0]


def _is_array(seen: base.Glimpse) -> bool:
    return seen.head.startswith(NPY) or seen.name.lower().endswith(".npz")


SNIFFER = base.Sniffer(rank=4, file=_is_array, column=is_column, texts=column_of_lists, option="vectors")


def suggest(path: str, items: Iterable[Item]) -> base.Hints:
    """Return what a recipe for vectors should say; see :mod:`aepipe.sources`."""
    seen, _ = base.survey_items(items)
    features = '[features]\nnormalize = "unit"  # only the direction counts, as for the cosine'
    return base.Hints(seen, f"{seen.rows:,} {Vectors.called}", features)

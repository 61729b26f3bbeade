"""Vectors of another model, in NumPy arrays or in Parquet; ``kind = "vectors"``."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
from aepipe.sources.vectors import decode as numbers

FEWEST = 4
"""Numbers from which a list of integers, or bytes, are a vector."""
ALIKE = 0.9
"""Share of the lists of a column that have the same length where they are vectors."""
_TOKENS = frozenset({"input_ids", "attention_mask", "token_type_ids", "special_tokens_mask", "labels", "tokens"})


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
        options = {"kind": self.kind, "decoder": numbers.VERSION, "width": self._width}
        return options | self._features.model_dump(mode="json") | self._learned

    def fitted(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source with mean and deviation of each column, where ``normalize`` needs them."""
        other, mine = copy.copy(self), self.features()
        same = known is not None and all(known.get(name) == mine[name] for name in mine.keys() - self._learned.keys())
        if known and same:
            other._learned = {name: known[name] for name in self._learned}
        elif self._features.normalize == "standard":
            other._learned = self._learn()
        other._decode = numbers.decoder(other.features())
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
                vector = numbers.numbers(data, item.key, self._width).astype(np.float64)
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


def vector_bytes(value: object, width: int | None = None) -> bytes:
    """Return the vector in a cell as numbers of float32.

    Args:
        value: a list of numbers, the same as JSON, or numbers of float32 as bytes.
        width: how many numbers there have to be; None where any number will do.

    Raises:
        ValueError: it is no vector; the text says why.
    """
    if isinstance(value, bytes):
        if value.startswith(numbers.NPY):
            return _of_width(numbers.numbers(value, "", None), width).tobytes()
        if len(value) % 4 or not value:
            raise ValueError("bytes that are not numbers of float32")
        return _of_width(np.frombuffer(value, "<f4"), width).tobytes()
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("text that is no list of numbers") from None
    if not isinstance(value, list) or not value:
        raise ValueError("no vector" if value is None or value == [] else "not a list of numbers")
    if None in value:
        raise ValueError("a vector with holes")
    try:
        found = np.array(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("not a list of numbers") from None
    if found.ndim != 1:
        raise ValueError("not a list of numbers")
    return arrays.narrowed(_of_width(found, width)).tobytes()


def _of_width(vector: NDArray[Any], width: int | None) -> NDArray[Any]:
    if width is not None and len(vector) != width:
        raise ValueError(f"{len(vector):,} numbers, and the vectors of this collection have {width:,}")
    return vector


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
    return seen.head.startswith(numbers.NPY) or seen.name.lower().endswith(".npz")


def _is_column(column: pa.Field, cells: Sequence[object]) -> bool:
    """Recognise vectors: lists of numbers, or numbers as bytes, of one length."""
    kind = schemas.plain(column.type)
    if schemas.is_bytes(kind):
        return _are_numbers([cell for cell in cells if isinstance(cell, bytes)])
    if not schemas.is_list(kind):
        return False
    if pa.types.is_integer(kind.value_type):
        # Words by their numbers are no vectors, nor are lists of labels.
        return column.name not in _TOKENS and _one_length(cells, FEWEST)
    return bool(pa.types.is_floating(kind.value_type)) and (not cells or _one_length(cells, 2))


def _one_length(cells: Sequence[object], fewest: int) -> bool:
    """Tell whether nearly all lists have the same length, and at least ``fewest`` numbers."""
    lengths = Counter(len(cell) for cell in cells if isinstance(cell, list))
    length, count = lengths.most_common(1)[0] if lengths else (0, 0)
    return length >= fewest and count >= ALIKE * lengths.total()


def _are_numbers(cells: Sequence[bytes]) -> bool:
    """Tell whether bytes are vectors of float32: of one length, and of the size that numbers of vectors have."""
    if not cells or len({len(cell) for cell in cells}) > 1 or len(cells[0]) < 4 * FEWEST or len(cells[0]) % 4:
        return False
    found = np.abs(np.frombuffer(b"".join(cells), "<f4"))
    # Other bytes, read as numbers, lie anywhere between 1e-38 and 1e38.
    return bool(np.isfinite(found).all() and found.max() < 1e5 and (found[found > 0] > 1e-12).all() and found.any())


def _column_of_lists(texts: Mapping[str, Sequence[str]], rows: int) -> str | None:
    """Return the first column whose texts are lists of numbers as JSON."""
    return next((name for name, values in texts.items() if values and _are_lists(values)), None)


def _are_lists(values: Sequence[str]) -> bool:
    if not all(value.lstrip().startswith("[") for value in values):
        return False
    try:
        lengths = {len(vector_bytes(value)) for value in values}
    except ValueError:
        return False
    return len(lengths) == 1 and lengths.pop() >= 4 * FEWEST


SNIFFER = base.Sniffer(rank=4, file=_is_array, column=_is_column, texts=_column_of_lists, option="vectors")


def suggest(path: str, items: Iterable[Item]) -> base.Hints:
    """Return what a recipe for vectors should say; see :mod:`aepipe.sources`."""
    seen, _ = base.survey_items(items)
    features = '[features]\nnormalize = "unit"  # only the direction counts, as for the cosine'
    return base.Hints(seen, f"{seen.rows:,} {Vectors.called}", features)

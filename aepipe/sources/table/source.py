"""Tables of numbers, categories and holes: CSV, JSON lines or Parquet; ``kind = "table"``.

The values of a column tell its kind: numbers where all values are numbers, categories where at most 64 of them differ.
Other columns are left out, and so are columns without any value and those with a single one.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aepipe import recipe
from aepipe.errors import ItemError, SourceError
from aepipe.sources import base
from aepipe.sources.base import SNIPPET, SNIPPET_LENGTH
from aepipe.sources.files import Files
from aepipe.sources.formats import records
from aepipe.sources.item import Decode, Item
from aepipe.sources.table import decode as cells

MOST_LEVELS = 64


class Options(base.Options):
    """Options under ``[source]``.

    Attributes:
        leave_out: columns that do not go into rows; the label and the key never do.
    """

    leave_out: tuple[str, ...] = Field(default=(), strict=False)


class Features(recipe.Options):
    """Options under ``[features]``.

    Attributes:
        units: the units of columns, for messages: ``{ age = "years" }``.
    """

    units: dict[str, str] = Field(default_factory=dict)


def open_source(options: Options, features: Features, *, base: Path, name: str) -> Table:
    """Return the source; see :func:`aepipe.sources.resolve`."""
    return Table(options, features, base=base, name=name)


class Table(base.ItemSource):
    """A source of rows of a table; see :class:`aepipe.sources.item.Source`.

    The whole table is read once when the source is opened, to tell the kinds of its columns.

    Raises:
        SourceError: the path does not exist or holds no table, a column is missing, or none can be learned from.
    """

    kind = "table"
    called = "rows"
    dtype = "float32"

    def __init__(self, options: Options, features: Features, *, base: Path, name: str) -> None:
        self._features = features
        self._decode: Decode | None = None
        files = Files.at(options.path, base, options.exclude)
        super().__init__(options, name, files, records.Records(files, _body, key=options.key))
        self._left_out = {*options.leave_out, *self._used, *({options.key} if options.key else ())}
        self._columns = self._look()

    @property
    def shape(self) -> tuple[int]:
        """Cells of a row."""
        return (sum(cells.cells_of(column) for column in self._columns),)

    @property
    def spans(self) -> list[dict[str, Any]]:
        """The cells of each column and their likelihood, as the likelihood ``columns`` takes them."""
        sizes = [cells.cells_of(column) for column in self._columns]
        kinds = ["gaussian" if column["kind"] == "number" else "bernoulli" for column in self._columns]
        return [
            {"columns": size, "likelihood": kind if size == 1 else "categorical"}
            for size, kind in zip(sizes, kinds, strict=True)
        ]

    def features(self) -> dict[str, Any]:
        """Return the options, and the kinds of the columns."""
        return {"kind": self.kind, "decoder": cells.VERSION, **self._features.model_dump(), "columns": self._columns}

    def fitted(self, known: Mapping[str, Any] | None) -> Self:
        """Return the source with the known columns, where names and kinds are the same."""
        other = copy.copy(self)
        if known and known.get("kind") == self.kind and known.get("units") == self._features.units:
            # Other columns make other rows, so then everything is learned again.
            alike = [[column["name"], column["kind"]] for column in known["columns"]]
            if alike == [[column["name"], column["kind"]] for column in self._columns]:
                other._columns = known["columns"]
        other._decode = cells.decoder(other.features())
        return other

    def schema(self) -> Any:  # noqa: ANN401  pyarrow has no types
        """Return the columns that are neither label nor split, and each row in a line."""
        import pyarrow as pa

        own = super().schema()
        return own if SNIPPET in own.names else own.append(pa.field(SNIPPET, pa.string()))

    def row(self, data: bytes, key: str) -> NDArray[np.generic]:
        """Return the cells of one row, float32[D]."""
        assert self._decode is not None, "fitted() comes first"
        return self._decode(data, key)

    def _finished(self, item: Item) -> Item:
        """Add the row in a line."""
        item = super()._finished(item)
        shown = ((name, value) for name, value in item.columns.items() if cells.present(value) is not None)
        line = ", ".join(f"{name} {str(value).strip()}" for name, value in shown)
        return replace(item, columns={**item.columns, SNIPPET: line[:SNIPPET_LENGTH]})

    def _look(self) -> list[dict[str, Any]]:
        """Read all rows; return the kind of each column, and its levels or mean and scale."""
        names = [name for name in self._container.schema().names if name not in self._left_out]
        seen = {name: _ColumnStats() for name in names}
        for raw in self._container.items():
            item = super()._finished(raw)
            # Digests cost time, so they are computed only where they decide the split.
            learn = self.split(item, _digest(item) if self._by_bytes else b"") == "train"
            for name, one in seen.items():
                value = cells.present(item.columns.get(name))
                if value is not None:
                    one.add(value, learn=learn)
        found = [_column(name, one, self._features.units.get(name)) for name, one in seen.items()]
        columns = [column for column in found if column is not None]
        if not columns:
            raise SourceError(
                f"{self._files.given}: no column can be learned from: of {', '.join(names) or 'none'} each has one "
                f"value, more than {MOST_LEVELS} different texts, or none at all"
            )
        return columns


@dataclass(slots=True)
class _ColumnStats:
    """A column so far: its values while they are few, whether all are numbers, and their sums.

    Attributes:
        values: how often each value occurs.
        numeric: all values are numbers.
        many: there are too many values for a category, and they are no longer counted.
        count: numbers of the train split.
        total: of these numbers.
        squares: sum of their squares.
    """

    values: Counter[str] = field(default_factory=Counter)
    numeric: bool = True
    many: bool = False
    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: object, *, learn: bool) -> None:
        """Count one value, and add a number of the train split (``learn``) to the sums."""
        if not self.many:
            self.values[str(value)] += 1
            self.many = len(self.values) > MOST_LEVELS
        if not self.numeric:
            return
        try:
            number = cells.number(value)
        except (TypeError, ValueError):
            self.numeric = False
            return
        if learn and not isinstance(value, bool):
            self.count, self.total, self.squares = self.count + 1, self.total + number, self.squares + number**2


def _digest(item: Item) -> bytes:
    """Return the digest that decides a split; zeros for a row that cannot be read."""
    try:
        return hashlib.sha256(item.read()).digest()
    except ItemError:  # ingestion reports it
        return bytes(32)


def _body(record: records.Record) -> bytes:
    """Return a row as JSON: equal rows have equal bytes."""
    # The digest of these bytes tells whether a row has changed.
    return json.dumps(record, sort_keys=True, default=str, ensure_ascii=False).encode("utf-8", "replace")


def _column(name: str, seen: _ColumnStats, unit: str | None) -> dict[str, Any] | None:
    """Return the kind of a column; None where it has one value, or too many different texts."""
    if len(seen.values) < 2:
        return None
    if seen.numeric:
        mean = seen.total / max(seen.count, 1)
        deviation = math.sqrt(max(seen.squares / max(seen.count, 1) - mean**2, 0.0))
        # A deviation this small is a rounding error of a constant column.
        scale = 1 / deviation if deviation > 1e-9 * (1 + abs(mean)) else 0.0
        return {"name": name, "kind": "number", "mean": mean, "scale": scale, "unit": unit}
    return None if seen.many else {"name": name, "kind": "category", "levels": sorted(seen.values), "unit": unit}


SNIFFER = base.Sniffer(rank=6, texts=lambda texts, rows: "", aside=True)
"""Its rank is the last: the rows of a table are the items only where no other kind finds its items in it."""


def suggest(path: str, items: Iterable[Item]) -> base.Hints:
    """Return what a recipe for a table should say; the table itself says what its columns are."""
    seen, _ = base.survey_items(items)
    return base.Hints(seen, f"{seen.rows:,} {Table.called}", holes=True)

"""Values that are not of the type said of their column: missing, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from aepipe.sources import notation
from aepipe.sources.dates import Order
from aepipe.sources.formats import schemas, values


class Strays:
    """The values of some columns that are not of the type said, by column."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def clear(self) -> None:
        """Forget all of them."""
        self._counts.clear()
        self._first.clear()

    def converted(self, name: str, text: str, convert: Callable[[str], Any]) -> object:
        """Return the value of a text; None where it has none of the type."""
        try:
            return convert(text)
        except (ValueError, OverflowError):
            if not notation.is_missing(text):
                self._add(name, text)
            return None

    def fitted(self, name: str, column: pa.Array, kind: pa.DataType, order: Order | None = None) -> pa.Array:
        """Return a column with the type that is said of it; values that do not fit are missing.

        Args:
            name: of the column.
            column: the values.
            kind: the type.
            order: of dates, where it is said.
        """
        try:
            return schemas.converted(column, kind)
        except (pa.ArrowException, ValueError, OverflowError):
            convert = values.converter(kind, comma=False, order=order) or str
            return pa.array([self._fitted(name, value, kind, convert) for value in column.to_pylist()], kind)

    def notes(self) -> list[str]:
        """Return how many there were, in words."""
        return [
            f"column {name!r}: {count:,} {'value' if count == 1 else 'values'} not of its type left out, such as "
            f"{self._first[name][:40]!r}"
            for name, count in self._counts.items()
        ]

    def _fitted(self, name: str, value: object, kind: pa.DataType, convert: Callable[[str], Any]) -> object:
        if value is None:
            return None
        if isinstance(value, str):
            return self.converted(name, value, convert)
        try:
            return pa.array([value]).cast(kind)[0].as_py()
        except (pa.ArrowException, ValueError, OverflowError, TypeError):
            self._add(name, str(value))
            return None

    def _add(self, name: str, text: str) -> None:
        self._counts[name] += 1
        self._first.setdefault(name, text)

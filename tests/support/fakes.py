"""A source in memory, for tests of ingestion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aepipe.errors import ItemError
from aepipe.sources.files import InMemory
from aepipe.sources.item import Item
from aepipe.sources.passed_over import PassedOver

SHAPE = (2, 2, 1)


@dataclass
class Fake:
    """A source in memory; it counts decoded items and items under way."""

    things: dict[str, bytes]
    labels: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    max_bad_share: float = 0.0
    max_vanished_share: float = 1.0
    workers: int = 2
    part: int = 0
    kept: float = 1.0
    test_share: float = 0.0
    option: int = 0
    decoded: list[str] = field(default_factory=list)
    given: int = 0
    kind: str = "fake"
    name: str = "things"
    location: Path = Path("/things")
    roots: tuple[Path, ...] = ()
    shape: tuple[int, ...] = SHAPE
    dtype: str = "uint8"
    passed_over: PassedOver = field(default_factory=lambda: PassedOver(Counter(other=3), {"other": ["a", "b", "c"]}))
    left_out: Mapping[str, str] = field(default_factory=dict)
    dates: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    spans: list[dict[str, Any]] | None = None

    def under(self, known: Mapping[str, Any] | None) -> Self:
        return self

    def fitted(self, known: Mapping[str, Any] | None) -> Self:
        return self

    def features(self) -> dict[str, Any]:
        return {"kind": "fake", "option": self.option}

    def keep_types(self, known: pa.Schema) -> None:
        pass

    def schema(self) -> pa.Schema:
        return pa.schema({"price": pa.int64()})

    def total(self) -> int | None:
        return len(self.things)

    def items(self) -> Iterator[Item]:
        for key, data in self.things.items():
            self.given += 1
            columns = {"price": self.extra.get(key)}
            yield Item(key.rstrip("'"), f"at/{key}", InMemory(data), self.labels.get(key), None, columns)

    def split(self, item: Item, sha256: bytes) -> str:
        return "test" if item.key.startswith("t") else "train"

    def row(self, data: bytes, key: str) -> NDArray[np.generic]:
        self.decoded.append(key)
        if data.startswith(b"bad"):
            raise ItemError(key, data.decode())
        return np.frombuffer(data.ljust(4, b"\0")[:4], np.uint8).reshape(SHAPE) + np.uint8(self.option)


def things(*names: str) -> dict[str, bytes]:
    return {name: name.encode() for name in names}

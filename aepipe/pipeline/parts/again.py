"""Decode items of a part again, whose features were not kept, from the listing of the part.

Nothing is written: whoever encodes the rows takes them block by block. The bytes must be those of before, which their
digests tell.

Legend: n rows of a block.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aepipe.engines import check_stopped
from aepipe.errors import NotFoundError, SourceError, shortened
from aepipe.sources import listing
from aepipe.sources.item import Item, Source
from aepipe.sources.loader import Outcome, read_all
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rows


@dataclass(frozen=True, slots=True)
class Again:
    """What decodes rows of one part again.

    Attributes:
        store: with the listing that the part was read from.
        rows: the list that the part is in.
        number: of the part.
        source: of its items.
        threads: to decode with.
    """

    store: Store
    rows: Ref
    number: int
    source: Source
    threads: int

    def batches(
        self, table: Rows, wanted: NDArray[np.bool_], size: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Yield ids int64[n] and features [n, *shape] of some rows, in blocks.

        Args:
            table: the part, with the ids of the list.
            wanted: which of its rows, bool[N].
            size: most rows of a block.

        Raises:
            SourceError: an item is gone, or has other bytes.
        """
        columns = table.table(["key", "sha256"]).filter(pa.array(wanted))
        keys, digests = (columns.column(name).to_pylist() for name in ("key", "sha256"))
        known = dict(zip(keys, zip(table.ids()[wanted].tolist(), digests, strict=True), strict=True))
        ids, features = list[int](), list[NDArray[Any]]()
        for outcome in read_all(self.source, items=self._items(frozenset(keys)), threads=self.threads):
            check_stopped()
            # Of items with one key, the first one has the row.
            if (row := known.pop(outcome.item.key, None)) is None:
                continue
            ids.append(row[0])
            features.append(_checked(outcome, row[1]))
            if len(ids) == size:
                yield np.array(ids, np.int64), np.array(features, table.dtype)
                ids, features = [], []
        if ids:
            yield np.array(ids, np.int64), np.array(features, table.dtype)

    def _items(self, keys: Container[str]) -> Iterator[Item]:
        """Yield the items of the part with some keys.

        Raises:
            SourceError: the listing is gone.
        """
        noted = Ref.parse(self.store.manifest(self.rows).facts["readings"][self.number])
        try:
            folder = self.store.verified(Ref.parse(self.store.manifest(noted).inputs["listing"]))
        except NotFoundError as error:
            raise SourceError(f"{error}, so rows that were not kept cannot be decoded; run again") from None
        said = listing.about(folder)
        wanted = np.array([key in keys for key in said.column("key").to_pylist()], bool)
        names = self.source.schema().names
        yield from listing.items_of(said.filter(pa.array(wanted)), names, listing.readers(folder, wanted))


def _checked(outcome: Outcome, sha256: bytes) -> NDArray[Any]:
    """Return the features of an item that was read again.

    Raises:
        SourceError: it cannot be read any more, or has other bytes.
    """
    if outcome.features is None or outcome.sha256 != sha256:
        why = outcome.reason or "its bytes are other ones"
        raise SourceError(f"{shortened(outcome.item.key)}: has changed since it was listed ({why}); run again")
    return outcome.features

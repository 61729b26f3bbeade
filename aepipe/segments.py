"""Segments: the codes, and the keys and columns, of all rows, spread over directories that are written once.

Files of a segment of codes: ``ids.npy``, int64[N] ascending; ``codes.npy``, uint8[N, W], packed as :mod:`aepipe.bits`
says; and, where the recipe keeps them, ``embedding.npy``, int8[N, H], as :mod:`aepipe.embeddings` has it. Those of keys
and columns are of :mod:`aepipe.keys`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe import embeddings
from aepipe.bits import BitCodes, n_bytes
from aepipe.disk import array_in, mapped
from aepipe.errors import CorruptError, FingerprintError, QueryError
from aepipe.keys import Items, Row
from aepipe.store import Ref, Store

Places: TypeAlias = NDArray[np.int64]

IDS = "ids.npy"
CODES = "codes.npy"
BLOCK = 8192
"""Embeddings that are copied at a time."""


class CodeSegments:
    """The codes of one encoder, mapped.

    Args:
        folders: of the segments, oldest first.
        n_bits: K.
        fingerprint: of the encoder.
    """

    def __init__(self, folders: Sequence[Path], n_bits: int, fingerprint: str) -> None:
        self.n_bits = n_bits
        self.fingerprint = fingerprint
        self._folders = folders
        self._parts = [tuple(mapped(folder / name) for name in (IDS, CODES)) for folder in folders]

    @classmethod
    def open(cls, store: Store, refs: Sequence[Ref]) -> CodeSegments:
        """Open segments after checking their bytes.

        Raises:
            CorruptError: a file is not what was written.
            FingerprintError: two encoders made them.
        """
        facts = [store.manifest(ref).facts for ref in refs]
        made_by = sorted({fact["fingerprint"] for fact in facts})
        if len(made_by) > 1:
            raise FingerprintError(f"segments of {len(made_by)} encoders in one: {', '.join(x[:12] for x in made_by)}")
        return cls([store.verified(ref) for ref in refs], facts[0]["n_bits"], made_by[0])

    def of(self, ids: NDArray[np.int64]) -> BitCodes:
        """Return the codes of some rows, in the order asked for.

        Raises:
            CorruptError: no segment has one of them.
        """
        packed = np.zeros((len(ids), n_bytes(self.n_bits)), np.uint8)
        for codes, places, here in self._places(ids):
            packed[here] = codes[places[here]]
        return BitCodes(packed, self.n_bits, self.fingerprint)

    def lazily(self, ids: NDArray[np.int64]) -> SomeOf:
        """Return the codes of some rows, which are read when they are asked for."""
        return SomeOf(self, ids)

    @cached_property
    def width(self) -> int | None:
        """H of the embeddings; None where not every row has one."""
        files = [folder / embeddings.FILE for folder in self._folders]
        if not all(file.exists() for file in files):
            return None
        return int(self._embeddings[0].shape[1])

    def embeddings_of(self, ids: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return the embeddings of some rows, int8[n, H], in the order asked for; all rows have one.

        Raises:
            CorruptError: no segment has one of them.
        """
        found = np.zeros((len(ids), self.width or 0), np.int8)
        for number, (_, places, here) in enumerate(self._places(ids)):
            found[here] = self._embeddings[number][places[here]]
        return found

    def embeddings_in(self, file: Path, ids: NDArray[np.int64]) -> NDArray[np.int8]:
        """Write what :meth:`embeddings_of` returns into a file, block by block, and map it."""
        found: NDArray[np.int8] = array_in(file, np.int8, (len(ids), self.width or 0))
        for start in range(0, len(ids), BLOCK):
            found[start : start + BLOCK] = self.embeddings_of(ids[start : start + BLOCK])
        return found

    @cached_property
    def _embeddings(self) -> list[NDArray[np.generic]]:
        """The embeddings of each segment, mapped."""
        return [mapped(folder / embeddings.FILE) for folder in self._folders]

    def _places(self, ids: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.generic], Places, NDArray[np.bool_]]]:
        """Go over the segments: codes, where each id would stand, and which ids are taken from there.

        Raises:
            CorruptError: no segment has one of them.
        """
        missing = np.ones(len(ids), bool)
        for own, codes in self._parts:
            places = np.minimum(np.searchsorted(own, ids), len(own) - 1)
            here = missing & (own[places] == ids) if len(own) else np.zeros(len(ids), bool)
            yield codes, places, here
            missing &= ~here
        if missing.any():
            raise CorruptError(f"no segment has the code of row {ids[missing][0]} ({missing.sum():,} such): run again")


class SomeOf:
    """The codes of some rows, of which any can be had: what an index is built of without holding all.

    Args:
        segments: that have them.
        ids: int64[n].
    """

    def __init__(self, segments: CodeSegments, ids: NDArray[np.int64]) -> None:
        self.n_bits = segments.n_bits
        self.fingerprint = segments.fingerprint
        self._segments = segments
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, rows: slice) -> BitCodes:
        return self._segments.of(self._ids[rows])


class ItemSegments:
    """Keys and columns of a release's rows: those that it was built of, and those added since.

    Args:
        parts: each with ids above those of the parts before it, and the same columns.
        removed: int64[n], ascending, ids of rows that are there no more.
    """

    def __init__(self, parts: Sequence[Items], removed: NDArray[np.int64]) -> None:
        self.columns = parts[0].columns
        self.root = parts[0].root
        self._parts = parts
        self._removed = removed

    def __len__(self) -> int:
        return sum(map(len, self._parts)) - len(self._removed)

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """All ids, int64[N], ascending."""
        if len(self._parts) == 1 and not len(self._removed):
            return self._parts[0].ids
        return np.concatenate([part.ids[left] for part, left in zip(self._parts, self._left, strict=True)])

    def rows(self, ids: NDArray[np.int64] | Sequence[int]) -> list[Row]:
        """Return some rows, in the order asked for.

        Raises:
            QueryError: there is no such id.
        """
        return [self._parts[part].row(place) for part, place in self._places(ids)]

    def check(self, ids: NDArray[np.int64]) -> None:
        """Check that there are such ids.

        Raises:
            QueryError: there is no such id.
        """
        self._places(ids)

    def texts(self, name: str, ids: NDArray[np.int64] | Sequence[int]) -> list[str | None]:
        """Return ``key``, ``place``, ``label`` or ``split`` of some rows, in the order asked for.

        Raises:
            QueryError: there is no such id.
        """
        return [self._parts[part].strings(name)[place] for part, place in self._places(ids)]

    def column(self, name: str) -> Iterator[str | None]:
        """Give ``key``, ``place``, ``label`` or ``split`` of all rows, in the order of ids."""
        for part, left in zip(self._parts, self._left, strict=True):
            yield from compress(part.strings(name), left)

    def find(self, key: str) -> int | None:
        """Return the id of a key, None where it is not there."""
        for part in self._parts:
            found = part.find(key)
            if found is not None and not self._gone(np.array([found])).any():
                return found
        return None

    def id_of(self, key: str) -> int:
        """Return the id of a key.

        Raises:
            QueryError: there is no such key.
        """
        found = self.find(key)
        if found is None:
            like = next((text for text in self.column("key")), "")
            raise QueryError(f"no row has the key {key!r}: {self._range()}, and keys are like {like!r}")
        return found

    @property
    def _left(self) -> list[NDArray[np.bool_]]:
        """Which rows of each part are there still."""
        return [~self._gone(part.ids) for part in self._parts]

    def _gone(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which ids are of rows that were removed, bool[n]."""
        if not len(self._removed):
            return np.zeros(len(ids), bool)
        places = np.minimum(np.searchsorted(self._removed, ids), len(self._removed) - 1)
        gone: NDArray[np.bool_] = self._removed[places] == ids
        return gone

    def _places(self, ids: NDArray[np.int64] | Sequence[int]) -> Iterator[tuple[int, int]]:
        """Return the part that each id is in, and where there.

        Raises:
            QueryError: there is no such id.
        """
        wanted = np.asarray(ids, np.int64)
        parts, places = np.full(len(wanted), -1), np.zeros(len(wanted), np.int64)
        for number, part in enumerate(self._parts):
            found, here = part.places(wanted)
            parts[here], places[here] = number, found[here]
        parts[self._gone(wanted)] = -1
        if (parts < 0).any():
            raise QueryError(f"no row has the id {wanted[parts < 0][0]}: {self._range()}")
        return zip(parts.tolist(), places.tolist(), strict=True)

    def _range(self) -> str:
        """Say which ids there are."""
        if not len(self):
            return "the release has no rows"
        return f"the release has {len(self):,} rows with ids from {self.ids[0]} to {self.ids[-1]}"

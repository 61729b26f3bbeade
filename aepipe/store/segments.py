"""Segments: the codes, and the keys and columns, of all rows, spread over directories that are written once.

Files of a segment of codes: ``ids.npy``, int64[N] ascending; ``codes.npy``, uint8[N, W], packed as :mod:`aepipe.codes.bitcodes`
says; and, where the recipe keeps them, ``embedding.npy``, int8[N, H], as :mod:`aepipe.codes.encoder` has it. Those of keys
and columns are of :mod:`aepipe.store.segments`.
"""

# (from keys.py) Keys, labels and columns for results: one flat blob of UTF-8 and the offsets into it, memory-mapped.
# (from keys.py)
# (from keys.py) A query reads the ten strings it shows, not a table of a million. Legend: N strings or rows.

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.codes import encoder as encoders
from aepipe.codes.bitcodes import BitCodes, n_bytes
from aepipe.errors import CorruptError, FingerprintError, QueryError
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import array_in, mapped


class Strings:
    """N strings on disk, each None or text; opening reads nothing.

    An absent string is told from an empty one by a negative start: its offset is stored as ``-1 - offset``.
    """

    def __init__(self, offsets: NDArray[np.int64], blob: NDArray[np.uint8]) -> None:
        self._offsets = offsets
        self._blob = blob

    @classmethod
    def open(cls, folder: Path, name: str) -> Strings:
        """Map the files ``<name>.offsets.npy`` (int64[N+1]) and ``<name>.blob.npy`` (uint8)."""
        return cls(mapped(folder / layout.Items.offsets(name)), mapped(folder / layout.Items.blob(name)))

    @staticmethod
    def write(folder: Path, name: str, values: Iterable[str | None]) -> None:
        """Write strings so that :meth:`open` finds them."""
        offsets = [0]
        absent: list[int] = []
        blob = bytearray()
        for position, value in enumerate(values):
            if value is None:
                absent.append(position)
            else:
                blob += value.encode("utf-8", "surrogateescape")
            offsets.append(len(blob))
        starts = np.array(offsets, np.int64)
        starts[absent] = -1 - starts[absent]
        np.save(folder / layout.Items.offsets(name), starts)
        np.save(folder / layout.Items.blob(name), np.frombuffer(bytes(blob), np.uint8))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, position: int) -> str | None:
        if self._offsets[position] < 0:
            return None
        return self.raw(position).decode("utf-8", "surrogateescape")

    def raw(self, position: int) -> bytes:
        """Return a string as it is stored, empty where it is absent."""
        start, end = int(self._offsets[position]), int(self._offsets[position + 1])
        return self._blob[start if start >= 0 else -1 - start : end if end >= 0 else -1 - end].tobytes()

    def all_bytes(self) -> list[bytes]:
        """Return all strings as they are stored, absent ones empty; reads the whole file."""
        starts = np.where(self._offsets < 0, -1 - self._offsets, self._offsets).tolist()
        blob = self._blob.tobytes()
        return [blob[start:end] for start, end in itertools.pairwise(starts)]

    def text(self, position: int) -> str:
        """Return a string, empty where it is absent."""
        return self[position] or ""

    def __iter__(self) -> Iterator[str | None]:
        """Give all strings; reads the whole file."""
        absent = (self._offsets < 0).tolist()
        for stored, missing in zip(self.all_bytes(), absent[:-1], strict=True):
            yield None if missing else stored.decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Row:
    """One item of a release, for people and programs.

    Attributes:
        id: given once per collection and never used again.
        key: its path relative to the source, or its own id.
        label: its class, None where it has none.
        split: ``train`` or ``test``.
        place: where its bytes are, relative to the source; :func:`aepipe.sources.preview` reads it.
        columns: the source's own columns, as text.
    """

    id: int
    key: str
    label: str | None
    split: str | None
    place: str
    columns: dict[str, str | None]


class Items:
    """Keys and columns of N rows, in ascending order of id; see :mod:`aepipe.pipeline.publish`.

    Attributes:
        ids: int64[N], ascending.
        columns: names of the source's own columns.
        root: folder that places are relative to.

    Raises:
        CorruptError: the folder does not hold items.
    """

    def __init__(self, folder: Path) -> None:
        try:
            card = json.loads((folder / layout.Items.CARD).read_bytes())
            self.ids = mapped(folder / layout.Items.IDS)
            self.columns: list[str] = card["columns"]
            self.root = Path(card["root"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptError(
                f"{folder}: corrupt, not the items of a release: {error}; delete it and run again"
            ) from None
        self._folder = folder
        self._strings: dict[str, Strings] = {}

    @staticmethod
    def write(
        folder: Path,
        ids: NDArray[np.int64],
        strings: Mapping[str, Iterable[str | None]],
        *,
        columns: Sequence[str],
        root: Path,
    ) -> None:
        """Write items so that a folder can be opened.

        Args:
            folder: an existing one.
            ids: int64[N], ascending.
            strings: ``key``, ``place``, ``label``, ``split`` and ``column.0``, ``column.1``, ...: N each.
            columns: names of the source's own columns, in that order; files are not named after them, for a column
                may be called anything.
            root: folder that places are relative to.
        """
        np.save(folder / layout.Items.IDS, ids)
        for name, values in strings.items():
            Strings.write(folder, name, values)
        np.save(folder / layout.Items.KEY_ORDER, _order_of(Strings.open(folder, "key")))
        card = {"schema": 1, "columns": list(columns), "root": str(root)}
        (folder / layout.Items.CARD).write_text(json.dumps(card), encoding="utf-8")

    def __len__(self) -> int:
        return len(self.ids)

    def places(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return where some ids stand, int64[n], and which are there at all, bool[n]."""
        places = np.searchsorted(self.ids, ids)
        known = np.zeros(len(ids), bool)
        inside = places < len(self)
        known[inside] = self.ids[places[inside]] == ids[inside]
        return places, known

    def find(self, key: str) -> int | None:
        """Return the id of a key, None where it is not there."""
        order, keys, wanted = self._key_order, self.strings("key"), _bytes(key)
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if keys.raw(int(order[middle])) < wanted else (low, middle)
        if low == len(order) or keys.raw(int(order[low])) != wanted:
            return None
        return int(self.ids[order[low]])

    def row(self, position: int) -> Row:
        """Return one row."""
        return Row(
            id=int(self.ids[position]),
            key=self.strings("key").text(position),
            label=self.strings("label")[position],
            split=self.strings("split")[position],
            place=self.strings("place").text(position),
            columns={name: self.strings(f"column.{i}")[position] for i, name in enumerate(self.columns)},
        )

    def strings(self, name: str) -> Strings:
        """Return ``key``, ``place``, ``label``, ``split`` or ``column.<number>`` of all rows."""
        if name not in self._strings:
            self._strings[name] = Strings.open(self._folder, name)
        return self._strings[name]

    @cached_property
    def _key_order(self) -> NDArray[np.int64]:
        """The positions of the keys in the order of their bytes, int64[N]."""
        return mapped(self._folder / layout.Items.KEY_ORDER)


def _bytes(text: str) -> bytes:
    """Return a string as it is stored."""
    return text.encode("utf-8", "surrogateescape")


def _order_of(keys: Strings) -> NDArray[np.int64]:
    """Return the positions of keys in the order of their bytes, for :meth:`Items.id_of`."""
    stored = keys.all_bytes()
    return np.array(sorted(range(len(stored)), key=stored.__getitem__), np.int64)


Places: TypeAlias = NDArray[np.int64]
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
        self._parts = [
            tuple(mapped(folder / name) for name in (layout.Codes.IDS, layout.Codes.CODES)) for folder in folders
        ]

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
        files = [folder / encoders.FILE for folder in self._folders]
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
        return [mapped(folder / encoders.FILE) for folder in self._folders]

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

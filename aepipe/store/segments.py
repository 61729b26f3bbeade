"""Segments: the codes, keys and columns of all rows, in directories that are written once.

A segment of codes holds ``ids.npy``, int64[N] ascending; ``codes.npy``, uint8[N, W], packed as in
:mod:`aepipe.codes.bitcodes`; and, where the recipe keeps embeddings, ``embedding.npy``, int8[N, H], as in
:mod:`aepipe.codes.encoder`. A segment of items holds ids, and each of key, place, label, split and the source's own
columns as :class:`Strings`: one blob of UTF-8 and the offsets into it, memory-mapped, so that a query reads the ten
strings that it shows and not a table of a million. :mod:`aepipe.store.item_segments` reads several of them as one.

Legend: N rows or strings, W bytes of a code, K bits, H width of an embedding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.codes import encoder as encoders
from aepipe.codes.bitcodes import BitCodes, n_bytes
from aepipe.errors import CorruptError, FingerprintError, QueryError
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import array_in, damaged, mapped
from aepipe.store.strings import Strings

BLOCK = 8192
"""Embeddings that are copied at a time."""
FEW = 1 << 12
"""Distinct values of a column, up to which the number of each row's value is kept once it is known."""
IDS, KEYS, ROOTS = "ids", "keys", "roots"
"""Of the facts of a segment of items that is one of many: its first and last id and key, and the number of folders that
it names."""

Places: TypeAlias = NDArray[np.int64]


def ids_of(given: NDArray[np.int64] | Sequence[int]) -> NDArray[np.int64]:
    """Return ids as int64[n].

    Raises:
        QueryError: one is larger than any row can have.
    """
    try:
        return np.asarray(given, np.int64)
    except OverflowError:
        largest = max(map(int, given), key=abs)
        raise QueryError(f"no row has the id {largest}: ids are below 2^63") from None


def bounds_of(ids: NDArray[np.int64]) -> tuple[int, int]:
    """Return the first and the last of ascending ids; 0 and -1 where there are none."""
    return (int(ids[0]), int(ids[-1])) if len(ids) else (0, -1)


def positions(own: NDArray[np.int64], ids: NDArray[np.int64]) -> Places:
    """Return the positions of some ids among ascending ones, int64[n].

    An id that is not there has the position before which it belongs.
    """
    # Where no id is missing, each is where its number says; a search reads twenty places for one.
    if len(own) and int(own[-1]) - int(own[0]) == len(own) - 1:
        found: Places = np.maximum(np.minimum(ids - own[0], len(own)), 0)
        return found
    return np.searchsorted(own, ids)


class CodeSegments:
    """The codes of all rows, by one encoder, memory-mapped from several segments.

    Args:
        folders: of the segments, oldest first.
        n_bits: K.
        fingerprint: of the encoder.
    """

    def __init__(self, folders: Sequence[Path], n_bits: int, fingerprint: str) -> None:
        self.n_bits = n_bits
        self.fingerprint = fingerprint
        self._folders = folders
        self._ids = [mapped(folder / layout.Codes.IDS) for folder in folders]
        # Mapped when they are first used: an answer in the order of embeddings reads no codes.
        self._codes, self._embeddings = (
            [cache(partial(mapped, folder / name)) for folder in folders]
            for name in (layout.Codes.CODES, encoders.FILE)
        )
        # A large collection has a segment for each of its parts, of which a few rows are in one or two.
        self._bounds = np.array([bounds_of(own) for own in self._ids], np.int64).reshape(-1, 2)

    @classmethod
    def open(cls, store: Store, refs: Sequence[Ref]) -> CodeSegments:
        """Open segments after checking their bytes.

        Raises:
            CorruptError: a file has other bytes than were written.
            FingerprintError: two encoders made the segments.
        """
        facts = [store.manifest(ref).facts for ref in refs]
        made_by = sorted({fact["fingerprint"] for fact in facts})
        if len(made_by) > 1:
            raise FingerprintError(
                f"the segments were made by {len(made_by)} different encoders: {', '.join(x[:12] for x in made_by)}"
            )
        return cls([store.verified(ref) for ref in refs], facts[0]["n_bits"], made_by[0])

    def of(self, ids: NDArray[np.int64]) -> BitCodes:
        """Return the codes of some rows, in the order of ``ids``.

        Raises:
            CorruptError: a row is in no segment.
        """
        packed = np.zeros((len(ids), n_bytes(self.n_bits)), np.uint8)
        for number, places, here in self._places(ids):
            packed[here] = self._codes[number]()[places[here]]
        return BitCodes(packed, self.n_bits, self.fingerprint)

    def lazily(self, ids: NDArray[np.int64]) -> LazyCodes:
        """Return the codes of some rows, which are read when they are used."""
        return LazyCodes(self, ids)

    @cached_property
    def width(self) -> int | None:
        """H, the width of the embeddings; None where a segment has none."""
        files = [folder / encoders.FILE for folder in self._folders]
        if not all(file.exists() for file in files):
            return None
        return int(self._embeddings[0]().shape[1])

    def embeddings_of(self, ids: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return the embeddings of some rows, int8[n, H], in the order of ``ids``.

        Every segment must have them.

        Raises:
            CorruptError: a row is in no segment.
        """
        found = np.zeros((len(ids), self.width or 0), np.int8)
        for number, places, here in self._places(ids):
            found[here] = self._embeddings[number]()[places[here]]
        return found

    def embeddings_in(self, file: Path, ids: NDArray[np.int64]) -> NDArray[np.int8]:
        """Write the embeddings of some rows into a file, block by block, and map it."""
        found: NDArray[np.int8] = array_in(file, np.int8, (len(ids), self.width or 0))
        for start in range(0, len(ids), BLOCK):
            found[start : start + BLOCK] = self.embeddings_of(ids[start : start + BLOCK])
        return found

    def _places(self, ids: NDArray[np.int64]) -> Iterator[tuple[int, Places, NDArray[np.bool_]]]:
        """Yield each segment that has some ids by its number, the position of each id, and which ids it has.

        Raises:
            CorruptError: a row is in no segment.
        """
        # Each id is taken from the oldest segment that has it.
        missing = np.ones(len(ids), bool)
        low, high = (ids.min(), ids.max()) if len(ids) else (0, -1)
        for number in np.flatnonzero((self._bounds[:, 0] <= high) & (self._bounds[:, 1] >= low)).tolist():
            own = self._ids[number]
            places = np.minimum(positions(own, ids), len(own) - 1)
            here = missing & (own[places] == ids)
            if here.any():
                yield number, places, here
            missing &= ~here
        if missing.any():
            raise CorruptError(f"no segment has the code of row {ids[missing][0]} ({missing.sum():,} such): run again")


class LazyCodes:
    """The codes of some rows, read in slices: an index is built from them without holding all.

    Args:
        segments: of the codes.
        ids: int64[n], the rows.
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


class Items:
    """Keys and columns of the N rows of one segment, in ascending order of id.

    Args:
        folder: of the segment.
        said: facts of the segment; with those of :attr:`facts`, its files are opened when they are used.

    Raises:
        CorruptError: the folder does not hold items.
    """

    def __init__(self, folder: Path, said: Mapping[str, Any] | None = None) -> None:
        self._folder = folder
        self._said = said if said and IDS in said else None
        if self._said is None:
            self._card, self.ids  # noqa: B018  what is damaged is named now
        self._strings: dict[str, Strings] = {}
        self._few: dict[str, tuple[list[str | None], NDArray[np.int32]]] = {}

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """The ids, int64[N], ascending."""
        return mapped(self._folder / layout.Items.IDS)

    @property
    def bounds(self) -> tuple[int, int]:
        """The first and the last id; 0 and -1 where there are no rows."""
        if self._said is not None:
            first, last = self._said[IDS]
            return first, last
        return bounds_of(self.ids)

    @property
    def columns(self) -> list[str]:
        """Names of the source's own columns."""
        return self._card[0]

    @property
    def root(self) -> Path:
        """The folder that places are relative to."""
        return self._card[1]

    @property
    def roots(self) -> tuple[Path, ...]:
        """Other folders that originals may lie in."""
        return () if self._said is not None and not self._said.get(ROOTS) else self._card[2]

    @cached_property
    def _card(self) -> tuple[list[str], Path, tuple[Path, ...]]:
        try:
            said = json.loads((self._folder / layout.Items.CARD).read_bytes())
            return said["columns"], Path(said["root"]), tuple(Path(one) for one in said.get("roots", ()))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptError(
                f"{self._folder}: corrupt, not the items of a release: {error}; delete it and run again"
            ) from None

    @staticmethod
    def write(
        folder: Path,
        ids: NDArray[np.int64],
        strings: Mapping[str, Iterable[str | None]],
        *,
        columns: Sequence[str],
        root: Path,
        roots: Sequence[str] = (),
    ) -> None:
        """Write the items of a segment.

        Args:
            folder: an existing folder.
            ids: int64[N], ascending.
            strings: ``key``, ``place``, ``label``, ``split`` and ``column.0``, ``column.1``, ...: N each.
            columns: names of the source's own columns, in that order; they are not used as file names, for a column
                may have any name.
            root: the folder that places are relative to.
            roots: other folders that whole paths may lead into.
        """
        np.save(folder / layout.Items.IDS, ids)
        for name, values in strings.items():
            Strings.write(folder, name, values)
        np.save(folder / layout.Items.KEY_ORDER, _order_of(Strings.open(folder, "key")))
        metadata = {"schema": 1, "columns": list(columns), "root": str(root)}
        metadata |= {"roots": list(roots)} if roots else {}
        (folder / layout.Items.CARD).write_text(json.dumps(metadata), encoding="utf-8")

    def __len__(self) -> int:
        return len(self.ids) if self._said is None else int(self._said["rows"])

    def places(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the positions of some ids, int64[n], and which of them are present, bool[n]."""
        places = positions(self.ids, ids)
        known = np.zeros(len(ids), bool)
        inside = places < len(self)
        known[inside] = self.ids[places[inside]] == ids[inside]
        return places, known

    def find(self, key: str) -> int | None:
        """Return the id of a key; None where it is not present."""
        wanted = _bytes(key)
        rank = self._rank(wanted)
        if rank == len(self._key_order) or self.strings("key").raw(self._row_at(rank)) != wanted:
            return None
        return int(self.ids[self._row_at(rank)])

    def spans(self, key: str) -> bool:
        """Say whether a key lies between the first and the last one, in the order of their bytes."""
        if not len(self):
            return False
        first, last = self._ends
        return first <= _bytes(key) <= last

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Facts of a segment that is one of many, by which it is opened only for rows it may have."""
        found: dict[str, Any] = {IDS: bounds_of(self.ids)}
        found |= {KEYS: [_text(one) for one in self._ends]} if len(self) else {}
        return found | ({ROOTS: len(self.roots)} if self.roots else {})

    @cached_property
    def _ends(self) -> tuple[bytes, bytes]:
        """The first and the last key; the segment has some."""
        if self._said is not None and KEYS in self._said:
            first, last = map(_bytes, self._said[KEYS])
            return first, last
        keys = self.strings("key")
        return keys.raw(self._row_at(0)), keys.raw(self._row_at(len(self._key_order) - 1))

    def keys_from(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield position and key of the rows whose keys begin with a text, in the order of keys."""
        keys, wanted = self.strings("key"), _bytes(text)
        for rank in range(self._rank(wanted), len(self._key_order)):
            row = self._row_at(rank)
            if not keys.raw(row).startswith(wanted):
                return
            yield row, keys.text(row)

    def _rank(self, wanted: bytes) -> int:
        """Return how many keys come before some bytes."""
        # Binary search by hand: only the compared keys are read.
        keys = self.strings("key")
        low, high = 0, len(self._key_order)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if keys.raw(self._row_at(middle)) < wanted else (low, middle)
        return low

    def _row_at(self, rank: int) -> int:
        """Return the position of the row whose key has a rank among all."""
        row = int(self._key_order[rank])
        if not 0 <= row < len(self):
            raise damaged(self._key_order, f"there is no row {row}")
        return row

    def values(self, name: str) -> tuple[list[str | None], NDArray[np.int32]]:
        """Return the distinct values of a column, and the number of each row's value, int32[N].

        They are kept where there are few values: a number is found several times as fast as a string.
        """
        if name in self._few:
            return self._few[name]
        numbers: dict[str | None, int] = {}
        found = [own for _, own in self.strings(name).numbered(numbers)]
        values = list(numbers), np.concatenate([np.zeros(0, np.int32), *found])
        if len(numbers) <= FEW:
            self._few[name] = values
        return values

    def some(self, name: str, places: Places) -> list[str | None]:
        """Return the strings of a column at some positions, int64[n], in their order."""
        if (few := self._few.get(name)) is None:
            return self.strings(name).some(places)
        values, numbers = few
        return [values[number] for number in numbers[places].tolist()]

    def strings(self, name: str) -> Strings:
        """Return the strings of ``key``, ``place``, ``label``, ``split`` or ``column.<number>``."""
        if name not in self._strings:
            self._strings[name] = Strings.open(self._folder, name)
        return self._strings[name]

    @cached_property
    def _key_order(self) -> NDArray[np.int64]:
        return mapped(self._folder / layout.Items.KEY_ORDER)


@dataclass(frozen=True, slots=True)
class Row:
    """One item of a release, for people and programs.

    Attributes:
        id: given once in a collection and never used again.
        key: its path relative to the source, or its own id.
        label: its class; ``cat, dog`` where it has several; None where it has none.
        split: ``train`` or ``test``.
        place: location of its bytes relative to the source; :func:`aepipe.sources.preview` reads it.
        columns: the source's own columns, as text.
        labels: its class, or each of several; empty where it has none.
    """

    id: int
    key: str
    label: str | None
    split: str | None
    place: str
    columns: dict[str, str | None]
    labels: tuple[str, ...] = ()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")


def _order_of(keys: Strings) -> NDArray[np.int64]:
    stored = keys.all_bytes()
    return np.array(sorted(range(len(stored)), key=stored.__getitem__), np.int64)

"""Segments: the codes, keys and columns of all rows, in directories that are written once.

A segment of codes holds ``ids.npy``, int64[N] ascending; ``codes.npy``, uint8[N, W], packed as in
:mod:`aepipe.codes.bitcodes`; and, where the recipe keeps embeddings, ``embedding.npy``, int8[N, H], as in
:mod:`aepipe.codes.encoder`. A segment of items holds ids, and each of key, place, label, split and the source's own
columns as :class:`Strings`: one blob of UTF-8 and the offsets into it, memory-mapped, so that a query reads the ten
strings that it shows and not a table of a million.

Legend: N rows or strings, W bytes of a code, K bits, H width of an embedding.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
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
from aepipe.store.io import array_in, damaged, mapped
from aepipe.store.labels import parted, shown
from aepipe.store.strings import Strings

BLOCK = 8192
"""Embeddings that are copied at a time."""
FEW = 1 << 12
"""Distinct values of a column, up to which the number of each row's value is kept once it is known."""
ROW = ("key", "label", "split", "place")
"""What a row has besides its id and the source's own columns."""

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
        bounds = [(own[0], own[-1]) if len(own) else (0, -1) for own in self._ids]
        self._bounds = np.array(bounds, np.int64).reshape(-1, 2)

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


class ItemSegments:
    """Keys and columns of all rows of a release, minus removed rows.

    Args:
        parts: the segments; each has larger ids than those before it, and the same columns.
        removed: int64[n], ascending, the ids of the removed rows.
    """

    def __init__(self, parts: Sequence[Items], removed: NDArray[np.int64]) -> None:
        self.columns = parts[0].columns
        self.root = parts[0].root
        self.roots = tuple(dict.fromkeys(root for part in parts for root in part.roots))
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
        """Return some rows, in the order of ``ids``.

        Raises:
            QueryError: an id is not present.
        """
        wanted = ids_of(ids)
        key, label, split, place, *own = self.table(ROW + self.own_columns, wanted)
        columns = [dict(zip(self.columns, values, strict=True)) for values in zip(*own, strict=True)]
        return [
            Row(number, name or "", shown(text), of, at or "", about, parted(text))
            for number, name, text, of, at, about in zip(
                wanted.tolist(), key, label, split, place, columns or ({} for _ in key), strict=True
            )
        ]

    @cached_property
    def own_columns(self) -> tuple[str, ...]:
        """The names by which :meth:`table` has the source's own columns, in their order."""
        return tuple(f"column.{number}" for number in range(len(self.columns)))

    def check(self, ids: NDArray[np.int64]) -> None:
        """Check that all ids are present.

        Raises:
            QueryError: an id is not present.
        """
        self._places(ids)

    def texts(self, name: str, ids: NDArray[np.int64] | Sequence[int]) -> list[str | None]:
        """Return ``key``, ``place``, ``label`` or ``split`` of some rows, in the order of ``ids``.

        Raises:
            QueryError: an id is not present.
        """
        return self.table((name,), ids_of(ids))[0]

    def table(self, names: Sequence[str], ids: NDArray[np.int64]) -> list[list[str | None]]:
        """Return some columns of some rows, each in the order of ``ids``.

        Args:
            names: ``key``, ``place``, ``label``, ``split`` or those of :attr:`own_columns`.
            ids: int64[n].

        Raises:
            QueryError: an id is not present.
        """
        parts, places = self._places(ids)
        if len(self._parts) == 1:
            return [self._parts[0].some(name, places) for name in names]
        strings = [[part.strings(name) for part in self._parts] for name in names]
        at = list(zip(parts.tolist(), places.tolist(), strict=True))
        return [[own[part][place] for part, place in at] for own in strings]

    def column(self, name: str) -> Iterator[str | None]:
        """Yield ``key``, ``place``, ``label`` or ``split`` of all rows, in ascending order of id."""
        for part, left in zip(self._parts, self._left, strict=True):
            yield from compress(part.strings(name), left)

    def values(self, name: str) -> tuple[list[str | None], NDArray[np.int32]]:
        """Return the distinct values of a column, and the number of each row's value.

        A column of few values is read by their numbers from then on.

        Args:
            name: ``key``, ``place``, ``label`` or ``split``.

        Returns:
            M texts; int32[N], in ascending order of id.
        """
        if len(self._parts) == 1 and not len(self._removed):
            return self._parts[0].values(name)
        numbers: dict[str | None, int] = {}
        found = [np.zeros(0, np.int32)]
        for part, left in zip(self._parts, self._left, strict=True):
            found += [own[left[start : start + len(own)]] for start, own in part.strings(name).numbered(numbers)]
        return list(numbers), np.concatenate(found)

    def find(self, key: str) -> int | None:
        """Return the id of a key; None where it is not present."""
        for part in self._parts:
            found = part.find(key)
            if found is not None and not self._gone(np.array([found])).any():
                return found
        return None

    def keys_from(self, text: str) -> Iterator[str]:
        """Yield the keys that begin with a text, those of each segment in their order."""
        for part in self._parts:
            yield from (key for row, key in part.keys_from(text) if not self._gone(part.ids[row : row + 1]).any())

    def id_of(self, key: str) -> int:
        """Return the id of a key.

        Raises:
            QueryError: the key is not present.
        """
        found = self.find(key)
        if found is None and not key.isascii():
            # A Mac writes é as two letters, and most other systems as one; both look the same.
            forms = (self.find(unicodedata.normalize(form, key)) for form in ("NFC", "NFD"))
            found = next((one for one in forms if one is not None), None)
        if found is None:
            like = next((text for text in self.column("key")), "")
            raise QueryError(f"no row has the key {key!r}: {self._range()}, and keys are like {like!r}")
        return found

    @property
    def _left(self) -> list[NDArray[np.bool_]]:
        return [~self._gone(part.ids) for part in self._parts]

    def _gone(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which ids were removed, bool[n]."""
        if not len(self._removed):
            return np.zeros(len(ids), bool)
        places = np.minimum(np.searchsorted(self._removed, ids), len(self._removed) - 1)
        gone: NDArray[np.bool_] = self._removed[places] == ids
        return gone

    def _places(self, wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the part of each id, int64[n], and the position in it, int64[n].

        Raises:
            QueryError: an id is not present.
        """
        if len(self._parts) == 1 and not len(self._removed):
            places, known = self._parts[0].places(wanted)
            if known.all():
                return np.zeros(len(wanted), np.int64), places
        parts, places = np.full(len(wanted), -1), np.zeros(len(wanted), np.int64)
        for number, part in enumerate(self._parts):
            found, here = part.places(wanted)
            parts[here], places[here] = number, found[here]
        if len(self._removed):
            parts[self._gone(wanted)] = -1
        if (parts < 0).any():
            raise QueryError(f"no row has the id {wanted[parts < 0][0]}: {self._range()}")
        return parts, places

    def _range(self) -> str:
        if not len(self):
            return "the release has no rows"
        gaps = ", not all of them" if int(self.ids[-1]) - int(self.ids[0]) >= len(self) else ""
        return f"the release has {len(self):,} rows with ids from {self.ids[0]} to {self.ids[-1]}{gaps}"


class Items:
    """Keys and columns of the N rows of one segment, in ascending order of id.

    Attributes:
        ids: int64[N], ascending.
        columns: names of the source's own columns.
        root: the folder that places are relative to.
        roots: other folders that originals may lie in.

    Raises:
        CorruptError: the folder does not hold items.
    """

    def __init__(self, folder: Path) -> None:
        try:
            metadata = json.loads((folder / layout.Items.CARD).read_bytes())
            self.ids = mapped(folder / layout.Items.IDS)
            self.columns: list[str] = metadata["columns"]
            self.root = Path(metadata["root"])
            self.roots = tuple(Path(one) for one in metadata.get("roots", ()))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptError(
                f"{folder}: corrupt, not the items of a release: {error}; delete it and run again"
            ) from None
        self._folder = folder
        self._strings: dict[str, Strings] = {}
        self._few: dict[str, tuple[list[str | None], NDArray[np.int32]]] = {}

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
        return len(self.ids)

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


def _order_of(keys: Strings) -> NDArray[np.int64]:
    stored = keys.all_bytes()
    return np.array(sorted(range(len(stored)), key=stored.__getitem__), np.int64)

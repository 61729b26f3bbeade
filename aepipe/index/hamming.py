"""The index of a collection's rows: a search among distinct codes of whatever kind, and the rows that hang off them.

Legend: N rows, M distinct codes, Q queries, k neighbours, W bytes of a code.
"""

# (from card.py) The card of a saved index: what the folder holds.

# (from filters.py) Searches among some rows only, exact also where few of them may be found.
# (from filters.py)
# (from filters.py) Two ways lead to the same answer. Where few rows are allowed, their codes are gathered and compared, and nothing else
# (from filters.py) is. Where many are, the index is asked for more rows than are wanted, in (distance, id) order, and those that are not
# (from filters.py) allowed are dropped: what is left is the beginning of the answer, and if it is too short, more are asked for.
# (from filters.py)
# (from filters.py) Legend: N rows, Q queries, k neighbours, W bytes of a code.

# (from saved.py) Opening what an index saved; files are mapped, and what does not fit together is refused.

# (from updated.py) Rows added to and removed from an index without building it anew.
# (from updated.py)
# (from updated.py) What was built, the *base*, stays as it is. Rows that are added are a second, flat index, the *delta*; of rows that are
# (from updated.py) removed from the base, the ids are kept as *tombstones*. An answer is that of the base without its removed rows, and
# (from updated.py) that of the delta, put in order. A base of some kind with its delta answers what an index of all rows of that kind
# (from updated.py) would, exactly so where the kind is exact. Adding costs as much as the delta is large; :meth:`Updated.compact` folds
# (from updated.py) everything into a new base.
# (from updated.py)
# (from updated.py) Legend: N rows, Q queries, k neighbours.

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, check_same, concatenate
from aepipe.errors import CodeError, CorruptError, QueryError
from aepipe.index import kinds as _kinds
from aepipe.index.hits import Hits, RaggedHits
from aepipe.index.postings import Postings, checked_ids
from aepipe.index.scan import CODES, Scan
from aepipe.store import layout
from aepipe.store.io import REMEDY, mapped

if TYPE_CHECKING:
    from aepipe.index.postings import SomeCodes
    from aepipe.recipe import Choice, Options

CARD = layout.Index.CARD

ROWS_AT_ONCE = 1 << 22  # rows of postings that a search holds at a time


class RowIndex:
    """Rows that are searched by their codes.

    Attributes:
        n_bits: bits of a code.
        fingerprint: of the encoder that made the codes.
        engine: the search among the distinct codes.
        postings: their rows.
    """

    def __init__(self, engine: Scan, postings: Postings, fingerprint: str) -> None:
        self.n_bits = engine.n_bits
        self.fingerprint = fingerprint
        self.engine = engine
        self.postings = postings

    @property
    def n_codes(self) -> int:
        """M, the distinct codes."""
        return len(self.engine)

    def __len__(self) -> int:
        return len(self.postings)

    @property
    def codes(self) -> BitCodes:
        """The distinct codes, in their order."""
        return BitCodes(self.engine.packed, self.n_bits, self.fingerprint)

    def rows(self) -> tuple[BitCodes, NDArray[np.int64]]:
        """Return the code and the id of each row, in the order of the postings."""
        sizes = np.diff(self.postings.offsets)
        return self.codes[np.repeat(np.arange(self.n_codes), sizes)], np.asarray(self.postings.ids)

    def save(self, folder: Path) -> None:
        """Write the index into an existing folder."""
        self.engine.save(folder)
        self.postings.save(folder)
        counts = {"rows": len(self), "codes": self.n_codes, "longest": self.postings.longest}
        card = {"schema": 3, "kind": self.engine.kind, "fingerprint": self.fingerprint, "n_bits": self.n_bits}
        sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name != CARD}
        card |= {"options": self.engine.options, **counts, "sizes": sizes}
        (folder / CARD).write_text(json.dumps(card), encoding="utf-8")

    def prefix(self, n_bits: int) -> RowIndex:
        """Return a flat index of the first bits; see :class:`aepipe.index.hamming.HammingIndex`.

        Codes that become equal keep their postings apart: for the proof in :mod:`aepipe.index.postings` it is enough
        that codes stand in the order of their smallest ids. So a prefix costs one copy of the codes, and no sorting.
        """
        shorter = self.codes.prefix(n_bits)
        return RowIndex(Scan.of(shorter), self.postings, shorter.fingerprint)

    def search(self, codes: BitCodes, k: int, where: NDArray[np.int64] | None = None, *, threads: int = 1) -> Hits:
        """Return the k nearest rows of each code; see :class:`aepipe.index.hamming.HammingIndex`."""
        check_same(self, codes)
        if k < 1:
            raise QueryError(f"the {k} nearest: at least 1 can be asked for")
        packed = np.ascontiguousarray(codes.packed)
        if where is not None:
            return search_filtered(self, packed, k, IdFilter.of(where), threads=threads)
        return self.nearest(packed, k, threads).first(k)

    def within(
        self, codes: BitCodes, radius: int, where: NDArray[np.int64] | None = None, *, threads: int = 1
    ) -> RaggedHits:
        """Return every row at most ``radius`` bits away; see :class:`aepipe.index.hamming.HammingIndex`."""
        check_same(self, codes)
        if radius < 0:
            raise QueryError(f"a radius of {radius} bits: it is at least 0")
        packed = np.ascontiguousarray(codes.packed)
        found = self.postings.all(self.engine.ball(packed, radius, threads), len(packed))
        return found if where is None else found.at(IdFilter.of(where).allows(found.ids))

    def nearest(self, packed: NDArray[np.uint8], k: int, threads: int) -> RaggedHits:
        """Return at least the k first rows of each query, uint8[Q, W], where there are so many."""
        at_once = max(1, ROWS_AT_ONCE // (min(k, self.n_codes or 1) * min(k, self.postings.longest or 1)))
        parts = []
        for start in range(0, max(len(packed), 1), at_once):
            block = packed[start : start + at_once]
            parts.append(self.postings.nearest(self.engine.nearest(block, k, threads), k, len(block)))
        return parts[0] if len(parts) == 1 else RaggedHits.join(parts)

    def add(self, codes: BitCodes, ids: NDArray[np.int64]) -> DeltaIndex:
        """Return an index that has further rows; see :class:`aepipe.index.hamming.HammingIndex`."""
        return DeltaIndex(self).add(codes, ids)

    def remove(self, ids: NDArray[np.int64]) -> DeltaIndex:
        """Return an index without some rows; see :class:`aepipe.index.hamming.HammingIndex`."""
        return DeltaIndex(self).remove(ids)


GATHERED = 64
"""Gathering a row's code and comparing it costs about as much as scanning so many codes."""
MORE = 4
"""How many times as many rows are asked for, where too few of the last were allowed."""


class IdFilter:
    """Which rows may be found.

    Attributes:
        ids: int64[n], ascending, the rows meant.
        inverse: all but those may be found.
    """

    def __init__(self, ids: NDArray[np.int64], *, inverse: bool = False) -> None:
        self.ids = ids
        self.inverse = inverse

    @classmethod
    def of(cls, ids: NDArray[np.int64]) -> IdFilter:
        """Return the filter of ids in any order.

        Raises:
            QueryError: they are not integers.
        """
        ids = np.asarray(ids)
        if ids.size and ids.dtype.kind not in "iu":
            raise QueryError(f"where: the ids that may be found are integers, not {ids.dtype}")
        return cls(np.unique(ids.astype(np.int64)))

    def allows(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some ids may be found, bool[n]."""
        if not len(self.ids):
            return np.full(len(ids), self.inverse)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        allowed: NDArray[np.bool_] = (self.ids[places] == ids) != self.inverse
        return allowed


def search_filtered(index: RowIndex, packed: NDArray[np.uint8], k: int, where: IdFilter, *, threads: int = 1) -> Hits:
    """Return the k nearest of the rows that may be found.

    Args:
        index: of all rows.
        packed: uint8[Q, W], the queries.
        k: at least 1.
        where: which rows may be found.
        threads: over how many the queries are spread.
    """
    if not len(index):
        return Hits.none(len(packed), k)
    n_allowed = len(index) - len(where.ids) if where.inverse else len(where.ids)
    wanted = min(len(index), 2 * k * max(1, len(index)) // max(1, n_allowed) + k)
    if not where.inverse and n_allowed * GATHERED <= max(index.n_codes, wanted):
        return _gathered(index, packed, k, where, threads)
    hits = Hits.none(len(packed), k)
    open_queries = np.arange(len(packed))
    while len(open_queries):
        if not where.inverse and wanted > n_allowed:
            hits.put(open_queries, _gathered(index, packed[open_queries], k, where, threads))
            break
        ranked = index.nearest(packed[open_queries], wanted, threads).begin(wanted)
        left = ranked.at(where.allows(ranked.ids)).first(k)
        hits.put(open_queries, left)
        open_queries = open_queries[(left.count < k) & (wanted < len(index))]
        wanted = min(len(index), MORE * wanted)
    return hits


def _gathered(index: RowIndex, packed: NDArray[np.uint8], k: int, where: IdFilter, threads: int) -> Hits:
    """Compare the codes of the allowed rows, which stand in ascending order of id, and no others."""
    places, there = index.postings.places(where.ids)
    ids = where.ids[there]
    codes = index.engine.packed[index.postings.codes_at(places[there])]
    found = Scan.of(BitCodes(codes, index.n_bits)).nearest(packed, k, threads)
    return RaggedHits.sort(found.query, found.distances, ids[found.positions], len(packed)).first(k)


def open_rows(folder: Path) -> RowIndex:
    """Open a saved index; see :func:`aepipe.index.hamming.open`."""
    card = _card(folder / CARD)
    if card["kind"] not in kinds():
        known = ", ".join(kinds())
        raise CorruptError(f"{folder / CARD}: an index of the unknown kind {card['kind']!r}; this version has {known}")
    try:
        _check_sizes(folder, card["sizes"] if card["schema"] > 2 else {CODES: card["bytes"]})
        scan = Scan.map(folder, card["n_bits"])
        postings = Postings.open(folder, int(card["longest"]), sorted_by_id=card["schema"] > 1)
        found = (len(scan), len(postings.offsets), len(postings))
        if found != (card["codes"], card["codes"] + 1, card["rows"]):
            raise ValueError("its files do not fit one another")
        engine = module_of(card["kind"]).open(folder, scan, postings.offsets, card.get("options", {}))
        return RowIndex(engine, postings, card["fingerprint"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, CodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptError(f"{folder}: corrupt, not a {card['kind']} index ({reason}); {REMEDY}") from None


def _check_sizes(folder: Path, sizes: Mapping[str, int]) -> None:
    """Check that files are at their full length: what is mapped would else be read beyond its end.

    Raises:
        OSError, ValueError: one is missing or is not.
    """
    for name, size in sizes.items():
        found = (folder / name).stat().st_size
        if found != size:
            raise ValueError(f"its files do not fit one another: {name} has {found:,} bytes, not {size:,}")


def _card(file: Path) -> dict[str, Any]:
    """Read the card of an index."""
    try:
        card: dict[str, Any] = json.loads(file.read_bytes())
        card["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{file}: corrupt, not the card of an index ({error}); {REMEDY}") from None
    return card


class HammingIndex(Protocol):
    """What every kind can do. An index never changes: ``add`` and ``remove`` return another one."""

    @property
    def n_bits(self) -> int:
        """Bits of a code."""

    @property
    def fingerprint(self) -> str:
        """Digest of the encoder whose codes are indexed; empty where no encoder made them."""

    @property
    def n_codes(self) -> int:
        """M, the distinct codes."""

    def __len__(self) -> int:
        """N, the rows."""

    def save(self, folder: Path) -> None:
        """Write the index into an existing folder."""

    def add(self, codes: BitCodes, ids: NDArray[np.int64]) -> HammingIndex:
        """Return an index that has further rows.

        Raises:
            CodeError: codes of another length, not one id per code, a negative id.
            FingerprintError: another encoder made the codes.
            QueryError: an id is there already, or is given twice.
        """

    def remove(self, ids: NDArray[np.int64]) -> HammingIndex:
        """Return an index without some rows.

        Raises:
            QueryError: an id is not there.
        """

    def prefix(self, n_bits: int) -> HammingIndex:
        """Return an index of the same rows by the first bits of their codes.

        Raises:
            CodeError: there are not so many bits.
        """

    def search(self, codes: BitCodes, k: int, where: NDArray[np.int64] | None = None, *, threads: int = 1) -> Hits:
        """Return the k nearest rows of each code, ordered by (distance, id).

        Args:
            codes: Q queries.
            k: at least 1; more than there are rows is allowed.
            where: ids that may be found, in any order; ids that the index does not have are passed over.
            threads: over how many the queries are spread; a single query always runs on one.

        Raises:
            CodeError: codes of another length.
            FingerprintError: another encoder made the codes.
            QueryError: k is less than 1.
        """

    def within(
        self, codes: BitCodes, radius: int, where: NDArray[np.int64] | None = None, *, threads: int = 1
    ) -> RaggedHits:
        """Return every row at most ``radius`` bits away from each code, ordered by (distance, id).

        Raises:
            CodeError: codes of another length.
            FingerprintError: another encoder made the codes.
            QueryError: the radius is negative.
        """


def kinds() -> list[str]:
    """Return the kinds there are."""
    return sorted(module.name for module in pkgutil.iter_modules(_kinds.__path__))


def resolve(choice: Choice, at: str = "index.kind") -> Options:
    """Return the options of the index that a recipe chooses.

    Raises:
        RecipeError: no such kind, or its options are wrong.
    """
    from aepipe import recipe

    known = {kind: cast("type[Options]", module_of(kind).options()) for kind in kinds()}
    return recipe.resolve(known, choice, at)


def build(
    codes: SomeCodes,
    ids: NDArray[np.int64],
    *,
    kind: str = "flat",
    options: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> RowIndex:
    """Build an index.

    Args:
        codes: N codes, which are read a part at a time; the index bears their fingerprint.
        ids: int64[N], not negative, each once, in any order.
        kind: one of :func:`kinds`.
        options: of that kind, resolved.
        folder: an existing one, in which codes, rows and tables are written while they are made, and from which they
            are mapped, so that memory holds a part of them at a time; saving the index there writes what is left.

    Raises:
        CodeError: not one id per code, or a negative id.
        QueryError: an id is given twice.
    """
    from aepipe.index.postings import group

    distinct, postings = group(codes, ids, folder)
    engine = module_of(kind).build(distinct, postings.offsets, **(options or {}))
    return RowIndex(engine, postings, codes.fingerprint)


def open(folder: Path) -> RowIndex:
    """Open a saved index; it is mapped into memory, not read.

    Raises:
        CorruptError: a file is missing or is not what was saved.
    """
    return open_rows(folder)


def module_of(kind: str) -> ModuleType:
    """Return the file of a kind."""
    return importlib.import_module(f"{_kinds.__name__}.{kind}")


KIND = "delta"


class DeltaIndex:
    """A base with added and removed rows.

    Attributes:
        n_bits: bits of a code.
        fingerprint: of the encoder that made the codes.
        base: what was built.
        delta: the rows added since, flat; None where there are none.
        removed: int64[n], ascending, the ids removed from the base.
    """

    def __init__(self, base: RowIndex, delta: RowIndex | None = None, removed: NDArray[np.int64] | None = None) -> None:
        self.n_bits = base.n_bits
        self.fingerprint = base.fingerprint or (delta.fingerprint if delta else "")
        self.base = base
        self.delta = delta
        self.removed = np.zeros(0, np.int64) if removed is None else removed
        self._left = IdFilter(self.removed, inverse=True)

    @classmethod
    def open(cls, base: RowIndex, folder: Path) -> DeltaIndex:
        """Open the changes that :meth:`save_changes` wrote.

        Raises:
            CorruptError: the folder does not hold changes of this base.
        """
        try:
            card = json.loads((folder / CARD).read_bytes())
            removed = mapped(folder / layout.Index.REMOVED)
            sound = (card["kind"], card["removed"], card["base_rows"]) == (KIND, len(removed), len(base))
            added = int(card["added"])
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise CorruptError(f"{folder}: corrupt, not the changes of an index ({error}); {REMEDY}") from None
        if not sound:
            raise CorruptError(f"{folder}: corrupt, not the changes of this index; {REMEDY}")
        return cls(base, open_rows(folder / layout.Index.ADDED) if added else None, removed)

    def save_changes(self, folder: Path) -> None:
        """Write what has changed since the base was built into an existing folder."""
        np.save(folder / layout.Index.REMOVED, self.removed)
        if self.delta:
            (folder / layout.Index.ADDED).mkdir()
            self.delta.save(folder / layout.Index.ADDED)
        counts = {"added": len(self.delta or ()), "removed": len(self.removed), "base_rows": len(self.base)}
        card = {"schema": 1, "kind": KIND, "fingerprint": self.fingerprint, "n_bits": self.n_bits, **counts}
        (folder / CARD).write_text(json.dumps(card), encoding="utf-8")

    def save(self, folder: Path) -> None:
        """Write one index of all rows into an existing folder."""
        self.compact().save(folder)

    @property
    def n_codes(self) -> int:
        """Codes that are searched: those of the base, and those of the delta."""
        return self.base.n_codes + (self.delta.n_codes if self.delta else 0)

    def __len__(self) -> int:
        return len(self.base) - len(self.removed) + len(self.delta or ())

    def compact(self) -> RowIndex:
        """Return an index of the base's kind of all rows that are left."""
        codes, ids = self.base.rows()
        left = self._left.allows(ids)
        codes, ids = codes[left], ids[left]
        if self.delta:
            more, further = self.delta.rows()
            marked = BitCodes(codes.packed, codes.n_bits, self.fingerprint)
            codes, ids = concatenate([marked, more]), np.concatenate([ids, further])
        engine = self.base.engine
        return build(codes, ids, kind=engine.kind, options=engine.options)

    def add(self, codes: BitCodes, ids: NDArray[np.int64]) -> DeltaIndex:
        """Return an index that has further rows; see :class:`aepipe.index.hamming.HammingIndex`."""
        check_same(self, codes)
        ids = checked_ids(ids)
        present = ids[self.holds(ids)]
        if len(present):
            least, count = int(present.min()), len(present)
            raise QueryError(f"id {least} is in the index already (of {count:,} such ids); remove it first")
        more = BitCodes(codes.packed, codes.n_bits, self.fingerprint or codes.fingerprint)
        if self.delta:
            own, before = self.delta.rows()
            more, ids = concatenate([own, more]), np.concatenate([before, ids])
        return DeltaIndex(self.base, build(more, ids), self.removed)

    def remove(self, ids: NDArray[np.int64]) -> DeltaIndex:
        """Return an index without some rows; see :class:`aepipe.index.hamming.HammingIndex`."""
        ids = checked_ids(ids)
        unknown = ids[~self.holds(ids)]
        if len(unknown):
            raise QueryError(f"id {int(unknown.min())} is not in the index (of {len(unknown):,} such ids)")
        delta = self.delta
        added = delta.postings.places(ids)[1] if delta else np.zeros(len(ids), bool)
        if delta and added.any():
            codes, own = delta.rows()
            left = ~np.isin(own, ids)
            delta = build(codes[left], own[left]) if left.any() else None
        return DeltaIndex(self.base, delta, np.union1d(self.removed, ids[~added]))

    def holds(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some ids have a row, bool[n]."""
        there = self.base.postings.places(ids)[1] & self._left.allows(ids)
        return there | self.delta.postings.places(ids)[1] if self.delta else there

    def prefix(self, n_bits: int) -> DeltaIndex:
        """Return an index of the first bits; see :class:`aepipe.index.hamming.HammingIndex`."""
        return DeltaIndex(self.base.prefix(n_bits), self.delta and self.delta.prefix(n_bits), self.removed)

    def search(self, codes: BitCodes, k: int, where: NDArray[np.int64] | None = None, *, threads: int = 1) -> Hits:
        """Return the k nearest rows of each code; see :class:`aepipe.index.hamming.HammingIndex`."""
        check_same(self, codes)
        if k < 1:
            raise QueryError(f"the {k} nearest: at least 1 can be asked for")
        packed = np.ascontiguousarray(codes.packed)
        hits = search_filtered(self.base, packed, k, self._where(where), threads=threads)
        return hits.merge(self.delta.search(codes, k, where, threads=threads)) if self.delta else hits

    def within(
        self, codes: BitCodes, radius: int, where: NDArray[np.int64] | None = None, *, threads: int = 1
    ) -> RaggedHits:
        """Return every row at most ``radius`` bits away; see :class:`aepipe.index.hamming.HammingIndex`."""
        found = self.base.within(codes, radius, threads=threads)
        found = found.at(self._where(where).allows(found.ids))
        if not self.delta:
            return found
        more = self.delta.within(codes, radius, where, threads=threads)
        query = np.concatenate([found.query, more.query])
        distances = np.concatenate([found.distances, more.distances])
        return RaggedHits.sort(query, distances, np.concatenate([found.ids, more.ids]), len(codes))

    def _where(self, where: NDArray[np.int64] | None) -> IdFilter:
        """Return which rows of the base may be found."""
        if where is None:
            return self._left
        allowed = IdFilter.of(where).ids
        return IdFilter(allowed[self._left.allows(allowed)])

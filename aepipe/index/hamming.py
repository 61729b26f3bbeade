"""Hamming indexes: build, search, filter, add rows (delta), remove rows (tombstones).

An index is a :class:`RowIndex`: a search among distinct codes, of any kind, with the rows of each code as postings. A
kind is one file in :mod:`aepipe.index.kinds`. An index never changes. Added and removed rows make a :class:`DeltaIndex`
around it: the *base* stays as it was built, added rows are a second, flat index, the *delta*, and the ids of removed
rows are kept as *tombstones*. An answer merges the base without the tombstones and the delta, so it equals the answer
of one index of all rows wherever the base is exact. Adding costs as much as the delta is large;
:meth:`DeltaIndex.compact` builds a new base of everything.

A search can be restricted to some rows, and stays exact. Where few rows are allowed, only their codes are compared.
Where many are, the index returns more rows than asked for, in (distance, id) order, and the rows that are not allowed
are dropped; where too few are left, it is asked for more.

Legend: N rows, M distinct codes, Q queries, k neighbours, W bytes of a code.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes, check_same, concatenate
from aepipe.errors import CodeError, CorruptError, QueryError
from aepipe.index import kinds as kind_files
from aepipe.index.hits import Hits, RaggedHits
from aepipe.index.postings import Postings, SomeCodes, checked_ids, group
from aepipe.index.scan import CODES, Scan
from aepipe.store import layout
from aepipe.store.io import REMEDY, mapped, unread

if TYPE_CHECKING:
    from aepipe.recipe import Choice, Options

METADATA = layout.Index.CARD
REMOVED = layout.Index.REMOVED
DELTA = "delta"
"""In the metadata of a delta: the place of a kind."""

ROWS_AT_ONCE = 1 << 22
"""Rows of postings that a search holds at a time."""
GATHERED = 64
"""Fetching and comparing the code of one row costs about as much as scanning this number of codes."""
MORE = 4
"""Factor by which more rows are requested where too few of the last were allowed."""


class HammingIndex(Protocol):
    """Everything that an index can do, whatever its kind.

    An index never changes: ``add`` and ``remove`` return another one.
    """

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
        """Return an index with further rows.

        Raises:
            CodeError: codes of another length, a number of ids other than that of the codes, or a negative id.
            FingerprintError: another encoder made the codes.
            QueryError: an id is already present, or is given twice.
        """

    def remove(self, ids: NDArray[np.int64]) -> HammingIndex:
        """Return an index without some rows.

        Raises:
            QueryError: an id is not present.
        """

    def prefix(self, n_bits: int) -> HammingIndex:
        """Return an index of the same rows by the first bits of their codes.

        Raises:
            CodeError: the codes have fewer bits.
        """

    def search(self, codes: BitCodes, k: int, where: NDArray[np.int64] | None = None, *, threads: int = 1) -> Hits:
        """Return the k nearest rows of each code, ordered by (distance, id).

        Args:
            codes: Q queries.
            k: at least 1; it may exceed the number of rows.
            where: the ids that may be found, in any order; ids that the index does not have are ignored.
            threads: number of threads that share the queries; a single query always runs on one.

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
    """Return the names of all kinds: those of the files in :mod:`aepipe.index.kinds`."""
    return sorted(module.name for module in pkgutil.iter_modules(kind_files.__path__))


def resolve(choice: Choice, at: str = "index.kind") -> Options:
    """Return the options of the index that a recipe chooses.

    Raises:
        RecipeError: the kind does not exist, or its options are wrong.
    """
    from aepipe import recipe  # needs pydantic, which a query does not load

    known = {kind: cast("type[Options]", module_of(kind).options()) for kind in kinds()}
    return recipe.resolve(known, choice, at)


def module_of(kind: str) -> ModuleType:
    """Import the file of a kind."""
    return importlib.import_module(f"{kind_files.__name__}.{kind}")


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
        codes: N codes, read one part at a time; the index bears their fingerprint.
        ids: int64[N], not negative, each once, in any order.
        kind: one of :func:`kinds`.
        options: of that kind, resolved.
        folder: an existing folder. Codes, rows and tables are written into it while they are made, and mapped from it,
            so memory holds one part of them at a time; saving the index there writes only the rest.

    Raises:
        CodeError: the numbers of ids and codes differ, or an id is negative.
        QueryError: an id is given twice.
    """
    distinct, postings = group(codes, ids, folder)
    engine = module_of(kind).build(distinct, postings.offsets, **(options or {}))
    return RowIndex(engine, postings, codes.fingerprint)


def open(folder: Path) -> RowIndex:
    """Open a saved index; its files are mapped into memory, not read.

    Raises:
        CorruptError: a file is missing or is not what was saved.
    """
    metadata = _metadata(folder / METADATA)
    kind = metadata["kind"]
    if kind not in kinds():
        known = ", ".join(kinds())
        raise CorruptError(f"{folder / METADATA}: an index of the unknown kind {kind!r}; this version has {known}")
    try:
        # Older indexes: schema 1 has no order by id, and before schema 3 only the size of the codes was noted.
        _check_sizes(folder, metadata["sizes"] if metadata["schema"] > 2 else {CODES: metadata["bytes"]})
        scan = Scan.map(folder, metadata["n_bits"])
        postings = Postings.open(folder, int(metadata["longest"]), sorted_by_id=metadata["schema"] > 1)
        found = (len(scan), len(postings.offsets), len(postings))
        if found != (metadata["codes"], metadata["codes"] + 1, metadata["rows"]):
            raise ValueError("its files do not belong together")
        engine = module_of(kind).open(folder, scan, postings.offsets, metadata.get("options", {}))
        return RowIndex(engine, postings, metadata["fingerprint"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, CodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise unread(folder, error, f"corrupt, not a {kind} index ({reason}); {REMEDY}") from None


def _metadata(file: Path) -> dict[str, Any]:
    """Read the metadata of an index.

    Raises:
        CorruptError: the file does not hold them.
    """
    try:
        metadata: dict[str, Any] = json.loads(file.read_bytes())
        metadata["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unread(file, error, f"corrupt, not the metadata of an index ({error}); {REMEDY}") from None
    return metadata


def _check_sizes(folder: Path, sizes: Mapping[str, int]) -> None:
    # Reading a mapped file beyond its end would kill the process.
    for name, size in sizes.items():
        found = (folder / name).stat().st_size
        if found != size:
            raise ValueError(f"its files do not belong together: {name} has {found:,} bytes, not {size:,}")


class RowIndex:
    """A search among distinct codes of one kind, with the rows of each code.

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
        """The distinct codes, ordered by their smallest row ids."""
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
        made_of = {"schema": 3, "kind": self.engine.kind, "fingerprint": self.fingerprint, "n_bits": self.n_bits}
        sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name != METADATA}
        metadata = made_of | {"options": self.engine.options, **counts, "sizes": sizes}
        (folder / METADATA).write_text(json.dumps(metadata), encoding="utf-8")

    def add(self, codes: BitCodes, ids: NDArray[np.int64]) -> DeltaIndex:
        """Return an index with further rows; see :meth:`HammingIndex.add`."""
        return DeltaIndex(self).add(codes, ids)

    def remove(self, ids: NDArray[np.int64]) -> DeltaIndex:
        """Return an index without some rows; see :meth:`HammingIndex.remove`."""
        return DeltaIndex(self).remove(ids)

    def holds(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some ids have a row, bool[n]."""
        return self.postings.places(ids)[1]

    def prefix(self, n_bits: int) -> RowIndex:
        """Return a flat index by the first bits; see :meth:`HammingIndex.prefix`.

        Codes that become equal keep separate postings: the proof in :mod:`aepipe.index.postings` needs only that codes
        are ordered by their smallest ids. So a prefix costs one copy of the codes and no sorting.
        """
        shorter = self.codes.prefix(n_bits)
        return RowIndex(Scan.of(shorter), self.postings, shorter.fingerprint)

    def search(self, codes: BitCodes, k: int, where: NDArray[np.int64] | None = None, *, threads: int = 1) -> Hits:
        """Return the k nearest rows of each code; see :meth:`HammingIndex.search`."""
        packed = _packed(self, codes, k)
        if where is not None:
            return search_filtered(self, packed, k, IdFilter.of(where), threads=threads)
        return self.nearest(packed, k, threads).first(k)

    def close(self, codes: BitCodes, k: int, radius: int, *, threads: int = 1) -> Hits:
        """Return what :meth:`search` does, where rows beyond a radius may be missing."""
        return self.nearest(_packed(self, codes, k), k, threads, radius).first(k)

    def within(
        self, codes: BitCodes, radius: int, where: NDArray[np.int64] | None = None, *, threads: int = 1
    ) -> RaggedHits:
        """Return every row at most ``radius`` bits away; see :meth:`HammingIndex.within`."""
        check_same(self, codes)
        if radius < 0:
            raise QueryError(f"a radius of {radius} bits: it must be at least 0")
        packed = np.ascontiguousarray(codes.packed)
        found = self.postings.all(self.engine.ball(packed, radius, threads), len(packed))
        return found if where is None else found.at(IdFilter.of(where).allows(found.ids))

    def nearest(self, packed: NDArray[np.uint8], k: int, threads: int, radius: int | None = None) -> RaggedHits:
        """Return at least the k first rows of each query, uint8[Q, W], or all rows.

        With a radius, rows beyond it may be missing.
        """
        engine = self.engine
        search = engine.nearest if radius is None else partial(engine.close, radius=radius)
        # Each query expands to at most k codes of at most ``longest`` rows.
        at_once = max(1, ROWS_AT_ONCE // (min(k, self.n_codes or 1) * min(k, self.postings.longest or 1)))
        parts = []
        for start in range(0, max(len(packed), 1), at_once):
            block = packed[start : start + at_once]
            parts.append(self.postings.nearest(search(block, k, threads=threads), k, len(block)))
        return parts[0] if len(parts) == 1 else RaggedHits.join(parts)


class DeltaIndex:
    """A base index with added and removed rows.

    Attributes:
        n_bits: bits of a code.
        fingerprint: of the encoder that made the codes.
        base: the index as it was built.
        delta: a flat index of the rows added since; None where there are none.
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
            metadata = json.loads((folder / METADATA).read_bytes())
            removed = mapped(folder / REMOVED)
            sound = (metadata["kind"], metadata["removed"], metadata["base_rows"]) == (DELTA, len(removed), len(base))
            added = int(metadata["added"])
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise unread(folder, error, f"corrupt, not the changes of an index ({error}); {REMEDY}") from None
        if not sound:
            raise CorruptError(f"{folder}: corrupt, not the changes of this index; {REMEDY}")
        return cls(base, open(folder / layout.Index.ADDED) if added else None, removed)

    def save_changes(self, folder: Path) -> None:
        """Write the changes since the base was built into an existing folder."""
        np.save(folder / REMOVED, self.removed)
        if self.delta:
            (folder / layout.Index.ADDED).mkdir()
            self.delta.save(folder / layout.Index.ADDED)
        counts = {**self.changes, "base_rows": len(self.base)}
        metadata = {"schema": 1, "kind": DELTA, "fingerprint": self.fingerprint, "n_bits": self.n_bits, **counts}
        (folder / METADATA).write_text(json.dumps(metadata), encoding="utf-8")

    def save(self, folder: Path) -> None:
        """Write one index of all rows into an existing folder."""
        self.compact().save(folder)

    @property
    def n_codes(self) -> int:
        """Codes that a search compares: those of the base and those of the delta."""
        return self.base.n_codes + (self.delta.n_codes if self.delta else 0)

    @property
    def changes(self) -> dict[str, int]:
        """How many rows were added, and how many were removed, since the base was built."""
        return {"added": len(self.delta or ()), "removed": len(self.removed)}

    def __len__(self) -> int:
        return len(self.base) - len(self.removed) + len(self.delta or ())

    def compact(self) -> RowIndex:
        """Build one index of all present rows, of the base's kind."""
        codes, ids = self.base.rows()
        left = self._left.allows(ids)
        codes, ids = codes[left], ids[left]
        if self.delta:
            more, further = self.delta.rows()
            # A base without rows may have been built without a fingerprint.
            marked = BitCodes(codes.packed, codes.n_bits, self.fingerprint)
            codes, ids = concatenate([marked, more]), np.concatenate([ids, further])
        engine = self.base.engine
        return build(codes, ids, kind=engine.kind, options=engine.options)

    def add(self, codes: BitCodes, ids: NDArray[np.int64]) -> DeltaIndex:
        """Return an index with further rows; see :meth:`HammingIndex.add`."""
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
        """Return an index without some rows; see :meth:`HammingIndex.remove`."""
        ids = checked_ids(ids)
        unknown = ids[~self.holds(ids)]
        if len(unknown):
            raise QueryError(f"id {int(unknown.min())} is not in the index (of {len(unknown):,} such ids)")
        delta = self.delta
        added = delta.postings.places(ids)[1] if delta else np.zeros(len(ids), bool)
        if delta and added.any():
            # The delta is small, so it is built again; only rows of the base become tombstones.
            codes, own = delta.rows()
            left = ~np.isin(own, ids)
            delta = build(codes[left], own[left]) if left.any() else None
        return DeltaIndex(self.base, delta, np.union1d(self.removed, ids[~added]))

    def holds(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some ids have a row, bool[n]."""
        there = self.base.holds(ids) & self._left.allows(ids)
        return there | self.delta.holds(ids) if self.delta else there

    def prefix(self, n_bits: int) -> DeltaIndex:
        """Return an index by the first bits; see :meth:`HammingIndex.prefix`."""
        return DeltaIndex(self.base.prefix(n_bits), self.delta and self.delta.prefix(n_bits), self.removed)

    def search(self, codes: BitCodes, k: int, where: NDArray[np.int64] | None = None, *, threads: int = 1) -> Hits:
        """Return the k nearest rows of each code; see :meth:`HammingIndex.search`."""
        packed = _packed(self, codes, k)
        hits = search_filtered(self.base, packed, k, self._where(where), threads=threads)
        return hits.merge(self.delta.search(codes, k, where, threads=threads)) if self.delta else hits

    def close(self, codes: BitCodes, k: int, radius: int, *, threads: int = 1) -> Hits:
        """Return what :meth:`search` does, where rows beyond a radius may be missing."""
        packed = _packed(self, codes, k)
        wanted = k + min(k, len(self.removed))
        ranked = self.base.nearest(packed, wanted, threads, radius).begin(wanted)
        hits = ranked.at(self._left.allows(ranked.ids)).first(k)
        # Nearer rows may be behind those that were removed.
        short = np.flatnonzero((hits.count < k) & (np.diff(ranked.offsets) == wanted))
        if len(short):
            hits.put(short, search_filtered(self.base, packed[short], k, self._left, threads=threads))
        return hits.merge(self.delta.close(codes, k, radius, threads=threads)) if self.delta else hits

    def within(
        self, codes: BitCodes, radius: int, where: NDArray[np.int64] | None = None, *, threads: int = 1
    ) -> RaggedHits:
        """Return every row at most ``radius`` bits away; see :meth:`HammingIndex.within`."""
        found = self.base.within(codes, radius, threads=threads)
        found = found.at(self._where(where).allows(found.ids))
        if not self.delta:
            return found
        return RaggedHits.merge([found, self.delta.within(codes, radius, where, threads=threads)])

    def _where(self, where: NDArray[np.int64] | None) -> IdFilter:
        if where is None:
            return self._left
        # The delta has no tombstones, so only the base needs them taken out of ``where``.
        allowed = IdFilter.of(where).ids
        return IdFilter(allowed[self._left.allows(allowed)])


def _packed(index: RowIndex | DeltaIndex, codes: BitCodes, k: int) -> NDArray[np.uint8]:
    check_same(index, codes)
    if k < 1:
        raise QueryError(f"the {k} nearest rows: ask for at least 1")
    return np.ascontiguousarray(codes.packed)  # FAISS reads plain memory


class IdFilter:
    """The rows that a search may find.

    Attributes:
        ids: int64[n], ascending: the rows that may be found, or, with ``inverse``, those that may not.
        inverse: all rows but these may be found.
    """

    def __init__(self, ids: NDArray[np.int64], *, inverse: bool = False) -> None:
        self.ids = ids
        self.inverse = inverse

    @classmethod
    def of(cls, ids: NDArray[np.int64]) -> IdFilter:
        """Return the filter that allows some ids, given in any order.

        Raises:
            QueryError: the ids are not integers.
        """
        ids = np.asarray(ids)
        if ids.size and ids.dtype.kind not in "iu":
            raise QueryError(f"where: the ids that may be found must be integers, not {ids.dtype}")
        return cls(np.unique(ids.astype(np.int64)))

    def allows(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some ids may be found, bool[n]."""
        if not len(self.ids):
            return np.full(len(ids), self.inverse)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        allowed: NDArray[np.bool_] = (self.ids[places] == ids) != self.inverse
        return allowed


def search_filtered(index: RowIndex, packed: NDArray[np.uint8], k: int, where: IdFilter, *, threads: int = 1) -> Hits:
    """Return the k nearest of the rows that a filter allows.

    Args:
        index: of all rows.
        packed: uint8[Q, W], the queries.
        k: at least 1.
        where: the rows that may be found.
        threads: number of threads that share the queries.
    """
    if not len(index):
        return Hits.none(len(packed), k)
    n_allowed = len(index) - len(where.ids) if where.inverse else len(where.ids)
    # Twice the rows in which k allowed ones lie, if allowed rows are as frequent near a query as elsewhere.
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
    """Search among the allowed rows only.

    Their codes are fetched in ascending order of id, so ties keep the order of ids.
    """
    places, there = index.postings.places(where.ids)
    ids = where.ids[there]
    codes = index.engine.packed[index.postings.codes_at(places[there])]
    found = Scan.of(BitCodes(codes, index.n_bits)).nearest(packed, k, threads)
    return RaggedHits.sort(found.query, found.distances, ids[found.positions], len(packed)).first(k)

"""A release and some more items, or some rows less -> a release of the same parts, and of what has changed.

Nothing is learned and nothing is built: the added rows have segments of their own (rows, codes, items), and one of
``changes`` holds ``index/``, what :class:`aepipe.index.updated.Updated` keeps beside an index, and ``removed.npy``, the
ids of all rows that were removed. So it takes as long as the changes are large, and not the collection. Where there
are :data:`MOST` additions, they become one; :mod:`aepipe.stages.compact` folds everything into a new build.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from aepipe import asking, recipe, sources, verification
from aepipe.errors import QueryError, SourceError
from aepipe.index.updated import Updated
from aepipe.keys import Items
from aepipe.progress import step
from aepipe.recipe import Recipe
from aepipe.release import CHANGED_INDEX, CHANGED_SCHEMA, RELEASE, REMOVED, Release, read_body
from aepipe.segments import CodeSegments
from aepipe.sources import RawItem, Source
from aepipe.sources.containers.walk import ANCHOR
from aepipe.sources.reading import read_all
from aepipe.stages.compact import join, join_codes
from aepipe.stages.encode import encode
from aepipe.stages.ingest import check_bad, quarantine_file
from aepipe.stages.publish import items
from aepipe.store import Ref, Store, digest_of
from aepipe.table import Rejected, Row, Rows, RowsWriter

VERSION = 1
STAGE = "update"
MOST = 16
"""Additions that lie side by side: a query looks an id up in each."""
SPLIT = "train"
"""Of all that is added, for it is there to be found."""


@dataclass(frozen=True, slots=True)
class Added:
    """What came of items that were to be added.

    Attributes:
        release: that holds them; the one before, where nothing was new.
        new: rows whose key was not there before.
        replaced: rows whose key was there with other bytes.
        unchanged: items that were there already.
        bad: items that could not be read.
    """

    release: Ref
    new: int
    replaced: int
    unchanged: int
    bad: tuple[Rejected, ...]


def sources_of(release: Release, paths: Sequence[str]) -> list[Source]:
    """Return what reads further items as those of a release were read.

    Args:
        release: whose recipe says how.
        paths: files, folders, globs or addresses. Keys of what lies in the collection's own folder are those that the
            collection would give; elsewhere they are relative to the path's own folder.

    Raises:
        SourceError: there is nothing of that kind.
        RecipeError: its recipe is not understood any more.
    """
    read = recipe.parse(release.recipe, Path(f"the recipe of release {release.ref.short}"))
    return [sources.resolve(_reading(read, _anchored(release, path))) for path in paths]


def add(store: Store, release: Release, sources: Sequence[Source], *, replace: bool = False) -> Added:
    """Add items to a release; they are decoded and encoded as those that it has.

    Args:
        store: the shelf.
        release: in service.
        sources: of the release's own kind; what they give is added, in the split ``train``.
        replace: items whose key is there with other bytes take the place of those rows, under new ids.

    Raises:
        QueryError: a key is there with other bytes.
        SourceError: more items are unreadable than the source allows, or they have columns that the release has not.
        FingerprintError: this version decodes in another way than the release's encoder expects.
        FullError: the disk is full.
    """
    base = Rows(release.folders("rows")[0])
    first_id = max(verification.next_id(store, release.name), base.next_id)
    with store.draft("rows") as draft:
        coming = _Coming(release, sources, base.own_schema, replace=replace)
        with RowsWriter(draft.path, shape=base.shape, columns=base.own_schema, dtype=base.dtype.name) as writer:
            for row in coming.rows(first_id):
                writer.append(row)
            check_bad(sources[0], coming.bad, coming.seen, quarantine_file(store, f"{release.name}-added", coming.bad))
            writer.close(source=coming.digest, next_id=first_id + coming.taken, rejected=coming.bad)
        if not coming.taken:
            return Added(release.ref, 0, 0, coming.unchanged, tuple(coming.bad))
        inputs = {"stage": STAGE, "version": VERSION, "release": str(release.ref), "source": coming.digest}
        inputs |= {"features": store.manifest(release.part("rows")).inputs.get("features")}
        written = draft.finish(inputs, {**Rows(draft.path).facts, "location": str(release.items.root)})
    codes = encode(store, release.part("encoder"), written, embedding=release.segments.width is not None)
    ids = Rows(store.path(written)).ids()
    old = np.array(coming.replaced, np.int64)
    index = _without(release, old).add(CodeSegments.open(store, [codes]).of(ids), ids)
    ref = _publish(store, release, index, np.union1d(release.removed, old), [(written, codes)])
    return Added(ref, coming.taken - len(old), len(old), coming.unchanged, tuple(coming.bad))


def remove(store: Store, release: Release, ids: NDArray[np.int64]) -> Ref:
    """Remove rows from a release, and return the release without them.

    Their bytes leave the shelf when the changes are folded in and the releases before that are gone.

    Args:
        store: the shelf.
        release: in service.
        ids: int64[n] of rows.

    Raises:
        QueryError: there is no such row, none is named, or none would be left.
    """
    ids = np.unique(np.asarray(ids, np.int64))
    if not len(ids):
        raise QueryError("nothing is removed: no row is named")
    release.items.check(ids)
    if len(ids) == len(release):
        raise QueryError(f"{release.name}: these are all of its {len(ids):,} rows, and a collection needs some")
    return _publish(store, release, _without(release, ids), np.union1d(release.removed, ids), [])


class _Coming:
    """The items that are to be added, as they come.

    Attributes:
        bad: items that could not be read.
        seen: items that could.
        unchanged: of those, how many were there already.
        taken: rows given.
        replaced: ids of the rows whose place they take.
    """

    def __init__(self, release: Release, sources: Sequence[Source], columns: pa.Schema, *, replace: bool) -> None:
        self._release = release
        self._sources = sources
        self._columns = columns
        self._replace = replace
        self._entries = hashlib.sha256()
        for source in sources:
            self._check_columns(source)
        self.bad: list[Rejected] = []
        self.replaced: list[int] = []
        self.seen = self.unchanged = self.taken = 0

    @property
    def digest(self) -> str:
        """Digest of the rows given: of keys, bytes, labels and columns."""
        return self._entries.hexdigest()

    def rows(self, first_id: int) -> Iterator[Row]:
        """Give the rows that are new, with ids in ascending order.

        Raises:
            QueryError: a key is there with other bytes, and is not to be replaced.
        """
        known, decode, given = self._known(), asking.decoder(self._release), set[str]()
        found = ((source, one) for source in self._sources for one in read_all(source, lambda _: -1, decode))
        for source, outcome in found:
            item = outcome.item
            if outcome.features is None or item.key in given:
                self.bad.append(Rejected(item.key, item.place, outcome.reason or "duplicate key"))
                continue
            given.add(item.key)
            self.seen += 1
            old, digest = known.get(item.key, (-1, b""))
            if digest == outcome.sha256:
                self.unchanged += 1
                continue
            if old >= 0:
                self._check_replaced(item)
                self.replaced.append(old)
            columns = {name: item.columns.get(name) for name in self._columns.names}
            entry = [item.key, outcome.sha256.hex(), item.label, columns]
            self._entries.update(json.dumps(entry, default=str).encode())
            row_id, place = first_id + self.taken, self._place(source, item)
            self.taken += 1
            yield Row(row_id, item.key, outcome.sha256, place, SPLIT, outcome.features, item.label, columns)
            if self.taken % 1000 == 0:
                step("add", self.taken)
        step("add", self.taken)

    def _known(self) -> dict[str, tuple[int, bytes]]:
        """Return the id and the sha256 of those keys that the release has."""
        keys = (item.key for source in self._sources for item in source.items())
        there = ((key, self._release.items.find(key)) for key in keys)
        ids = {key: found for key, found in there if found is not None}
        if not ids:
            return {}
        digests = _digests(self._release, list(ids.values()))
        return {key: (found, digests[found]) for key, found in ids.items()}

    def _place(self, source: Source, item: RawItem) -> str:
        """Return where the bytes are: relative to the collection's folder, or, elsewhere, from the root of all."""
        here = source.location
        return item.place if here == self._release.items.root else str(here / item.place)

    def _check_replaced(self, item: RawItem) -> None:
        """Check that a row may be replaced.

        Raises:
            QueryError: it may not.
        """
        if not self._replace:
            raise QueryError(
                f"{item.key}: {self._release.name} has that key with other bytes; --replace puts this one in its place"
            )

    def _check_columns(self, source: Source) -> None:
        """Check that the items have no columns that the release has not, and none of another type.

        Raises:
            SourceError: they have.
        """
        has = {field.name: field.type for field in self._columns}
        for one in source.schema():
            if one.name not in has:
                names = ", ".join(has) or "none"
                raise SourceError(
                    f"{source.location}: {self._release.name} has no column {one.name!r}; it has: {names}"
                )
            whole = pa.types.is_integer(one.type) and pa.types.is_floating(has[one.name])
            if one.type != has[one.name] and not pa.types.is_null(one.type) and not whole:
                raise SourceError(
                    f"{source.location}: column {one.name!r} is {one.type}, and {self._release.name} has "
                    f"{has[one.name]} there"
                )


def _anchored(release: Release, path: str) -> str:
    """Return a path so that keys begin at the collection's own folder, where it lies in it."""
    if "://" in path:
        return path
    root, whole = release.items.root, Path(os.path.abspath(Path(path).expanduser()))
    return f"{root}{ANCHOR}{whole.relative_to(root)}" if whole.is_relative_to(root) else str(whole)


def _reading(read: Recipe, path: str) -> Recipe:
    """Return a recipe with another path of its source."""
    options = {**read.source.options, "path": path}
    return read.model_copy(update={"source": read.source.model_copy(update={"options": options})})


def _digests(release: Release, ids: Sequence[int]) -> Mapping[int, bytes]:
    """Return the sha256 of the bytes of some rows, by id."""
    files = [str(file) for folder in release.folders("rows") for file in sorted(folder.glob("rows-*.parquet"))]
    wanted = ds.field("id").isin(pa.array(ids, pa.int64()))
    found = ds.dataset(files).to_table(columns=["id", "sha256"], filter=wanted)
    return dict(zip(found.column("id").to_pylist(), found.column("sha256").to_pylist(), strict=True))


def _without(release: Release, ids: NDArray[np.int64]) -> Updated:
    """Return the release's index without some rows; those that the recipe left out of it are not in it anyway."""
    index = release.index if isinstance(release.index, Updated) else Updated(release.index)
    return index.remove(ids[index.holds(ids)])


def _publish(
    store: Store,
    release: Release,
    index: Updated,
    removed: NDArray[np.int64],
    added: Sequence[tuple[Ref, Ref]],
) -> Ref:
    """Write a release that has changed.

    Args:
        store: the shelf.
        release: what it was before.
        index: of now.
        removed: ids of all rows that are gone since it was built.
        added: rows and codes of what has come.
    """
    body = read_body(store, release.ref)
    base = body["codes"][: len(body["codes"]) - len(body.get("more_rows", ()))]
    rows = [*release.all_parts("rows")[1:], *(one for one, _ in added)]
    codes = [*release.all_parts("codes")[len(base) :], *(one for _, one in added)]
    if len(rows) > MOST:
        rows, codes = _joined(store, rows, codes, removed)
        removed = removed[Items(release.folder("items")).places(removed)[1]]
    held = [items(store, one, release.items.root) for one in rows]
    inputs = {"stage": STAGE, "version": VERSION, "release": str(release.ref), "removed": digest_of(removed.tolist())}
    inputs |= {"rows": [str(one) for one in rows]}
    facts = {"fingerprint": release.fingerprint, "n_bits": release.n_bits, "rows": len(index)}
    with store.draft("segment") as draft:
        (draft.path / CHANGED_INDEX).mkdir()
        index.save_changes(draft.path / CHANGED_INDEX)
        np.save(draft.path / REMOVED, removed)
        changes = draft.finish(inputs, {"kind": "changes", **facts})
    body |= {"schema": CHANGED_SCHEMA, "rows": len(index), "codes": [*base, *map(str, codes)]}
    body |= {"more_items": list(map(str, held)), "more_rows": list(map(str, rows)), "changes": str(changes)}
    given = [Rows(store.path(one)).next_id for one in [release.part("rows"), *rows]]
    given.append(store.manifest(release.ref).facts.get("next_id", 0))
    with store.draft("release") as draft:
        (draft.path / RELEASE).write_text(json.dumps(body, indent=1), encoding="utf-8")
        return draft.finish({"stage": STAGE, **body}, {"name": release.name, **facts, "next_id": max(given)})


def _joined(
    store: Store, rows: Sequence[Ref], codes: Sequence[Ref], removed: NDArray[np.int64]
) -> tuple[list[Ref], list[Ref]]:
    """Return all that was added and is left as one addition, or as none."""
    joined = join(store, rows, removed)
    ids = Rows(store.path(joined)).ids()
    return ([joined], [join_codes(store, codes, ids)]) if len(ids) else ([], [])

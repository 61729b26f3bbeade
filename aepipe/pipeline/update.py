"""A release, and items that it has not -> rows, codes and items of theirs, and a release with them.

They are decoded and encoded as those that it has; nothing is learned. How it is published is
:mod:`aepipe.pipeline.update`.
"""

# (from change.py) A release, and rows that have come or gone -> a release of the same parts, and of what has changed.
# (from change.py)
# (from change.py) Nothing is learned and nothing is built: added rows have segments of their own (rows, codes, items), and one of
# (from change.py) ``changes`` holds ``index/``, what :class:`aepipe.index.hamming.DeltaIndex` keeps beside an index, and ``removed.npy``, the
# (from change.py) ids of all rows that were removed. So it takes as long as the changes are large, and not the collection. Where there
# (from change.py) are :data:`MOST` additions, they become one; :mod:`aepipe.pipeline.compact` folds everything into a new build.

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aepipe import recipe, sources
from aepipe.errors import QueryError, SourceError
from aepipe.index.hamming import DeltaIndex
from aepipe.log import step
from aepipe.pipeline.compact import join_codes, merge_codes
from aepipe.pipeline.encode import encode
from aepipe.pipeline.ingest import check_bad, quarantine_file
from aepipe.pipeline.publish import items
from aepipe.recipe import Recipe
from aepipe.release import lifecycle
from aepipe.release import query as queries
from aepipe.release.release import Release
from aepipe.sources.files import ANCHOR
from aepipe.sources.item import Item, Source
from aepipe.sources.loader import read_all
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, digest_of
from aepipe.store.rows import Rejected, Row, Rows, RowsWriter
from aepipe.store.segments import CodeSegments, Items

CHANGE_VERSION = 1
CHANGE_STAGE = "change"
MOST = 16
"""Additions that lie side by side: a query looks an id up in each."""


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
    return publish_changes(store, release, without(release, ids), np.union1d(release.removed, ids), [])


def without(release: Release, ids: NDArray[np.int64]) -> DeltaIndex:
    """Return the release's index without some rows; those that the recipe left out of it are not in it anyway."""
    index = release.index
    updated = index if isinstance(index, DeltaIndex) else DeltaIndex(index)
    return updated.remove(ids[updated.holds(ids)])


def publish_changes(
    store: Store,
    release: Release,
    index: DeltaIndex,
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
    manifest = release.manifest
    rows = [*manifest.more_rows, *(one for one, _ in added)]
    codes = [*manifest.added_codes, *(one for _, one in added)]
    if len(rows) > MOST:
        rows, codes = _joined(store, rows, codes, removed)
        removed = removed[Items(release.folder("items")).places(removed)[1]]
    changed = replace(
        manifest,
        n_rows=len(index),
        codes=(*manifest.base_codes, *codes),
        more_items=tuple(items(store, one, release.items.root) for one in rows),
        more_rows=tuple(rows),
        changes=_write_changes(store, release, index, removed, rows),
    )
    given = [Rows(store.path(one)).next_id for one in [release.part("rows"), *rows]]
    given.append(store.manifest(release.ref).facts.get("next_id", 0))
    with store.draft("release") as draft:
        changed.write(draft.path)
        return draft.finish({"stage": CHANGE_STAGE, **changed.to_json()}, changed.facts | {"next_id": max(given)})


def _write_changes(
    store: Store, release: Release, index: DeltaIndex, removed: NDArray[np.int64], rows: Sequence[Ref]
) -> Ref:
    """Write the changes of an index since it was built, and the ids of removed rows."""
    inputs = {
        "stage": CHANGE_STAGE,
        "version": CHANGE_VERSION,
        "release": str(release.ref),
        "removed": digest_of(removed.tolist()),
        "rows": [str(one) for one in rows],
    }
    facts = {"fingerprint": release.fingerprint, "n_bits": release.n_bits, "rows": len(index)}
    with store.draft("segment") as draft:
        (draft.path / layout.Changes.INDEX).mkdir()
        index.save_changes(draft.path / layout.Changes.INDEX)
        np.save(draft.path / layout.Changes.REMOVED, removed)
        counts = {"added": len(index.delta or ()), "removed": len(index.removed)}
        return draft.finish(inputs, {"kind": "changes", **facts, **counts})


def _joined(
    store: Store, rows: Sequence[Ref], codes: Sequence[Ref], removed: NDArray[np.int64]
) -> tuple[list[Ref], list[Ref]]:
    """Return all that was added and is left as one addition, or as none."""
    joined = merge_codes(store, rows, removed)
    ids = Rows(store.path(joined)).ids()
    return ([joined], [join_codes(store, codes, ids)]) if len(ids) else ([], [])


ADD_VERSION = 1
ADD_STAGE = "add"
NONE = (-1, b"")
"""Id and sha256 of a row that is not there."""
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
    first_id = max(lifecycle.next_id(store, release.name), base.next_id)
    with store.draft("rows") as draft:
        coming = NewItems(release, sources, base.own_schema, replace=replace)
        with RowsWriter(draft.path, shape=base.shape, columns=base.own_schema, dtype=base.dtype.name) as writer:
            for row in coming.rows(first_id):
                writer.append(row)
            check_bad(sources[0], coming.bad, coming.seen, quarantine_file(store, f"{release.name}-added", coming.bad))
            writer.close(source=coming.digest, next_id=first_id + coming.taken, rejected=coming.bad)
        if not coming.taken:
            return Added(release.ref, 0, 0, coming.unchanged, tuple(coming.bad))
        inputs = {"stage": ADD_STAGE, "version": ADD_VERSION, "release": str(release.ref), "source": coming.digest}
        inputs |= {"features": store.manifest(release.part("rows")).inputs.get("features")}
        written = draft.finish(inputs, {**Rows(draft.path).facts, "location": str(release.items.root)})
    codes = encode(store, release.part("encoder"), written, embedding=release.segments.width is not None)
    ids = Rows(store.path(written)).ids()
    old = np.array(coming.replaced, np.int64)
    index = without(release, old).add(CodeSegments.open(store, [codes]).of(ids), ids)
    ref = publish_changes(store, release, index, np.union1d(release.removed, old), [(written, codes)])
    return Added(ref, coming.taken - len(old), len(old), coming.unchanged, tuple(coming.bad))


class NewItems:
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
        known, decode, given = self._known(), queries.decoder(self._release), set[str]()

        def find(key: str, sha256: bytes) -> int:
            old, digest = known.get(key, NONE)
            return old if digest == sha256 else -1

        found = ((source, one) for source in self._sources for one in read_all(source, find, decode))
        for source, outcome in found:
            item = outcome.item
            if outcome.reason is not None or item.key in given:
                self.bad.append(Rejected(item.key, item.place, outcome.reason or "duplicate key"))
                continue
            given.add(item.key)
            self.seen += 1
            if outcome.features is None:
                self.unchanged += 1
                continue
            old, _ = known.get(item.key, NONE)
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
                step("add", self.taken, None)
        step("add", self.taken, self.taken)

    def _known(self) -> dict[str, tuple[int, bytes]]:
        """Return the id and the sha256 of those keys that the release has."""
        keys = (item.key for source in self._sources for item in source.items())
        there = ((key, self._release.items.find(key)) for key in keys)
        ids = {key: found for key, found in there if found is not None}
        if not ids:
            return {}
        digests = _digests(self._release, list(ids.values()))
        return {key: (found, digests[found]) for key, found in ids.items()}

    def _place(self, source: Source, item: Item) -> str:
        """Return where the bytes are: relative to the collection's folder, or, elsewhere, from the root of all."""
        here = source.location
        return item.place if here == self._release.items.root else str(here / item.place)

    def _check_replaced(self, item: Item) -> None:
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
    import pyarrow.dataset as ds  # brings pandas along, a fifth of a second

    files = [str(file) for folder in release.folders("rows") for file in sorted(folder.glob(layout.Rows.PARTS))]
    wanted = ds.field("id").isin(pa.array(ids, pa.int64()))
    found = ds.dataset(files).to_table(columns=["id", "sha256"], filter=wanted)
    return dict(zip(found.column("id").to_pylist(), found.column("sha256").to_pylist(), strict=True))

"""Add rows to a release and remove rows from it, without training or a new index.

Both give a new release. Added rows are decoded and encoded like those that the release holds. They get segments of
their own: rows, codes and items. A segment of changes holds the additions of
:class:`aepipe.index.hamming.DeltaIndex` to an index, and the ids of all removed rows. So an update takes time in
proportion to the change, not to the collection. :data:`MOST` additions are merged into one, and
:mod:`aepipe.pipeline.compact` builds everything again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aepipe import recipe, sources
from aepipe.errors import QueryError, SourceError
from aepipe.index.hamming import DeltaIndex, RowIndex
from aepipe.index.remote import RemoteShards
from aepipe.index.shards import Shards
from aepipe.log import step
from aepipe.pipeline.compact import merge_codes, merge_tables
from aepipe.pipeline.encode import encode
from aepipe.pipeline.intake import check_bad, lying_in, quarantine_file
from aepipe.pipeline.publish import write_items
from aepipe.recipe import Recipe
from aepipe.release import lifecycle
from aepipe.release import query as queries
from aepipe.release.origin import FACT, recipe_file_of
from aepipe.release.release import Release
from aepipe.sources.files import ANCHOR
from aepipe.sources.item import Item, Source
from aepipe.sources.loader import Outcome, read_all
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, digest_of
from aepipe.store.rows import Rejected, Row, Rows
from aepipe.store.rows_writer import RowsWriter
from aepipe.store.segments import CodeSegments, Items

ADD_STAGE, ADD_VERSION = "add", 1
CHANGE_STAGE, CHANGE_VERSION = "change", 1
MOST = 16
"""Additions kept side by side; a query looks an id up in each of them."""
SPLIT = "train"
"""Split of every added row: it is there to be found, not to measure with."""
UNKNOWN = (-1, b"")
"""Id and sha256 of a row that the release does not hold."""
REPORT_EVERY = 1000
"""Rows between two reports of progress."""
ChangedIndex: TypeAlias = DeltaIndex | Shards


@dataclass(frozen=True, slots=True)
class Added:
    """Result of adding items.

    Attributes:
        release: holds the items; the release before, where nothing was new.
        new: rows whose key is new.
        replaced: rows whose key was known with other bytes.
        unchanged: items that the release held already.
        bad: items that could not be read.
        passed_over: facts of the files that hold no items, as :class:`aepipe.sources.passed_over.PassedOver` has them.
    """

    release: Ref
    new: int
    replaced: int
    unchanged: int
    bad: tuple[Rejected, ...]
    passed_over: tuple[dict[str, Any], ...] = ()

    def summary(self) -> str:
        """Return the counts in a line: ``3 rows added, 1 there already``."""
        parts = [
            f"{lifecycle.row_count(self.new)} added" if self.new or not self.replaced else "",
            f"{self.replaced:,} replaced" if self.replaced else "",
            f"{self.unchanged:,} there already" if self.unchanged else "",
            f"{len(self.bad):,} unreadable" if self.bad else "",
        ]
        return ", ".join(filter(None, parts))


def sources_of(release: Release, paths: Sequence[str]) -> list[Source]:
    """Return one source for each path; it reads items as those of the release were read.

    Args:
        release: its recipe says how items are read.
        paths: files, folders, globs or addresses. Inside the collection's own folder, keys are those that the
            collection itself would give; elsewhere they are relative to the path's own folder.

    Raises:
        SourceError: there is nothing of that kind.
        RecipeError: this version does not understand the release's recipe.
    """
    read = recipe.parse(release.recipe, Path(f"the recipe of release {release.ref.short}"))
    return [sources.resolve(_with_path(read, _anchored(release, path), release)) for path in paths]


def add(store: Store, release: Release, sources: Sequence[Source], *, replace: bool = False) -> Added:
    """Add the items of some sources to a release.

    Args:
        store: where artifacts are read and written.
        release: in service.
        sources: of the release's own kind; their items get the split ``train``.
        replace: items whose key is known with other bytes take the place of those rows, under new ids.

    Raises:
        QueryError: a key is known with other bytes.
        SourceError: more items are unreadable than the source allows, or they have columns that the release lacks.
        FingerprintError: this version decodes items in another way than the release's encoder expects.
        FullError: the disk is full.
    """
    base = Rows(release.folders("rows")[0])
    # Releases that were rolled back have given ids too.
    first_id = max(lifecycle.next_id(store, release.name), base.next_id)
    with store.draft("rows") as draft:
        new = NewItems(release, sources, base.own_schema, replace=replace)
        with RowsWriter(draft.path, shape=base.shape, columns=base.own_schema, dtype=base.dtype.name) as writer:
            for row in new.rows(first_id):
                writer.append(row)
            # All sources have the release's own options, so the first one's limit holds for all.
            check_bad(sources[0], new.bad, new.seen, quarantine_file(store, f"{release.name}-added", new.bad))
            writer.close(source=new.digest, next_id=first_id + new.taken, rejected=new.bad)
        passed_over = tuple(fact for source in sources for fact in source.passed_over.facts())
        if not new.taken:
            return Added(release.ref, 0, 0, new.unchanged, tuple(new.bad), passed_over)
        inputs = {"stage": ADD_STAGE, "version": ADD_VERSION, "release": str(release.ref), "source": new.digest}
        inputs |= {"features": store.manifest(release.part("rows")).inputs.get("features")}
        written = draft.finish(inputs, Rows(draft.path).facts | _lying_in(release, sources))
    ref = _publish_added(store, release, written, np.array(new.replaced, np.int64))
    counts = new.taken - len(new.replaced), len(new.replaced), new.unchanged
    return Added(ref, *counts, tuple(new.bad), passed_over)


def _lying_in(release: Release, sources: Sequence[Source]) -> dict[str, Any]:
    """Return where added items lie: those of another folder have whole paths."""
    more = (root for source in sources for root in (source.location, *source.roots))
    return lying_in(release.items.root, [*release.items.roots, *more])


def remove(store: Store, release: Release, ids: NDArray[np.int64]) -> Ref:
    """Remove rows from a release, and return the release without them.

    The bytes of the rows leave the store once the release is compacted and the releases before that are gone.

    Args:
        store: where artifacts are read and written.
        release: in service.
        ids: int64[n] of rows.

    Raises:
        QueryError: there is no such row, no row is named, or none would be left.
    """
    ids = np.unique(np.asarray(ids, np.int64))
    if not len(ids):
        raise QueryError("nothing is removed: no row is named")
    release.items.check(ids)
    if len(ids) == len(release):
        raise QueryError(f"{release.name}: these are all of its {len(ids):,} rows, and a collection needs some")
    return publish_changes(store, release, without(release, ids), np.union1d(release.removed, ids), [])


def without(release: Release, ids: NDArray[np.int64]) -> ChangedIndex:
    """Return the release's index without some rows; rows outside the index are ignored."""
    index = release.index
    assert not isinstance(index, RemoteShards), "a release is changed where its index is"
    updated = DeltaIndex(index) if isinstance(index, RowIndex) else index
    return updated.remove(ids[updated.holds(ids)])


def publish_changes(
    store: Store,
    release: Release,
    index: ChangedIndex,
    removed: NDArray[np.int64],
    added: Sequence[tuple[Ref, Ref]],
) -> Ref:
    """Publish a release that has changed.

    Args:
        store: where artifacts are read and written.
        release: before the change.
        index: after the change.
        removed: ids of all rows removed since the release was built.
        added: rows and codes of each addition.
    """
    manifest = release.manifest
    rows = [*manifest.more_rows, *(one for one, _ in added)]
    codes = [*manifest.added_codes, *(one for _, one in added)]
    if len(rows) > MOST:
        rows, codes = _merge_additions(store, rows, codes, removed)
        # Removed rows of the additions are gone with the merge; only ids of the base are still needed.
        base = release.folders("items")[: len(manifest.items)]
        removed = removed[np.any([Items(one).places(removed)[1] for one in base], axis=0)]
    changed = replace(
        manifest,
        n_rows=len(index),
        codes=(*manifest.base_codes, *codes),
        more_items=tuple(write_items(store, one, release.items.root) for one in rows),
        more_rows=tuple(rows),
        changes=_write_changes(store, release, index, removed, rows),
    )
    # The last addition may be gone with its rows, but its ids stay given.
    given = [Rows(store.path(one)).next_id for one in [release.part("rows"), *rows]]
    given.append(store.manifest(release.ref).facts.get("next_id", 0))
    with store.draft("release") as draft:
        changed.write(draft.path)
        facts = {"next_id": max(given), FACT: recipe_file_of(store, release.ref)}
        return draft.finish({"stage": CHANGE_STAGE, **changed.to_json()}, changed.facts | facts)


def _publish_added(store: Store, release: Release, rows: Ref, replaced: NDArray[np.int64]) -> Ref:
    """Encode added rows, and publish a release with them and without the rows that they replace."""
    codes = encode(store, release.part("encoder"), rows, embedding=release.segments.width is not None)
    ids = Rows(store.path(rows)).ids()
    index = without(release, replaced).add(CodeSegments.open(store, [codes]).of(ids), ids)
    return publish_changes(store, release, index, np.union1d(release.removed, replaced), [(rows, codes)])


def _write_changes(
    store: Store, release: Release, index: ChangedIndex, removed: NDArray[np.int64], rows: Sequence[Ref]
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
        return draft.finish(inputs, {"kind": "changes", **facts, **index.changes})


def _merge_additions(
    store: Store, rows: Sequence[Ref], codes: Sequence[Ref], removed: NDArray[np.int64]
) -> tuple[list[Ref], list[Ref]]:
    """Merge all additions into one, without removed rows; none is left where all were removed."""
    merged = merge_tables(store, rows, removed)
    ids = Rows(store.path(merged)).ids()
    return ([merged], [merge_codes(store, codes, ids)]) if len(ids) else ([], [])


class NewItems:
    """Items to be added, compared one by one with the rows of the release.

    Attributes:
        bad: items that could not be read.
        seen: number of items that could be read.
        unchanged: number of those that the release holds already.
        taken: number of rows given so far.
        replaced: ids of the rows that are replaced.
    """

    def __init__(self, release: Release, sources: Sequence[Source], columns: pa.Schema, *, replace: bool) -> None:
        self._release = release
        self._sources = sources
        self._columns = columns
        self._replace = replace
        self._entries = hashlib.sha256()
        # Before anything is read: a wrong column should not fail after an hour.
        for source in sources:
            source.keep_types(columns)
            self._check_columns(source)
        self.bad: list[Rejected] = []
        self.replaced: list[int] = []
        self.seen = self.unchanged = self.taken = 0

    @property
    def digest(self) -> str:
        """Digest of keys, bytes, labels and columns of the rows given so far."""
        return self._entries.hexdigest()

    def rows(self, first_id: int) -> Iterator[Row]:
        """Give the new rows, with ids in ascending order.

        Raises:
            QueryError: a key is known with other bytes, and may not be replaced.
        """
        known, decode, given = self._known(), queries.decoder(self._release), set[str]()

        def find(key: str, sha256: bytes) -> int:
            old, digest = known.get(key, UNKNOWN)
            return old if digest == sha256 else -1

        found = ((source, one) for source in self._sources for one in read_all(source, find, decode))
        for source, outcome in found:
            item = outcome.item
            if outcome.reason is not None and outcome.empty:
                source.passed_over.add(item.key, outcome.reason)
                continue
            if outcome.reason is not None or item.key in given:
                self.bad.append(Rejected(item.key, item.place, outcome.reason or "duplicate key"))
                continue
            given.add(item.key)
            self.seen += 1
            if outcome.features is None:
                self.unchanged += 1
                continue
            self._note_replaced(item, known.get(item.key, UNKNOWN)[0])
            yield self._row(source, outcome, outcome.features, first_id + self.taken)
            if self.taken % REPORT_EVERY == 0:
                step("add", self.taken, None)
        step("add", self.taken, self.taken)

    def _row(self, source: Source, outcome: Outcome, features: NDArray[np.generic], row_id: int) -> Row:
        """Return one new row, and count it."""
        item = outcome.item
        columns = {name: item.columns.get(name) for name in self._columns.names}
        entry = [item.key, outcome.sha256.hex(), item.label, columns]
        self._entries.update(json.dumps(entry, default=str).encode())
        self.taken += 1
        return Row(row_id, item.key, outcome.sha256, self._place(source, item), SPLIT, features, item.label, columns)

    def _known(self) -> dict[str, tuple[int, bytes]]:
        """Return id and sha256 of the keys that the release holds, by key."""
        keys = (item.key for source in self._sources for item in source.items())
        there = ((key, self._release.items.find(key)) for key in keys)
        ids = {key: found for key, found in there if found is not None}
        if not ids:
            return {}
        digests = _digests(self._release, list(ids.values()))
        return {key: (found, digests[found]) for key, found in ids.items()}

    def _place(self, source: Source, item: Item) -> str:
        # Relative to the collection's folder where that works; otherwise a full path.
        here = source.location
        return item.place if here == self._release.items.root else str(here / item.place)

    def _note_replaced(self, item: Item, old: int) -> None:
        """Note the row that an item replaces, if there is one.

        Raises:
            QueryError: there is one, and it may not be replaced.
        """
        if old < 0:
            return
        if not self._replace:
            raise QueryError(
                f"{item.key}: {self._release.name} has that key with other bytes; --replace puts this one in its place"
            )
        self.replaced.append(old)

    def _check_columns(self, source: Source) -> None:
        """Check that the release has every column of a source, with the same type.

        Whole numbers may go into a column of floats, and empty columns into any.

        Raises:
            SourceError: a column is missing or has another type.
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
    """Return a path inside the collection's folder so that keys start at that folder."""
    if "://" in path:
        return path
    root, whole = release.items.root, Path(os.path.abspath(Path(path).expanduser()))
    return f"{root}{ANCHOR}{whole.relative_to(root)}" if whole.is_relative_to(root) else str(whole)


def _with_path(read: Recipe, path: str, release: Release) -> Recipe:
    # Roots of a recipe are relative to its file, of which a release knows no more than where they led.
    roots = [str(root) for root in release.items.roots if root.is_dir()]
    options = {**read.source.options, "path": path, "root": roots}
    return read.model_copy(update={"source": read.source.model_copy(update={"options": options})})


def _digests(release: Release, ids: Sequence[int]) -> Mapping[int, bytes]:
    """Return the sha256 of some rows, by id."""
    wanted, found = np.asarray(ids, np.int64), dict[int, bytes]()
    for folder in release.folders("rows"):
        found |= Rows(folder).digests_of(wanted)
    return found

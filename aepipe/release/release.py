"""A release opened for queries.

::

    release/<digest>/release.json   refs of the parts below, the fingerprint, the resolved recipe; nothing else
    model/<digest>/                 the encoder
    segment/<digest>/               codes, items, index (one or more of each; an index of several is in shards), scores
    segment/<digest>/               changes: the index of additions and ``removed.npy``, the ids of removed rows; only
                                    where rows were added or removed since the release was built
    words/<digest>/                 what answers questions in words; only where the recipe names it
    rows/<digest>/                  the rows (one or more)

Opening checks that every part is there at its full length and belongs to the others, and reads none of them: files are
mapped, and the encoder and the index are opened when they are first used.
:mod:`aepipe.release.prefix` looks at a release by the first bits only.

Legend: N rows, Q queries, k neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe import words
from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import Decoder, Encoder, why_lost
from aepipe.errors import CorruptError, FingerprintError, ItemError
from aepipe.evaluate.calibration import Confidence
from aepipe.index import shards
from aepipe.index.hits import Hits, RaggedHits
from aepipe.index.remote import Index
from aepipe.release.manifest import ReleaseManifest, opened_part
from aepipe.store import layout, registry
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import REMEDY, mapped
from aepipe.store.item_segments import ItemSegments
from aepipe.store.segments import CodeSegments, Items, Row, ids_of
from aepipe.words import Words


class Release:
    """One generation of a collection: immutable, also while another goes into service.

    Attributes:
        name: in service.
        store: that holds it.
        ref: its own place in the store.
        manifest: everything that it refers to.
        fingerprint: of its encoder; all of its codes carry it.
        n_bits: bits of a code.
        recipe: the resolved recipe that it was made from.
        parts: the name and the ref of every part.

    Args:
        store: that holds it.
        ref: its place in the store.
        manifest: read from there.
        without: shards of the index that are not needed, and need not be there.
    """

    def __init__(self, store: Store, ref: Ref, manifest: ReleaseManifest, *, without: Sequence[int] = ()) -> None:
        self.ref = ref
        self.manifest = manifest
        self.name = manifest.name
        self.fingerprint = manifest.fingerprint
        self.n_bits = manifest.n_bits
        self.recipe = manifest.recipe
        self.parts = manifest.parts
        self.store = store
        needless = {manifest.index[number] for number in without}
        needed = [part for what, part in self.parts if what != "rows" and part not in needless]
        self._opened = {part: opened_part(store, ref, part) for part in needed}

    @classmethod
    def open(cls, store: Store, name: str | None = None, *, ref: Ref | None = None) -> Release:
        """Open the release in service under a name, or a given one.

        Args:
            store: where it lies.
            name: of the collection; needed where several are in service.
            ref: a release that need not be in service; ``name`` is then ignored.

        Raises:
            NotFoundError: nothing is in service under that name, or there is no such release.
            CorruptError: a part is missing or has another length than its manifest says.
            FingerprintError: codes or index were made by another encoder than the release's.
        """
        ref = ref or registry.resolve(store, name)[1]
        release = cls(store, ref, ReleaseManifest.read(store, ref))
        release._check_fingerprints()
        return release

    @cached_property
    def encoder(self) -> Encoder:
        """The frozen encoder.

        Raises:
            CorruptError: it cannot be read.
            FingerprintError: it is not the encoder that made the codes.
        """
        encoder = Encoder.open(self.folder("encoder"))
        self._check_fingerprint("encoder", encoder.fingerprint)
        return encoder

    @cached_property
    def words(self) -> Words | None:
        """What answers questions in words; None where the recipe names nothing.

        Raises:
            CorruptError: it cannot be read.
            ExtraError: a package is not installed.
        """
        return words.opened(self.folder("words")) if self.all_parts("words") else None

    @cached_property
    def decoder(self) -> Decoder | None:
        """The decoder, from codes back to items; None in releases made before encoders kept one.

        Raises:
            CorruptError: it cannot be read.
        """
        return Decoder.open(self.folder("encoder"))

    @cached_property
    def index(self) -> Index:
        """The index, or its shards, with the changes since it was built, mapped.

        Raises:
            CorruptError: it cannot be read.
        """
        changes = self._changes / layout.Changes.INDEX if self._changes else None
        return shards.open(self.folders("index"), changes)

    @cached_property
    def items(self) -> ItemSegments:
        """Keys and columns, mapped."""
        held = [self._opened[part] for part in self.all_parts("items")]
        return ItemSegments([Items(folder, made.facts) for folder, made in held], self.removed)

    @cached_property
    def segments(self) -> CodeSegments:
        """The codes, and the embeddings where they are kept, mapped."""
        return CodeSegments(self.folders("codes"), self.n_bits, self.fingerprint)

    @cached_property
    def removed(self) -> NDArray[np.int64]:
        """Ids of the rows removed since the release was built, int64[n], ascending."""
        if self._changes is None:
            return np.zeros(0, np.int64)
        return mapped(self._changes / layout.Changes.REMOVED)

    @cached_property
    def scores(self) -> dict[str, Any]:
        """The scores, as :meth:`aepipe.evaluate.scores.Scores.to_dict` gives them."""
        file = self.folder("scores") / layout.Scores.SCORES
        try:
            found: dict[str, Any] = json.loads(file.read_bytes())
        except ValueError as error:
            raise CorruptError(f"{file}: corrupt: {error}; {REMEDY}") from None
        return found

    @cached_property
    def confidence(self) -> Confidence | None:
        """What distances and cosines are worth; None where that was not measured for these bits."""
        return Confidence.of(self.name, self.scores, self.n_bits)

    @cached_property
    def space(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """The arrays of :class:`aepipe.evaluate.strangers.Space`; None where there are none."""
        files = [self.folder("scores") / name for name in (layout.Scores.SPACE, layout.Scores.SEEN)]
        return (mapped(files[0]), mapped(files[1])) if all(file.exists() for file in files) else None

    def part(self, what: str) -> Ref:
        """Return the first part of a kind, such as ``encoder``, ``index`` or ``rows``."""
        return self.all_parts(what)[0]

    def all_parts(self, what: str) -> list[Ref]:
        """Return the parts of a kind, oldest first: several of ``codes``, ``items``, ``rows``."""
        return [ref for name, ref in self.parts if name == what]

    def folder(self, what: str) -> Path:
        """Return the folder of the first part of a kind; not of ``rows``."""
        return self._opened[self.part(what)][0]

    def folders(self, what: str) -> list[Path]:
        """Return the folders of all parts of a kind, oldest first.

        Raises:
            CorruptError: rows are missing.
        """
        if what == "rows":
            return [opened_part(self.store, self.ref, part)[0] for part in self.all_parts(what)]
        return [self._opened[part][0] for part in self.all_parts(what)]

    @property
    def whole(self) -> Release:
        """The release with all bits of its codes: itself, unless it is a prefix of another."""
        return self

    @property
    def changed(self) -> bool:
        """Whether rows were added or removed since the release was built."""
        return bool(self.all_parts("changes"))

    @property
    def columns(self) -> Sequence[str]:
        """Names of the source's own columns."""
        return self.items.columns

    def path_of(self, place: str) -> str | None:
        """Return the file at a row's place.

        None where its original is no file of its own, is gone, or lies outside.
        """
        from aepipe.sources import file_at

        return file_at(self.items.root, place, self.items.roots)

    def __len__(self) -> int:
        return len(self.items)

    def encode(self, items: NDArray[np.generic], *, threads: int = 1) -> BitCodes:
        """Return the codes of decoded items, [Q, *shape] of the type of the encoder.

        Raises:
            ItemError: one has no code.
        """
        found = self.encoder.encode(items, threads=threads)
        if (lost := found.lost()).any():
            first = int(np.flatnonzero(lost)[0])
            raise ItemError(f"item {first}", why_lost(items[first]))
        return found.codes

    def query(
        self,
        what: BitCodes | NDArray[np.uint8],
        k: int,
        *,
        where: NDArray[np.int64] | None = None,
        threads: int = 1,
    ) -> Hits:
        """Return the k nearest rows of each query, ordered by (distance, id).

        Args:
            what: Q codes, or decoded items uint8[Q, *shape].
            k: at least 1.
            where: ids that may be found; None for all.
            threads: that share the queries.

        Raises:
            FingerprintError: another encoder made the codes.
            CodeError: codes of another length.
            QueryError: k is less than 1.
        """
        return self.index.search(self._codes(what, threads), k, where, threads=threads)

    def within(
        self,
        what: BitCodes | NDArray[np.uint8],
        radius: int,
        *,
        where: NDArray[np.int64] | None = None,
        threads: int = 1,
    ) -> RaggedHits:
        """Return every row within a radius of each query, ordered by (distance, id).

        Args:
            what: as for :meth:`query`.
            radius: in bits.
            where: ids that may be found; None for all.
            threads: that share the queries.

        Raises:
            FingerprintError: another encoder made the codes.
            CodeError: codes of another length.
            QueryError: the radius is negative.
        """
        return self.index.within(self._codes(what, threads), radius, where, threads=threads)

    def codes_of(self, ids: NDArray[np.int64] | Sequence[int]) -> BitCodes:
        """Return the stored codes of rows, in the order of the ids.

        Raises:
            QueryError: there is no such id.
            CorruptError: a row of the release has no code.
        """
        wanted = ids_of(ids)
        self.items.check(wanted)
        return self.segments.of(wanted)

    def describe(self, ids: NDArray[np.int64] | Sequence[int]) -> list[Row]:
        """Return rows by their ids, in the same order.

        Raises:
            QueryError: there is no such id.
        """
        return self.items.rows(ids)

    def id_of(self, key: str) -> int:
        """Return the id of a key.

        Raises:
            QueryError: there is no such key.
        """
        return self.items.id_of(key)

    @property
    def _changes(self) -> Path | None:
        return self.folder("changes") if self.changed else None

    def _codes(self, what: BitCodes | NDArray[np.uint8], threads: int) -> BitCodes:
        return what if isinstance(what, BitCodes) else self.encode(what, threads=threads)

    def _says(self) -> str:
        return f"release {self.name} ({self.ref.short}):"

    def _check_fingerprints(self) -> None:
        """Check by their manifests that codes and index were made by the encoder."""
        for what, part in self.parts:
            if what in {"codes", "index", "changes"} and part in self._opened:
                self._check_fingerprint(what, self._opened[part][1].facts["fingerprint"])

    def _check_fingerprint(self, what: str, found: str) -> None:
        if found != self.fingerprint:
            raise FingerprintError(
                f"{self._says()} its {what} bears the fingerprint {found[:12]} instead of {self.fingerprint[:12]}; "
                "go back with `aepipe rollback`, or make a new release with `aepipe run`"
            )

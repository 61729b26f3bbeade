"""A release with one shard only, and one whose shards are searched elsewhere.

Rows, codes, embeddings and the encoder are those of the whole release in either case: they are mapped from the store,
and take memory only where they are read. Only the index is a part, or is asked for.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import QueryError
from aepipe.index import asymmetric, hamming, shards
from aepipe.index.hamming import DeltaIndex, RowIndex
from aepipe.index.remote import Ask, Found, Gather, RemoteShards
from aepipe.index.shards import Shard
from aepipe.release.manifest import ReleaseManifest
from aepipe.release.release import Release
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store


class OneShard(Release):
    """A release that finds the rows of one of its shards.

    Attributes:
        shard: which one.
    """

    shard: Shard

    @classmethod
    def of(cls, store: Store, ref: Ref, shard: Shard) -> OneShard:
        """Open one shard of a release; see :meth:`Release.open`.

        Raises:
            QueryError: the release has another number of shards.
        """
        others = [number for number in range(shard.count) if number != shard.number]
        release = cls(store, ref, manifest_in_shards(store, ref, shard.count), without=others)
        release.shard = shard
        release._check_fingerprints()
        return release

    @cached_property
    def index(self) -> RowIndex | DeltaIndex:
        """The index of the shard, with its changes, mapped.

        Raises:
            CorruptError: it cannot be read.
        """
        base = hamming.open(self._opened[self.all_parts("index")[self.shard.number]][0])
        if self._changes is None:
            return base
        changes = self._changes / layout.Changes.INDEX
        if self.shard.count == 1:
            return DeltaIndex.open(base, changes)
        return shards.open_part(base, changes, self.shard.number)


class Gathered(Release):
    """A release whose shards are searched elsewhere, and their answers merged here."""

    _gather: Gather

    @classmethod
    def of(cls, store: Store, ref: Ref, gather: Gather, count: int) -> Gathered:
        """Open a release without its index; see :meth:`Release.open`.

        Args:
            store: where it lies.
            ref: the release.
            gather: asks the shards.
            count: S.

        Raises:
            QueryError: the release has another number of shards.
        """
        release = cls(store, ref, manifest_in_shards(store, ref, count), without=range(count))
        release._gather = gather
        release._check_fingerprints()
        return release

    @cached_property
    def index(self) -> RemoteShards:
        """What asks the shards."""
        of = self.name, self.ref.digest, self.n_bits, self.fingerprint
        return RemoteShards(self._gather, *of, rows=self.manifest.n_rows, count=self.manifest.n_shards)


def manifest_in_shards(store: Store, ref: Ref, count: int) -> ReleaseManifest:
    """Return the manifest of a release.

    Raises:
        QueryError: its index is not in this number of shards.
    """
    manifest = ReleaseManifest.read(store, ref)
    if manifest.n_shards != count:
        has = "1 shard" if manifest.n_shards == 1 else f"{manifest.n_shards:,} shards"
        raise QueryError(
            f"{manifest.name}: its index is in {has}, not {count:,}; with `[index] shards = {count}` in its recipe the "
            "next `aepipe run` makes as many"
        )
    return manifest


def answer(release: Release, ask: Ask) -> Found:
    """Answer a question to the shard that a release is.

    Args:
        release: seen through as many bits as the question has.
        ask: the question.

    Raises:
        QueryError: the question is for another shard, or neither for near rows nor for a radius.
    """
    own = getattr(release.whole, "shard", None)
    if str(own) != ask.shard:
        raise QueryError(f"this is shard {own}, and the question is for shard {ask.shard}")
    if ask.values is not None:
        ids, scores = asymmetric.scored(release.index, ask.values, max(1, ask.k), ask.where)
        return Found(ids, np.array([len(ids)], np.int64), scores=scores)
    assert ask.packed is not None, "a question has codes or floats"
    codes = BitCodes(ask.packed, release.n_bits, release.fingerprint)
    if ask.radius >= 0:
        return Found.of_hits(release.index.within(codes, ask.radius, ask.where))
    return Found.of_hits(release.index.search(codes, min(ask.k, max(1, len(release.index))), ask.where))

"""The collections that a service answers, each by its release in service.

Others are taken up while the service runs.

A release never changes, and one small file names the one in service. That file is read twice a second. Another release
is opened and asked once before it takes the place of the old one, in one step; a request keeps the release that it
began with. Where the new one cannot be opened, the old one goes on answering, and the service says so.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import AepipeError, ExtraError, NotFoundError, QueryError, StoreError
from aepipe.index.remote import RemoteShards
from aepipe.release import lifecycle, maps
from aepipe.release.maps import Map
from aepipe.release.prefix import Prefix
from aepipe.release.release import Release
from aepipe.release.shards import OneShard
from aepipe.serve.facets import Facet
from aepipe.serve.plans import Plan
from aepipe.serve.pool import Costs
from aepipe.serve.problems import GoneError
from aepipe.serve.requests import Options
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store

logger = logging.getLogger("aepipe.serve")

EVERY = 0.5
"""Seconds between two looks at what is in service."""
PINNED = 4
"""Releases that are kept open besides those in service."""
BLOCK = 1 << 16
"""Codes whose bits are counted at a time."""

Ids = NDArray[np.int64]
Opener: TypeAlias = Callable[[Store, Ref], Release]


class Served:
    """An open release, and figures that are worked out once for it.

    Args:
        release: that answers.
        store: with its map, if it has one.

    Attributes:
        release: that answers.
        digest: of it.
        costs: how long searches take.
        plans: how it answers, by the options of requests.
    """

    def __init__(self, release: Release, store: Store) -> None:
        self.release = release
        self._store = store
        self._map: Map | None = None
        self.digest = release.ref.digest
        self.costs = Costs()
        self.plans: dict[Options, Plan] = {}
        self._lock = threading.RLock()
        self._prefix: Release | None = None

    def warm(self) -> None:
        """Open every part, and ask once, so that no two threads do that at a time later.

        Raises:
            CorruptError: a part cannot be read.
        """
        release = self.release
        release.encoder, release.decoder, release.index, release.scores, release.segments.width  # noqa: B018
        with suppress(ExtraError):  # whoever asks in words is told
            release.words  # noqa: B018
        some = self.ids[:1]
        if len(some):
            release.describe(some)
            if not isinstance(release.index, RemoteShards):  # shards may start later than what asks them
                release.query(release.codes_of(some), 1)

    def seen_through(self, bits: int | None) -> Release:
        """Return the release seen through the first bits of its codes; all of them for None.

        Raises:
            QueryError: codes have fewer bits.
        """
        if bits is None or bits == self.release.n_bits:
            return self.release
        with self._lock:
            if self._prefix is None or self._prefix.n_bits != bits:
                self._prefix = Prefix(self.release, bits)
            return self._prefix

    @property
    def ids(self) -> Ids:
        """All ids, int64[N], ascending."""
        return self.release.items.ids

    @property
    def facets(self) -> dict[str, Facet]:
        """Which rows have which ``label``, and which ``split``."""
        with self._lock:
            return self._facets

    @cached_property
    def _facets(self) -> dict[str, Facet]:
        return {name: Facet(*self.release.items.values(name), self.ids) for name in ("label", "split")}

    @property
    def has_map(self) -> bool:
        """Whether a map of the release was made; it may be made while the service runs."""
        return self._map is not None or self._store.has(maps.ref_of(self.release.ref))

    @property
    def map(self) -> Map | None:
        """The map of the release; None where none was made.

        Raises:
            CorruptError: it cannot be read.
        """
        with self._lock:
            if self._map is None:
                self._map = maps.find(self._store, self.release.ref)
            return self._map

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share of rows that have each bit set, float64[K]."""
        with self._lock:
            return self._shares

    @cached_property
    def _shares(self) -> NDArray[np.float64]:
        counts = np.zeros(self.release.n_bits, np.int64)
        for start in range(0, len(self.ids), BLOCK):
            counts += self.release.codes_of(self.ids[start : start + BLOCK]).unpack().sum(axis=0, dtype=np.int64)
        return counts / max(1, len(self.ids))


class Catalog:
    """The collections of a store that are served, by name.

    Args:
        store: with the releases.
        names: of the collections; empty for all in service, also those to come.
        opener: opens a release as it is to be searched.
        count: without names, only releases with so many shards; None for any.

    Attributes:
        store: with the releases.
        taken_up: releases that were opened, by name.
        trouble: why the release in service under a name is not the one that answers.
    """

    def __init__(
        self, store: Store, names: Sequence[str] = (), opener: Opener | None = None, count: int | None = None
    ) -> None:
        self.store = store
        self._open: Opener = opener or _opened
        self._count = count
        self.taken_up: dict[str, int] = {}
        self.trouble: dict[str, str] = {}
        self._names = tuple(map(registry.tidy_name, names))
        self._served: dict[str, Served] = {}
        self._seen: list[str] | None = None
        self._failed: dict[str, str] = {}
        self._pinned: OrderedDict[str, Served] = OrderedDict()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="releases", daemon=True)

    def start(self) -> None:
        """Begin to open releases, and to watch for others, in a thread of its own."""
        self._watcher.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join()

    @property
    def names(self) -> list[str]:
        """The collections that can be asked."""
        return sorted(self._served)

    @property
    def missing(self) -> list[str]:
        """Names that should be served and are not open yet, as the last look saw them."""
        return sorted(set(self._wanted() if self._seen is None else self._seen) - set(self._served))

    @property
    def looked(self) -> bool:
        """Whether the store was looked at already, so that nobody waits for it to be."""
        return self._seen is not None

    def get(self, name: str) -> Served:
        """Return a collection's release in service.

        Raises:
            NotFoundError: nothing is in service under that name.
        """
        found = self._served.get(name) or self._served.get(registry.tidy_name(name))
        if found is None:
            raise NotFoundError(f"no collection {name!r} here; these are: {', '.join(self.names) or 'none yet'}")
        return found

    def pinned(self, name: str, digest: str | None) -> Served:
        """Return the release whose digest begins with a text; the one in service for None.

        Raises:
            NotFoundError: nothing is in service under that name.
            GoneError: there is no such release any more.
        """
        now = self.get(name)
        if digest is None or now.digest.startswith(digest):
            return now
        with self._lock:
            kept = next((one for one in self._pinned if one.startswith(digest)), None)
            if kept is not None and self._pinned[kept].release.name == now.release.name:
                self._pinned.move_to_end(kept)
                return self._pinned[kept]
            found = Served(self._found(now.release.name, digest, now), self.store)
            found.warm()
            self._pinned[found.digest] = found
            while len(self._pinned) > PINNED:
                self._pinned.popitem(last=False)
            return found

    def _found(self, name: str, digest: str, now: Served) -> Release:
        try:
            ref = lifecycle.find(self.store, digest, name)
        except (NotFoundError, QueryError):
            raise GoneError(f"{name}: the release {digest[:12]} is not here; in service is {now.digest}") from None
        return self._open(self.store, ref)

    def look(self) -> None:
        """Take up what has gone into service, and let go of what has left it."""
        try:
            wanted = self._wanted()
        except StoreError as error:
            logger.warning("%s", error)
            return
        self._seen = wanted
        for name in set(self._served) - set(wanted):
            del self._served[name]
            logger.info("%s: no longer in service", name)
        for name in wanted:
            self._look_at(name)

    def _look_at(self, name: str) -> None:
        """Take up the release in service under a name; where it cannot be opened, say why and keep the old one."""
        digest = ""
        try:
            ref = registry.current(self.store, name)
            if ref is None:
                return
            digest = ref.digest
            if self._failed.get(name) == digest:
                return
            now = self._served.get(name)
            if now is None or now.digest != digest:
                self._take_up(name, ref)
        except (AepipeError, OSError) as error:
            self._failed[name] = digest
            if self.trouble.get(name) != str(error):
                logger.error("%s: the release in service cannot be opened: %s", name, error)
            self.trouble[name] = str(error)
            return
        self._failed.pop(name, None)
        self.trouble.pop(name, None)

    def _take_up(self, name: str, ref: Ref) -> None:
        # A new store object, since one remembers the folders that it has read.
        store = self.store.fresh()
        served = Served(self._open(store, ref), store)
        served.warm()
        self._served[name] = served
        self.taken_up[name] = self.taken_up.get(name, 0) + 1
        logger.info("%s: release %s answers", name, ref.short)

    def _wanted(self) -> list[str]:
        known = registry.names(self.store)
        if self._names:
            return [name for name in known if name in self._names]
        return [name for name in known if name in self._served or self._fits(name)]

    def _fits(self, name: str) -> bool:
        """Whether the release in service under a name has the number of shards that are served.

        A damaged one is looked at, as all others are, so that it is said what is wrong with it.
        """
        try:
            ref = registry.current(self.store, name) if self._count else None
            return ref is None or self.store.manifest(ref).facts.get("shards", 1) == self._count
        except AepipeError:
            return True

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.look()
            # Whoever asks all shards has filters; a shard by itself builds them when it is asked for them.
            for one in [one for one in self._served.values() if not isinstance(one.release, OneShard)]:
                with suppress(AepipeError, OSError):  # whoever asks for them is told
                    one.facets  # noqa: B018  else the first page of a large collection waits for them
            self._stop.wait(max(EVERY, self.store.backend.pause))


def _opened(store: Store, ref: Ref) -> Release:
    release = Release.open(store, ref=ref)
    release.check_parts()  # it is asked for long, and for any row
    return release

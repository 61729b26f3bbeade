"""What all requests of one service share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from msgspec import UNSET, UnsetType

from aepipe.release.shards import Gathered, OneShard
from aepipe.serve.asking import Handles
from aepipe.serve.batches import Batches
from aepipe.serve.catalog import Catalog, Opener, Served
from aepipe.serve.conditions import Conditions
from aepipe.serve.jobs import Jobs
from aepipe.serve.links import Links
from aepipe.serve.metrics import Metrics
from aepipe.serve.pictures import Thumbnails
from aepipe.serve.pool import Pool
from aepipe.serve.problems import ForbiddenError
from aepipe.serve.settings import Settings
from aepipe.serve.tokens import Tokens
from aepipe.store.artifacts import Store

if TYPE_CHECKING:
    from starlette.requests import Request

    from aepipe.serve.guards import Passage

RELEASE_HEADER = "Aepipe-Release"
PICTURES = 2
"""Pictures that are decoded at a time: one of 50 million pixels takes 150 MB."""


@dataclass(slots=True)
class Service:
    """The state of a service.

    Attributes:
        settings: it was started with.
        catalog: its collections.
        tokens: of readers and writers; None where everybody may ask who reaches it.
        metrics: what was asked.
        conditions: rows that fit conditions.
        handles: uploads of the last minutes.
        thumbnails: small pictures.
        jobs: longer work.
        searches: threads that search.
        decoding: threads that decode.
        batches: questions that are answered together.
        links: to the services that search the shards; None where releases are searched here.
        opener: opens releases that are not searched here, or a shard of them only; None for whole ones.
        ending: the service is being stopped.
    """

    settings: Settings
    catalog: Catalog
    tokens: Tokens | None
    metrics: Metrics
    conditions: Conditions
    searches: Pool
    decoding: Pool
    batches: Batches
    handles: Handles
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    jobs: Jobs = field(default_factory=Jobs)
    links: Links | None = None
    opener: Opener | None = None
    ending: bool = False

    @classmethod
    def of(cls, store: Store, settings: Settings, tokens: Tokens | None, opener: Opener | None = None) -> Service:
        """Return the service of a store; nothing is opened yet.

        Args:
            store: with the collections.
            settings: of the service.
            tokens: of readers and writers; None where everybody may ask.
            opener: opens a release as it is to be searched; else as the settings say.
        """
        seconds, queue = settings.request_seconds, settings.queue
        searches, handles = Pool(settings.threads, queue, seconds), Handles()
        links = Links(settings.shards, (settings.threads + PICTURES + 1)) if settings.shards else None
        opener = opener or _opener(settings, links)
        return cls(
            settings,
            Catalog(store, settings.names, opener, settings.count),
            tokens,
            Metrics(),
            Conditions(settings.where_seconds),
            searches,
            Pool(PICTURES, max(64, queue), seconds, "pictures"),
            Batches(searches, handles),
            handles,
            links=links,
            opener=opener,
        )

    @property
    def shard(self) -> str | UnsetType:
        """The only shard that is searched here, as people write it; unset where all are."""
        return UNSET if self.settings.shard is None else str(self.settings.shard)

    @property
    def whole(self) -> bool:
        """Whether releases are searched here, and all of them."""
        return self.opener is None and not self.settings.partial

    def start(self) -> None:
        """Begin to open releases, and to watch shards that lie elsewhere."""
        if self.links:
            self.links.start()
        self.catalog.start()

    def close(self) -> None:
        """Let go of threads and releases."""
        if self.links:
            self.links.close()
        self.catalog.stop()
        self.jobs.close()
        self.searches.close()
        self.decoding.close()


def _opener(settings: Settings, links: Links | None) -> Opener | None:
    """Return what opens a release as the service searches it; None for a whole one that is searched here."""
    if links is not None:
        count = len(settings.shards)
        return lambda store, ref: Gathered.of(store, ref, links.gather, count)
    if (shard := settings.shard) is not None:
        return lambda store, ref: OneShard.of(store, ref, shard)
    return None


def service_of(request: Request) -> Service:
    """Return the service that answers a request."""
    return cast(Service, request.app.state.service)


def served(request: Request, release: str | None = None) -> Served:
    """Return the release that a request is for.

    Args:
        request: whose path names the collection.
        release: the beginning of a digest; None for the release in service.

    Raises:
        NotFoundError: nothing is in service under that name.
        GoneError: there is no such release any more.
    """
    return service_of(request).catalog.pinned(request.path_params["name"], release)


def named(one: Served) -> dict[str, str]:
    """Return the header that names the release of an answer."""
    return {RELEASE_HEADER: one.digest}


def check_writer(request: Request) -> None:
    """Check that whoever asks may change something.

    Raises:
        ForbiddenError: the service takes no changes, or not from this client.
    """
    passage = cast("Passage", request.scope["aepipe"])
    if not service_of(request).settings.write:
        raise ForbiddenError("this service takes no changes; it does when it is started with --write")
    if passage.role != "write":
        raise ForbiddenError("this token may only read")

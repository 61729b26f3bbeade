"""The shards behind a service: ways to those that search them, and a watch over these.

All shards are asked at the same time. One that does not answer is an error; where a request allows it, the answer is
made without it and says so. A shard is looked at five times a second: one that is silent is given up, with all requests
that wait for it, and asked again as soon as it answers.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import quote

from aepipe.client.wire import Wire
from aepipe.errors import NotFoundError, ServiceError
from aepipe.index.remote import Ask, Found
from aepipe.index.shards import Shard
from aepipe.serve.problems import SilentShardError

logger = logging.getLogger("aepipe.serve")

EVERY, PATIENCE = 0.2, 1.5
"""Seconds between two looks at a shard, and those in which it has to answer them."""
AGAIN = (0.05, 0.2, 0.7)
"""Seconds after which a shard is asked again that does not have the release yet."""
OCTETS = "application/octet-stream"
UNSEEN = "it has not been reached yet"

_missed: ContextVar[set[str] | None] = ContextVar("missed", default=None)
"""Shards without which an answer was made; None where it may be made of all only."""


@contextmanager
def tolerating(partial: bool) -> Iterator[set[str]]:
    """Collect the silent shards in a block; without ``partial``, a silent one is an error there."""
    missed: set[str] = set()
    token = _missed.set(missed if partial else None)
    try:
        yield missed
    finally:
        _missed.reset(token)


def settled(answers: Sequence[Found | None]) -> list[Found]:
    """Return the answers of all shards; of some, where :func:`tolerating` allows that.

    Args:
        answers: in the order of the shards; None of one that does not answer.

    Raises:
        SilentShardError: one does not answer, and that is not allowed; or none does.
    """
    found = [one for one in answers if one is not None]
    lost = [str(Shard(number, len(answers))) for number, one in enumerate(answers) if one is None]
    missed = _missed.get()
    if lost and (missed is None or not found):
        raise SilentShardError(
            f"shard {', '.join(lost)} does not answer; ask again, or with partial=true for an answer without it",
            headers={"Retry-After": "1"},
        )
    if missed is not None:
        missed.update(lost)
    return found


def shard_order(named: str) -> int:
    """Return the number in the name of a shard, to sort names by."""
    return int(named.partition("/")[0])


class Link:
    """The way to the service of one shard; as many connections as are needed at a time.

    Args:
        address: of the service.
        shard: that it has to be.
        token: of a reader; None where the service asks for none.

    Attributes:
        shard: that it has to be.
        trouble: why it cannot be asked; empty where it can.
    """

    def __init__(self, address: str, shard: Shard, token: str | None) -> None:
        self.shard = shard
        self.trouble = UNSEEN
        self._address = address
        self._token = token
        self._watching = Wire(address, token, PATIENCE)
        self._lock = threading.Lock()
        self._free: list[Wire] = []
        self._busy: set[Wire] = set()

    def ask(self, ask: Ask, name: str) -> Found:
        """Return the answer of the shard.

        Args:
            ask: the question.
            name: of the collection.

        Raises:
            SilentShardError: it does not answer, or does not have the release.
            AepipeError: it refuses the question.
        """
        body, path = ask.pack(), f"/v1/collections/{quote(name, safe='')}/shard"
        for wait in (*AGAIN, None):
            try:
                return Found.unpack(self._posted(path, body))
            except NotFoundError as error:  # it may be about to take the release up
                if wait is None:
                    raise self._silent(str(error)) from None
                time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def look(self) -> None:
        """Note whether the service answers, and is that of the shard."""
        try:
            told = self._watching.get_any("/readyz")
            said = told.get("shard") if isinstance(told, dict) else None
            trouble = "" if said == str(self.shard) else f"{self._address} is not the service of shard {self.shard}"
        except ServiceError as error:
            trouble = str(error)
        if trouble and self.trouble in {"", UNSEEN}:
            logger.warning("shard %s is silent: %s", self.shard, trouble)
        if self.trouble and not trouble:
            logger.info("shard %s answers", self.shard)
        self.trouble = trouble
        if trouble:
            self.give_up()

    def give_up(self) -> None:
        """End all requests that wait for the shard."""
        with self._lock:
            given_up, self._busy, self._free = [*self._busy], set(), []
        for wire in given_up:
            wire.give_up()

    def _posted(self, path: str, body: bytes) -> bytes:
        if self.trouble:
            raise self._silent(self.trouble)
        wire = self._taken()
        try:
            return wire.post_bytes(path, body, OCTETS)
        except ServiceError as error:
            if not self.trouble:
                self.look()
            raise self._silent(str(error)) from None
        finally:
            with self._lock:
                if wire in self._busy:
                    self._busy.remove(wire)
                    self._free.append(wire)

    def _taken(self) -> Wire:
        with self._lock:
            wire = self._free.pop() if self._free else Wire(self._address, self._token, reach=PATIENCE)
            self._busy.add(wire)
            return wire

    def _silent(self, why: str) -> SilentShardError:
        logger.debug("shard %s: %s", self.shard, why)
        return SilentShardError(f"shard {self.shard} does not answer", headers={"Retry-After": "1"})


def _found(asked: Future[Found]) -> Found | None:
    """Wait for the answer of a shard; None where it is silent."""
    try:
        return asked.result()
    except SilentShardError:
        return None


class Links:
    """The ways to all shards.

    Args:
        addresses: of their services, in the order of their numbers.
        at_once: questions that are asked at a time.

    Raises:
        QueryError: one is no address.
    """

    def __init__(self, addresses: Sequence[str], at_once: int) -> None:
        token, count = os.environ.get("AEPIPE_TOKEN"), len(addresses)
        self.all = [Link(one, Shard(number, count), token) for number, one in enumerate(addresses)]
        self._pool = ThreadPoolExecutor(at_once * count, "shard")
        self._stop = threading.Event()
        self._watchers = [threading.Thread(target=self._watch, args=(link,), daemon=True) for link in self.all]

    def start(self) -> None:
        """Begin to watch, a thread for each shard."""
        for watcher in self._watchers:
            watcher.start()

    def close(self) -> None:
        """Stop watching, and end all requests."""
        self._stop.set()
        for link in self.all:
            link.give_up()
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def silent(self) -> dict[str, str]:
        """Why shards cannot be asked, by their numbers as people write them."""
        return {str(link.shard): link.trouble for link in self.all if link.trouble}

    def gather(self, asks: Sequence[Ask], name: str) -> list[Found]:
        """Ask each shard its question, all at a time; see :data:`aepipe.index.remote.Gather`.

        Raises:
            SilentShardError: one does not answer, and that is not allowed; or none does.
            AepipeError: one refuses its question.
        """
        pairs = zip(self.all, asks, strict=True)
        asked = [self._pool.submit(link.ask, ask, name) for link, ask in pairs]
        return settled([_found(future) for future in asked])

    def _watch(self, link: Link) -> None:
        while not self._stop.is_set():
            link.look()
            self._stop.wait(EVERY)

"""Locks of collections on object storage: leases, which their holders renew.

A lease is politeness: it keeps two long runs of a collection from working in vain, and gc from what a run uses. Safety
does not hang on it, since whoever puts a release into service says which one it replaces. So a lease that was not
renewed for :data:`LEASE` seconds is taken over, and one of this machine at once where its process is gone: the lock of
a file tells that.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from aepipe.errors import StoreError
from aepipe.store import layout
from aepipe.store.backends.bucket import Bucket, ChangedError, Object
from aepipe.store.backends.locks import FileLock, began, signature

logger = logging.getLogger(__name__)

BEAT = 20.0
"""Seconds between two renewals."""
LEASE = 90.0
"""Seconds without a renewal after which the holder counts as dead."""
ASK = 1.0
"""Seconds between two questions whether a lease is free, at least."""
SKEW = 60.0
"""Seconds that the clocks of two machines may differ."""


class Lease:
    """The lease of a collection, opened and not taken yet.

    Args:
        bucket: of the store.
        name: of the collection.
        local: the lock among the processes of this machine.
        machine: tells the processes that share that lock from all others.
        taken: is called when it is ours.
        ended: is called when it is ours no more.
    """

    def __init__(
        self,
        bucket: Bucket,
        name: str,
        local: FileLock,
        machine: str,
        *,
        taken: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._taken, self._ended = taken, ended
        self._bucket, self._key = bucket, f"{layout.Root.LOCKS}/{name}"
        self._local, self._machine = local, machine
        self._lease, self._signature = secrets.token_hex(8), ""
        self._holder, self._asked = "", 0.0
        self._alone = False
        self._end = threading.Event()
        self._renewing: threading.Thread | None = None

    def taken(self) -> bool:
        """Take the lease if nobody has it; say whether this succeeded."""
        self._alone = self._alone or self._local.taken()
        if not self._alone or time.monotonic() - self._asked < ASK:
            return False
        self._asked = time.monotonic()
        self._signature = signature()
        if not self._take(self._written(0)):
            return False
        self._taken()
        self._renewing = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._renewing.start()
        return True

    def holder(self) -> str:
        """Return who holds it; empty where that is not known yet."""
        return self._holder if self._alone else self._local.holder()

    def sign(self, line: str) -> None:
        """Write who holds it for the other processes of this machine; the lease has it already."""
        self._local.sign(line)

    def release(self) -> None:
        """Let it go, if it is still ours."""
        self._ended()
        self._end.set()
        if self._renewing is not None:
            self._renewing.join(timeout=LEASE)
        with suppress(ChangedError, StoreError):
            self._own_stamp()
            self._bucket.delete(self._key)
        self._local.release()

    def close(self) -> None:
        """Let the other processes of this machine ask."""
        self._end.set()
        self._local.close()

    def _written(self, beat: int) -> bytes:
        about = {"holder": self._signature, "machine": self._machine, "lease": self._lease, "beat": beat}
        return json.dumps(about).encode()

    def _take(self, body: bytes) -> bool:
        try:
            self._bucket.create(self._key, body)
        except ChangedError:
            return self._take_over(body)
        return True

    def _take_over(self, body: bytes) -> bool:
        """Take the lease of a holder that is dead; say whether it was."""
        try:
            found = self._bucket.info(self._key)
            data = self._bucket.get(self._key)
        except FileNotFoundError:  # it was let go just now: the next question finds it free
            return False
        about = _read(data)
        self._holder = str(about.get("holder", "another process"))
        if about.get("machine") != self._machine and is_alive(found):
            return False
        try:
            self._bucket.swap(self._key, body, self._bucket.stamp_of(self._key, data))
        except ChangedError:
            return False
        return True

    def _own_stamp(self) -> str:
        """Return the stamp of the lease, whichever of its renewals has arrived.

        Raises:
            ChangedError: it is of another process, or gone.
        """
        # The stamp first: a lease that is taken over in between does not have it.
        found = self._bucket.info(self._key)
        with suppress(FileNotFoundError):
            if found is not None and _read(self._bucket.get(self._key)).get("lease") == self._lease:
                return found.stamp
        raise ChangedError(self._key)

    def _renew(self) -> None:
        for beat in count(1):
            if self._end.wait(BEAT):
                return
            try:
                self._bucket.swap(self._key, self._written(beat), self._own_stamp())
            except ChangedError:
                logger.warning("%s/%s: another process has taken over the lease", self._bucket.address, self._key)
                return
            except StoreError as error:  # the next renewal may succeed; nothing is lost until the lease ends
                logger.warning("%s", error)


def is_alive(found: Object | None) -> bool:
    """Say whether a lease was renewed lately."""
    return found is not None and time.time() - found.modified <= LEASE


def since(data: bytes) -> float:
    """Return when the holder of a lease began at the earliest, in seconds since 1970."""
    return max(0.0, began(str(_read(data).get("holder", ""))) - SKEW)


def _read(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

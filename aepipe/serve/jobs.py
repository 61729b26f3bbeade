"""Longer work: one piece at a time, in a thread of its own, its results kept."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from queue import Empty, Queue
from typing import Any

from aepipe.errors import AepipeError
from aepipe.log import LISTENER, Progress
from aepipe.serve.problems import OverloadedError

logger = logging.getLogger("aepipe.serve")

KEPT, WAITING = 16, 8
"""Results that are kept, and pieces of work that wait."""
SOON = 0.25
"""Seconds that a request waits for its work before it is told to come back."""


class Jobs:
    """Pieces of work and their results."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: OrderedDict[Hashable, Any] = OrderedDict()
        self._asked: dict[Hashable, threading.Event] = {}
        self._progress: dict[Hashable, Progress] = {}
        self._queue: Queue[tuple[Hashable, Callable[[], Any]] | None] = Queue()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def result(self, name: Hashable, work: Callable[[], Any], *, wait: float = SOON) -> Any:  # noqa: ANN401
        """Return the result of a piece of work; None while it is not done.

        Args:
            name: says what is asked, so that the same is done once.
            work: that is done in the thread, if it was not before.
            wait: seconds.

        Raises:
            OverloadedError: too much is waiting already.
            AepipeError: what the work raised.
        """
        with self._lock:
            if name in self._done:
                return self._taken(name)
            if name not in self._asked:
                if len(self._asked) >= WAITING:
                    raise OverloadedError(
                        "too much work is waiting: ask again in a minute", headers={"Retry-After": "60"}
                    )
                self._asked[name] = threading.Event()
                self._queue.put((name, work))
            event = self._asked[name]
        event.wait(wait)
        with self._lock:
            return self._taken(name) if name in self._done else None

    def progress(self, name: Hashable) -> Progress | None:
        """Return how far a piece of work is; None while it waits, or where it does not say."""
        with self._lock:
            return self._progress.get(name)

    def close(self) -> None:
        """Drop all work that waits; the piece in the thread goes on until the process ends."""
        while True:
            try:
                self._queue.get_nowait()
            except Empty:
                break
        self._queue.put(None)

    def _taken(self, name: Hashable) -> Any:  # noqa: ANN401
        self._done.move_to_end(name)
        found = self._done[name]
        if isinstance(found, AepipeError):
            del self._done[name]  # asked again, it is tried again
            raise found
        return found

    def _work(self) -> None:
        while (asked := self._queue.get()) is not None:
            name, work = asked
            LISTENER.set(partial(self._note, name))
            try:
                found = work()
            except AepipeError as error:
                found = error
            except Exception as error:  # a mistake of ours must not end the thread
                logger.exception("a job has failed")
                found = AepipeError(f"this work has failed: {type(error).__name__}")
            with self._lock:
                self._done[name] = found
                while len(self._done) > KEPT:
                    self._done.popitem(last=False)
                self._progress.pop(name, None)
                self._asked.pop(name).set()

    def _note(self, name: Hashable, progress: Progress) -> None:
        with self._lock:
            self._progress[name] = progress

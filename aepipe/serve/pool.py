"""Threads that search, and a bounded queue before them.

A request either gets its turn soon, or is refused at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aepipe.serve.problems import OverloadedError, TooSlowError

Result = TypeVar("Result")
RETRY = {"Retry-After": "1"}


class Pool:
    """Some threads, and places before them.

    Args:
        threads: that work at a time.
        queue: tasks that wait for a thread; further ones are refused.
        seconds: after which nobody waits for a result any more.

    Attributes:
        refused: tasks that were.
    """

    def __init__(self, threads: int, queue: int, seconds: float, name: str = "search") -> None:
        self.refused = 0
        self._most = threads + queue
        self._seconds = seconds
        self._held = 0
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    @property
    def held(self) -> int:
        """Tasks that run or wait."""
        return self._held

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return the result of a function that one of the threads calls.

        Raises:
            OverloadedError: too many tasks wait already.
            TooSlowError: it takes too long; the thread goes on until the function returns.
        """
        if self._held >= self._most:
            self.refused += 1
            raise OverloadedError("too many requests at a time: ask again in a second", headers=RETRY)
        self._held += 1
        task = asyncio.get_running_loop().run_in_executor(self._threads, work)
        task.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(task), self._seconds)
        except TimeoutError:
            raise TooSlowError(f"no answer within {self._seconds:g} seconds", headers=RETRY) from None

    def close(self) -> None:
        """Let go of what waits, and of the threads once they are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _done(self, task: asyncio.Future[Result]) -> None:
        self._held -= 1
        if not task.cancelled():
            task.exception()  # looked at, so that one whose request has gone is not called unhandled

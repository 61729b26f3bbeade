"""Threads that search, and a bounded queue before them.

A request either gets its turn soon, or is refused at once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias, TypeVar

from aepipe.serve.problems import OverloadedError, TooSlowError

Result = TypeVar("Result")
Outcome: TypeAlias = "tuple[asyncio.Future[Any], Any, BaseException | None]"
"""Where a result is waited for, the result, and the error in its place."""
Task: TypeAlias = Callable[[], Sequence[Outcome]]
RETRY = {"Retry-After": "1"}
ALONE, ALWAYS = 0.0025, 0.0005
"""Seconds up to which a task is done without a thread: where no other request is open, and where some are."""
LATE = 0.02
"""Seconds after which a task that was thought to be short was not."""
NEW = 0.02
"""Seconds that are supposed of tasks which were never done."""


class Costs:
    """How long tasks take, by what they are like.

    For a short one, the way into a thread and back is the larger part. Time of the processor counts, so that other
    work on the machine does not; where reading took long, all does.
    """

    def __init__(self) -> None:
        self._seconds: dict[Hashable, float] = {}

    def seconds(self, like: Hashable) -> float:
        """Return how long a task takes, as far as is known."""
        return self._seconds.get(like, NEW)

    def is_short(self, like: Hashable, *, alone: bool) -> bool:
        """Return whether a task should be done at once, while all other requests wait.

        Args:
            like: what it is like; None where that says nothing about the time.
            alone: no other request is open.
        """
        return like is not None and self.seconds(like) < (ALONE if alone else ALWAYS)

    def timed(self, like: Hashable, work: Callable[[], Result], count: int = 1) -> Result:
        """Return the result of some tasks that are done together, and remember how long each took."""
        begun, own = time.perf_counter(), time.thread_time()
        result = work()
        if like is not None:
            took, all_of_it = time.thread_time() - own, time.perf_counter() - begun
            last = self.seconds(like)
            self._seconds[like] = last + (max(took, all_of_it if all_of_it > LATE else 0) / count - last) / 4
        return result


class Pool:
    """Some threads, and places before them.

    The way into a thread and back is short, because it is a large part of the time of a search: a queue there, and one
    call of the event loop back.

    Args:
        threads: that work at a time.
        queue: tasks that wait for a thread; further ones are refused.
        seconds: after which nobody waits for a result any more.

    Attributes:
        threads: that work at a time.
        refused: tasks that were.
    """

    def __init__(self, threads: int, queue: int, seconds: float, name: str = "search") -> None:
        self.threads = threads
        self.refused = 0
        self._most = threads + queue
        self._seconds = seconds
        self._held = 0
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def held(self) -> int:
        """Results that are worked at or waited for."""
        return self._held

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return the result of a function that one of the threads calls.

        Raises:
            OverloadedError: too many tasks wait already.
            TooSlowError: it takes too long; where a thread has begun, it goes on until the function returns.
        """
        answer: asyncio.Future[Result] = self.place()
        self.submit(lambda: [_outcome(answer, work)])
        return await answer

    def place(self) -> asyncio.Future[Any]:
        """Return where a result is waited for; it counts as held until it is settled.

        Raises:
            OverloadedError: too many tasks wait already.
        """
        if self._held >= self._most:
            self.refused += 1
            raise OverloadedError("too many requests at a time: ask again in a second", headers=RETRY)
        self._held += 1
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        timer = loop.call_later(self._seconds, self._too_late, answer)
        answer.add_done_callback(lambda _: timer.cancel())
        return answer

    def submit(self, task: Task) -> None:
        """Let one of the threads do something, and settle what it returns; it must not raise."""
        self._tasks.put(task)

    def settle(self, outcomes: Sequence[Outcome], *, held: bool = True) -> None:
        """Give results to those who wait for them, on the thread of the event loop.

        Args:
            outcomes: the results.
            held: they have places here.
        """
        for answer, result, error in outcomes:
            self._held -= held
            if answer.done():
                continue
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)

    def close(self) -> None:
        """Let go of what waits, and of the threads once they are done."""
        with suppress(Empty):
            while True:
                self._tasks.get_nowait()
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            outcomes = task()
            if outcomes:
                with suppress(RuntimeError):  # the loop has ended
                    outcomes[0][0].get_loop().call_soon_threadsafe(self.settle, outcomes)
            del task, outcomes  # nothing is held while the thread waits

    def _too_late(self, answer: asyncio.Future[Any]) -> None:
        if not answer.done():
            answer.set_exception(TooSlowError(f"no answer within {self._seconds:g} seconds", headers=RETRY))


def _outcome(answer: asyncio.Future[Any], work: Callable[[], Any]) -> Outcome:
    """Return what a function gives, or its error; it is not called where nobody waits for it any more."""
    if answer.done():
        return answer, None, None
    try:
        return answer, work(), None
    except BaseException as error:  # it is raised where the result is awaited
        return answer, None, error

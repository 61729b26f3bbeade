"""Functions that take turns, each in a thread of its own, and meet on the way.

One runs at a time, in a fixed order, so what they do to what they share is the same every time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from typing import Any, TypeVar

T = TypeVar("T")


class Turns:
    """A number of places, whose functions take turns.

    Args:
        places: how many functions there are.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        # Kept, as a thread that computes has threads of its own to start.
        self._pool = ThreadPoolExecutor(places, "turns") if places > 1 else None
        self._met: tuple[list[Any], list[Any]] = ([], [])
        self._begin()

    def run(self, work: Callable[[int], T]) -> list[T]:
        """Return what the function gives for each place, in order.

        Raises:
            BaseException: what the first of them has raised; the others are left where they waited.
        """
        if self._pool is None:
            return [work(0)]
        futures = [self._pool.submit(self._one, place, work) for place in range(self._places)]
        self._go[0].release()
        found = [one.exception() or one for one in futures]
        error = self._error
        self._begin()
        if error is not None:
            raise error
        return [one.result() for one in found if not isinstance(one, BaseException)]

    def meet(self, place: int, value: Any, combine: Callable[[list[Any]], T]) -> T:  # noqa: ANN401
        """Wait for all places, and return what the function makes of their values, in order."""
        values, result = self._met
        values.append(value)
        if len(values) == self._places:
            self._met = ([], [])
            result.append(combine(values))
        if self._pool is not None:
            self._next(place)
            self._wait(place)
        found: T = result[0]
        return found

    def _begin(self) -> None:
        self._go = [Semaphore(0) for _ in range(self._places)]
        self._met = ([], [])
        self._error: BaseException | None = None

    def _one(self, place: int, work: Callable[[int], T]) -> T:
        try:
            self._wait(place)
            found = work(place)
        except BaseException as error:
            self._error = self._error or error
            for one in self._go:
                one.release()
            raise
        if place + 1 < self._places:
            self._next(place)
        return found

    def _next(self, place: int) -> None:
        self._go[(place + 1) % self._places].release()

    def _wait(self, place: int) -> None:
        self._go[place].acquire()
        if self._error is not None:
            raise self._error

"""Items of many threads through a network at once, which a graphics card needs to be busy.

No item waits for others: while some go through the network, more come, and the next thread that has its turn takes all
of them along whose inputs have the same shapes. Some exports mix the items of a batch, though they take one: the first
batch is compared with its first item alone, and such a network gets one item at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 64
"""Items that go through a network at a time."""
NEAR = 0.02
"""How far an output may be from that of the item alone, in its length."""

Inputs = Mapping[str, NDArray[Any]]
Run = Callable[[Inputs], NDArray[Any]]


@dataclass(slots=True, eq=False)
class _Asked:
    """An item: its inputs, and what became of it."""

    given: Inputs
    found: NDArray[Any] | None = None
    error: Exception | None = None

    @property
    def like(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """What items have in common that go together."""
        return tuple((name, value.shape) for name, value in self.given.items())

    @property
    def done(self) -> bool:
        return self.found is not None or self.error is not None


class Together:
    """Gathers the items of threads.

    Args:
        run: gives the output for n items whose inputs are stacked, [n, ...].
        most: items at a time.
    """

    def __init__(self, run: Run, most: int = MOST) -> None:
        self._run, self._most = run, most
        self._turn = threading.Condition()
        self._waiting: list[_Asked] = []
        self._busy = self._compared = False

    def __call__(self, given: Inputs) -> NDArray[Any]:
        """Return the output for one item, [1, ...].

        Args:
            given: inputs by name, [1, ...].

        Raises:
            Exception: what the network raises for this item alone.
        """
        asked = _Asked(given)
        with self._turn:
            self._waiting.append(asked)
        while block := self._block(asked):
            try:
                self._through(block)
            finally:
                with self._turn:
                    # Where this thread is interrupted, others take what it had taken along.
                    self._waiting[:0] = [one for one in block if not one.done and one is not asked]
                    self._busy = False
                    self._turn.notify_all()
        if asked.error is not None:
            raise asked.error
        assert asked.found is not None, "it is done"
        return asked.found

    def _block(self, asked: _Asked) -> list[_Asked]:
        """Wait until it is this thread's turn, and return the items to take; none where its own is done."""
        with self._turn:
            self._turn.wait_for(lambda: asked.done or not self._busy)
            if asked.done:
                return []
            first = self._waiting[0]
            block = [one for one in self._waiting if one.like == first.like][: self._most]
            self._waiting = [one for one in self._waiting if one not in block]
            self._busy = True
            return block

    def _through(self, block: list[_Asked]) -> None:
        """Take some items through the network; where that fails, each alone, so that one fails for itself only."""
        try:
            names = block[0].given
            found = self._run({name: np.concatenate([one.given[name] for one in block]) for name in names})
            if len(block) > 1 and self._mixes(block, found):
                self._most = 1
                raise ValueError("items of a batch are mixed")
            for place, one in enumerate(block):
                one.found = found[place : place + 1]
        except Exception as error:
            if len(block) == 1:
                block[0].error = error
                return
            for one in block:
                self._through([one])

    def _mixes(self, block: list[_Asked], found: NDArray[Any]) -> bool:
        """Tell whether the first output is another one than that of the item alone; only one batch is compared."""
        if len(found) != len(block):
            return True
        if self._compared:
            return False
        alone = self._run(block[0].given).astype(np.float64)
        self._compared = True
        return bool(np.linalg.norm(found[:1] - alone) > NEAR * np.linalg.norm(alone))

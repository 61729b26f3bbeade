"""Plain questions that wait at the same time go to the library together.

To ask for a row takes several times as long as to find its neighbours, and most of that is spent once for each call of
the library. So questions with the same options that came in one step of the event loop, or while all threads were busy,
are one call. A question that comes alone waits for no other. Each gets the answer that it would get alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from aepipe.errors import AepipeError
from aepipe.serve import searching
from aepipe.serve.asking import Handles
from aepipe.serve.catalog import Served
from aepipe.serve.plans import Plan, cost_of
from aepipe.serve.pool import Outcome, Pool
from aepipe.serve.requests import Options, Query
from aepipe.serve.responses import encoded

STEPS = 2
"""Steps of the event loop in which others may join a question: who was just answered asks again within two."""
MOST = 64
"""Questions of one call."""
HELD = 0.003
"""Seconds for which questions that need no thread may hold up all other requests."""
LEAST = 1e-6
"""Seconds that a question takes at least."""
PLANS = 256
"""Plans that are kept for a release."""

Waiting: TypeAlias = "tuple[Query, asyncio.Future[bytes]]"


@dataclass(slots=True, eq=False)
class Group:
    """Questions with the same options.

    Attributes:
        served: the release that is asked.
        options: of all of them.
        plan: how they are answered.
        waiting: those that nobody has taken yet, each with where its answer is waited for.
        called: threads that will take some of them.
    """

    served: Served
    options: Options
    plan: Plan
    waiting: list[Waiting] = field(default_factory=list)
    called: int = 0


class Batches:
    """Answers questions that wait, as many as there are at a time.

    Args:
        pool: threads that search.
        handles: earlier uploads.
    """

    def __init__(self, pool: Pool, handles: Handles) -> None:
        self._pool = pool
        self._handles = handles
        self._lock = threading.Lock()
        self._short: dict[tuple[Served, Options], Group] = {}
        self._long: dict[tuple[Served, Options], Group] = {}

    async def ask(self, served: Served, options: Options, query: Query, *, alone: bool) -> bytes:
        """Return the answer to a question as JSON.

        Args:
            served: the release that is asked.
            options: of a plain question, see :func:`aepipe.serve.plans.is_plain`; the same object each time.
            query: a row, a code or a handle.
            alone: no other request is open.

        Raises:
            AepipeError: it cannot be answered.
            OverloadedError: too many wait already.
            TooSlowError: it takes too long.
        """
        plan = _plan(served, options)
        if not served.costs.is_short(cost_of(options), alone=alone):
            return await self._queued(Group(served, options, plan), query)
        if alone:
            return _given(self._answers(served, options, plan, [query])[0])
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        group = self._short.get((served, options))
        if group is None:
            group = self._short[served, options] = Group(served, options, plan)
            loop.call_soon(self._after, STEPS, group)
        group.waiting.append((query, answer))
        return await answer

    def _queued(self, new: Group, query: Query) -> asyncio.Future[bytes]:
        """Let a question wait for a thread, in its group or in a new one."""
        answer: asyncio.Future[bytes] = self._pool.place()
        with self._lock:
            group = self._long.setdefault((new.served, new.options), new)
            group.waiting.append((query, answer))
        answer.get_loop().call_soon(self._call, group)
        return answer

    def _after(self, steps: int, group: Group) -> None:
        """Answer short questions after some steps of the event loop."""
        if steps:
            asyncio.get_running_loop().call_soon(self._after, steps - 1, group)
        else:
            self._at_once(group)

    def _at_once(self, group: Group) -> None:
        """Answer short questions on the thread of the event loop: all, or as many as there is time for."""
        most = max(1, min(MOST, int(HELD / max(LEAST, group.served.costs.seconds(cost_of(group.options))))))
        some, group.waiting = group.waiting[:most], group.waiting[most:]
        if group.waiting:
            asyncio.get_running_loop().call_soon(self._at_once, group)
        else:
            del self._short[group.served, group.options]
        self._pool.settle(self._outcomes(group, some), held=False)

    def _call(self, group: Group) -> None:
        """Call as many threads as there are for the questions of a group."""
        with self._lock:
            more = min(self._pool.threads, len(group.waiting)) - group.called
            group.called += max(0, more)
        for _ in range(more):
            self._pool.submit(lambda: self._outcomes(group, self._taken(group)))

    def _taken(self, group: Group) -> list[Waiting]:
        """Return the questions for one thread: its share of those that wait."""
        with self._lock:
            share = -(-len(group.waiting) // group.called)
            group.called -= 1
            some, group.waiting = group.waiting[: min(share, MOST)], group.waiting[min(share, MOST) :]
            left = bool(group.waiting) and not group.called
            if not group.waiting:
                self._long.pop((group.served, group.options), None)
        if left:
            self._call(group)
        return some

    def _outcomes(self, group: Group, some: Sequence[Waiting]) -> list[Outcome]:
        """Return the answers to some questions; nobody waits any more for those that are done."""
        gone = {answer for _, answer in some if answer.done()}
        asked = [one for one in some if one[1] not in gone]
        try:
            found = self._answers(group.served, group.options, group.plan, [query for query, _ in asked])
        except Exception as error:  # a mistake of ours, told where each is awaited
            return [(answer, None, error) for _, answer in some]
        told = zip(asked, found, strict=True)
        outcomes: list[Outcome] = [
            (answer, None, one) if isinstance(one, AepipeError) else (answer, one, None) for (_, answer), one in told
        ]
        return [*outcomes, *((answer, None, None) for answer in gone)]

    def _answers(
        self, served: Served, options: Options, plan: Plan, asked: Sequence[Query]
    ) -> list[bytes | AepipeError]:
        if not asked:
            return []

        def work() -> list[bytes | AepipeError]:
            found = searching.together(served, plan, asked, self._handles)
            return [one if isinstance(one, AepipeError) else encoded(one) for one in found]

        return served.costs.timed(cost_of(options), work, len(asked))


def _plan(served: Served, options: Options) -> Plan:
    """Return how a release answers with some options; it is worked out once."""
    found = served.plans.get(options)
    if found is None:
        if len(served.plans) >= PLANS:
            served.plans.clear()
        release = served.seen_through(options.bits)
        found = served.plans[options] = Plan.of(release, served.digest, options, None)
    return found


def _given(found: bytes | AepipeError) -> bytes:
    """Return an answer, or raise the error in its place."""
    if isinstance(found, AepipeError):
        raise found
    return found

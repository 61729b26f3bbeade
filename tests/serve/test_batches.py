"""Questions that wait together get the answers that they get alone; too many are refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from aepipe.errors import AepipeError, CodeError, QueryError
from aepipe.serve import searching
from aepipe.serve.batches import Batches
from aepipe.serve.pool import Costs, Pool
from aepipe.serve.problems import OverloadedError, TooSlowError
from aepipe.serve.requests import Query, options_of
from tests.serve.conftest import Client

QUERIES = [*(Query(id=row) for row in range(30)), Query(id=10**6), Query(code="zz"), Query(key="none")]


class Known(Costs):
    """Costs that are known before: each question is answered at once, or by a thread."""

    def __init__(self, *, short: bool) -> None:
        super().__init__()
        self._short = short

    def seconds(self, like: object) -> float:
        """Return so little that many fit into a step of the event loop."""
        return 1e-5

    def is_short(self, like: object, *, alone: bool) -> bool:
        """Return what was said."""
        return self._short


@pytest.fixture
def pool() -> Iterator[Pool]:
    found = Pool(2, 40, 20)
    yield found
    found.close()


def together(batches: Batches, client: Client, name: str, queries: list[Query], **options: str) -> list[Any]:
    """Ask all at a time, and return the answers or errors."""
    served, parsed = client.service.catalog.get(name), options_of(tuple(options.items()))

    async def asked() -> list[Any]:
        every = (batches.ask(served, parsed, query, alone=False) for query in queries)
        return await asyncio.gather(*every, return_exceptions=True)

    return asyncio.run(asked())


def alone(client: Client, name: str, query: Query, **options: str) -> Any:
    """Return the answer of a question that is asked by itself."""
    service, parsed = client.service, options_of(tuple(options.items()))
    try:
        return searching.search(service.catalog.get(name), [query], parsed, service.conditions, service.handles).answers
    except AepipeError as error:
        return type(error), str(error)


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("name", ["pictures", "docs", "people", "vectors"])
@pytest.mark.parametrize("options", [{"k": "7"}, {"k": "3", "fast": "true", "others": "1"}])
def test_each_question_gets_the_answer_that_it_gets_alone(
    client: Client, pool: Pool, name: str, options: dict[str, str], *, short: bool
) -> None:
    batches, served = Batches(pool, client.service.handles), client.service.catalog.get(name)
    with (
        patch.object(served, "costs", Known(short=short)),
        patch("aepipe.serve.searching.together", wraps=searching.together) as seen,
    ):
        found = together(batches, client, name, QUERIES, **options)
    assert sorted(len(call.args[2]) for call in seen.call_args_list)[-1] >= len(QUERIES) // 2
    for query, one in zip(QUERIES, found, strict=True):
        wanted = alone(client, name, query, **options)
        if isinstance(one, Exception):
            assert (type(one), str(one)) == wanted
        else:
            assert msgspec.json.decode(one)["answers"] == msgspec.to_builtins(wanted)
    assert pool.held == 0


def test_a_question_that_stops_the_search_is_the_only_one_that_fails(client: Client, pool: Pool) -> None:
    batches, served = Batches(pool, client.service.handles), client.service.catalog.get("pictures")
    code = client.get("/v1/collections/pictures/items/3").json["code"]
    with patch.object(served, "costs", Known(short=True)):
        queries = [Query(id=1), Query(code=code), Query(id=2)]
        found = together(batches, client, "pictures", queries, rerank="true", oversample="3")
    assert [isinstance(one, QueryError | CodeError) for one in found] == [False, True, False]


def test_questions_beyond_the_queue_are_refused_at_once(client: Client) -> None:
    pool, served = Pool(1, 2, 20), client.service.catalog.get("pictures")
    batches = Batches(pool, client.service.handles)
    with patch.object(served, "costs", Known(short=False)):
        found = together(batches, client, "pictures", QUERIES[:10], k="2")
        again = together(batches, client, "pictures", QUERIES[:3], k="2")
    pool.close()
    assert [isinstance(one, OverloadedError) for one in found] == [False] * 3 + [True] * 7
    assert [isinstance(one, bytes) for one in again] == [True] * 3


def test_a_mistake_of_ours_is_told_to_each_that_waits(client: Client, pool: Pool) -> None:
    batches, served = Batches(pool, client.service.handles), client.service.catalog.get("pictures")
    with (
        patch.object(served, "costs", Known(short=False)),
        patch("aepipe.serve.searching.together", side_effect=ZeroDivisionError),
    ):
        found = together(batches, client, "pictures", QUERIES[:4], k="2")
    assert [type(one) for one in found] == [ZeroDivisionError] * 4
    assert pool.held == 0


def test_questions_that_take_too_long_leave_their_places(client: Client) -> None:
    pool, served = Pool(1, 40, 0.05), client.service.catalog.get("pictures")
    batches, late = Batches(pool, client.service.handles), threading.Event()

    def slowly(*_: Any) -> list[bytes]:
        late.wait(60)
        return [b"{}"] * 3

    async def asked() -> list[Any]:
        every = (batches.ask(served, options_of(()), query, alone=False) for query in QUERIES[:3])
        told = await asyncio.gather(*every, return_exceptions=True)
        late.set()
        while pool.held:  # until the thread is done, or for ever where places were counted wrongly
            await asyncio.sleep(0.01)
        return told

    with patch.object(served, "costs", Known(short=False)), patch.object(batches, "_answers", slowly):
        found = asyncio.run(asyncio.wait_for(asked(), 60))
    pool.close()
    assert [type(one) for one in found] == [TooSlowError] * 3

"""Rows as lists, page by page, by id or in an order drawn at random."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import QueryError
from aepipe.serve.answers import Item, ItemList, item_of
from aepipe.serve.catalog import Served
from aepipe.serve.conditions import Conditions
from aepipe.serve.plans import columns_of
from aepipe.serve.problems import BadRequestError, MissingError
from aepipe.serve.requests import ItemsRequest
from aepipe.serve.searching import allowed


def rows(served: Served, asked: ItemsRequest, conditions: Conditions) -> ItemList:
    """Return some rows.

    Raises:
        BadRequestError: ``after`` is not the ``next`` of an earlier answer of this release.
        QueryError: the condition is none over the columns, or takes too long.
    """
    found = allowed(served, asked, conditions)
    ids = served.ids if found is None else found
    start = _start(served, asked)
    order = _drawn(len(ids), asked.seed) if asked.order == "random" else None
    chosen = ids[start : start + asked.limit] if order is None else ids[order[start : start + asked.limit]]
    columns = columns_of(served.release, asked.columns)
    end = start + len(chosen)
    following = f"{served.digest[:12]}-{end}" if end < len(ids) and len(chosen) else None
    items = [item_of(row, columns) for row in served.release.describe(chosen)]
    return ItemList(served.digest, len(ids), following, items)


def row(served: Served, row_id: int) -> Item:
    """Return a row with all columns and its code.

    Raises:
        MissingError: there is no such row.
    """
    release = served.release
    try:
        (found,) = release.describe([row_id])
    except QueryError as error:
        raise MissingError(str(error)) from None
    item = item_of(found, release.items.columns)
    item.code = release.codes_of([row_id]).hex()[0]
    return item


def _start(served: Served, asked: ItemsRequest) -> int:
    if asked.after is None:
        return 0
    digest, _, place = asked.after.partition("-")
    if digest != served.digest[:12] or not place.isdecimal() or len(place) > 12:
        raise BadRequestError("after: not the `next` of an answer of this release; ask anew", "/after")
    return int(place)


@lru_cache(4)
def _drawn(count: int, seed: int) -> NDArray[np.int64]:
    """Return the numbers below a count in an order drawn at random."""
    return np.random.default_rng(seed).permutation(count)

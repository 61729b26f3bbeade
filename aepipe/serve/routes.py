"""All endpoints in one table, from which the routes and the OpenAPI document are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from aepipe.serve import answers, explaining, mapping, reviews
from aepipe.serve.handlers import collections, operations, search
from aepipe.serve.handlers import feedback as marking
from aepipe.serve.handlers import labels as labelling
from aepipe.serve.handlers import map as maps
from aepipe.serve.handlers import reviews as reviewing
from aepipe.serve.labels import Labels, LabelsRequest
from aepipe.serve.requests import ItemsRequest, Options, SearchRequest

Handler = Callable[[Request], Awaitable[Response]]
ONE = "/v1/collections/{name}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    Attributes:
        method: of HTTP; ``GET`` stands for ``HEAD``, too.
        path: with names in brackets.
        handler: that answers.
        answer: type of the answer; None for what is not JSON.
        parameters: type of the parameters in the address; None for those listed in ``more``.
        body: type of a body of JSON.
        more: further parameters in the address, each with what it means.
        raw: whether a body may be a file as it is, or a form.
        errors: further statuses that it may have.
        statuses: where it is no error.
    """

    method: str
    path: str
    handler: Handler
    answer: Any = None
    parameters: Any = None
    body: Any = None
    more: tuple[tuple[str, str], ...] = ()
    raw: bool = False
    errors: tuple[int, ...] = ()
    statuses: tuple[int, ...] = (200,)


_RELEASE = ("release", "The first characters of a release's digest, at least 12; else the release in service.")
_ASKED = (
    ("id", "A row by its id; may come several times."),
    ("key", "A row by its key; may come several times."),
    ("code", "A code in hex; may come several times."),
    ("text", "Words, for collections that answer words; may come several times."),
    ("handle", "An earlier upload; may come several times."),
    ("crop", "left,top,width,height from 0 to 1: a part of the pictures of id and key."),
)
_UPLOADED = (
    ("crop", "left,top,width,height from 0 to 1: a part of the picture."),
    ("name", "What the file is called."),
)
_MARKED = (
    ("hit", "Key of the row that was found; of a file in the body."),
    ("verdict", "good or bad; of a file in the body."),
    ("note", "Further words; of a file in the body."),
    *_UPLOADED,
)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/livez", operations.alive),
    Endpoint("GET", "/readyz", operations.ready, dict[str, Any], errors=(503,)),
    Endpoint("GET", "/metrics", operations.figures),
    Endpoint("POST", "/v1/session", operations.login, body=operations.Login, errors=(400, 401, 429), statuses=(204,)),
    Endpoint("DELETE", "/v1/session", operations.logout, statuses=(204,)),
    Endpoint("GET", "/v1/collections", collections.listed, dict[str, list[answers.CollectionSummary]]),
    Endpoint("GET", ONE, collections.described, answers.CollectionFacts, more=(_RELEASE,), errors=(404, 410)),
    Endpoint(
        "GET",
        f"{ONE}/search",
        search.search_get,
        answers.SearchAnswer,
        Options,
        more=_ASKED,
        errors=(400, 404, 409, 410, 422, 501, 503),
        statuses=(200, 304),
    ),
    Endpoint(
        "POST",
        f"{ONE}/search",
        search.search_post,
        answers.SearchAnswer,
        Options,
        SearchRequest,
        _UPLOADED,
        True,
        (400, 404, 408, 409, 410, 413, 415, 422, 501, 503),
    ),
    Endpoint(
        "POST",
        f"{ONE}/encode",
        search.encode,
        answers.Encoded,
        Options,
        SearchRequest,
        _UPLOADED,
        True,
        (400, 404, 408, 409, 410, 413, 415, 422, 501, 503),
    ),
    Endpoint("POST", f"{ONE}/shard", search.shard, errors=(400, 404, 408, 409, 410, 413, 422, 503)),
    Endpoint(
        "GET",
        f"{ONE}/explain",
        search.explain_get,
        explaining.Explanation,
        search.Compared,
        errors=(400, 404, 410, 422),
    ),
    Endpoint(
        "GET", f"{ONE}/items", collections.items, answers.ItemList, ItemsRequest, errors=(400, 404, 410, 422, 501, 503)
    ),
    Endpoint("GET", f"{ONE}/items/{{id}}", collections.item, answers.Item, more=(_RELEASE,), errors=(404, 410)),
    Endpoint(
        "GET",
        f"{ONE}/items/{{id}}/thumb",
        collections.thumbnail,
        more=(("s", "Pixels of the longer side: 112, 224 or 448."), _RELEASE),
        errors=(400, 404, 410, 422, 503),
        statuses=(200, 304),
    ),
    Endpoint(
        "GET",
        f"{ONE}/items/{{id}}/original",
        collections.original,
        more=(_RELEASE,),
        errors=(403, 404, 410, 416),
        statuses=(200, 206),
    ),
    Endpoint(
        "GET",
        f"{ONE}/duplicates",
        reviewing.duplicates,
        reviews.Duplicates,
        reviewing.DuplicatesRequest,
        errors=(400, 404, 410, 422, 503),
        statuses=(200, 202),
    ),
    Endpoint(
        "POST",
        f"{ONE}/labels",
        labelling.labelled,
        Labels,
        body=LabelsRequest,
        errors=(400, 404, 410, 413, 422, 501, 503),
        statuses=(200, 202),
    ),
    Endpoint("GET", f"{ONE}/map", maps.map_facts, mapping.MapFacts, more=(_RELEASE,), errors=(404, 410, 503)),
    Endpoint(
        "GET",
        f"{ONE}/map/points",
        maps.map_points,
        parameters=mapping.PointsRequest,
        errors=(400, 404, 410, 503),
        statuses=(200, 304),
    ),
    Endpoint("GET", f"{ONE}/map/at", maps.map_at, mapping.MapRows, mapping.AtRequest, errors=(400, 404, 410, 422, 503)),
    Endpoint("GET", f"{ONE}/releases", reviewing.releases, reviews.History, errors=(404,)),
    Endpoint(
        "GET",
        f"{ONE}/diff",
        reviewing.diff,
        reviews.ReleaseDifference,
        reviewing.DiffRequest,
        errors=(400, 404, 410),
        statuses=(200, 202),
    ),
    Endpoint("GET", f"{ONE}/quarantine", reviewing.quarantine, reviews.Quarantine, errors=(404, 501)),
    Endpoint("GET", f"{ONE}/feedback", marking.marked, marking.Marks, errors=(404, 501)),
    Endpoint(
        "POST",
        f"{ONE}/feedback",
        marking.mark,
        dict[str, bool],
        body=marking.FeedbackRequest,
        more=_MARKED,
        raw=True,
        errors=(400, 403, 404, 408, 413, 415, 422, 503, 507),
        statuses=(201,),
    ),
    Endpoint("GET", f"{ONE}/canaries.toml", marking.toml, errors=(404, 501)),
    Endpoint(
        "POST",
        f"{ONE}/remove",
        reviewing.remove,
        reviewing.Removed,
        body=reviewing.RemoveRequest,
        errors=(400, 403, 404, 409, 413, 422, 507),
    ),
)

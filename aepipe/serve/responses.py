"""Answers: JSON of our types, and errors as problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from starlette.responses import Response

from aepipe.errors import AepipeError
from aepipe.log import Progress
from aepipe.serve.problems import MEDIA_TYPE, RequestError, problem_of

RawHeaders: TypeAlias = "list[tuple[bytes, bytes]]"
JSON = (b"content-type", b"application/json")

_encoder = msgspec.json.Encoder(enc_hook=float)  # a number of NumPy's is a float


def as_json(what: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:  # noqa: ANN401
    """Return one of our types as JSON."""
    return Response(_encoder.encode(what), status, headers, "application/json")


def raw_headers(headers: Mapping[str, str]) -> RawHeaders:
    """Return some headers as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


class Ready(Response):
    """An answer in JSON whose headers are bytes already.

    Args:
        body: of the answer.
        headers: its own, with names in small letters, as ASGI has them.
    """

    def __init__(self, body: bytes, headers: RawHeaders) -> None:
        self.status_code, self.body, self.background = 200, body, None
        self.raw_headers = [*headers, JSON, (b"content-length", b"%d" % len(body))]


def encoded(what: Any) -> bytes:  # noqa: ANN401
    """Return one of our types as the bytes of JSON."""
    return _encoder.encode(what)


def problem(error: AepipeError, instance: str, said: Sequence[str] = ()) -> Response:
    """Return an error as an answer; what was said in the request is said as it is."""
    found = problem_of(error, instance, said)
    headers = error.headers if isinstance(error, RequestError) else {}
    return Response(_encoder.encode(found), found.status, headers, MEDIA_TYPE)


def working(at: Progress | None) -> dict[str, str | int | None]:
    """Return the body of an answer that the work has begun, and how far it is.

    Args:
        at: how far it is; None while other work is done first.
    """
    told: dict[str, str | int | None] = {} if at is None else {"stage": at.stage, "done": at.done, "total": at.total}
    return {"status": "working", **told}

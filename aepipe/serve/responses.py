"""Answers: JSON of our types, and errors as problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from aepipe.errors import AepipeError
from aepipe.serve.problems import MEDIA_TYPE, RequestError, problem_of

_encoder = msgspec.json.Encoder(enc_hook=float)  # a number of NumPy's is a float


def as_json(what: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:  # noqa: ANN401
    """Return one of our types as JSON."""
    return Response(_encoder.encode(what), status, headers, "application/json")


def encoded(what: Any) -> bytes:  # noqa: ANN401
    """Return one of our types as the bytes of JSON."""
    return _encoder.encode(what)


def problem(error: AepipeError, instance: str, said: Sequence[str] = ()) -> Response:
    """Return an error as an answer; what was said in the request is said as it is."""
    found = problem_of(error, instance, said)
    headers = error.headers if isinstance(error, RequestError) else {}
    return Response(_encoder.encode(found), found.status, headers, MEDIA_TYPE)

"""Errors as answers of the type ``application/problem+json``.

Their words speak of parameters, and name no file of the server that was not named in the request.

Source: RFC 9457, "Problem Details for HTTP APIs".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

import msgspec

from aepipe.errors import (
    AepipeError,
    BusyError,
    CodeError,
    CorruptError,
    ExtraError,
    FingerprintError,
    FullError,
    ItemError,
    NotFoundError,
    QueryError,
    StoreError,
)

MEDIA_TYPE = "application/problem+json"
_FLAG = re.compile(r"--([a-z][a-z-]*)")
_PATH = re.compile(r"(?<![\w:])(?:[A-Za-z]:)?/(?:[^\s/:;,'\"]+/)+[^\s:;,'\"]*")
_POINTER = re.compile(r" - at `\$(?P<path>.*)`$", re.DOTALL)
_WANTED = re.compile(r"Expected (?P<types>`[^`]+`)(?P<bound>(?: (?!got).+?)?)(, got `(?P<got>\w+)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"contains unknown field `(.*)`$", re.DOTALL)
_LEAST, _MOST, _LETTERS = (re.compile(rf" {sign} ([\d.]+)$") for sign in (">=", "<=", "of length <="))
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "nothing",
}
"""Types of JSON in words."""


class Fault(msgspec.Struct, omit_defaults=True):
    """One thing that is wrong with a request.

    Attributes:
        detail: what.
        pointer: where, as a JSON pointer; empty for the whole.
    """

    detail: str
    pointer: str = ""


class Problem(msgspec.Struct, omit_defaults=True):
    """The body of an answer that is an error.

    Attributes:
        type: a name of the kind of error that does not change.
        title: the kind in words.
        status: of HTTP.
        detail: what happened, in a line.
        instance: the id of the request, as in the log.
        errors: the single faults of a request.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str = ""
    errors: list[Fault] = []


class RequestError(AepipeError):
    """A request that is answered by an error.

    Attributes:
        status: of HTTP.
        headers: of the answer.
        faults: single things that are wrong.
    """

    code: int = HTTPStatus.BAD_REQUEST

    def __init__(self, text: str, pointer: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.headers = dict(headers or {})
        self.faults = [Fault(str(self), pointer)] if pointer else []


class BadRequestError(RequestError):
    """A malformed request."""

    @classmethod
    def of(cls, error: msgspec.ValidationError) -> BadRequestError:
        """Return the error of a value that does not fit its type."""
        text = str(error)
        found = _POINTER.search(text)
        pointer = _as_pointer(found["path"]) if found else ""
        return cls(_told(_POINTER.sub("", text).replace("Object ", "").rstrip("."), pointer.strip("/")), pointer)


class UnauthorizedError(RequestError):
    """No token, or a wrong one."""

    code = HTTPStatus.UNAUTHORIZED


class ForbiddenError(RequestError):
    """Not offered by this service, or not to this client."""

    code = HTTPStatus.FORBIDDEN


class MissingError(RequestError):
    """Nothing is there."""

    code = HTTPStatus.NOT_FOUND


class GoneError(RequestError):
    """It was there, and is not any more."""

    code = HTTPStatus.GONE


class TooLargeError(RequestError):
    """The body is larger than this service takes."""

    code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class LongRequestError(RequestError):
    """The address and the headers are longer than this service reads."""

    code = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class MediaTypeError(RequestError):
    """The body is of a type that is not read here."""

    code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class MisdirectedError(RequestError):
    """The service was called by a name that is not its own."""

    code = HTTPStatus.MISDIRECTED_REQUEST


class OverloadedError(RequestError):
    """All threads are busy, and the queue is full."""

    code = HTTPStatus.SERVICE_UNAVAILABLE


class TooManyRequestsError(RequestError):
    """One client asks more than it may."""

    code = HTTPStatus.TOO_MANY_REQUESTS


class TooSlowError(RequestError):
    """A request or its answer took too long."""

    code = HTTPStatus.SERVICE_UNAVAILABLE


class SilentShardError(RequestError):
    """A shard does not answer, so that the answer would be a part."""

    code = HTTPStatus.SERVICE_UNAVAILABLE


class UnforeseenError(RequestError):
    """A mistake of ours."""

    code = HTTPStatus.INTERNAL_SERVER_ERROR


STATUS: tuple[tuple[type[AepipeError], HTTPStatus], ...] = (
    (FingerprintError, HTTPStatus.CONFLICT),
    (ItemError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (CodeError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (QueryError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (BusyError, HTTPStatus.CONFLICT),
    (FullError, HTTPStatus.INSUFFICIENT_STORAGE),
    (CorruptError, HTTPStatus.SERVICE_UNAVAILABLE),
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ExtraError, HTTPStatus.NOT_IMPLEMENTED),
    (AepipeError, HTTPStatus.UNPROCESSABLE_ENTITY),
)
"""The status of each error of the library; the first class that fits."""
NOT_SAID = {
    CorruptError: "a file of this release is damaged; the log of the service names it",
    StoreError: "the store cannot be used; the log of the service says why",
}
"""What is said in place of errors that name files of the server."""


def status_of(error: AepipeError) -> int:
    """Return the status of HTTP for an error."""
    if isinstance(error, RequestError):
        return int(error.code)
    return next(int(status) for kind, status in STATUS if isinstance(error, kind))


def problem_of(error: AepipeError, instance: str = "", said: Sequence[str] = ()) -> Problem:
    """Return an error as the body of an answer; see :func:`words_of`."""
    status = HTTPStatus(status_of(error))
    faults = error.faults if isinstance(error, RequestError) else []
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__.removesuffix("Error")).lower()
    return Problem(f"urn:aepipe:{kind}", status.phrase, status, words_of(error, said), instance, faults)


def words_of(error: AepipeError, said: Sequence[str] = ()) -> str:
    """Return the text of an error for people who asked over the network.

    Args:
        error: as the library raised it.
        said: what they asked; their own words are said again as they are.
    """
    if isinstance(error, StoreError) and not isinstance(error, NotFoundError | BusyError | FullError):
        return NOT_SAID[CorruptError if isinstance(error, CorruptError) else StoreError]
    # Flags of the command line are parameters here, and no file of the server is named.
    text = _replaced(_FLAG, lambda flag: flag[1].replace("-", "_"), str(error), said)
    return _replaced(_PATH, lambda _: "a file of the server", text, said)


def _replaced(pattern: re.Pattern[str], by: Callable[[re.Match[str]], str], text: str, said: Sequence[str]) -> str:
    """Return a text with what fits a pattern replaced, save where it was said."""
    return pattern.sub(lambda found: found[0] if any(found[0] in one for one in said) else by(found), text)


def _told(text: str, name: str) -> str:
    """Return what msgspec says of a value in words.

    Args:
        text: as the library has it: ``Expected `int | null`, got `str```.
        name: of the value.
    """
    if unknown := _UNKNOWN.fullmatch(text):
        return f"{name and f'{name}: '}no such parameter: {unknown[1]}"
    found = _WANTED.fullmatch(text)
    if found is None:
        return text
    types = found["types"].strip("`").removesuffix(" | null").split(" | ")
    wanted = f"{' or '.join(_TYPES.get(one, one) for one in types)}{_bound(found['bound'])} is wanted"
    given = f", not {_TYPES.get(found['got'], found['got'])}" if found["got"] else ""
    return f"{name and f'{name}: '}{wanted}{given}"


def _bound(text: str) -> str:
    """Return the bound of a value in words."""
    for pattern, words in ((_LEAST, "from {} on"), (_MOST, "of at most {}"), (_LETTERS, "of at most {} letters")):
        if found := pattern.fullmatch(text):
            return f" {words.format(f'{float(found[1]):,.10g}')}"
    return text.replace(" matching regex ", " of the form ")


def _as_pointer(path: str) -> str:
    """Return ``.queries[0].id`` as ``/queries/0/id``."""
    return re.sub(r"\[(\d+|\.\.\.)\]", r"/\1", path).replace(".", "/")

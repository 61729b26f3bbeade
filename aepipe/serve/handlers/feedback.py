"""Marks of hits: good and bad ones, kept as canaries that every later release is asked."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from aepipe.errors import QueryError
from aepipe.release import canaries, feedback
from aepipe.release import query as queries
from aepipe.release.feedback import Verdict
from aepipe.release.release import Release
from aepipe.serve import asking
from aepipe.serve.handlers import search
from aepipe.serve.problems import BadRequestError, TooLargeError
from aepipe.serve.requests import Query, from_json
from aepipe.serve.responses import as_json
from aepipe.serve.service import check_writer, served, service_of
from aepipe.store.artifacts import Store

Text = Annotated[str, Meta(max_length=4096)]


class FeedbackRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A mark of a hit.

    Attributes:
        hit: key of the row that was found.
        verdict: whether it is a good hit.
        key: of the row that was asked with.
        code: that was asked with, in place of a row.
        note: further words.
    """

    hit: Text
    verdict: Literal["good", "bad"]
    key: Text = ""
    code: Text = ""
    note: Text = ""


class Marked(msgspec.Struct):
    """A question whose hits were marked, with its outcome on the release in service.

    Attributes:
        key: of the row that asks; empty where a code does.
        code: in hex; empty where a row asks, or a file.
        upload: the file that asks, as it is called in the store; empty for others.
        good: keys of hits that are to be found.
        bad: keys of hits that must not be.
        passed: whether the release does that.
        said: a sentence on it.
    """

    key: str
    code: str
    upload: str
    good: list[str]
    bad: list[str]
    passed: bool
    said: str


class Marks(msgspec.Struct):
    """All marks of a collection.

    Attributes:
        release: digest of the release that they were asked.
        marks: by question.
    """

    release: str
    marks: list[Marked]


async def mark(request: Request) -> Response:
    """Keep a mark of a hit: JSON, or the file that was asked with as it is."""
    check_writer(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        wanted, upload = from_json(await request.body(), FeedbackRequest), None
        if bool(wanted.key) == bool(wanted.code):
            raise BadRequestError("either key or code is needed: what was asked with")
    else:
        files, wanted = await search.uploaded(request, kind, FeedbackRequest)
        upload = files[0]
        if wanted.key or wanted.code or len(files) > 1:
            raise BadRequestError("key, code and further files: the one file in the body is what was asked with")
        if isinstance(upload.data, bytes) and len(upload.data) > feedback.UPLOAD:
            raise TooLargeError(f"a file of more than {feedback.UPLOAD >> 20} MiB is not kept: mark its code")
    service, one = service_of(request), served(request)
    pool = service.decoding if upload else service.searches
    await pool.run(lambda: _keep(service.catalog.store, one.release, wanted, upload))
    return as_json({"kept": True}, 201)


def _keep(store: Store, release: Release, wanted: FeedbackRequest, upload: Query | None) -> None:
    """Keep a mark, and the file that was asked with.

    Raises:
        QueryError: there is no such row.
        CodeError: the code is none of the release.
        ItemError: the file cannot be read.
        FullError: there is no room.
    """
    release.id_of(wanted.hit)
    if wanted.key:
        release.id_of(wanted.key)
    if wanted.code:
        feedback.check_code(release, wanted.code)
    code, kept = wanted.code, ""
    if upload is not None:
        name, data = asking.named_bytes(release, upload)
        (asked,) = queries.questions_from_bytes(release, [(name, data)])
        if asked.failure is not None or asked.code is None:
            raise asked.failure or QueryError(f"{name}: cannot be read")
        (code,) = asked.code.hex()
        kept = feedback.keep(store, release.name, data, ".png" if upload.crop is not UNSET else name)
    verdict: Verdict = wanted.verdict
    about = feedback.mark(release, wanted.hit, verdict, key=wanted.key, code=code, note=wanted.note, upload=kept)
    feedback.add(store, release.name, about)


async def marked(request: Request) -> Response:
    """Answer with all marks as canaries, and their outcomes on the release in service."""
    service, one = service_of(request), served(request)

    def work() -> list[Marked]:
        store = service.catalog.store
        asked = feedback.canaries_of(store, one.release)
        outcomes = canaries.ask_all(one.release, asked, feedback.folder_of(store))
        return [
            Marked(
                each.key or "",
                each.code or "",
                (each.query or "").rpartition("/")[2],
                list(each.hits),
                list(each.not_hits),
                outcome.passed,
                outcome.said,
            )
            for each, outcome in zip(asked, outcomes, strict=True)
        ]

    return as_json(Marks(one.digest, await service.searches.run(work)))


async def toml(request: Request) -> Response:
    """Answer with the canaries as a file for ``[gate] canaries``."""
    service, one = service_of(request), served(request)
    given = await service.searches.run(lambda: feedback.canaries_of(service.catalog.store, one.release))
    headers = {"Content-Disposition": 'attachment; filename="canaries.toml"'}
    return PlainTextResponse(feedback.as_toml(given), headers=headers, media_type="application/toml")

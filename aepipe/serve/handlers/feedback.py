"""Marks of hits: good and bad ones, kept as canaries that every later release is asked."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from aepipe.release import canaries, feedback
from aepipe.release.feedback import Verdict
from aepipe.serve.problems import BadRequestError
from aepipe.serve.requests import from_json
from aepipe.serve.responses import as_json
from aepipe.serve.service import check_writer, served, service_of

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
        code: in hex; empty where a row asks.
        good: keys of hits that are to be found.
        bad: keys of hits that must not be.
        passed: whether the release does that.
        said: a sentence on it.
    """

    key: str
    code: str
    good: list[str]
    bad: list[str]
    passed: bool
    said: str


async def mark(request: Request) -> Response:
    """Keep a mark of a hit."""
    check_writer(request)
    wanted = from_json(await request.body(), FeedbackRequest)
    if bool(wanted.key) == bool(wanted.code):
        raise BadRequestError("either key or code is needed: what was asked with")
    service, one = service_of(request), served(request)
    verdict: Verdict = wanted.verdict

    def work() -> None:
        release = one.release
        release.id_of(wanted.hit)
        if wanted.key:
            release.id_of(wanted.key)
        kept = feedback.mark(release, wanted.hit, verdict, key=wanted.key, code=wanted.code, note=wanted.note)
        feedback.add(service.catalog.store, release.name, kept)

    await service.searches.run(work)
    return as_json({"kept": True}, 201)


async def marked(request: Request) -> Response:
    """Answer with all marks as canaries, and their outcomes on the release in service."""
    service, one = service_of(request), served(request)

    def work() -> list[Marked]:
        asked = feedback.canaries_of(one.release, feedback.marks(service.catalog.store, one.release.name))
        return [
            Marked(each.key or "", each.code or "", list(each.hits), list(each.not_hits), outcome.passed, outcome.said)
            for each in asked
            for outcome in canaries.ask_all(one.release, [each], one.release.items.root)
        ]

    return as_json({"release": one.digest, "marks": await service.searches.run(work)})


async def toml(request: Request) -> Response:
    """Answer with the canaries as a file for ``[gate] canaries``."""
    service, one = service_of(request), served(request)
    given = await service.searches.run(
        lambda: feedback.canaries_of(one.release, feedback.marks(service.catalog.store, one.release.name))
    )
    headers = {"Content-Disposition": 'attachment; filename="canaries.toml"'}
    return PlainTextResponse(feedback.as_toml(given), headers=headers, media_type="application/toml")

"""Searches, codes, and why two rows are near."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from itertools import pairwise

import msgspec
from msgspec import UNSET
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from aepipe.errors import AepipeError
from aepipe.index.remote import Ask
from aepipe.release import shards
from aepipe.release.release import Release
from aepipe.release.search import Question
from aepipe.release.words import Mixture
from aepipe.serve import asking, searching
from aepipe.serve.answers import Encoded, Incomplete
from aepipe.serve.catalog import Served
from aepipe.serve.explaining import explain
from aepipe.serve.links import OCTETS, shard_order, tolerating
from aepipe.serve.plans import is_plain, release_of
from aepipe.serve.pool import Pool
from aepipe.serve.problems import BadRequestError, MediaTypeError, MissingError, words_of
from aepipe.serve.requests import (
    ASKED,
    MOST_QUERIES,
    MOST_UPLOADS,
    Asked,
    Options,
    Query,
    SearchRequest,
    crop_of,
    from_dict,
    from_json,
    from_parameters,
    options_of,
    pairs_of,
    queries_of,
)
from aepipe.serve.responses import RawHeaders, Ready, as_json, encoded, raw_headers
from aepipe.serve.service import RELEASE_HEADER, Service, named, served, service_of

STREAM, JSON = "application/x-ndjson", "application/json"
READ = ("image/", "audio/", "video/", "text/plain", "application/x-npy", "application/octet-stream", "application/pdf")
"""Types of raw bodies."""
RELEASE = re.compile("[0-9a-f]{12,64}", re.ASCII)
FIRST, AT_ONCE = 8, 64
"""Questions of the first piece of a streamed answer, and of each other one."""


async def search_get(request: Request) -> Response:
    """Answer questions in the address: rows, codes, words."""
    service = service_of(request)
    queries, rest = queries_of(pairs_of(request.scope["query_string"]))
    options = options_of(tuple(rest))
    queries = queries or _words_alone(options)
    if not queries:
        raise BadRequestError(_nothing(served(request, release_of(options)).release))
    if len(queries) > MOST_QUERIES:
        raise BadRequestError(f"{len(queries):,} questions; {MOST_QUERIES:,} are taken at a time")
    one = service.catalog.pinned(request.path_params["name"], release_of(options))
    lasting = not any(query.kind == "handle" for query in queries)
    headers, raw = _headers(one.digest, lasting=lasting)
    if lasting and request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers={"ETag": headers["ETag"]})
    if service.whole and is_plain(options) and _is_short(queries):
        alone = len(request.scope.get("aepipe.open", ())) == 1
        found = await service.batches.ask(one, options, queries[0], alone=alone)
        return Ready(found, raw)
    return await _answered(request, one, queries, options, headers)


def _nothing(release: Release) -> str:
    """Return what a collection can be asked in an address that asks nothing."""
    kinds = [kind for kind in (*asking.kinds_of(release), "handle") if kind in ASKED]
    words = ", or plus and minus" if "text" in kinds else ""
    return f"nothing is asked: give {', '.join(kinds[:-1])} or {kinds[-1]}{words}"


async def search_post(request: Request) -> Response:
    """Answer questions in the body: JSON, one file as it is, or several as a form."""
    queries, options = await asked(request)
    one = served(request, release_of(options))
    if STREAM in request.headers.get("accept", ""):
        return StreamingResponse(_streamed(service_of(request), one, queries, options), 200, named(one), STREAM)
    return await _answered(request, one, queries, options, {"Cache-Control": "no-store", **named(one)})


async def encode(request: Request) -> Response:
    """Answer with the codes of questions."""
    queries, options = await asked(request)
    one, service = served(request, release_of(options)), service_of(request)

    def work() -> Encoded:
        mixture = Mixture.of(options.plus, options.minus, options.weight)
        found = asking.questions(one.release, queries, service.handles, mixture)
        codes = [each.code.hex()[0] if isinstance(each, Question) and each.code is not None else None for each in found]
        errors = [
            words_of(each, query.said) if isinstance(each, AepipeError) else None
            for each, query in zip(found, queries, strict=True)
        ]
        if len(found) == 1 and isinstance(found[0], AepipeError):
            raise found[0]
        return Encoded(one.digest, one.release.fingerprint, one.release.n_bits, codes, errors)

    return as_json(await _pool(service, queries).run(work), headers=named(one))


async def shard(request: Request) -> Response:
    """Answer for the one shard that this service searches, as bytes that another service merges."""
    service = service_of(request)
    if service.settings.shard is None:
        raise MissingError("this service searches whole releases; one that is started with --shard answers for a shard")
    ask = Ask.unpack(await request.body())
    if not RELEASE.fullmatch(ask.release):
        raise BadRequestError(f"release: the digest of one is wanted, not {ask.release!r}")

    def work() -> tuple[bytes, Served]:
        one = served(request, ask.release)
        return shards.answer(one.seen_through(ask.n_bits), ask).pack(), one

    found, one = await service.searches.run(work)
    return Response(found, headers=named(one), media_type=OCTETS)


class Compared(msgspec.Struct, forbid_unknown_fields=True):
    """Two rows or codes.

    Attributes:
        a, b: each an id, a key or a code.
        release: the first characters of a digest; else the release in service.
    """

    a: str
    b: str
    release: str | None = None


async def explain_get(request: Request) -> Response:
    """Answer with the bits in which two rows differ."""
    wanted = from_parameters(request.query_params.multi_items(), Compared)
    one = served(request, wanted.release)
    found = await service_of(request).searches.run(lambda: explain(one, wanted.a, wanted.b))
    return as_json(found, headers=named(one))


async def asked(request: Request) -> tuple[Sequence[Query], Options]:
    """Return the questions and options of a request with a body.

    Raises:
        RequestError: they are malformed, too many, or of a type that is not read.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        found = from_json(await request.body(), SearchRequest)
        return found.queries or _words_alone(found), found
    return await uploaded(request, kind, Options)


def _words_alone(options: Options) -> list[Query]:
    """Return the question that added words are without another one; none where none are added."""
    return [Query(text="")] if options.plus or options.minus else []


async def uploaded(request: Request, kind: str, parameters: type[Asked]) -> tuple[list[Query], Asked]:
    """Return the files in the body of a request, as questions, and its parameters.

    Args:
        request: with the files.
        kind: of the body.
        parameters: their type, besides ``crop`` and ``name``.

    Raises:
        RequestError: they are malformed, too many, or of a type that is not read.
    """
    pairs = request.query_params.multi_items()
    crop = next((crop_of(value) for name, value in pairs if name == "crop"), None)
    named = next((value for name, value in pairs if name == "name"), "")
    options = from_parameters([pair for pair in pairs if pair[0] not in {"crop", "name"}], parameters)
    if kind == "multipart/form-data":
        return await _files(request, crop), options
    if not kind.startswith(READ):
        raise MediaTypeError(
            f"a body of type {kind or 'none'}: JSON, a form, or one of {', '.join(READ)}* is read here"
        )
    body = await request.body()
    if not body:
        raise BadRequestError("the body is empty")
    return [_upload(body, named, crop)], options


async def _files(request: Request, crop: list[float] | None) -> list[Query]:
    """Return the files of a form."""
    async with request.form(max_files=MOST_UPLOADS, max_fields=MOST_UPLOADS) as form:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        found = [_upload(await file.read(), file.filename or "", crop) for file in files]
    if not found:
        raise BadRequestError("the form holds no file")
    return found


def _upload(body: bytes, name: str, crop: list[float] | None) -> Query:
    """Return the question of some bytes; their name is for messages only."""
    if crop is None:
        return Query(data=body, name=name[:200])
    query = from_dict({"bytes": b"", "crop": crop, "name": name[:200]})
    query.data = body
    return query


async def _answered(
    request: Request, one: Served, queries: Sequence[Query], options: Options, headers: dict[str, str]
) -> Response:
    service = service_of(request)

    def work() -> tuple[bytes, bool]:
        partial = service.settings.partial if options.partial is None else options.partial
        with tolerating(partial) as missed:
            found = searching.search(one, queries, options, service.conditions, service.handles)
        found.shard = service.shard
        if partial:
            found.complete = not missed
        if missed:
            found.missing = sorted(missed, key=shard_order)
        return encoded(found), not missed

    found, complete = await _pool(service, queries).run(work)
    partly = {"Cache-Control": "no-store", **named(one)}
    return Response(found, headers=headers if complete else partly, media_type=JSON)


@lru_cache(64)
def _headers(digest: str, *, lasting: bool) -> tuple[dict[str, str], RawHeaders]:
    """Return the headers of an answer of a release, which may be kept and asked for again, in both forms."""
    kept = {"ETag": f'"{digest[:16]}"', "Cache-Control": "no-cache"} if lasting else {"Cache-Control": "no-store"}
    headers = {**kept, RELEASE_HEADER: digest}
    return headers, raw_headers(headers)


def _is_short(queries: Sequence[Query]) -> bool:
    """Return whether it is one question, of which nothing has to be decoded."""
    return len(queries) == 1 and queries[0].kind in {"id", "key", "code", "handle"} and queries[0].crop is UNSET


async def _streamed(service: Service, one: Served, queries: Sequence[Query], options: Options) -> AsyncIterator[bytes]:
    """Yield the answers line by line, in order; a last line names the shards that were not searched."""
    partial = service.settings.partial if options.partial is None else options.partial
    lost: set[str] = set()
    for start, end in pairwise([0, *range(FIRST, len(queries), AT_ONCE), len(queries)]):
        block = queries[start:end]

        def work(block: Sequence[Query] = block) -> bytes:
            try:
                with tolerating(partial) as missed:
                    found = list(searching.each(one, block, options, service.conditions, service.handles))
                lost.update(missed)
            except AepipeError as error:
                said = [options.where or "", *(text for query in block for text in query.said)]
                return encoded({"error": words_of(error, said)}) + b"\n"
            return b"".join(encoded(answer) + b"\n" for answer in found)

        yield await _pool(service, block).run(work)
    if lost:
        yield encoded(Incomplete(sorted(lost, key=shard_order))) + b"\n"


def _pool(service: Service, queries: Sequence[Query]) -> Pool:
    """Return the threads for some questions: what has to be decoded may take much memory."""
    heavy = any(query.data is not UNSET or query.crop is not UNSET for query in queries)
    return service.decoding if heavy else service.searches

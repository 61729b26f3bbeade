"""The page: one document for all its addresses, and two files named by their content."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from aepipe.serve.problems import MissingError
from aepipe.serve.service import service_of

TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "html": "text/html; charset=utf-8"}
FOREVER = "public, max-age=31536000, immutable"


async def document(request: Request) -> Response:
    """Answer with the page, whatever it is going to show."""
    return _compressed(
        request, _document(service_of(request).settings.root_path), "html", {"Cache-Control": "no-cache"}
    )


async def static(request: Request) -> Response:
    """Answer with a file of the page."""
    name = request.path_params["file"]
    found = held().get(name)
    if found is None or name.endswith(".html"):
        raise MissingError(f"{name}: no file of the page")
    return _compressed(request, found, name.rpartition(".")[2], {"Cache-Control": FOREVER})


@cache
def held() -> Mapping[str, bytes]:
    """Return the files of the page by name; they lie in the package."""
    folder = files("aepipe.serve") / "page"
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.name.rpartition(".")[2] in TYPES}


@cache
def _document(root: str) -> bytes:
    """Return the page below the prefix of a proxy."""
    page = held()["index.html"].decode()
    page = page.replace('"/static/', f'"{escape(root)}/static/')
    return page.replace('name="root" content=""', f'name="root" content="{escape(root)}"').encode()


@cache
def _packed(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _compressed(request: Request, content: bytes, kind: str, headers: dict[str, str]) -> Response:
    headers = {**headers, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(_packed(content), headers={**headers, "Content-Encoding": "gzip"}, media_type=TYPES[kind])
    return Response(content, headers=headers, media_type=TYPES[kind])

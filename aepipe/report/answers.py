"""What an answer looks like: the question and its hits as tiles, on a sheet or on a page of a notebook."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

from aepipe.release.query import Answer, Question
from aepipe.release.release import Release
from aepipe.report.hits import Found, Tile
from aepipe.report.originals import original, tile

SIDE = 96
"""Pixels of the longest side of a picture on a page."""
FIGURE = "margin:2px;width:104px;font:12px/1.3 sans-serif;text-align:center;overflow-wrap:anywhere"
TEXT = "height:96px;overflow:hidden;font:11px/1.3 sans-serif;text-align:left"


def tiles(release: Release, found: Answer) -> Found:
    """Return the pictures of an answer."""
    question, row = found.question, found.question.row
    if row is not None:
        query = tile(release, row)
    else:
        name = Path(question.text).name if question.data else question.text
        query = Tile(name, original(release, question.text, question.data), text=_readable(release, question))
    return Found(query, [tile(release, hit.row, hit.distance) for hit in found.hits])


def _readable(release: Release, question: Question) -> str:
    """Return what is to be read of a question: a document, where documents are asked."""
    if release.recipe["source"]["kind"] != "text":
        return question.text
    return question.data[:1000].decode("utf-8", "ignore") or question.text


def page(release: Release, found: Answer) -> str:
    """Return an answer as HTML: pictures are within it, and whatever comes from the collection is escaped."""
    drawn = tiles(release, found)
    hits = "".join(_figure(one, f"{one.distance} bits") for one in drawn.hits) or "<em>nothing found</em>"
    row = "display:flex;flex-wrap:wrap;align-items:flex-start;gap:4px"
    return f'<div style="{row}">{_figure(drawn.query, "asked")}<div style="width:16px">→</div>{hits}</div>'


def _figure(one: Tile, caption: str) -> str:
    """Return one tile."""
    told = html.escape(one.key)
    if one.picture is not None:
        shown = f'<img alt="{told}" title="{told}" src="{_inline(one)}">'
    else:
        shown = f'<div style="{TEXT}" title="{told}">{html.escape(one.text or one.key)}</div>'
    label = f"<br>{html.escape(one.label)}" if one.label else ""
    return f'<figure style="{FIGURE}">{shown}<figcaption>{html.escape(caption)}{label}</figcaption></figure>'


def _inline(one: Tile) -> str:
    """Return a picture as an address that holds it."""
    assert one.picture is not None
    small = one.picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    small.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")

"""Small pictures of rows behind a service, for contact sheets and terminals."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from PIL import Image

from aepipe.client.answers import RemoteAnswer, RemoteQuestion, RemoteRow
from aepipe.client.remote import RemoteCollection
from aepipe.errors import ItemError
from aepipe.report.tiles import LONGEST, SNIPPET, Found, Tile
from aepipe.sources import drawing, has_pictures


def tiles(remote: RemoteCollection, found: RemoteAnswer) -> Found:
    """Return the pictures of an answer.

    That of a file is drawn here, all others come from the service.

    Raises:
        ServiceError: the service does not answer.
    """
    hits = [replace(_tile(remote, hit.row), distance=hit.distance, cosine=hit.cosine) for hit in found.hits]
    return Found(_query(remote, found.question), hits)


def _query(remote: RemoteCollection, question: RemoteQuestion) -> Tile:
    if question.row_id is not None:
        return _tile(remote, remote.row(question.row_id))
    name = Path(question.text).name if question.data else question.text
    draw = drawing(remote.kind) if has_pictures(remote.kind) and question.data else None
    try:
        picture = draw(question.data, question.text, LONGEST, dict) if draw else None
    except ItemError:
        picture = None
    return Tile(name, picture, text=question.text)


def _tile(remote: RemoteCollection, row: RemoteRow) -> Tile:
    data = remote.thumbnail(row.id)
    picture = None if data is None else Image.open(io.BytesIO(data))
    return Tile(row.key, picture, row.label or "", None, row.columns.get(SNIPPET) or "", row.labels)

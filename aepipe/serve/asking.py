"""Questions from the network, made into those of the library.

Nothing here takes a path. Words are bytes that a text's decoder reads, and where a collection is not of documents, what
its release has for words; a row and a vector are written as the file that their decoder knows.
"""

from __future__ import annotations

import io
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from msgspec import UNSET

from aepipe.errors import AepipeError, ItemError, QueryError
from aepipe.release import query as queries
from aepipe.release.asked_rows import unknown_column
from aepipe.release.hybrid import known_by_words
from aepipe.release.originals import original
from aepipe.release.release import Release
from aepipe.release.search import Question
from aepipe.release.words import NOTHING, Mixture, advice, answers_words
from aepipe.serve.requests import Query
from aepipe.sources import drawing, has_pictures
from aepipe.sources.asked import not_utf8

HANDLES, KEPT = 256, 600.0
"""Uploads that are remembered, and for how many seconds."""
LARGEST = 2048
"""Pixels of the longer side of a picture that a part is cut from."""
UPLOAD = "upload"


def kinds_of(release: Release) -> list[str]:
    """Return the kinds of questions that a collection answers: some of the fields of a query."""
    kind = release.encoder.card.source
    own = {"table": ["row"], "vectors": ["vector"]}.get(kind, ["bytes"])
    return ["id", "key", "code", *(["text"] if answers_words(release) else []), *own]


class Handles:
    """Codes and embeddings of the last uploads, by names that nobody can guess."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Question]] = OrderedDict()

    def keep(self, question: Question) -> str:
        """Remember a question, and return its name."""
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._kept[name] = (time.monotonic(), replace(question, data=b""))
            while len(self._kept) > HANDLES:
                self._kept.popitem(last=False)
        return name

    def get(self, name: str, release: Release) -> Question:
        """Return a question.

        Raises:
            QueryError: it is not kept, or no longer, or it was encoded by another encoder.
        """
        with self._lock:
            when, found = self._kept.get(name, (0.0, None))
        if found is None or time.monotonic() - when > KEPT or found.code is None:
            raise QueryError("handle: this upload is no longer kept; send it again, or ask with its code")
        if found.code.fingerprint != release.fingerprint:
            raise QueryError("handle: this upload was read by another encoder; send it again")
        whole = found.whole or found.code
        return replace(found, code=whole.prefix(release.n_bits))


def questions(
    release: Release,
    asked: Sequence[Query],
    handles: Handles,
    mixture: Mixture = NOTHING,
    *,
    hybrid: bool = False,
    embedded: bool = True,
) -> list[Question | AepipeError]:
    """Return the questions of a request in their order; one that cannot be asked is its error.

    Args:
        release: that is asked.
        asked: as they came.
        handles: earlier uploads.
        mixture: words that are added to each.
        hybrid: whether words that the encoder does not know are looked up in documents, too.
        embedded: whether the embeddings of rows are wanted.
    """
    found: list[Question | AepipeError | None] = [None] * len(asked)
    # Those that are decoded go together, because the encoder takes a batch in the time of one item.
    named: list[tuple[int, tuple[str, bytes]]] = []
    together = {} if mixture else _rows(release, asked, embedded=embedded)
    for place, one in enumerate(asked):
        try:
            if place in together:
                found[place] = together[place]
            elif hybrid and one.kind == "handle":
                raise QueryError("handle: its words are not kept; send the document again, or ask with its code")
            elif one.crop is UNSET and one.kind in {"id", "key", "code", "handle"}:
                found[place] = _known(release, one, handles, mixture)
            elif isinstance(one.text, str) and release.all_parts("words"):
                found[place] = _in_words(release, one.text, mixture)
            else:
                named.append((place, named_bytes(release, one)))
        except AepipeError as error:
            found[place] = error
    read = _read(release, [item for _, item in named], mixture)
    if hybrid:
        read = [known_by_words(release, one) if isinstance(one, Question) else one for one in read]
    for (place, _), question in zip(named, read, strict=True):
        found[place] = question.failure or question if isinstance(question, Question) else question
    return [one for one in found if one is not None]


def _in_words(release: Release, text: str, mixture: Mixture) -> Question:
    """Return the question of words; without any, that of the words that would be added.

    Raises:
        QueryError: there are neither.
    """
    if not (text.strip() or mixture):
        raise QueryError("text: no words")
    return next(queries.questions_from_words(release, [text] if text.strip() else [], mixture))


def _read(release: Release, named: Sequence[tuple[str, bytes]], mixture: Mixture) -> Sequence[Question | AepipeError]:
    """Return the questions of some bytes; an error in place of each where words cannot be added to them."""
    try:
        return list(queries.questions_from_bytes(release, named, mixture))
    except QueryError as error:
        return [error] * len(named)


def _rows(release: Release, asked: Sequence[Query], *, embedded: bool) -> dict[int, Question]:
    """Return the questions that are rows by id, looked up together; none where one of them is missing."""
    places = [place for place, one in enumerate(asked) if isinstance(one.id, int) and one.crop is UNSET]
    ids = [one.id for one in (asked[place] for place in places) if isinstance(one.id, int)]
    try:
        return dict(zip(places, queries.questions_from_rows(release, ids, [], embedded=embedded), strict=True))
    except QueryError:  # each is looked up alone then, so that only the missing ones are errors
        return {}


def _known(release: Release, one: Query, handles: Handles, mixture: Mixture) -> Question:
    """Return the question of a row, a code or a handle.

    Raises:
        QueryError: there is no such row or handle, or words are added to a code.
        CodeError: a code of another length.
    """
    if mixture and one.kind in {"handle", "code"}:
        raise QueryError(f"{one.kind}: it cannot be mixed with words; send the item, or name the row, that it is of")
    if isinstance(one.handle, str):
        return handles.get(one.handle, release)
    if isinstance(one.code, str):
        return next(queries.questions_from_codes(release, [one.code]))
    ids = [one.id] if isinstance(one.id, int) else []
    keys = [one.key] if isinstance(one.key, str) else []
    return next(queries.questions_from_rows(release, ids, keys, mixture))


def named_bytes(release: Release, one: Query) -> tuple[str, bytes]:
    """Return a name for messages, and the bytes of a question.

    Raises:
        QueryError: the collection does not answer such questions.
        ItemError: a part of a picture is wanted, and that cannot be read.
    """
    kind = release.encoder.card.source
    if one.crop is not UNSET:
        return one.name or "crop", _cropped(release, one)
    if one.kind not in kinds_of(release):
        more = advice(release) if one.kind == "text" else ""
        raise QueryError(
            f"{release.name} is a collection of {kind}, which answers {', '.join(kinds_of(release))}{more}"
        )
    if isinstance(one.text, str):
        if bad := not_utf8(one.text):
            raise ItemError(one.text, bad)
        return one.text, one.text.encode()
    if isinstance(one.row, dict):
        body = json.dumps(one.row)
        name = body if len(body) < 60 else f"{body[:56]}..."
        if wrong := unknown_column(release, one.row):
            raise ItemError(name, wrong)
        return name, body.encode()
    if isinstance(one.vector, list):
        return "vector", np.array(one.vector, np.float32).tobytes()
    assert isinstance(one.data, bytes), "a query has one of its fields"
    return one.name or UPLOAD, one.data


def _cropped(release: Release, one: Query) -> bytes:
    """Return a part of a picture as a file; the picture is upright first.

    Raises:
        QueryError: the collection is none of pictures.
        ItemError: the picture cannot be read.
    """
    kind = release.encoder.card.source
    draw = drawing(kind) if has_pictures(kind) else None
    if draw is None:
        raise QueryError(f"crop: {release.name} is not a collection of pictures")
    name = one.name or UPLOAD
    data = one.data if isinstance(one.data, bytes) else _original(release, one)
    picture = draw(data, name, LARGEST, lambda: release.encoder.card.features)
    assert isinstance(one.crop, tuple)
    left, top, width, height = one.crop
    box = (left * picture.width, top * picture.height, (left + width) * picture.width, (top + height) * picture.height)
    edges = (int(box[0]), int(box[1]), max(int(box[0]) + 1, round(box[2])), max(int(box[1]) + 1, round(box[3])))
    stream = io.BytesIO()
    picture.crop(edges).save(stream, "PNG")
    return stream.getvalue()


def _original(release: Release, one: Query) -> bytes:
    row_id = one.id if isinstance(one.id, int) else release.id_of(str(one.key))
    (row,) = release.describe([row_id])
    try:
        return original(release, row.place)
    except ItemError:
        raise ItemError(row.key, "its file is no longer there") from None

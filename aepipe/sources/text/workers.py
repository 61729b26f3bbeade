"""Processes that read documents: one that hangs is stopped, one that crashes is replaced."""

from __future__ import annotations

import hashlib
import sys
from importlib.util import find_spec
from itertools import accumulate
from queue import Empty, LifoQueue

from aepipe.errors import ExtraError, ItemError
from aepipe.sources.helper import Helper
from aepipe.sources.text.passages import MOST_TEXT, Document

ENCRYPTED = "encrypted: it needs a password"
LIBRARY, EXTRA = "kreuzberg", "documents"
SECONDS = 60.0
"""Time that one document may take."""
COMMAND = (sys.executable, "-m", "aepipe.sources.text.worker")
_idle: LifoQueue[Helper] = LifoQueue()
_stopped: dict[bytes, str] = {}  # why a reader was lost, by the digest of the document: that is not tried twice


def extract(data: bytes, key: str, form: str, media_type: str) -> Document:
    """Return the text of a document, read by another process.

    Args:
        data: all bytes of the file.
        key: for errors.
        form: of the document, for errors.
        media_type: of the document.

    Raises:
        ItemError: it is encrypted or damaged, takes too long, or has too much text.
        ExtraError: the library that reads documents is not installed.
    """
    if not find_spec(LIBRARY):
        raise ExtraError(LIBRARY, EXTRA)
    digest = hashlib.sha256(data).digest()
    if digest in _stopped:
        raise ItemError(key, _stopped[digest])
    worker = _taken()
    answer = worker.ask({"type": media_type}, data, seconds=SECONDS)
    if answer is None:
        why = f"took more than {SECONDS:g} seconds to read" if worker.late else f"the reader of {form} files crashed"
        _stopped[digest] = f"{why}: the file may be damaged"
        raise ItemError(key, _stopped[digest])
    _idle.put(worker)
    if "trouble" in answer:
        raise ItemError(key, _reason(answer["trouble"], form))
    pages: list[str] = answer["pages"]
    if sum(map(len, pages)) > MOST_TEXT:
        raise ItemError(key, f"more than {MOST_TEXT >> 20} million letters")
    return _joined(pages) if answer["paged"] else Document(pages[0])


def _taken() -> Helper:
    try:
        return _idle.get_nowait()
    except Empty:
        return Helper(COMMAND)


def _reason(trouble: str, form: str) -> str:
    if "password" in trouble.lower() or "encrypt" in trouble.lower():
        return ENCRYPTED
    return f"damaged: not a {form} file that can be read"


def _joined(pages: list[str]) -> Document:
    parts = [f"{page.rstrip()}\n\n" for page in pages]
    return Document("".join(parts), tuple(accumulate(map(len, parts), initial=0))[:-1])

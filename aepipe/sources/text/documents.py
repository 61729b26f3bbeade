"""Read documents that are more than text: PDF, office files, web pages, mails.

What they may cost is bounded before they are opened, and they are read in a process of its own, see
:mod:`aepipe.sources.text.workers`: a damaged file may stop that one, but not ingestion.
"""

from __future__ import annotations

import io
import re

from aepipe.errors import ItemError
from aepipe.sources import encoding
from aepipe.sources.text import workers
from aepipe.sources.text.passages import Document
from aepipe.sources.text.pdf_streams import unpacked_size
from aepipe.sources.text.recognise import FORMATS, HEAD, ZIP, is_wide, unpacked
from aepipe.sources.text.workers import ENCRYPTED

ENDINGS = (
    ".pdf",
    ".docx",
    ".pptx",
    ".xlsx",
    ".odt",
    ".odp",
    ".ods",
    ".epub",
    ".html",
    ".htm",
    ".xhtml",
    ".rtf",
    ".eml",
)
NO_TEXT = "no text in it, only pictures of it: it needs text recognition (OCR)"
OLD = "an old file of Office (.doc, .xls, .ppt): save it as .docx, .xlsx or .pptx"
BOMB = "unpacks to more than is plausible"
MOST_UNPACKED = 1 << 29
"""Bytes that a packed document may unpack to."""
MOST_ENTRIES = 20_000
"""Files in a packed document."""
RATIO, PLAUSIBLE = 200, 1 << 26
"""How many times larger than its file a packed document may be, from this many bytes on."""
_CHARSET = re.compile(rb"<(?:meta\b[^>]*?charset|\?xml\b[^>]*?encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.I)


def read(data: bytes, key: str, form: str) -> Document:
    """Return the text of a document.

    Args:
        data: all bytes of the file.
        key: for errors.
        form: as :func:`aepipe.sources.text.recognise.format_of` returned it.

    Raises:
        ItemError: it is encrypted, damaged, too large, or has no text; or it took too long.
        ExtraError: the library that reads it is not installed.
    """
    if form == "OLD":
        raise ItemError(key, ENCRYPTED if "EncryptedPackage".encode("utf-16-le") in data else OLD)
    if data.startswith(ZIP):
        _check_packed(data, key)
    most = _most_unpacked(data)
    if form == "PDF" and unpacked_size(data, most) > most:
        raise ItemError(key, BOMB)
    if form == "HTML":
        data = _as_utf8(data, key)
    found = workers.extract(data, key, form, FORMATS[form])
    if not found.text.strip():
        raise ItemError(key, NO_TEXT if form == "PDF" else "empty document")
    return found


def _check_packed(data: bytes, key: str) -> None:
    """Raise ItemError where a packed document is damaged, encrypted, or would fill the memory."""
    try:
        with unpacked(io.BytesIO(data)) as packed:
            entries = packed.infolist()
            manifest = next((entry for entry in entries if entry.filename == "META-INF/manifest.xml"), None)
            size = sum(entry.file_size for entry in entries)
            if len(entries) > MOST_ENTRIES or size > _most_unpacked(data):
                raise ItemError(key, BOMB)
            if any(entry.flag_bits & 1 for entry in entries):
                raise ItemError(key, ENCRYPTED)
            if manifest and manifest.file_size < PLAUSIBLE and b"encryption-data" in packed.read(manifest):
                raise ItemError(key, ENCRYPTED)
    except (ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ItemError(key, f"damaged: {str(error).lower() or 'cut off'}") from None


def _most_unpacked(data: bytes) -> int:
    return min(MOST_UNPACKED, max(PLAUSIBLE, RATIO * len(data)))


def _as_utf8(data: bytes, key: str) -> bytes:
    """Return a web page in UTF-8: in the encoding that it names, else in that of its bytes."""
    named = _CHARSET.search(data[:HEAD])
    # What is UTF-8 is hardly ever anything else, whatever the page says of itself.
    for given in (encoding.UTF8, named[1].decode() if named else encoding.UTF8, None):
        try:
            text, _ = encoding.decode(data, None if is_wide(data) else given)
        except ValueError as error:
            reason = str(error)
        else:
            return _CHARSET.sub(b"<meta ", text.encode("utf-8", "replace"), count=1)
    raise ItemError(key, reason)

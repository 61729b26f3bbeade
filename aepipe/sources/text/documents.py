"""Documents that are more than text: PDF, office files, web pages, mails.

The bytes tell the format. What they may cost is bounded before they are opened, and they are read in a process of its
own, see :mod:`aepipe.sources.text.workers`: a damaged file may stop that one, but not ingestion.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING

from aepipe.errors import ItemError
from aepipe.sources import encoding
from aepipe.sources.text import workers
from aepipe.sources.text.passages import Document
from aepipe.sources.text.workers import ENCRYPTED

if TYPE_CHECKING:
    from zipfile import ZipFile

_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN = "application/vnd.oasis.opendocument."
FORMATS: Mapping[str, str] = {
    "PDF": "application/pdf",
    "DOCX": f"{_OFFICE}wordprocessingml.document",
    "PPTX": f"{_OFFICE}presentationml.presentation",
    "XLSX": f"{_OFFICE}spreadsheetml.sheet",
    "ODT": f"{_OPEN}text",
    "ODP": f"{_OPEN}presentation",
    "ODS": f"{_OPEN}spreadsheet",
    "EPUB": "application/epub+zip",
    "HTML": "text/html",
    "RTF": "application/rtf",
    "EML": "message/rfc822",
}
"""The types by which the formats are known to the library that reads them."""
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
_PARTS = (("word/", "DOCX"), ("ppt/", "PPTX"), ("xl/", "XLSX"))
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OTHERS = (_ZIP, _OLE, b"{\\rtf")
_HEAD = 1 << 13
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.I | re.S
)
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml|\s*<!--")
_CHARSET = re.compile(rb"<(?:meta\b[^>]*?charset|\?xml\b[^>]*?encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.I)
_MAIL = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:[ \t]|From ")
_CODED = re.compile(rb"^content-(?:type:\s*multipart/|transfer-encoding:\s*(?:base64|quoted-printable))", re.I | re.M)


def format_of(data: bytes, name: str) -> str | None:
    """Return the format of a document, one of :data:`FORMATS`; None for texts and others.

    Old files of Office are ``OLD``.

    Args:
        data: of a file, or at least the first 8 KiB of it.
        name: of the file, which tells mails only, as nothing else sets a short one apart from a text.
    """
    head = data[:1024]
    if b"%PDF-" in head:
        return "PDF"
    if head.startswith(_OTHERS):
        return _packed_format(data) if head.startswith(_ZIP) else "OLD" if head.startswith(_OLE) else "RTF"
    if b"<" in head[:64] and _is_html(data[:_HEAD]):
        return "HTML"
    return "EML" if b":" in head[:80] and _is_coded_mail(data, name) else None


def read(data: bytes, key: str, form: str) -> Document:
    """Return the text of a document.

    Args:
        data: all bytes of the file.
        key: for errors.
        form: as :func:`format_of` returned it.

    Raises:
        ItemError: it is encrypted, damaged, too large, or has no text; or it took too long.
        ExtraError: the library that reads it is not installed.
    """
    if form == "OLD":
        raise ItemError(key, ENCRYPTED if "EncryptedPackage".encode("utf-16-le") in data else OLD)
    if data[:4] == _ZIP:
        _check_packed(data, key)
    if form == "HTML":
        data = _as_utf8(data, key)
    found = workers.extract(data, key, form, FORMATS[form])
    if not found.text.strip():
        raise ItemError(key, NO_TEXT if form == "PDF" else "empty document")
    return found


def _packed_format(data: bytes) -> str | None:
    """Return the format of a zip archive by the names in it; by those at its beginning where that is all there is."""
    head = data[:_HEAD]
    # OpenDocument and EPUB begin with their type, not compressed.
    if (at := head.find(b"mimetype", 0, 64)) >= 0:
        said = head[at + 8 : at + 128]
        return next((form for form, known in FORMATS.items() if said.startswith(known.encode())), None)
    try:
        names = _names(data)
    except (ValueError, OSError):
        names = [found.decode("utf-8", "replace") for found in re.findall(rb"(?:word|ppt|xl)/", head)]
        names += ["[Content_Types].xml"] * (b"[Content_Types].xml" in head or b"_rels/.rels" in head)
    if "[Content_Types].xml" not in names:
        return None
    of_part = (form for part, form in _PARTS if any(name.startswith(part) for name in names))
    # A beginning may be too short to show more than that it is an office file.
    return next(of_part, "DOCX" if len(data) <= _HEAD else None)


def _names(data: bytes) -> list[str]:
    with _unpacked(io.BytesIO(data)) as packed:
        return packed.namelist()


def _unpacked(stream: IO[bytes]) -> ZipFile:
    """Open a zip archive.

    Raises:
        ValueError: it is damaged.
    """
    import zipfile

    try:
        return zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ValueError(str(error)) from None


def _check_packed(data: bytes, key: str) -> None:
    """Raise ItemError where a packed document is damaged, encrypted, or would fill the memory."""
    try:
        with _unpacked(io.BytesIO(data)) as packed:
            entries = packed.infolist()
            manifest = next((entry for entry in entries if entry.filename == "META-INF/manifest.xml"), None)
            unpacked = sum(entry.file_size for entry in entries)
            if len(entries) > MOST_ENTRIES or unpacked > min(MOST_UNPACKED, max(PLAUSIBLE, RATIO * len(data))):
                raise ItemError(key, BOMB)
            if any(entry.flag_bits & 1 for entry in entries):
                raise ItemError(key, ENCRYPTED)
            if manifest and manifest.file_size < PLAUSIBLE and b"encryption-data" in packed.read(manifest):
                raise ItemError(key, ENCRYPTED)
    except (ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ItemError(key, f"damaged: {str(error).lower() or 'cut off'}") from None


def _is_html(head: bytes) -> bool:
    if _is_wide(head):
        head = head.decode("utf-16", "ignore").encode("utf-8", "ignore")
    return bool(_HTML.match(head) or (_XML.match(head) and b"<html" in head.lower()))


def _as_utf8(data: bytes, key: str) -> bytes:
    """Return a web page in UTF-8: in the encoding that it names, else in that of its bytes."""
    named = _CHARSET.search(data[:_HEAD])
    # What is UTF-8 is hardly ever anything else, whatever the page says of itself.
    for given in (encoding.UTF8, named[1].decode() if named else encoding.UTF8, None):
        try:
            text, _ = encoding.decode(data, None if _is_wide(data) else given)
        except ValueError as error:
            reason = str(error)
        else:
            return _CHARSET.sub(b"<meta ", text.encode("utf-8", "replace"), count=1)
    raise ItemError(key, reason)


def _is_wide(data: bytes) -> bool:
    """Whether bytes begin with a mark of UTF-16 or UTF-32."""
    return data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or data[:4] == codecs.BOM_UTF32_BE


def _is_coded_mail(data: bytes, name: str) -> bool:
    """Whether a text is a mail whose body is not plain: with parts, or coded for the way."""
    if not _MAIL.match(data):
        return False
    head = data[:_HEAD].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    return name.lower().endswith(".eml") or (b"mime-version:" in head.lower() and _CODED.search(head) is not None)

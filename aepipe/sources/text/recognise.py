"""Tell the format of a document by its bytes.

A query reads this file whatever it asks, so it stays small: what reads documents is in
:mod:`aepipe.sources.text.documents`.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from zipfile import ZipFile

_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN = "application/vnd.oasis.opendocument."
MAIL = "EML"
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
    MAIL: "message/rfc822",
}
"""The types by which the formats are known to the library that reads them."""
_PARTS = (("word/", "DOCX"), ("ppt/", "PPTX"), ("xl/", "XLSX"))
ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OTHERS = (ZIP, _OLE, b"{\\rtf")
HEAD = 1 << 13
"""Bytes of a file that tell its format."""
# As text, and compiled when they are needed: most queries need none of them.
_HTML = rb"(?is)(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b"
_XML = rb"(?:\xef\xbb\xbf)?\s*<\?xml|\s*<!--"
_MAIL = rb"[A-Za-z][A-Za-z0-9-]*:[ \t]|From "
_CODED = rb"(?im)^content-(?:type:\s*multipart/|transfer-encoding:\s*(?:base64|quoted-printable))"


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
        return _packed_format(data) if head.startswith(ZIP) else "OLD" if head.startswith(_OLE) else "RTF"
    if b"<" in head[:64] and _is_html(data[:HEAD]):
        return "HTML"
    return MAIL if b":" in head[:80] and _is_coded_mail(data, name) else None


def _packed_format(data: bytes) -> str | None:
    """Return the format of a zip archive by the names in it; by those at its beginning where that is all there is."""
    head = data[:HEAD]
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
    return next(of_part, "DOCX" if len(data) <= HEAD else None)


def _names(data: bytes) -> list[str]:
    with unpacked(io.BytesIO(data)) as packed:
        return packed.namelist()


def unpacked(stream: IO[bytes]) -> ZipFile:
    """Open a zip archive.

    Raises:
        ValueError: it is damaged.
    """
    import zipfile

    try:
        return zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ValueError(str(error)) from None


def _is_html(head: bytes) -> bool:
    if is_wide(head):
        head = head.decode("utf-16", "ignore").encode("utf-8", "ignore")
    return bool(re.match(_HTML, head) or (re.match(_XML, head) and b"<html" in head.lower()))


def is_wide(data: bytes) -> bool:
    """Whether bytes begin with a mark of UTF-16 or UTF-32."""
    return data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or data[:4] == codecs.BOM_UTF32_BE


def _is_coded_mail(data: bytes, name: str) -> bool:
    """Whether a text is a mail whose body is not plain: with parts, or coded for the way."""
    if not re.match(_MAIL, data):
        return False
    head = data[:HEAD].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    return name.lower().endswith(".eml") or (b"mime-version:" in head.lower() and re.search(_CODED, head) is not None)

"""The program of a process that reads documents from stdin and writes their texts to stdout.

A request is a line of JSON, ``{"type": ..., "size": ...}``, and the bytes of the document. The answer is a line of
JSON: the ``pages``, and whether they are pages (``paged``); or ``trouble``, in the words of the library.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

from aepipe.sources.helping import serve

_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
# Signs of XML itself have a wide form, which is the same letter where words are cut.
_APART = {"&": "＆", "<": "＜", ">": "＞"}
_REFERENCE = re.compile(rb"&(amp|lt|gt|quot|apos|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});")


def main() -> None:
    """Read documents until there are no more."""
    serve(lambda asked, data: _answer(data, asked["type"]))


def _answer(data: bytes, media_type: str) -> dict[str, Any]:
    import kreuzberg

    wanted = kreuzberg.ExtractionConfig(
        use_cache=False,
        enable_quality_processing=False,
        pages=kreuzberg.PageConfig(extract_pages=True),
        # A sentence that comes on every page is a part of the document, too.
        content_filter=kreuzberg.ContentFilterConfig(strip_repeating_text=False),
    )
    try:
        if media_type.endswith("wordprocessingml.document"):
            data = _spelled_out(data)
        found = kreuzberg.extract_bytes_sync(data, media_type, config=wanted)
    except Exception as error:  # whatever it raises is about the document
        return {"trouble": str(error)}
    pages = [page["content"] for page in found.pages or ()]
    if media_type == "application/pdf" and any(page.strip() for page in pages):
        return {"pages": pages, "paged": True}
    return {"pages": [found.content], "paged": False}


def _spelled_out(data: bytes) -> bytes:
    """Return a DOCX file with letters in place of references to them, which the library leaves out: ``R&amp;D``."""
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream := io.BytesIO(), "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            in_text = entry.filename.startswith("word/") and entry.filename.endswith(".xml")
            new.writestr(entry.filename, _REFERENCE.sub(_letter, content) if in_text else content)
    return stream.getvalue()


def _letter(found: re.Match[bytes]) -> bytes:
    name = found[1].decode()
    code = int(f"0{name[1:]}" if name[1] in "xX" else name[1:], 16 if name[1] in "xX" else 10) if name[0] == "#" else 0
    letter = _NAMED.get(name) or (chr(code) if 32 <= code < 0x110000 and not 0xD800 <= code < 0xE000 else " ")
    return _APART.get(letter, letter).encode()


if __name__ == "__main__":
    main()

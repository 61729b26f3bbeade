"""The program of a process that reads documents: one after the other from stdin, their texts to stdout.

A request is a line of JSON, ``{"type": ..., "size": ...}``, and the bytes of the document. The answer is a line of
JSON: the ``pages``, and whether they are pages (``paged``); or ``trouble``, in the words of the library.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

MEMORY = 4 << 30
"""Bytes that the process may have; a document that needs more is not read."""


def main() -> None:
    """Read documents until there are no more."""
    # Ctrl-C is for the process that asks; this one ends when its input does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if most < 0 else min(MEMORY, most), most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library says on stdout would be taken for an answer
    while line := source.readline():
        asked = json.loads(line)
        answers.write(json.dumps(_answer(source.read(asked["size"]), asked["type"])).encode() + b"\n")
        answers.flush()


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
        found = kreuzberg.extract_bytes_sync(data, media_type, config=wanted)
    except Exception as error:  # whatever it raises is about the document
        return {"trouble": str(error)}
    pages = [page["content"] for page in found.pages or ()]
    if media_type == "application/pdf" and any(page.strip() for page in pages):
        return {"pages": pages, "paged": True}
    return {"pages": [found.content], "paged": False}


if __name__ == "__main__":
    main()

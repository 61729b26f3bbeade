"""Passages: a long document is several items, each some words of it.

The key of a passage names the file and the page where it begins, ``report.pdf@p3``, and from the second one of a page
on its number, ``report.pdf@p3.2``; without pages the number of the passage, ``novel.txt@7``. Its place,
``novel.txt#p7+300-30``, has number, words and overlap, so that it can be read again without the recipe.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from aepipe.sources.text import scripts

MARK = "p"
"""Begins the places of passages."""
MOST_TEXT = 1 << 26
"""Letters of one document."""
_AT = re.compile(rf"{MARK}(?P<number>\d+)\+(?P<words>\d+)-(?P<overlap>\d+)(?:!(?P<inner>.*))?$")


class Document(NamedTuple):
    """The text of a document.

    Attributes:
        text: of all pages.
        pages: where each page begins in it; empty for a format without pages.
    """

    text: str
    pages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """How documents are cut.

    Attributes:
        words: of a passage.
        overlap: words that a passage shares with the one before it.
    """

    words: int
    overlap: int

    @classmethod
    def of(cls, words: int, overlap: int | None) -> Cut:
        """Return how documents are cut; they share a tenth of a passage where it is not said."""
        return cls(words, words // 10 if overlap is None else overlap)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each passage begins and ends; one passage for a text that is hardly longer.

        A rest of less than half a passage belongs to the last one.
        """
        starts = [piece.start() for piece in scripts.pieces(text)]
        spans, first = [], 0
        while True:
            last = first + self.words
            if len(starts) - last < self.words / 2:
                spans.append((starts[first] if first else 0, len(text)))
                return spans
            spans.append((starts[first] if first else 0, starts[last]))
            first = last - self.overlap

    def passages(self, document: Document) -> Iterator[tuple[str, str, str]]:
        """Yield name, place and text of each passage; the first two are empty for a whole document."""
        spans = self.spans(document.text)
        page, on_page = 0, 0
        for number, (start, end) in enumerate(spans, 1):
            here = bisect_right(document.pages, start)
            page, on_page = here, on_page + 1 if here == page else 1
            name = f"p{here}{f'.{on_page}' if on_page > 1 else ''}" if document.pages else str(number)
            at = f"{MARK}{number}+{self.words}-{self.overlap}"
            yield *((name, at) if len(spans) > 1 else ("", "")), document.text[start:end].strip()


def part(document: Document, name: str, cut: Cut | None) -> str:
    """Return the part of a document with a name: a passage, or else a page.

    Args:
        document: that is cut.
        name: as in keys, ``p3.2`` or ``7``; where there are pages, ``3`` is ``p3``.
        cut: how documents are cut; None where they are not.

    Raises:
        ValueError: there is no such part; the text says which there are.
    """
    pages = document.pages
    name = f"{MARK}{name}" if pages and name.isdecimal() else name
    passages = {one or "1": text for one, _, text in cut.passages(document)} if cut else {}
    if name in passages:
        return passages[name]
    page = int(name[1:]) if name[1:].isdecimal() and name.startswith(MARK) else 0
    if not 1 <= page <= len(pages):
        there = f"pages {MARK}1 to {MARK}{len(pages)}" if pages else f"passages 1 to {len(passages)}" if cut else "none"
        raise ValueError(f"no part {name}; there are: {there}")
    return document.text[pages[page - 1] : pages[page] if page < len(pages) else len(document.text)]


def parsed(at: str) -> tuple[int, Cut, str]:
    """Return what a place says: the number of a passage, how its document is cut, and its row.

    The last is the place of the document in a table; empty for a whole file.

    Raises:
        ValueError: it is no place of a passage.
    """
    found = _AT.match(at)
    if not found:
        raise ValueError(f"{at} is no passage")
    return int(found["number"]), Cut(int(found["words"]), int(found["overlap"])), found["inner"] or ""

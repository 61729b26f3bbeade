"""Excerpts: of a passage, the sentence that says most of what a question asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from aepipe.sources.text import scripts

LONGEST = 120
"""Letters of an excerpt."""
_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|[\r\n]+")


def excerpt(passage: str, asked: str, words_of: Callable[[str], list[str]]) -> str:
    """Return the sentence of a passage with most of the words asked for, or the first one.

    Args:
        passage: its text.
        asked: the question, or the text of a document that asks.
        words_of: returns the words of a text.
    """
    wanted, best, most = set(words_of(asked)), "", 0.0
    for sentence in _sentences(passage):
        found = set(words_of(sentence))
        # Long words say more than short ones; and a long sentence has some of any.
        score = sum(map(scripts.length, found & wanted)) / (5 + len(found)) ** 0.5
        if score > most or not best:
            best, most = sentence, score
    return best


def _sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text; of one that is too long, its parts."""
    for sentence in _END.split(text):
        rest = " ".join(sentence.split())
        while len(rest) > LONGEST:
            end = rest.rfind(" ", LONGEST // 2, LONGEST)
            end = end if end > 0 else LONGEST - 1
            yield f"{rest[:end].rstrip()}…"
            rest = rest[end:].lstrip()
        if rest:
            yield rest

"""A recipe for documents, vectors, tables and recordings: look at all of them, and choose."""

from __future__ import annotations

import json
from typing import Any

from aepipe.errors import ItemError
from aepipe.pipeline.suggest.stacks import stack
from aepipe.pipeline.suggest.survey import Survey, items_of
from aepipe.sources.item import Item
from aepipe.sources.text import decode as documents

MAIL = 0.8
"""Share of the documents that begin as mails do, from which they are taken for mails."""
LOOKED_AT = 200
COMMON = 5000
"""Documents from which words that only two of them have are left out."""
CALLED = {"text": "documents", "vectors": "vectors", "table": "rows", "audio": "recordings"}
COLUMN = {"text": "text", "vectors": "vectors", "audio": "audio"}
DEFAULT = {"text": "text", "vectors": "embedding", "audio": "audio"}


def write(kind: str, path: str, written: str, column: str | None) -> tuple[str, list[str], bool]:
    """Return what the recipe is derived from, its blocks, each choice with its reason, and whether there are labels.

    Args:
        kind: of source.
        path: of the collection.
        written: the same, as the recipe has it.
        column: that holds the items, in tables; None where that is the usual one, or there is none.

    Raises:
        SourceError: it cannot be read.
    """
    options: dict[str, Any] = {COLUMN[kind]: column} if column and column != DEFAULT.get(kind) else {}
    seen, sample = Survey(), list[Item]()
    for item in items_of(kind, path, **options):
        seen.count(item)
        if len(sample) < LOOKED_AT:
            sample.append(item)
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    features = _FEATURES[kind](seen, sample)
    blocks = [seen.source_block(kind, written, *lines), *([features] if features else [])]
    blocks += stack(seen.rows, bounded=kind == "audio", holes=kind == "table")
    return f"{seen.rows:,} {CALLED[kind]}", blocks, bool(seen.label())


def _text(seen: Survey, sample: list[Item]) -> str:
    """Return ``[features]`` of documents."""
    least = 3 if seen.rows >= COMMON else 2
    lines = ["[features]", f"words = {min(10_000, max(1000, seen.rows))}  # those that the most documents have"]
    lines += [f"least = {least}  # documents that a word has to be in"]
    texts = [text for item in sample if (text := _read(item))]
    if texts and sum(documents.is_mail(text) for text in texts) >= MAIL * len(texts):
        lines.append("mail = true  # headers, quotations and signatures are left out")
    if texts and sum(_is_english(text) for text in texts) >= MAIL * len(texts):
        lines.append('stop = "english"  # function words are left out')
    return "\n".join(lines)


def _vectors(seen: Survey, sample: list[Item]) -> str:
    """Return ``[features]`` of vectors."""
    return '[features]\nnormalize = "unit"  # only the direction counts, as for the cosine'


def _table(seen: Survey, sample: list[Item]) -> str:
    """Return no ``[features]``: a table says itself what it is."""
    return ""


def _audio(seen: Survey, sample: list[Item]) -> str:
    """Return ``[features]`` of recordings."""
    return "[features]\nrate = 16000  # samples in a second\nwindow = 1.0  # seconds that an item covers"


def _read(item: Item) -> str:
    """Return the text of a document; none of what is no text."""
    try:
        return documents.text_of(item.read(), item.key)
    except ItemError:
        return ""


def _is_english(text: str) -> bool:
    """Whether a text has the commonest words of English."""
    return len({"the", "and", "of", "to", "in", "is"} & set(documents.words_of(text, mail=False))) >= 3


_FEATURES = {"text": _text, "vectors": _vectors, "table": _table, "audio": _audio}

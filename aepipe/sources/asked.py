"""What an argument of a query names: a file or a folder, or nothing of the sort."""

from __future__ import annotations

import mimetypes
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from aepipe.errors import ItemError
from aepipe.sources.files import existing
from aepipe.sources.item import Item

STDIN = "-"
"""The argument that stands for what comes from a pipe."""
MOST_WORDS = 2000
"""Letters of a question in words out of a pipe; more are a file."""
_LIKE_A_PATH = re.compile(r"\S*(/\S*|\.(?=\d*[A-Za-z])[A-Za-z0-9]{1,5})")


def path_named(text: str) -> Path | None:
    """Return the file or folder that a text names; None where nothing is there.

    A text that no system takes for a name, because it is too long or has a zero byte, names nothing. A name with
    accents is found in either normal form of Unicode.
    """
    if not text or "\0" in text:
        return None
    path = existing(Path(text))
    return path if os.path.exists(path) else None


def file_named(text: str) -> Path | None:
    """Return the file that a text names; None where there is none."""
    path = path_named(text)
    return path if path is not None and path.is_file() else None


def is_like_a_path(text: str) -> bool:
    """Whether a text looks like a path, and not like words: ``a/b``, ``notes.txt``."""
    return _LIKE_A_PATH.fullmatch(text) is not None


def are_words(text: str) -> bool:
    """Whether a text is words for pictures, and in UTF-8; see :func:`is_worded`."""
    return is_worded(text) and not_utf8(text) is None


def is_worded(text: str) -> bool:
    """Whether a text is meant as words: no file, no address, nothing like a path.

    What ends as pictures, recordings and films do is the name of a missing one, also with spaces and with a part of it
    (``my trip.mp4@12.5``).
    """
    from aepipe.sources.pictures import SUFFIXES

    whole = text.rpartition("@")[0] or text
    if not text.strip() or text == STDIN or "://" in text or path_named(text) or path_named(whole):
        return False
    ending, kind = os.path.splitext(whole)[1].lower(), mimetypes.guess_type(whole)[0] or ""
    if ending in SUFFIXES or kind.partition("/")[0] in {"image", "audio", "video"}:
        return False
    return not (is_like_a_path(text) or is_like_a_path(whole))


def not_utf8(text: str) -> str | None:
    """Return why a text is not in UTF-8, with its first bad byte; None where it is."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code, place = ord(text[error.start]), len(text[: error.start].encode())
        # Python keeps a byte that it could not decode as one of these; the others are halves of a character.
        bad = f"byte 0x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else "half a character"
        return f"not in UTF-8: {bad} at {place:,}"
    return None


def words_in(data: bytes) -> str | None:
    """Return the words that bytes out of a pipe are; None where they are a file of any sort."""
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    plain = all(letter.isprintable() or letter.isspace() for letter in text)
    return text if plain and 0 < len(text) <= MOST_WORDS and text[0] not in "<{[" else None


@dataclass(frozen=True, slots=True)
class Nothing:
    """Reads an argument that names nothing: says so, and what the collection answers.

    Attributes:
        text: the argument.
        wanted: what the collection can be asked with: ``pictures``.
        words: whether it answers words.
        advice: a sentence that says how it would answer words, after a full stop; empty where it cannot.
    """

    text: str
    wanted: str
    words: bool = False
    advice: str = ""

    def __call__(self, key: str) -> bytes:
        """Raise ItemError."""
        bad, answers = not_utf8(self.text), f"{'words, ' if self.words else ''}{self.wanted}"
        if bad and is_worded(self.text):
            raise ItemError(key, bad)
        there = "no such file or folder" if self.text.strip() else "no words, and no name of a file"
        more = self.advice if self.advice and not self.words and are_words(self.text) else ""
        raise ItemError(
            key, f"{there}; this collection is asked with {answers}, or with its own rows by --key or --id{more}"
        )


def nothing_at(text: str, wanted: str) -> Item:
    """Return an item that says that a text names nothing, and what the collection answers.

    Args:
        text: the argument.
        wanted: what the collection can be asked with: ``pictures``.
    """
    shown = text if text.strip() else f'"{text}"'
    return Item(shown, shown, Nothing(text, wanted))


def told(item: Item, *, words: bool, advice: str = "") -> Item:
    """Return an item; one that names nothing also says whether words are answered.

    Args:
        item: of :func:`nothing_at`, or another one.
        words: whether the collection answers words.
        advice: how it would answer them; see :class:`Nothing`.
    """
    reader = item.reader
    return replace(item, reader=replace(reader, words=words, advice=advice)) if isinstance(reader, Nothing) else item

"""Decode documents: a row has the weight of each word of a vocabulary.

The weight of a word that occurs ``n`` times is ``log(1 + n)``; with ``weights = "tf-idf"`` it is multiplied by the
word's inverse document frequency, and rows have unit length, so that distances of rows are those of the cosine.

Source: Salton and Buckley, "Term-weighting approaches in automatic text retrieval", 1988; counts under a softmax are
those of Salakhutdinov and Hinton, "Semantic Hashing", 2009.
"""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError, ItemError, QueryError, shortened
from aepipe.sources.asked import file_named, is_like_a_path, path_named
from aepipe.sources.files import InMemory, WholeFile
from aepipe.sources.item import Decode, Item
from aepipe.sources.text import excerpts, passages, recognise, scripts
from aepipe.sources.text.function_words import ENGLISH

VERSION = 1
MAIL = 2
"""Version of :func:`body_of`, in the features of rows that were read so."""
TEXT = True
EXTRAS = {"tokenizers": "text", "jieba": "chinese", "kreuzberg": "documents"}
MARK = passages.MARK
UTF8 = "utf-8"
"""The encoding of most texts, as :mod:`aepipe.sources.encoding` names it."""
SCRIPTS = "scripts"
"""The feature that says by which rules words of all scripts are cut; rows without it have none of such words."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_TERM = re.compile(r"[^\W_]{2,}|(?<![^\W_])\d(?![^\W_])")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]*:( |$)")
_QUOTED = re.compile(r"\s*[>|:]|.*\b(writes|wrote|said)( in article)?:?\s*$|.*\bwrites in\b|.*^in article\b", re.I)
_RULE = re.compile(r"[-_=*\s]*$")
_PART = re.compile(r"(?P<file>.+)@(?P<part>p?\d+|p\d+\.\d+)", re.DOTALL)
_NAMED = 5
LOOK, BEGINNING = 1 << 14, 120
"""Letters of a text that are looked at for its beginning, and those of the beginning."""


def decoder(features: Mapping[str, Any], folder: Path | None = None) -> Decode:
    """Return what makes a row of a document: float16[words], or float16[F] by a network.

    The function raises :class:`ItemError` for bytes that are no text, for an empty document, and for one without any
    word of the vocabulary.

    Raises:
        CorruptError: the network is not the one that made the rows of the collection.
    """
    if network := features.get("backbone"):
        return _Network(network, folder, mail=features["mail"])
    vocabulary = {word: place for place, word in enumerate(features["vocabulary"])}
    rarity = np.array(features["rarity"], np.float64) if features["weights"] == "tf-idf" else None
    mail, width = features["mail"], features["words"]
    words_in = partial(cut, segment=scripts.segmenter(features.get("segmenter"))) if SCRIPTS in features else plain

    def row(data: bytes, key: str) -> NDArray[np.float16]:
        words = words_in(spelled(text_of(data, key), mail=mail))
        counts = Counter(place for word in words if (place := vocabulary.get(word)) is not None)
        if not counts:
            raise ItemError(key, _unknown(words, len(vocabulary)))
        places = np.fromiter(counts.keys(), np.int64, len(counts))
        weights = np.log1p(np.fromiter(counts.values(), np.float64, len(counts)))
        if rarity is not None:
            weights *= rarity[places]
            weights /= np.sqrt(np.square(weights).sum())
        found = np.zeros(width, np.float16)
        found[places] = weights
        return found

    return row


def stranger_words(features: Mapping[str, Any]) -> Callable[[bytes, str], float] | None:
    """Return what gives the share of unknown words at the beginning of a document.

    Function words that a recipe leaves out are known: each text of the language has them. None where a network reads
    the documents, which knows no words.
    """
    if features.get("backbone"):
        return None
    known, mail = set(features["vocabulary"]), features["mail"]
    if features.get("stop"):
        known |= ENGLISH
    words_in = partial(cut, segment=scripts.segmenter(features.get("segmenter"))) if SCRIPTS in features else plain

    def share(data: bytes, key: str) -> float:
        words = words_in(spelled(beginning(text_of(data, key), mail=mail), mail=False))
        # As if one more word were half known: of few words the share says little.
        return 1 - (sum(word in known for word in words) + 0.5) / (len(words) + 1)

    return share


def beginning(text: str, *, mail: int) -> str:
    """Return the first letters of a text in one line."""
    head = text[:LOOK]
    return " ".join((body_of(head, mail) if mail else head).split())[:BEGINNING]


class _Network:
    """Makes rows by the network in a folder; questions of some words are asked with their own prompt.

    Raises:
        CorruptError: it is not the network that made the rows of the collection.
    """

    def __init__(self, read_by: Mapping[str, Any], folder: Path | None, *, mail: int) -> None:
        from aepipe.sources.networks.texts import opened

        assert folder is not None, "the network lies in the model's folder"
        self._network = opened(folder, read_by)
        if self._network.sha256 != read_by["sha256"]:
            raise CorruptError(f"{folder}: not the network that the collection was read by; run again")
        self._mail = mail

    def __call__(self, data: bytes, key: str) -> NDArray[np.float16]:
        """Return the row of a document.

        Raises:
            ItemError: it is no text, or has no words.
        """
        return self._network(self._text(data, key), "passage")

    def asked(self, data: bytes, key: str) -> NDArray[np.float16]:
        """Return the row of a question of some words.

        Raises:
            ItemError: it has no words.
        """
        return self._network(self._text(data, key), "query")

    def _text(self, data: bytes, key: str) -> str:
        text = text_of(data, key)
        text = body_of(text, self._mail) if self._mail else text
        if not text.strip():
            raise ItemError(key, "it has no words")
        return text


def query_items(text: str) -> Iterator[Item]:
    """Yield the texts of a file, or of those of a folder; or the words of the argument.

    Raises:
        QueryError: the argument looks like a path, and nothing is there.
    """
    from aepipe.sources.files import Files

    path = path_named(text)
    if path is not None and path.is_dir():
        files = list(Files.at(text, Path.cwd()))
        if not files:
            raise QueryError(f"{text}: no files in this folder")
        yield from (Item(os.path.join(text, file.place), file.place, _TextOf(file.path)) for file in files)
    elif path is not None:
        yield Item(text, text, _TextOf(str(path)))
    elif _is_path(text):
        raise QueryError(
            f"{shortened(text)}: no such file or folder; to ask with a single word like this: "
            f"echo {shortened(text)} | aepipe query -"
        )
    else:
        yield Item(text, text, InMemory(text.encode("utf-8", "surrogateescape")))


def query_part(text: str, features: Mapping[str, Any]) -> Item | None:
    """Return the page or passage that an argument names: ``report.pdf@p3``, ``novel.txt@7``.

    Args:
        text: the argument.
        features: ``[features]`` of the recipe, which says how documents are cut.

    Returns:
        The item; None where the argument names no part of a file that is there.
    """
    found = _PART.fullmatch(text)
    file = file_named(found["file"]) if found and path_named(text) is None else None
    if found is None or file is None:
        return None
    words = features.get("passage")
    cut = passages.Cut.of(words, features.get("overlap")) if words else None
    return Item(text, text, _PartOf(str(file), found["part"], cut))


@dataclass(frozen=True, slots=True)
class _PartOf:
    """Reads a page or a passage of a file."""

    path: str
    name: str
    cut: passages.Cut | None

    def __call__(self, key: str) -> bytes:
        """Return it in UTF-8."""
        document, _ = document_of(WholeFile(self.path)(key), key.removesuffix(f"@{self.name}"))
        try:
            return passages.part(document, self.name, self.cut).encode("utf-8", "surrogateescape")
        except ValueError as error:
            raise ItemError(key, str(error)) from None


@dataclass(frozen=True, slots=True)
class _TextOf:
    """Reads the text of a file."""

    path: str

    def __call__(self, key: str) -> bytes:
        """Return it in UTF-8."""
        return text_of(WholeFile(self.path)(key), key).encode("utf-8", "surrogateescape")


def preview(path: Path, at: str, key: str) -> bytes:
    """Return a passage of a document.

    Args:
        path: of the file.
        at: see :mod:`aepipe.sources.text.passages`.
        key: for errors.

    Raises:
        ItemError: the file is not the document that it was.
        ValueError: the place is none of a passage.
    """
    from aepipe.sources.formats import format_of

    number, cut, inner = passages.parsed(at)
    reader = getattr(format_of(path.name, inner), "read_at", None) if inner else None
    data = reader(path, inner, key) if reader else WholeFile(str(path))(key)
    spans = cut.spans(text := text_of(data, key))
    if number > len(spans):
        raise ItemError(key, "the document is shorter now")
    start, end = spans[number - 1]
    return text[start:end].strip().encode("utf-8", "surrogateescape")


def excerpt(text: str, asked: str) -> str:
    """Return the sentence of a passage to show; see :mod:`aepipe.sources.text.excerpts`."""
    return excerpts.excerpt(text, asked, partial(words_of, mail=False))


def _is_path(text: str) -> bool:
    """Whether an argument looks like a path: words of scripts without spaces may have a stroke among them."""
    if not is_like_a_path(text):
        return False
    first = text.partition("/")[0]
    return not scripts.spaceless(text) or "." in text or not first.strip("~") or path_named(first) is not None


def text_of(data: bytes, key: str) -> str:
    """Return the text of a document.

    Raises:
        ItemError: it is empty, not text at all, or cannot be read; see :func:`aepipe.sources.text.documents.read`.
        ExtraError: what reads it is not installed.
    """
    return document_of(data, key)[0].text


def document_of(data: bytes, key: str, given: str | None = None) -> tuple[passages.Document, str]:
    """Return a document, and the encoding that it was read in; empty for a format of its own.

    Args:
        data: of the file.
        key: names it; see :func:`aepipe.sources.text.recognise.format_of`.
        given: the encoding of texts, where it is known; else it is told by the bytes.

    Raises:
        ItemError: as :func:`text_of`.
        ExtraError: what reads it is not installed.
    """
    form = recognise.format_of(data, key)
    if form:
        from aepipe.sources.text import documents

        return documents.read(data, key, form), ""
    text, found = _plain_text(data, key, given)
    if not text.strip():
        raise ItemError(key, "empty document")
    if len(text) > passages.MOST_TEXT:
        raise ItemError(key, f"more than {passages.MOST_TEXT >> 20} million letters: cut it into files of its parts")
    return passages.Document(text), found


def _plain_text(data: bytes, key: str, given: str | None) -> tuple[str, str]:
    """Return the text of bytes, and their encoding."""
    if not given and b"\0" not in data[:65536]:
        # Some programs begin a file with a byte order mark, which belongs to no word.
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode().removeprefix("\ufeff"), UTF8
    from aepipe.sources import encoding  # here, because a cold query must not wait for it

    try:
        return encoding.decode(data, given)
    except ValueError as error:
        raise ItemError(key, str(error)) from None


def words_of(text: str, *, mail: int, segment: scripts.Segment | None = None) -> list[str]:
    """Return the words of a text, in lower case: of two letters and more, of any script.

    Single letters are words of scripts without spaces only; see :mod:`aepipe.sources.text.scripts`.

    Args:
        text: of the document.
        mail: leave out headers, quotations and signatures; see :func:`body_of`.
        segment: cuts runs of Chinese letters.
    """
    return cut(spelled(text, mail=mail), segment)


def terms_of(text: str) -> list[str]:
    """Return the words of a text to look up, with digits as letters: ``905``, ``iso9001``."""
    found = spelled(text, mail=False)
    return scripts.words(found, digits=True) if scripts.concerns(found) else _TERM.findall(found)


def spelled(text: str, *, mail: int) -> str:
    """Return what words are cut from: the text in lower case, one spelling of each letter."""
    # NFKC makes one word of its different spellings: ligatures, full-width letters.
    return unicodedata.normalize("NFKC", body_of(text, mail) if mail else text).lower()


def cut(found: str, segment: scripts.Segment | None = None) -> list[str]:
    """Return the words of a text that :func:`spelled` returned."""
    return scripts.words(found, segment) if scripts.concerns(found) else plain(found)


def plain(found: str) -> list[str]:
    """Return the runs of two letters and more: the words where these are between spaces.

    Rows whose vocabulary has no word of other scripts are made of these, as they always were.
    """
    return _WORD.findall(found)


def is_mail(text: str) -> bool:
    """Whether a text begins as a mail or a post does: with two lines of a header."""
    first, _, rest = text.partition("\n")
    return bool(_HEADER.match(first) and _HEADER.match(rest))


def body_of(text: str, version: int = MAIL) -> str:
    """Return a mail or a post without header, quotations and signature.

    Of a text without a header only quotations are left out. The header ends at the first empty line. Quotations are
    lines that begin with ``>``, ``|`` or ``:``, and the lines that name their author. The signature is the last block
    of lines, where it has fewer words than what stays.

    Args:
        text: of an item.
        version: of these rules, as the features of rows say it. By version 1 the last block was left out of every text,
            unless it was the only one; releases that were made so are asked so.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    headed = bool(_HEADER.match(lines[0])) and "" in lines
    lines = [line for line in lines[lines.index("") + 1 if headed else 0 :] if not _QUOTED.match(line)]
    if version > 1 and not headed:
        return "\n".join(lines)
    # Empty lines and rules at the end would hide the signature before them.
    while lines and _RULE.match(lines[-1]):
        lines.pop()
    last = max((place for place, line in enumerate(lines) if _RULE.match(line)), default=len(lines))
    body, signature = "\n".join(lines[:last]), "\n".join(lines[last:])
    stays = len(signature.split()) < len(body.split()) if version > 1 else bool(body.strip())
    return body if stays else "\n".join(lines)


def _unknown(words: list[str], known: int) -> str:
    """Return the reason why a document has no row: none of its words is in the vocabulary."""
    if not words:
        return "it has no words"
    named = ", ".join(repr(word) for word in dict.fromkeys(words[:_NAMED]))
    more = f" and {len(words) - _NAMED:,} more" if len(words) > _NAMED else ""
    return f"none of its words is among the {known:,} that the collection is known by: {named}{more}"

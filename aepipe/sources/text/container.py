"""Documents of a folder or a table, with their beginnings, whole or cut into passages.

An item is the text itself, in UTF-8: a file that is plain text in UTF-8 stays as it is, all others are read here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from aepipe.errors import ItemError
from aepipe.sources import encoding
from aepipe.sources.base import SNIPPET, SNIPPET_LENGTH
from aepipe.sources.files import MAX_BYTES, InMemory, Refused, is_large
from aepipe.sources.item import Container, Item
from aepipe.sources.passed_over import PassedOver, in_words
from aepipe.sources.pieces import Pieces
from aepipe.sources.text import decode, mails, recognise
from aepipe.sources.text.passages import Cut

_LOOK = 1 << 14  # letters that a beginning is made of


class Documents(Pieces):
    """Items that are documents, or passages of them.

    Args:
        whole: gives files, or rows of a table.
        cut: how documents are cut; None for whole ones.
        given: the encoding of texts; told by the bytes of each where it is None.
        mail: version of the rules by which beginnings are without headers, quotations and signatures; 0 keeps them.
        alone: there is one document, so its passages may be in different splits; else those of one never are.
    """

    def __init__(self, whole: Container, cut: Cut | None, *, given: str | None, mail: int, alone: bool = False) -> None:
        super().__init__(whole, alone=alone)
        self._cut = cut
        self._given = given
        self._mail = mail
        self._encodings: Counter[str] = Counter()
        self._attached = PassedOver()

    @property
    def notes(self) -> Sequence[str]:
        """Guessed encodings, attachments that are not read, and what the files' container says."""
        attached = map(in_words, self._attached.facts())
        return [*super().notes, *encoding.notes_of(self._encodings), *attached]

    def schema(self) -> Any:  # noqa: ANN401  pyarrow has no types
        """Return the columns of the items, and the beginning of each document."""
        import pyarrow as pa

        own = self._whole.schema()
        return own if SNIPPET in own.names else own.append(pa.field(SNIPPET, pa.string()))

    def total(self) -> int | None:
        """Return the number of documents; None where they are cut."""
        return None if self._cut else self._whole.total()

    def items(self) -> Iterator[Item]:
        """Yield the documents, or their passages; one that cannot be read is an item that says so."""
        self._encodings.clear()
        self._attached.clear()
        shown = SNIPPET not in self._whole.schema().names
        for item in self._whole.items():
            for one, text in self._of(item):
                yield _with_snippet(one, self._beginning(text)) if shown else one

    def _of(self, item: Item) -> Iterator[tuple[Item, str | None]]:
        """Yield the items of a document, each with its text; None for one that cannot be read."""
        if is_large(item.reader):
            yield replace(item, reader=Refused(f"more than {MAX_BYTES >> 20} MB")), None
            return
        try:
            data = item.read()
            document, read_as = decode.document_of(data, item.key, self._given)
        except ItemError as error:
            yield replace(item, reader=Refused(error.reason)), None
            return
        if read_as and not self._given:  # what the recipe says is no guess
            self._encodings[read_as] += 1
        if not read_as and recognise.format_of(data, item.key) == recognise.MAIL:
            for name in mails.attachments(data):
                self._attached.add(f"{item.key}: {name}", "an attachment of a mail, not read")
        plain = read_as == encoding.UTF8
        passages = self._cut.passages(document) if self._cut else [("", "", document.text)]
        sha256 = hashlib.sha256(data).digest() if self._cut and not self._alone else b""
        for name, at, text in passages:
            if name:
                key, place = f"{item.key}@{name}", self._place(item.place, at)
                yield replace(item, key=key, place=place, reader=_in_memory(text), whole=sha256), text
            else:
                yield item if plain else replace(item, reader=_in_memory(document.text)), text

    def _place(self, place: str, at: str) -> str:
        """Return the place of a passage: a row of a table has a place in its file already."""
        file, mark, row = place.partition("#")
        return f"{file}#{at}!{row}" if mark else f"{file}#{at}"

    def _beginning(self, text: str | None) -> str | None:
        """Return the first words of a text in one line; of a passage all, as a hit shows the sentence that fits."""
        if text is None:
            return None
        if self._cut:
            return " ".join(text.split())
        head = text[:_LOOK]
        line = " ".join((decode.body_of(head, self._mail) if self._mail else head).split())
        return line if len(line) <= SNIPPET_LENGTH else line[: SNIPPET_LENGTH - 1].rstrip() + "…"


def _with_snippet(item: Item, text: str | None) -> Item:
    # Written out, because dataclasses.replace takes more than twice as long.
    columns = {**item.columns, SNIPPET: text}
    return Item(item.key, item.place, item.reader, item.label, item.split, columns, item.whole)


def _in_memory(text: str) -> InMemory:
    return InMemory(text.encode("utf-8", "surrogateescape"))

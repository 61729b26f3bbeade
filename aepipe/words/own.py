"""Own words of a collection: names of folders, labels, and what chosen columns hold.

A row carries a word, and what a word looks like is the mean of the rows that carry it. So "my cat Minka" finds what
lies in the folder Minka, which no encoder of texts can know.

Legend: N rows, F features.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import SourceError
from aepipe.store.labels import parted

if TYPE_CHECKING:
    from aepipe.store.rows import Rows

MOST, LETTERS = 2000, 200
"""Words of a collection that are known, the most frequent ones; and letters of one that are read."""
_APART = re.compile(r"[_\-./\\]+|(?<=[a-z])(?=[A-Z][a-z])")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class OwnWords:
    """Words, and the rows that carry them.

    Attributes:
        texts: the most frequent word first.
        of_row: numbers of the words of each row, as they stand in ``texts``.
    """

    texts: tuple[str, ...]
    of_row: tuple[tuple[int, ...], ...]

    def means(self, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the mean features of the rows of each word, and how many rows there are.

        Both have a line for each word: float64[n, F] and int64[n]. Rows without features are left out.
        """
        total = np.zeros((len(self.texts), int(np.prod(rows.shape))))
        there = rows.with_features
        of_row = list(compress(self.of_row, there))
        counts = np.bincount([number for one in of_row for number in one], minlength=len(self.texts))
        start = 0
        for _, features in rows.batches(8192, mask=there) if self.texts else ():
            held = of_row[start : start + len(features)]
            at = [place for place, numbers in enumerate(held) for _ in numbers]
            np.add.at(
                total,
                [number for numbers in held for number in numbers],
                features[at].reshape(len(at), -1).astype(np.float64),
            )
            start += len(features)
        return total / np.maximum(counts, 1)[:, None], counts


def own_words(rows: Rows, columns: Sequence[str]) -> OwnWords:
    """Return the own words of a collection.

    A word that all rows carry tells none of them apart, and is left out.

    Args:
        rows: of the collection.
        columns: that hold words, besides labels and names of folders.

    Raises:
        SourceError: there is no such column.
    """
    carried = list(_of_rows(rows, columns))
    counts = Counter(word for words in carried for word in words)
    kept = [word for word, count in counts.most_common() if count < len(carried)][:MOST]
    numbers = {word: number for number, word in enumerate(kept)}
    of_row = (tuple(numbers[word] for word in words if word in numbers) for words in carried)
    return OwnWords(tuple(kept), tuple(of_row))


def tidy(text: str) -> str:
    """Return a word as people say it: ``car_side`` and ``carSide`` are two words.

    It is empty where it has no letters.
    """
    plain = " ".join(_APART.sub(" ", text[:LETTERS]).split())
    return plain if _LETTER.search(plain) else ""


def carries(question: str, word: str) -> bool:
    """Say whether a question has a word in it, as a whole.

    A script without spaces has no bounds of words.
    """
    if not word.isascii():
        return word.casefold() in question.casefold()
    return re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", question.casefold(), re.ASCII) is not None


def _of_rows(rows: Rows, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the words of each row, in the order of rows, each word once."""
    for name in columns:
        if name not in rows.facts["columns"]:
            known = ", ".join(rows.facts["columns"]) or "none"
            raise SourceError(f"source.words: no column {name!r}; columns of this collection: {known}")
    for row in rows.records():
        texts = [*PurePosixPath(row.key).parent.parts, *parted(row.label)]
        texts += [text for name in columns for text in _texts(row.columns.get(name))]
        yield tuple(dict.fromkeys(filter(None, map(tidy, texts))))


def _texts(cell: object) -> Iterable[str]:
    """Yield the texts of a cell: one, or those of a list."""
    if isinstance(cell, str):
        try:
            listed = json.loads(cell) if cell.startswith("[") else None
        except ValueError:
            listed = None
        yield from _texts(listed) if isinstance(listed, list) else [cell]
    elif isinstance(cell, list | tuple):
        yield from (one for one in cell if isinstance(one, str))

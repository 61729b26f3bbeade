"""Answers of a service, in the shape that those of a release have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aepipe.errors import ItemError
from aepipe.report.hits import SNIPPET
from aepipe.report.results import Answered


@dataclass(frozen=True, slots=True)
class RemoteRow:
    """A row of a collection behind a service.

    Attributes:
        id: given once in a collection.
        key: the path relative to the source, or the id that the source gives.
        label: the class, several with commas between.
        labels: each class.
        split: ``train`` or ``test``.
        columns: the source's own, as text, by name.
        place: empty: where the original lies is the service's own affair.
    """

    id: int
    key: str
    label: str | None
    labels: tuple[str, ...]
    split: str | None
    columns: Mapping[str, str | None]
    place: str = ""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> RemoteRow:
        """Return a row as the service tells it."""
        snippet = told["snippet"]
        columns = {**told["columns"], **({} if snippet is None else {SNIPPET: snippet})}
        return cls(told["id"], told["key"], told["label"], tuple(told["labels"]), told["split"], columns)


@dataclass(frozen=True, slots=True)
class RemoteHit:
    """One row found; the attributes are those of :class:`aepipe.release.search.Hit`."""

    rank: int
    distance: int
    similarity: float
    row: RemoteRow
    confidence: float | None = None
    cosine: float | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> RemoteHit:
        """Return a hit as the service tells it."""
        measures = (told["confidence"], told["cosine"])
        return cls(told["rank"], told["distance"], told["similarity"], RemoteRow.of(told), *measures)


@dataclass(frozen=True, slots=True)
class RemoteCode:
    """One code in hex, as :class:`aepipe.codes.bitcodes.BitCodes` holds many.

    Attributes:
        text: the code.
    """

    text: str

    def hex(self) -> list[str]:
        """Return the code as the only one of a list."""
        return [self.text]


@dataclass(frozen=True, slots=True)
class RemoteQuestion:
    """One thing asked.

    Attributes:
        text: what the user called it.
        code: that was searched with; None where the item could not be read.
        failure: why not.
        understood: what words were understood as, nearest first.
        row_id: the row that asked; None for all else, and for a row that was asked by its key.
        data: the bytes of a file from this machine.
    """

    text: str
    code: RemoteCode | None = None
    failure: ItemError | None = None
    understood: tuple[str, ...] = ()
    row_id: int | None = None
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class RemoteAnswer:
    """A question and its hits, nearest first.

    Attributes:
        question: that was asked.
        hits: nearest first.
        strange: why the question is unlike the collection; None where it is not.
    """

    question: RemoteQuestion
    hits: list[RemoteHit] = field(default_factory=list)
    strange: str | None = None


class RemoteResults(Answered[RemoteAnswer, RemoteHit]):
    """The answers of a service to questions, in the order asked."""

"""Rows and hits for programs, in one shape for all verbs; and their columns for tables.

A row is an object with these keys, which are always there:

=============  ===========================================================================
key            value
=============  ===========================================================================
``id``         given once in a collection, and never again
``key``        the path relative to the source, or the id that the source gives
``path``       the file of the original; null where it is inside another one, or gone
``label``      the class, several with commas between; null without one
``labels``     each class
``split``      ``train`` or ``test``
``snippet``    the beginning of a document, or the sentence that answers; null for others
``columns``    the source's own columns, as text, by name
=============  ===========================================================================

A hit has these, and ``rank``, ``distance`` (bits), ``similarity``, ``confidence`` and ``cosine``; the last two are null
where they were not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from aepipe.errors import ItemError, QueryError
from aepipe.store.column_names import sql_names

SNIPPET = "snippet"
"""The column with the beginning of a document."""
MEASURES = ("rank", "distance", "similarity", "confidence", "cosine")
FIXED = (*MEASURES, "id", "key", "path", "label", "split", SNIPPET)
"""Columns that a table of hits can have beside those of the source."""
_DIGITS = {"similarity": 3, "confidence": 2, "cosine": 3}


class Row(Protocol):
    """A row as it is shown: of a release, or as a service tells it."""

    @property
    def id(self) -> int:
        """Given once in a collection."""

    @property
    def key(self) -> str:
        """The path relative to the source, or the id that the source gives."""

    @property
    def place(self) -> str:
        """Where the original lies."""

    @property
    def label(self) -> str | None:
        """The class, several with commas between."""

    @property
    def labels(self) -> Sequence[str]:
        """Each class."""

    @property
    def split(self) -> str | None:
        """``train`` or ``test``."""

    @property
    def columns(self) -> Mapping[str, str | None]:
        """The source's own, as text, by name."""


class Hit(Protocol):
    """A hit as it is shown."""

    @property
    def rank(self) -> int:
        """From 1."""

    @property
    def distance(self) -> int:
        """In bits."""

    @property
    def similarity(self) -> float:
        """Share of the bits that agree."""

    @property
    def confidence(self) -> float | None:
        """Probability that it is of the query's kind."""

    @property
    def cosine(self) -> float | None:
        """Of the embeddings."""

    @property
    def row(self) -> Row:
        """That was found."""


class Code(Protocol):
    """One code."""

    def hex(self) -> list[str]:
        """Return it as the only text of a list."""


class Question(Protocol):
    """A question as it is shown."""

    @property
    def text(self) -> str:
        """What the user called it."""

    @property
    def code(self) -> Code | None:
        """That was searched with."""

    @property
    def failure(self) -> ItemError | None:
        """Why there is no code."""

    @property
    def understood(self) -> Sequence[str]:
        """What words were understood as, nearest first."""


class Answer(Protocol):
    """An answer as it is shown."""

    @property
    def question(self) -> Question:
        """That was asked."""

    @property
    def hits(self) -> Sequence[Hit]:
        """Nearest first."""

    @property
    def strange(self) -> str | None:
        """Why the question is unlike the collection."""


class Shelf(Protocol):
    """Where hits come from: a release, or a collection behind a service."""

    @property
    def fingerprint(self) -> str:
        """Of the encoder."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the source's own columns."""

    def path_of(self, place: str) -> str | None:
        """Return the file at a row's place; None where there is none on this machine."""


def row_json(release: Shelf, row: Row) -> dict[str, Any]:
    """Return a row as every verb prints it for programs."""
    return {
        "id": row.id,
        "key": row.key,
        "path": release.path_of(row.place),
        "label": row.label,
        "labels": list(row.labels),
        "split": row.split,
        SNIPPET: row.columns.get(SNIPPET),
        "columns": {name: value for name, value in row.columns.items() if name != SNIPPET},
    }


def hit_json(release: Shelf, hit: Hit) -> dict[str, Any]:
    """Return a hit as every verb prints it for programs."""
    return {name: getattr(hit, name) for name in MEASURES} | row_json(release, hit.row)


def names(release: Shelf) -> tuple[str, ...]:
    """Return the columns of a table of hits: ours, then those of the source."""
    return (*FIXED, *source_columns(release))


def source_columns(release: Shelf) -> dict[str, str]:
    """Map names in a table of hits to the source's own columns.

    They are called as in conditions (:func:`aepipe.store.column_names.sql_names`): ``id`` of the source is
    ``source_id``. So is a column with the name of a measure: ``rank`` is ``source_rank``.
    """
    return _called(tuple(release.columns))


@lru_cache(maxsize=16)
def _called(columns: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for written, name in sql_names(one for one in columns if one != SNIPPET).items():
        new = f"source_{name}" if name in FIXED else name
        while new in found or (new != name and new in columns):
            new = f"source_{new}"
        found[new] = written
    return found


def chosen(release: Shelf, text: str | None) -> tuple[str, ...] | None:
    """Return the columns that are named between commas; None where none are.

    Raises:
        QueryError: there is no such column.
    """
    if text is None:
        return None
    known, found = names(release), tuple(name.strip() for name in text.split(",") if name.strip())
    # A name as the source writes it is taken, too, where it means one column only.
    unknown = next((name for name in found if name not in known and name not in release.columns), None)
    if unknown is not None or not found:
        raise QueryError(f"--columns {text}: no column {unknown or ''!r}; there are: {', '.join(known)}")
    return found


def value(release: Shelf, hit: Hit, name: str) -> Any:  # noqa: ANN401  a number, a text or None
    """Return what a hit has in a column."""
    if name in MEASURES:
        return getattr(hit, name)
    if name == "path":
        return release.path_of(hit.row.place)
    if name in FIXED and name != SNIPPET:
        return getattr(hit.row, name)
    return hit.row.columns.get(source_columns(release).get(name, name))


def cells(release: Shelf, hit: Hit, columns: Sequence[str]) -> tuple[str, ...]:
    """Return a hit as the cells of a table for people."""
    return tuple(_text(name, value(release, hit, name)) for name in columns)


def _text(name: str, found: object) -> str:
    if found is None:
        return ""
    return f"{found:.{_DIGITS[name]}f}" if name in _DIGITS and isinstance(found, float) else str(found)

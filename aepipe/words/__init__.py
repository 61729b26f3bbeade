"""Words: a question in words becomes features, in the space of a collection's pictures.

A kind of words is one file below ``kinds/``, and the folder is the registry: ``[features] words`` is the name of a
kind, or the folder or file of a text tower. Each file has:

- ``resolve(text, *, base, width, backbone, columns) -> WordsSpec``, what a recipe names, checked before all else;
- ``opened(folder, card) -> Words``, what answers with the files of an artifact; a cold query calls it, so it imports
  neither torch nor pyarrow nor pandas;
- ``told(folder, card) -> str``, what answers, in words;
- optional: ``EXTRAS``, the packages that the kind needs, each with the extra of aepipe that brings it.

The artifact ``words`` of a release holds ``words.json``, an object with the ``kind`` and its facts, and the files of
the kind. Legend: N rows, F features.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import CorruptError, QueryError
from aepipe.store import layout
from aepipe.words import kinds

if TYPE_CHECKING:
    from aepipe.store.rows import Rows

MOST_LABELS = 10_000
"""Words that rows are labelled by, at most."""
TOWERS = "towers"
"""The kind that is named by its folder or file."""


@dataclass(frozen=True, slots=True, eq=False)
class Meaning:
    """What some words mean to a collection.

    Attributes:
        features: float32[F], of unit length, in the space of the rows.
        known: what the words were understood as, nearest first; empty where they are understood as they are.
        far: a sentence, where the words are far from all that is known.
    """

    features: NDArray[np.float32]
    known: tuple[str, ...] = ()
    far: str | None = None


class Words(Protocol):
    """Words of a release, opened for questions."""

    @property
    def centre(self) -> NDArray[np.float32]:
        """The mean of the pictures, float32[F]: the least that is known of a picture."""

    def __call__(self, text: str) -> Meaning:
        """Return what a text means.

        Raises:
            CorruptError: a network fails.
        """


@runtime_checkable
class Names(Protocol):
    """Words that are known one by one, so that they can name what features show."""

    def name_of(self, features: NDArray[np.floating]) -> str | None:
        """Return the known word that is most like features [F] of pictures; None where all are far."""


class WordsSpec(Protocol):
    """Words as a recipe names them, before their artifact is made."""

    @property
    def of_rows(self) -> bool:
        """Whether the artifact depends on all rows, and not only on those that were learned."""

    @property
    def exact(self) -> bool:
        """Whether words tell rows of one kind apart; codes then keep neighbours by features."""

    def inputs(self) -> dict[str, Any]:
        """Return everything but rows and encoder that the artifact depends on, for its digest."""

    def make(self, folder: Path, rows: Rows, learned: NDArray[Any]) -> None:
        """Write the files of the artifact, ``words.json`` among them.

        Args:
            folder: exists, and is empty.
            rows: of the release.
            learned: [N, F], the rows that its encoder has learned from.

        Raises:
            CorruptError: a network fails.
        """


def names() -> list[str]:
    """Return the names of all kinds."""
    return [one.name for one in pkgutil.iter_modules(kinds.__path__)]


def is_place(text: str) -> bool:
    """Return whether a recipe names a folder or file, and no kind."""
    return text == TOWERS or text not in names()


def resolve(
    text: str, *, base: Path, width: int, backbone: str | None = None, columns: Sequence[str] = ()
) -> WordsSpec:
    """Return what a recipe names under ``[features] words``.

    Args:
        text: the name of a kind, or a folder or file.
        base: that a path is relative to.
        width: F, features of a row.
        backbone: that makes the rows, as the recipe names it.
        columns: of the collection that hold words.

    Raises:
        SourceError: there is no such thing, or it gives another number of features.
        ExtraError: a package is not installed.
    """
    named = TOWERS if is_place(text) else text
    return cast(WordsSpec, _kind(named).resolve(text, base=base, width=width, backbone=backbone, columns=columns))


def opened(folder: Path) -> Words:
    """Open the words of a release.

    Args:
        folder: of the artifact.

    Raises:
        CorruptError: a file is missing or damaged.
        ExtraError: a package is not installed.
    """
    card = _card(folder)
    return cast(Words, _kind(card["kind"]).opened(folder, card))


def told(folder: Path) -> dict[str, str]:
    """Return the kind of a release's words, and their source in words; nothing is opened.

    Args:
        folder: of the artifact.

    Raises:
        CorruptError: a file is missing or damaged.
    """
    card = _card(folder)
    try:
        return {"kind": card["kind"], "by": str(_kind(card["kind"]).told(folder, card))}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{folder}: corrupt: {error}; `aepipe verify` lists the damage") from None


def _card(folder: Path) -> dict[str, Any]:
    file = folder / layout.Words.CARD
    try:
        card: dict[str, Any] = json.loads(file.read_bytes())
        kind = card["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{file}: corrupt: {error}; `aepipe verify` lists the damage") from None
    if kind not in names():
        raise CorruptError(f"{file}: words of the kind {kind!r}; this version of aepipe reads {', '.join(names())}")
    return card


def texts_of(name: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the words of an argument; a text is one of them.

    Args:
        name: of the argument.
        given: one text, or several.

    Raises:
        QueryError: it is no text, or an empty one.
    """
    texts = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else None
    if texts is None or not all(isinstance(one, str) for one in texts):
        raise QueryError(f"{name}: a text is wanted, or several, not {given!r}")
    if not all(one.strip() for one in texts):
        raise QueryError(f"{name}: no words")
    return texts


def words_in(text: str) -> tuple[str, ...]:
    """Return the words of a list, one or a phrase in each line; each once.

    Raises:
        QueryError: there are fewer than two, or too many.
    """
    found = tuple(dict.fromkeys(filter(None, (line.strip() for line in text.lstrip("\ufeff").splitlines()))))
    if not 2 <= len(found) <= MOST_LABELS:
        raise QueryError(f"labels: {len(found):,} words; 2 to {MOST_LABELS:,} are wanted, one or a phrase in each line")
    return found


def named(text: str, plus: Sequence[str], minus: Sequence[str]) -> str:
    """Return the name of a question with words added to it, and others taken away."""
    more = [*(f"+ {one}" for one in plus), *(f"- {one}" for one in minus)]
    return " ".join([text, *more] if text else more).removeprefix("+ ")


def write_card(folder: Path, kind: str, facts: Mapping[str, Any]) -> None:
    """Write ``words.json``."""
    (folder / layout.Words.CARD).write_text(json.dumps({"kind": kind, **facts}, sort_keys=True), encoding="utf-8")


def extras() -> dict[str, str]:
    """Return the packages that kinds need, each with the extra that brings it."""
    return {package: extra for name in names() for package, extra in getattr(_kind(name), "EXTRAS", {}).items()}


def _kind(name: str) -> ModuleType:
    # Only the kind that is wanted: a cold query must not wait for the libraries of the others.
    return import_module(f"{kinds.__name__}.{name}")

"""Questions in words to pictures, sound and film, alone or together with an item.

Words become features of the space that pictures are in (:mod:`aepipe.words`), and these go through the encoder as those
of a picture do. Several things in one question are mixed there: each is a direction away from the mean of all pictures,
and the question is their weighted sum at the distance of its first part. Words that hits are not to have are taken out
of it as a direction, and a little more (Widdows, "Orthogonal Negation in Vector Spaces", 2003): the question keeps
nothing of them, and is not asked for their opposite, which is anything.

Legend: F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aepipe import sources
from aepipe.errors import ItemError, QueryError, shortened
from aepipe.release.release import Release
from aepipe.sources.asked import are_words, not_utf8
from aepipe.words import Meaning, Words, named

SHARE = 0.5
"""Of the words in a question with an item."""
AWAY = 0.4
"""Of the weight: how far a question moves away from words that hits are not to have (docs/benchmarks/retrieval.md)."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Words that are added to a question.

    Attributes:
        plus: what its hits are to have, too.
        minus: what they are not to have.
        weight: share of the added words in the question, 0..1, the item has the rest; and how far it moves away from
            unwanted ones.
    """

    plus: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()
    weight: float = SHARE

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise QueryError(f"weight: a number from 0 to 1 is wanted, not {self.weight!r}")
        if "" in {text.strip() for text in (*self.plus, *self.minus)}:
            raise QueryError("words to add or to leave out are empty")
        for text in (*self.plus, *self.minus):
            if bad := not_utf8(text):
                raise QueryError(f"{shortened(text)}: {bad}")

    @classmethod
    def of(cls, plus: str | Sequence[str], minus: str | Sequence[str], weight: float | None) -> Mixture:
        """Return the words of a question; a text is one of them.

        Raises:
            QueryError: words are empty, or the weight is no share.
        """
        more, less = ((one,) if isinstance(one, str) else tuple(one) for one in (plus, minus))
        return cls(more, less, SHARE if weight is None else weight)

    def __bool__(self) -> bool:
        """Whether it adds anything."""
        return bool(self.plus or self.minus)

    def named(self, text: str) -> str:
        """Return the name of a question with these words."""
        return named(text, self.plus, self.minus)


NOTHING = Mixture()


def answers_words(release: Release) -> bool:
    """Whether a collection answers words: documents do, and what has words in its release."""
    return sources.has_text(release.recipe["source"]["kind"]) or bool(release.all_parts("words"))


def advice(release: Release) -> str:
    """Return how a collection would answer words, after a full stop; empty where it cannot."""
    from aepipe.words.kinds.imagenet import BACKBONES

    backbone = release.recipe.get("features", {}).get("backbone")
    if backbone in BACKBONES:
        ask = "install the extra `words`, and run its recipe again with --set features.words=imagenet"
        return f". To ask it in words, {ask}"
    if backbone:
        named = "the text tower of its network in its recipe"
    elif sources.has_pictures(release.recipe["source"]["kind"]):
        named = "a network in its recipe, `[features] backbone`, and what knows words"
    else:
        return ""
    return f". To ask it in words, name {named}, `[features] words`, and run that again"


def is_in_words(release: Release, text: str) -> bool:
    """Whether an argument is a question in words to pictures; a file is a file."""
    return bool(release.all_parts("words")) and are_words(text)


def words_for(release: Release) -> Words:
    """Return what answers words.

    Raises:
        QueryError: nothing does.
    """
    found = release.words
    if found is None and sources.has_text(release.recipe["source"]["kind"]):
        raise QueryError(f"{release.name} has documents: write all words in one question; none are added or taken away")
    if found is None:
        raise QueryError(
            f"{release.name} does not answer words, nor can they be added to its questions{advice(release)}"
        )
    return found


def meaning_of(release: Release, text: str) -> Meaning:
    """Return what some words mean to a collection.

    Raises:
        QueryError: it answers none.
        ItemError: they are not in UTF-8.
        CorruptError: a network fails.
    """
    words = words_for(release)
    if bad := not_utf8(text):
        raise ItemError(text, bad)
    return words(text)


def mixed(release: Release, item: Meaning | None, mixture: Mixture) -> Meaning:
    """Return what an item means together with words.

    Args:
        release: that is asked.
        item: with its features; None for words alone.
        mixture: the words.

    Raises:
        QueryError: the collection answers no words.
        CorruptError: a network fails.
    """
    if not mixture:
        assert item is not None, "something is asked"
        return item
    words = words_for(release)
    plus, minus = ([words(text) for text in texts] for texts in (mixture.plus, mixture.minus))
    centre, asked = words.centre.astype(np.float64), _direction(plus, words)
    if item is not None:
        share = mixture.weight if plus else 0.0
        asked = share * asked + (1 - share) * _direction([item], words)
    for one in minus:
        asked = _without(asked, _direction([one], words), AWAY * mixture.weight / len(minus))
    first = item or (plus or minus)[0]
    length = float(np.linalg.norm(first.features - centre))
    features = _unit(centre + length * _unit(asked)).astype(np.float32)
    return Meaning(features, *_told(item, plus, minus, mixture))


def features_of(release: Release, ids: Sequence[int]) -> list[NDArray[np.float32]]:
    """Return the features of rows, each float32[F], in the order of the ids.

    Raises:
        CorruptError: the rows are missing from the store.
    """
    from aepipe.store.rows import Rows

    found: dict[int, NDArray[np.float32]] = {}
    for table in map(Rows, release.folders("rows")):
        own = table.ids()
        for place in np.flatnonzero(np.isin(own, ids)).tolist():
            found[int(own[place])] = table.feature(place).astype(np.float32)
    return [found[row_id] for row_id in ids]


def _told(
    item: Meaning | None, plus: Sequence[Meaning], minus: Sequence[Meaning], mixture: Mixture
) -> tuple[tuple[str, ...], str | None]:
    """Return what the parts of a question were understood as, each with its mark; and which of them are far."""
    parts = [("", "", item)] if item else []
    parts += [("+ ", text, one) for text, one in zip(mixture.plus, plus, strict=True)]
    parts += [("- ", text, one) for text, one in zip(mixture.minus, minus, strict=True)]
    known = [f"{mark if place or mark == '- ' else ''}{name}" for place, (mark, _, one) in enumerate(parts)
             for name in one.known]  # fmt: skip
    far = [f"{shortened(text)}: {one.far}" if text and len(parts) > 1 else one.far for _, text, one in parts if one.far]
    return tuple(known), far[0] if far else None


def _direction(several: Sequence[Meaning], words: Words) -> NDArray[np.float64]:
    """Return the mean direction of some meanings away from the mean of all pictures, float64[F]; zeros of none."""
    found: NDArray[np.float64] = np.zeros(words.centre.shape)
    for one in several:
        found += _unit(one.features.astype(np.float64) - words.centre) / len(several)
    return found


def _without(asked: NDArray[np.float64], unwanted: NDArray[np.float64], away: float) -> NDArray[np.float64]:
    """Return a direction without what it shares with another one, and a little away from that."""
    asked = _unit(asked)
    return asked - (max(0.0, float(asked @ unwanted)) + away) * unwanted


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return found

"""Measure what answers are worth: confidence by kind of question, and limits of strangers.

Held-out items ask as users do: as they are, and, where they are texts, with some words of theirs; among all rows, and
under conditions.

Legend: N database rows, Q queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe import sources
from aepipe.codes.encoder import Encoder, quantize
from aepipe.errors import ItemError
from aepipe.evaluate import scores as evaluation
from aepipe.evaluate.asked import LATER_RANKS, Answers, ask, ask_some, curve_of
from aepipe.evaluate.calibration import ITEMS, ITEMS_WHERE, LATER, WORDS, WORDS_WHERE, Curve
from aepipe.evaluate.scores import Sample, Scores
from aepipe.evaluate.strangers import Space, Strangers, faint, fit_space, nearest_figure
from aepipe.log import step
from aepipe.sources.base import SNIPPET
from aepipe.sources.item import asking
from aepipe.store.rows import Rows

Figures = dict[str, NDArray[np.float64]]

AXES, SEEN = 64, 4096
"""Principal components of the space that strangers are told by, and rows in it, at most."""
LATER_QUERIES = 150
"""Queries whose later hits are looked at."""
MOST_WORDS, SPANS = 8, 400
"""Words of a question at most, and questions with words that are asked at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What was measured.

    Attributes:
        curves: by kind of question.
        strangers: limits by kind of question, where there were enough of these.
        space: that these are told by; None for rows of words.
    """

    curves: dict[str, Curve]
    strangers: dict[str, Strangers]
    space: Space | None

    def added(self, scores: Scores) -> Scores:
        """Return scores that hold it."""
        assert scores.calibration is not None, "it is part of all scores that are made"
        calibration = replace(scores.calibration, curves=self.curves)
        return replace(scores, calibration=calibration, strangers=self.strangers)


def measure(
    table: Rows,
    model: Path,
    database: Sample,
    queries: Sample,
    scores: Scores,
    seed: int,
    neighbours: NDArray[np.int64] | None = None,
) -> Worth:
    """Measure confidence and the limits of strangers.

    Args:
        table: the collection.
        model: the folder of the encoder that made the codes.
        database: N rows.
        queries: Q held-out rows.
        scores: of these, with the calibration by all rows.
        seed: of what is drawn.
        neighbours: int64[Q, k], the nearest rows of the held-out ones by their features, where they are known.
    """
    encoder, factor = Encoder.open(model), scores.reranking.factor if scores.reranking else None
    assert scores.calibration is not None, "it is part of all scores that are made"
    card = encoder.card
    unknown = sources.stranger_words(card.source, card.features)
    space = None if unknown else fit_space(database.features, AXES, SEEN, seed)
    asked = [(ITEMS, ITEMS_WHERE, _as_they_are(table, encoder, queries, space))]
    if sources.has_text(card.source) and SNIPPET in table.columns:
        asked.append((WORDS, WORDS_WHERE, _as_words(table, encoder, model, queries, space, seed)))
    curves, strangers = dict[str, Curve](), dict[str, Strangers]()
    for plain, where, (sample, figures) in asked:
        if not len(sample):
            continue
        step("evaluate", 0, None, f"confidence of {plain}")
        found = ask(database, sample, factor, neighbours=neighbours if sample is queries else None)
        curves[plain] = curve_of(found, scores.calibration.probability)
        # Which rows are the nearest ones depends on how many a condition leaves; which have a label does not.
        if scores.protocol.labelled:
            curves[where] = curve_of(ask_some(database, sample, factor, seed), scores.calibration.probability)
        # Among rows of words something is near whatever is asked: one word in common is enough.
        told = figures if space is None else {"nearest": _nearest(found)} | figures
        limit = Strangers.measure(told, found.nearest_code == 0)
        if limit:
            strangers[plain] = limit
    if len(database) >= LATER_RANKS.stop:
        first = evaluation.places_of_first(len(queries), LATER_QUERIES)
        near = None if neighbours is None else neighbours[first]
        later = ask(database, queries[first], factor, LATER_RANKS, near)
        curves[LATER] = curve_of(later, scores.calibration.probability)
    return Worth(curves, strangers, space)


def _as_they_are(table: Rows, encoder: Encoder, queries: Sample, space: Space | None) -> tuple[Sample, Figures]:
    """Return held-out rows, with the figures of each but the nearest."""
    items = queries.features.reshape(len(queries), *table.shape)
    if space is not None:
        return queries, space.figures(items)
    unknown = sources.stranger_words(encoder.card.source, encoder.card.features)
    texts = _texts(table, queries)
    figures = {"faint": faint(encoder.encode(items).embedding)}
    if unknown and texts:
        figures["unknown"] = np.array([_share(unknown, text) for text in texts])
    return queries, figures


def _as_words(
    table: Rows, encoder: Encoder, model: Path, queries: Sample, space: Space | None, seed: int
) -> tuple[Sample, Figures]:
    """Return questions of some words of held-out texts, with the figures of each but the nearest."""
    card = encoder.card
    decode = asking(sources.decoder(card.source, card.features, model))
    unknown = sources.stranger_words(card.source, card.features)
    rows, kept, shares = list[NDArray[np.generic]](), list[int](), list[float]()
    for place, words in _spans(_texts(table, queries), seed):
        try:
            rows.append(decode(words.encode("utf-8", "surrogateescape"), words))
        except ItemError:  # none of these words is known, which an answer says
            continue
        kept.append(place)
        shares.append(_share(unknown, words) if unknown else 0.0)
    if not kept:
        return queries[np.empty(0, np.int64)], {}
    items = np.stack(rows)
    found, own = encoder.encode(items), queries[np.array(kept, np.int64)]
    embeddings = None if own.embeddings is None else quantize(found.embedding)
    features = np.nan_to_num(items.reshape(len(items), -1))
    sample = replace(own, codes=found.codes, features=features, embeddings=embeddings, errors=None)
    if space is not None:
        return sample, space.figures(items)
    return sample, {"faint": faint(found.embedding), "unknown": np.array(shares)}


def _texts(table: Rows, queries: Sample) -> list[str]:
    """Return the beginning of the text of each query."""
    if SNIPPET not in table.columns or queries.keys is None:
        return []
    held = table.table(["key", SNIPPET])
    by_key = dict(zip(held.column("key").to_pylist(), held.column(SNIPPET).to_pylist(), strict=True))
    return [by_key.get(str(key)) or "" for key in queries.keys]


def _spans(texts: list[str], seed: int) -> Iterator[tuple[int, str]]:
    """Yield some words in a row of texts, as people ask with them, each with the place of its text."""
    rng = np.random.default_rng(seed)
    for place in rng.permutation(len(texts))[:SPANS].tolist():
        words = texts[place].removesuffix("…").split()
        count = min(len(words), round(MOST_WORDS ** rng.random()))
        if count:
            start = int(rng.integers(len(words) - count + 1))
            yield place, " ".join(words[start : start + count])


def _share(unknown: Callable[[bytes, str], float], text: str) -> float:
    try:
        return unknown(text.encode("utf-8", "surrogateescape"), "a text")
    except ItemError:  # it is empty
        return 1.0


def _nearest(found: Answers) -> NDArray[np.float64]:
    """Return the figure of the nearest row of each query."""
    pairs = zip(found.nearest.tolist(), found.nearest_code.tolist(), strict=True)
    return np.array([nearest_figure(None if np.isnan(cosine) else cosine, far) for cosine, far in pairs])

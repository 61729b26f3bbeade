"""Calibration: the probability that a hit is relevant, by its distance or its cosine.

:func:`calibrate` measures it when a release is scored, for each kind of question on its own: with items or with words,
among all rows or under a condition. :class:`Confidence` reads it back where queries are answered.

Legend: N database rows, Q queries, K bits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import QueryError

if TYPE_CHECKING:
    from aepipe.codes.bitcodes import BitCodes
    from aepipe.evaluate.relevance import Labels
    from aepipe.evaluate.retrieval import Counts
    from aepipe.evaluate.ties import Floats, Ints

USUAL = 0.99
"""Share of the held-out queries that are no farther from their nearest row than the usual distance."""
FIRST = 10
"""Hits of a question that curves are measured on."""
ENOUGH = 100
"""Held-out queries below which no probability is told."""
ITEMS, ITEMS_WHERE, WORDS, WORDS_WHERE = "items", "items where", "words", "words where"
"""Kinds of questions: with an item or with words, and among all rows or those of a condition."""
LATER = "later"
"""Hits of items that come after the first."""
LABEL, SHARED, NEIGHBOUR = "label", "shared", "neighbour"
MEANINGS = {
    LABEL: "has the same label",
    SHARED: "has a label in common",
    NEIGHBOUR: "is one of the nearest by features",
}
_OF_MANY = {
    MEANINGS[LABEL]: "have its label",
    MEANINGS[SHARED]: "have a label in common with it",
    MEANINGS[NEIGHBOUR]: "are among its nearest by features; labels, which would tell what is alike, there are none",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """The probability of relevance of the hits of one kind of question.

    Attributes:
        n_queries: held-out queries that it was measured on.
        distance: K + 1 numbers that never rise, for hits by code.
        apart: ascending limits of 1 - cosine, for hits by embedding; empty where these are not kept.
        cosine: the probability up to each of these limits; it never rises.
    """

    n_queries: int
    distance: tuple[float, ...]
    apart: tuple[float, ...] = ()
    cosine: tuple[float, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Curve:
        """Read the output of ``dataclasses.asdict``, also through JSON."""
        return cls(data["n_queries"], tuple(data["distance"]), tuple(data["apart"]), tuple(data["cosine"]))

    def at(self, distance: int, cosine: float | None) -> float:
        """Return the probability of one of the first hits, by its cosine where it has one."""
        if cosine is None or not self.apart:
            return self.distance[distance]
        place = bisect_left(self.apart, 1 - cosine)
        # Beyond the limits no hit was seen, so the last probability is too high, and its distance may say so.
        return self.cosine[place] if place < len(self.cosine) else min(self.cosine[-1], self.distance[distance])


@dataclass(frozen=True, slots=True)
class Calibration:
    """Probabilities by distance, measured on queries that the encoder was not trained on.

    Attributes:
        meaning: the relevance that was measured. ``label``: the row has the query's label. ``shared``: it has one of
            the query's several labels. ``neighbour``, without labels: the row is one of the query's nearest by
            features, by exact search.
        probability: K + 1 numbers that never rise, for distances 0 to K.
        usual: bits; for 99 % of the queries, the nearest row is at most this far away.
        usual_error: for 99 % of the queries, the reconstruction from the code is at most this far off, as a root mean
            square over the cells, 0..1; None where nothing was reconstructed.
        curves: by kind of question; empty in scores of older versions, which knew one kind only.
    """

    meaning: str
    probability: tuple[float, ...]
    usual: int
    usual_error: float | None = None
    curves: Mapping[str, Curve] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Read the output of ``dataclasses.asdict``, also through JSON."""
        curves = {kind: Curve.from_dict(curve) for kind, curve in data.get("curves", {}).items()}
        return cls(data["meaning"], tuple(data["probability"]), data["usual"], data.get("usual_error"), curves)


def calibrate(
    database: BitCodes,
    queries: BitCodes,
    neighbours: Ints,
    labels: tuple[Labels, Labels] | None,
    errors: NDArray[np.float32] | None = None,
    curves: Mapping[str, Curve] | None = None,
    counts: Counts | None = None,
) -> Calibration:
    """Measure the probability of relevance at each distance.

    Args:
        database: N codes.
        queries: Q codes of the same length.
        neighbours: int64[Q, k], the nearest database rows of each query by features.
        labels: of the database and of the queries; None where there are none.
        errors: float32[Q], the reconstruction errors of the queries; None where they are not known.
        curves: by kind of question.
        counts: of :func:`aepipe.evaluate.retrieval.distance_counts` by these labels, where they are known.

    Raises:
        CodeError: the lengths differ.
        FingerprintError: two encoders made the codes.
    """
    # Not needed where queries are answered, so a query does not wait for them.
    from aepipe.evaluate.relevance import are_several, relevance_of
    from aepipe.evaluate.retrieval import distance_counts

    size, relevant = counts or distance_counts(database, queries, None if labels is None else relevance_of(*labels))
    if labels is None:
        differ = database.packed[neighbours] ^ queries.packed[:, None, :]
        distance = np.bitwise_count(differ).sum(axis=2, dtype=np.int64)
        relevant = np.bincount(distance.ravel(), minlength=size.shape[1])[None]
    nearest = (size > 0).argmax(axis=1)
    usual = int(np.quantile(nearest, USUAL, method="higher"))
    probability = falling(relevant.sum(axis=0), size.sum(axis=0))
    usual_error = None if errors is None else round(float(np.quantile(errors, USUAL, method="higher")), 6)
    meaning = NEIGHBOUR if labels is None else SHARED if any(map(are_several, labels)) else LABEL
    return Calibration(meaning, tuple(probability.round(6).tolist()), usual, usual_error, curves or {})


def falling(hits: Ints, trials: Ints) -> Floats:
    """Return the most likely probabilities that never rise, float64[n].

    They are found by pooling adjacent violators.

    Source: Ayer et al., "An empirical distribution function for sampling with incomplete information", 1955.

    Args:
        hits: int64[n].
        trials: int64[n]; a place without trials gets the probability before it.
    """
    blocks: list[tuple[int, int, int]] = []  # hits, trials, length
    for hit, trial in zip(hits.tolist(), trials.tolist(), strict=True):
        blocks.append((hit, trial, 1))
        # A block that would rise joins the one before it; so does one without trials.
        while len(blocks) > 1 and blocks[-1][0] * blocks[-2][1] >= blocks[-2][0] * blocks[-1][1]:
            last, before = blocks.pop(), blocks.pop()
            blocks.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    return np.concatenate([np.full(length, hit / max(trial, 1)) for hit, trial, length in blocks])


@dataclass(frozen=True, slots=True)
class Confidence:
    """The calibration of a release, for the answers to queries; see :class:`Calibration`.

    Attributes:
        name: of the release.
        meaning: the relevance, in words: "has the same label".
        curves: by kind of question; without those that were measured on too few queries.
        n_queries: held-out queries of the release.
        usual: bits; for 99 % of the held-out queries, the nearest row is at most this far away.
        usual_error: for 99 % of them, the reconstruction is at most this far off, 0..1; None where that was not
            measured.
    """

    name: str
    meaning: str
    curves: Mapping[str, Curve]
    n_queries: int
    usual: int
    usual_error: float | None = None

    @classmethod
    def of(cls, name: str, scores: Mapping[str, Any], n_bits: int) -> Confidence | None:
        """Return the calibration in a release's scores; None where it does not apply.

        It is missing in old scores, and does not hold for fewer bits than it was measured for.

        Args:
            name: of the release, for messages.
            scores: of the release.
            n_bits: K, the number of bits that queries compare.
        """
        found = scores.get("calibration")
        if not found or len(found["probability"]) != n_bits + 1:
            return None
        n_queries = scores["protocol"]["n_queries"]
        # Scores of older versions hold one curve, of items among all rows, by distance only.
        curves = found.get("curves") or {ITEMS: {"n_queries": n_queries, "distance": found["probability"]}}
        read = {kind: Curve.from_dict({"apart": (), "cosine": ()} | curve) for kind, curve in curves.items()}
        enough = {kind: curve for kind, curve in read.items() if curve.n_queries >= ENOUGH}
        return cls(name, MEANINGS[found["meaning"]], enough, n_queries, found["usual"], found.get("usual_error"))

    def curve(self, *, words: bool, where: bool) -> Curve | None:
        """Return the curve of a kind of question; None where too few such queries were asked.

        Args:
            words: it is some words, and not an item.
            where: only rows under a condition are asked for.
        """
        return self.curves.get((WORDS_WHERE if where else WORDS) if words else ITEMS_WHERE if where else ITEMS)

    def of_hit(self, curve: Curve, rank: int, distance: int, cosine: float | None) -> float:
        """Return the probability of a hit.

        Curves are those of the first hits. Later ones of items have their own; those of other questions are no better.
        """
        found, later = curve.at(distance, cosine), self.curves.get(LATER)
        if rank <= FIRST or later is None:
            return found
        told = later.at(distance, cosine)
        return told if curve is self.curves.get(ITEMS) else min(found, told)

    def said_of_few(self) -> str:
        """Return what it means that no hit has a confidence of half, in words."""
        return f"low confidence: of rows as near to a question as these, less than half {_OF_MANY[self.meaning]}"

    def radius(self, least: float, *, where: bool = False) -> int:
        """Return the largest distance at which a row is relevant with at least a given probability.

        Args:
            least: the probability.
            where: only rows under a condition are asked for.

        Raises:
            QueryError: it was not measured, or even distance 0 has a lower probability.
        """
        curve = self.curve(words=False, where=where)
        if curve is None:
            few = f"{self.n_queries} items were held out, and it takes {ENOUGH} of them to tell"
            why = few if self.n_queries < ENOUGH else "for questions under a condition that was not measured"
            raise QueryError(f"{self.name}: no hit has a confidence: {why}")
        most = curve.distance[0]
        if most < least:
            raise QueryError(
                f"{self.name}: even a row with the same code {self.meaning} with a probability of {most:.2f} only; "
                f"--min-confidence can be {most:.2f} at most"
            )
        return sum(one >= least for one in curve.distance) - 1

    def strange(self, nearest: int | None, error: float | None) -> str | None:
        """Explain why a query is unlike the collection; None where it is like it.

        It is for questions that are a code, and for releases of older versions; others have figures, see
        :mod:`aepipe.evaluate.strangers`.

        Args:
            nearest: distance of its nearest row, in bits; None where it is not known.
            error: its reconstruction error; None where it is not known.
        """
        reasons = []
        if nearest is not None and nearest > self.usual:
            reasons.append(f"the nearest row is {nearest} bits away, not {self.usual} at most")
        # As they are written: of few queries held out, one of them can be beyond by less than that.
        if error is not None and self.usual_error is not None and round(error, 3) > round(self.usual_error, 3):
            reasons.append(f"its code is off by {error:.3f} when it is decoded, not {self.usual_error:.3f} at most")
        if not reasons:
            return None
        return f"nothing like it was learned: {', and '.join(reasons)}, as of 99 % of the queries held out"

"""Calibration: the probability, by distance, that a row is relevant to the query.

:func:`calibrate` measures it when a release is scored. :class:`Confidence` reads it back where queries are answered.

Legend: N database rows, Q queries, K bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import QueryError

if TYPE_CHECKING:
    from aepipe.codes.bitcodes import BitCodes
    from aepipe.evaluate.relevance import Labels
    from aepipe.evaluate.ties import Floats, Ints

USUAL = 0.99
"""Share of the held-out queries that are no farther from their nearest row than the usual distance."""
LABEL, SHARED, NEIGHBOUR = "label", "shared", "neighbour"
MEANINGS = {
    LABEL: "has the same label",
    SHARED: "has a label in common",
    NEIGHBOUR: "is one of the nearest by features",
}


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
    """

    meaning: str
    probability: tuple[float, ...]
    usual: int
    usual_error: float | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Read the output of ``dataclasses.asdict``, also through JSON."""
        return cls(data["meaning"], tuple(data["probability"]), data["usual"], data.get("usual_error"))


def calibrate(
    database: BitCodes,
    queries: BitCodes,
    neighbours: Ints,
    labels: tuple[Labels, Labels] | None,
    errors: NDArray[np.float32] | None = None,
) -> Calibration:
    """Measure the probability of relevance at each distance.

    Args:
        database: N codes.
        queries: Q codes of the same length.
        neighbours: int64[Q, k], the nearest database rows of each query by features.
        labels: of the database and of the queries; None where there are none.
        errors: float32[Q], the reconstruction errors of the queries; None where they are not known.

    Raises:
        CodeError: the lengths differ.
        FingerprintError: two encoders made the codes.
    """
    # Not needed where queries are answered, so a query does not wait for them.
    from aepipe.evaluate.relevance import are_several, relevance_of
    from aepipe.evaluate.retrieval import distance_counts

    size, relevant = distance_counts(database, queries, None if labels is None else relevance_of(*labels))
    if labels is None:
        differ = database.packed[neighbours] ^ queries.packed[:, None, :]
        distance = np.bitwise_count(differ).sum(axis=2, dtype=np.int64)
        relevant = np.bincount(distance.ravel(), minlength=size.shape[1])[None]
    nearest = (size > 0).argmax(axis=1)
    usual = int(np.quantile(nearest, USUAL, method="higher"))
    probability = falling(relevant.sum(axis=0), size.sum(axis=0))
    usual_error = None if errors is None else round(float(np.quantile(errors, USUAL, method="higher")), 6)
    meaning = NEIGHBOUR if labels is None else SHARED if any(map(are_several, labels)) else LABEL
    return Calibration(meaning, tuple(probability.round(6).tolist()), usual, usual_error)


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
        probability: by distance, 0 to K.
        usual: bits; for 99 % of the held-out queries, the nearest row is at most this far away.
        usual_error: for 99 % of them, the reconstruction is at most this far off, 0..1; None where that was not
            measured.
    """

    name: str
    meaning: str
    probability: Sequence[float]
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
        return cls(name, MEANINGS[found["meaning"]], found["probability"], found["usual"], found.get("usual_error"))

    def radius(self, least: float) -> int:
        """Return the largest distance at which a row is relevant with at least a given probability.

        Raises:
            QueryError: even distance 0 has a lower probability.
        """
        found = sum(probability >= least for probability in self.probability) - 1
        if found < 0:
            most = self.probability[0]
            raise QueryError(
                f"{self.name}: even a row with the same code {self.meaning} with a probability of {most:.2f} only; "
                f"--min-confidence can be {most:.2f} at most"
            )
        return found

    def strange(self, nearest: int | None, error: float | None) -> str | None:
        """Explain why a query is unlike the collection; None where it is like it.

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

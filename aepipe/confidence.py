"""What a distance is worth in a release: its calibration, where queries are answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aepipe.errors import QueryError
from aepipe.release import Release

MEANINGS = {"label": "has the same label", "neighbour": "is one of the nearest by features"}


@dataclass(frozen=True, slots=True)
class Confidence:
    """The calibration of a release; see :class:`aepipe.evaluate.Calibration`.

    Attributes:
        name: of the release.
        meaning: what is probable.
        probability: by distance, 0 to K.
        usual: bits; the nearest row of 99 % of the queries that were held out is not farther.
        usual_error: 99 % of them are not farther off when they are rebuilt from their codes, 0..1; None where that was
            not measured.
    """

    name: str
    meaning: str
    probability: Sequence[float]
    usual: int
    usual_error: float | None = None

    @classmethod
    def of(cls, release: Release) -> Confidence | None:
        """Return that of a release; None where it has none, or where only the first bits are looked at."""
        found = release.scores.get("calibration")
        if not found or len(found["probability"]) != release.n_bits + 1:
            return None
        return cls(
            release.name, MEANINGS[found["meaning"]], found["probability"], found["usual"], found.get("usual_error")
        )

    def radius(self, least: float) -> int:
        """Return the largest distance at which a row is of the query's kind with at least some probability.

        Raises:
            QueryError: there is no such distance.
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
        """Say that something is not like the collection; None where it is.

        Args:
            nearest: distance of its nearest row, in bits; None where that is not known.
            error: how far off it is when rebuilt from its code; None where that is not known.
        """
        reasons = []
        if nearest is not None and nearest > self.usual:
            reasons.append(f"the nearest row is {nearest} bits away, not {self.usual} at most")
        if error is not None and self.usual_error is not None and error > self.usual_error:
            reasons.append(f"its code is off by {error:.3f} when it is decoded, not {self.usual_error:.3f} at most")
        if not reasons:
            return None
        return f"nothing like it was learned: {', and '.join(reasons)}, as of 99 % of the queries held out"

"""What a source leaves out, counted and named: nothing is passed over without a word."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

NAMED = 5
"""Names that are kept for each reason."""


@dataclass(slots=True)
class PassedOver:
    """Files, and members of archives, that hold no item of a source, by the reason.

    Attributes:
        counts: how many there are, by reason: ``not a picture``.
        first: the first names, by reason.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[str]] = field(default_factory=dict)

    def add(self, place: str, reason: str) -> None:
        """Count one file or member.

        Args:
            place: its path relative to the source.
            reason: why it holds no item, a few words that are the same for all of its sort.
        """
        self.counts[reason] += 1
        names = self.first.setdefault(reason, [])
        if len(names) < NAMED:
            names.append(place)

    def clear(self) -> None:
        """Forget everything, before the files are listed anew."""
        self.counts.clear()
        self.first.clear()

    @property
    def total(self) -> int:
        """The number of all files and members that were passed over."""
        return self.counts.total()

    def facts(self) -> list[dict[str, Any]]:
        """Return the reasons as JSON, the most frequent first: ``reason``, ``count`` and the ``first`` names."""
        return [
            {"reason": reason, "count": count, "first": list(self.first[reason])}
            for reason, count in self.counts.most_common()
        ]

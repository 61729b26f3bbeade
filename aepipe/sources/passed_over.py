"""What a source leaves out, counted and named: nothing is passed over without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

NAMED = 5
"""Names that messages have for each reason."""
LISTED = 1000
"""Names that are kept for each reason."""


@dataclass(slots=True)
class PassedOver:
    """Files, and members of archives, that hold no item of a source, by the reason.

    Folders that were not looked into are counted, too, but apart from files: nobody knows how many files they hold.

    Attributes:
        counts: how many there are, by reason: ``not a picture``.
        first: the first names, by reason.
        folders: reasons that belong to folders.
        read: files that hold items, and were read.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[str]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    read: int = 0

    def add(self, place: str, reason: str) -> None:
        """Count one file, folder or member.

        Args:
            place: its path relative to the source, with ``/`` at the end for a folder.
            reason: why it holds no item, a few words that are the same for all of its sort.
        """
        self.counts[reason] += 1
        names = self.first.setdefault(reason, [])
        if len(names) < LISTED:
            names.append(place)
        if place.endswith("/"):
            self.folders.add(reason)

    def clear(self) -> None:
        """Forget everything, before the files are listed again."""
        self.counts.clear()
        self.first.clear()
        self.folders.clear()
        self.read = 0

    @property
    def total(self) -> int:
        """The number of all files and members that were passed over."""
        return sum(count for reason, count in self.counts.items() if reason not in self.folders)

    def facts(self) -> list[dict[str, Any]]:
        """Return the reasons as JSON, the most frequent first.

        Each has a ``reason``, its ``count``, the ``first`` names, and ``folders``, true where it is about folders.
        """
        return [
            {
                "reason": reason,
                "count": count,
                "first": self.first[reason][:NAMED],
                "folders": reason in self.folders,
            }
            for reason, count in self.counts.most_common()
        ]

    def listed(self) -> Iterator[tuple[str, str, int]]:
        """Yield a name, its reason and 1; or no name, a reason, and how many more it has."""
        for reason, count in self.counts.most_common():
            yield from ((name, reason, 1) for name in self.first[reason])
            if count > len(self.first[reason]):
                yield "", reason, count - len(self.first[reason])

    def summary(self) -> str:
        """Return the reasons in a line: ``3 x hidden (.a, .b, .c); 1 x an empty file (d)``."""
        return "; ".join(map(in_words, self.facts()))


def in_words(fact: dict[str, Any]) -> str:
    """Return one fact in words: ``12 x not a picture (a.txt, b.txt, c.txt, ...)``."""
    names = ", ".join(fact["first"][:3]) + (", ..." if fact["count"] > 3 else "")
    return f"{fact['count']:,} x {fact['reason']} ({names})"

"""Groups of rows that are alike, and what each row is to the first of its group.

Legend: N rows in all, n rows in groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aepipe.index.hits import RaggedHits

Alike = Literal["identical", "copies", "content"]
FIRST, IDENTICAL, COPY, CONTENT = "first", "identical", "edited copy", "alike in content"
"""What a row of a group is to the first of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Groups(RaggedHits):
    """Groups of near rows, the largest first; equally large ones in the order of their ids.

    A group holds the hits of its first row, itself among them: ids and distances, one group after another.

    Attributes:
        radius: by which a row may differ from the first of its group: bits, or per cent of details for copies.
        rows: N.
        alike: in which way rows of a group are alike.
        relations: what each row is to the first of its group; n.
        remark: how copies were told, and what could not be looked at; may be empty.
    """

    radius: int
    rows: int
    alike: Alike = "content"
    relations: tuple[str, ...] = ()
    remark: str = ""

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint16]]]:
        return (self.of(place) for place in range(len(self)))

    def summary(self) -> str:
        """Return the counts in a sentence."""
        remark = f"; {self.remark}" if self.remark else ""
        if not len(self):
            said = {"identical": "identical", "copies": "copies of one picture"}
            near = said.get(self.alike, f"at most {self.radius} bits apart")
            return f"no two of {self.rows:,} rows are {near}{remark}"
        gone = len(self.ids) - len(self)
        return (
            f"{len(self.ids):,} of {self.rows:,} rows are in {len(self):,} groups{self._kinds()}; "
            f"to keep one of each would remove {gone:,}{remark}"
        )

    def relations_of(self, group: int) -> list[str]:
        """Return what each row of a group is to its first."""
        return list(self.relations[int(self.offsets[group]) : int(self.offsets[group + 1])])

    def _kinds(self) -> str:
        counts = [(name, self.relations.count(name)) for name in (IDENTICAL, COPY, CONTENT)]
        plural = {COPY: "edited copies"}
        named = [f"{count:,} {plural.get(name, name) if count > 1 else name}" for name, count in counts if count]
        return f" ({', '.join(named)})" if named else ""


def arranged(
    founder: NDArray[np.int64], distances: NDArray[np.uint16], ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of rows in groups, the largest first, and the offsets of groups.

    Args:
        founder: int64[n], the number of each row's group, in the order of the groups' first rows.
        distances: uint16[n], to the first row.
        ids: int64[n].
    """
    sizes = np.bincount(founder)
    order = np.lexsort((ids, distances, founder, -sizes[founder]))
    changes = np.nonzero(np.diff(founder[order]))[0] + 1
    return order, np.concatenate([np.zeros(min(len(order), 1), np.int64), changes, np.array([len(order)])])

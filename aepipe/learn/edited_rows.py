"""Training rows that are edited as whole items, and then seen through the frozen layers.

The layers that stay frozen in fine-tuning are not in its way: an edit changes the row of the item, as a corruption of
the lowest layer would, and the frozen layers encode what comes of it, in every step.

Which edits leave an item of its kind depends on the collection: letters may not be mirrored, landscapes may; pictures
that were cut out and lined up are never moved, others are. The rows themselves tell. Where items of a collection differ
by an edit, an edited row is one more row among them, as near to the nearest others as it was itself. Where they do not,
it is a stranger. So each part of an edit is weakened until edited rows are hardly farther from others than rows are.

Legend: B rows of a sample, N rows that they are compared with, F cells of a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import Compute, Feed
from aepipe.learn.corruption import Clean, Corruption

ASKED, COMPARED, NEAREST = 500, 10_000, 10
"""Rows that are edited, rows that they are compared with, and how many of these count as near."""
VALUES = 1 << 26
"""Most cells of the rows that are compared, 256 MB: fewer of them where they are wide."""
STRENGTHS = tuple(tenths / 10 for tenths in range(10, -1, -1))
"""Factors that are tried, the strongest first."""


@dataclass(frozen=True, slots=True)
class EditedRows:
    """A source of edited rows.

    Attributes:
        rows: the training rows as they are, below all layers.
        kind: the change.
        below: the frozen layers, bottom up; may be empty.
    """

    rows: Feed
    kind: Corruption
    below: Sequence[Autoencoder]

    def batch(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Return the codes of edited rows under the frozen layers, by position.

        Args:
            index: int64[B] on the CPU.
            generator: on the device of the rows.

        Returns:
            float32[B, *shape] on the device.
        """
        row, _ = self.kind.corrupt_tensor(self.rows.batch(index), generator)
        with torch.no_grad():
            for layer in self.below:
                row = layer.encode(row).mean
        return row


def edited_rows_of(
    kind: Corruption, within: float, *, rows: Feed, below: Sequence[Autoencoder], seen: Feed, compute: Compute
) -> EditedRows | None:
    """Return the edits of a training, as strong as its rows bear; None where there are none.

    Args:
        kind: the change.
        within: how many times as far from others an edited row may be as it was itself; 0 takes the change as it is.
        rows: the training rows as they are.
        below: the frozen layers, bottom up.
        seen: the codes of the rows under the frozen layers.
        compute: the device.
    """
    if isinstance(kind, Clean):
        return None
    edits = EditedRows(rows, kind, below)
    if not within or not kind.parts or len(seen) <= NEAREST:
        return edits
    return Strangeness(edits, seen, compute).weakened(within)


class Strangeness:
    """How far edited rows are from the other rows of their collection.

    Args:
        edits: of the collection.
        seen: the codes of its rows under the frozen layers.
        compute: the device.
    """

    def __init__(self, edits: EditedRows, seen: Feed, compute: Compute) -> None:
        self._edits, self._compute = edits, compute
        # A fixed seed: what the rows bear is a fact about them, not a draw of this training.
        order = torch.randperm(len(seen), generator=torch.Generator().manual_seed(0))
        known_N = order[: max(2 * NEAREST, min(COMPARED, VALUES // math.prod(seen.shape)))]
        self._index_B = known_N[:ASKED]
        known_NF = seen.batch(known_N).flatten(1)
        self._mean_F = known_NF.mean(0)
        self._known_NF = F.normalize(known_NF - self._mean_F)
        self._plain = self._distance(seen.batch(self._index_B))

    def of(self, kind: Corruption) -> float:
        """Return how many times as far edited rows are from their nearest others as they were."""
        edited = replace(self._edits, kind=kind).batch(self._index_B, self._compute.generator(0))
        return self._distance(edited) / max(self._plain, 1e-12)

    def weakened(self, within: float) -> EditedRows:
        """Return the edits, each part and then all together as strong as stays within a multiple."""
        kind = self._edits.kind
        alone = {part: self._strongest([kind.only(part, by) for by in STRENGTHS], within) for part in kind.parts}
        found = kind.by({part: STRENGTHS[place] for part, place in alone.items()})
        together = [found.by(dict.fromkeys(kind.parts, factor)) for factor in STRENGTHS]
        return replace(self._edits, kind=together[self._strongest(together, within)])

    def _strongest(self, kinds: Sequence[Corruption], within: float) -> int:
        """Return the place of the first that stays within; the last changes nothing."""
        return next((at for at, kind in enumerate(kinds[:-1]) if self.of(kind) <= within), len(kinds) - 1)

    def _distance(self, rows: Tensor) -> float:
        """Return the mean of one minus the cosine with the nearest rows, but for the row itself."""
        cosine_BN = F.normalize(rows.flatten(1) - self._mean_F) @ self._known_NF.T
        cosine_BN.fill_diagonal_(-torch.inf)  # the rows that are edited are the first of those compared
        nearest = cosine_BN.topk(min(NEAREST, cosine_BN.shape[1] - 1)).values
        return 1 - float(nearest.mean())

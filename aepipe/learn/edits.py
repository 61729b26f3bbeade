"""Training rows that are edited as whole items, and then seen through the frozen layers.

The layers that stay frozen in fine-tuning are not in its way: an edit changes the row of the item, as a corruption of
the lowest layer would, and the frozen layers encode what comes of it, in every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import Feed
from aepipe.learn.corruption import Corruption


@dataclass(frozen=True, slots=True)
class Edits:
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

"""The figures by which recipes are compared, and why some are missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from aepipe.errors import CodeError

FIGURES = (
    "reconstruction_bits", "reconstruction_float", "reconstruction_pca", "reconstruction_pca_30",
    "held_out_map_at_1000", "map", "map_at_1000", "p_at_100", "recall_at_10", "entropy", "distinct_share", "dead_bits",
    "probe_embedding", "probe_bits", "nmi_bits", "seconds", "parameters", "width", "epochs", "best_epoch",
)  # fmt: skip
"""The figures. Reconstructions are squared errors of a row, summed over its cells as the network sees them."""
RETRIEVAL = ("map", "map_at_1000", "p_at_100", "recall_at_10")


@dataclass(slots=True)
class Figures:
    """Figures by name, and why some are missing."""

    found: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, measured: Callable[[], float]) -> None:
        """Measure one; what cannot be measured on such rows gets a note instead."""
        try:
            self.found[name] = measured()
        except CodeError as error:
            self.notes[name] = str(error)

    def leave_out(self, why: str, *names: str) -> None:
        """Note why some are missing."""
        self.notes |= dict.fromkeys(names, why)

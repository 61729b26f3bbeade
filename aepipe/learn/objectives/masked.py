"""The masked autoencoder: predict hidden cells, for rows with missing cells.

Cells that are missing from the data never count. Of the present cells, the corruption hides some from the network:
these measure how well it fills holes, the others how well it keeps its input.

Source: Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", ICML 2008, sec. 2.3, for
values that are missing; the weights are those of Vincent et al., JMLR 2010, sec. 4.4 ("emphasised" denoising).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from aepipe.learn import objectives
from aepipe.learn.objectives import Batch, Descent

Weight = Annotated[float, Field(ge=0)]


class Options(objectives.Options):
    """Options of the objective.

    Attributes:
        hidden: weight of the cells that the corruption has hidden.
        seen: weight of those that it kept.
    """

    digest_name: ClassVar[str] = "masked.Options"
    hidden: Weight = 1.0
    seen: Weight = 0.5


class Objective(Descent[Options]):
    """Negative log-likelihood of hidden and of seen cells, each in nats per row."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``hidden`` and ``seen``; and ``kl``, if the posterior has a prior."""
        encoding = self.model.encode(batch.noisy, batch.generator)
        params = self.model.decode(encoding.sample, encoding.switches)
        kept = batch.kept if batch.kept is not None else _same(batch)
        # Cells that are missing from the data belong to neither term.
        observed = torch.ones_like(kept) if batch.observed is None else batch.observed
        nll = self.model.likelihood.nll
        terms = {
            "hidden": self.options.hidden * nll(params, batch.clean, observed & ~kept).mean(),
            "seen": self.options.seen * nll(params, batch.clean, observed & kept).mean(),
        }
        if encoding.kl is not None:
            terms["kl"] = encoding.kl.mean()
        return terms


def _same(batch: Batch) -> Tensor:
    # For rows that were corrupted beforehand: no mask came with them, so values are compared.
    return torch.isclose(batch.noisy.float(), batch.clean.float(), atol=1e-3)

"""Codes of edited copies: two versions of one picture get bits that agree.

Other pictures get other bits. Both versions are edited in every step, the first only half of the time, for a collection
holds originals, too. The code has to pick out the other version among all rows of the batch. No labels are used, and
what pictures show does not matter: two different photographs of one thing are as different as any.

Source: the loss is InfoNCE (van den Oord, Li and Vinyals, arXiv:1807.03748) with edits as positives (Chen et al.,
"A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020); for copies, Pizzi et al., "A
Self-Supervised Descriptor for Image Copy Detection", CVPR 2022.

Legend: B rows of a batch, K bits.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from aepipe.learn import objectives
from aepipe.learn.autoencoder import Choices
from aepipe.learn.edits import Edits
from aepipe.learn.objectives import Batch, Descent
from aepipe.learn.objectives.neighbourhood import surprise
from aepipe.learn.objectives.reconstruction import dependence
from aepipe.learn.shards import together

Weight = Annotated[float, Field(ge=0)]


class Options(objectives.Options):
    """Options of the objective.

    Attributes:
        edits: how copies differ from their originals.
        plain: share of the rows whose first version is the row as it is.
        sharpness: factor on the agreement of bits. With a larger one a single wrong bit costs more, and fewer rows
            share a code.
        reconstruction: weight of the negative log-likelihood of the row.
        decorrelation: weight of the mean squared correlation of two bits.
    """

    digest_name: ClassVar[str] = "copies.Options"
    edits: Edits = Edits()
    plain: Annotated[float, Field(ge=0, le=1)] = 0.5
    sharpness: Annotated[float, Field(gt=0)] = 4.0
    reconstruction: Weight = 0.001
    decorrelation: Weight = 3.0

    def refusal(self, choices: Choices) -> str | None:
        """Refuse codes that are not bits."""
        if not choices.posterior.binary:
            return "agreement is counted in bits; allowed: the layer of bits, and fine-tuning"
        return None


class Objective(Descent[Options]):
    """Agreement of the bits of two versions of a row."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``reconstruction`` and ``decorrelation``; and ``copies``, in nats, while training."""
        generator = batch.generator
        first = batch.noisy if generator is None else self._version(batch.noisy, generator)
        versions = [first] if generator is None else [first, self.options.edits.apply(batch.noisy, generator)]
        codes = self.model.encode(torch.cat(versions), generator).sample.chunk(len(versions))
        options = self.options
        nll = self.model.likelihood.nll(self.model.decode(codes[0]), batch.clean, batch.observed).mean()
        own_BK, *other_BK = together(*codes)
        terms = {
            "reconstruction": options.reconstruction * nll,
            "decorrelation": options.decorrelation * dependence(own_BK) / own_BK.shape[1] ** 2,
        }
        if other_BK:
            terms["copies"] = surprise(own_BK, other_BK[0], options.sharpness)
        return terms

    def _version(self, x: Tensor, generator: torch.Generator) -> Tensor:
        edited = self.options.edits.apply(x, generator)
        plain = torch.rand(len(x), generator=generator, device=x.device) < self.options.plain
        return torch.where(plain.view(-1, *(1,) * (x.ndim - 1)), x, edited)

"""Posteriors that are one point: the activation itself, or the largest of it."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from aepipe.learn.nets import Head
from aepipe.learn.posterior.encoding import Encoding, Kind


class Delta(Kind):
    """The code is the activation itself."""

    digest_name: ClassVar[str] = "points.Delta"

    @property
    def head(self) -> Head:
        """One activation for each unit."""
        return Head()

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Return the activation as mean and sample."""
        return Encoding(activation_BH, activation_BH)


class KSparse(Delta):
    """The k largest activations of a row, all others zero.

    Source: Makhzani and Frey, "k-Sparse Autoencoders", ICLR 2014.

    Attributes:
        k: units of a code that are not zero.
    """

    digest_name: ClassVar[str] = "points.KSparse"
    k: Annotated[int, Field(ge=1)] = 16

    def refusal(self, width: int) -> str | None:
        """Say where there are fewer units than are to be kept."""
        return f"k = {self.k} of {width} units keeps all; allowed: less" if self.k >= width else None

    def encode(self, activation_BH: Tensor, generator: torch.Generator | None) -> Encoding:
        """Return the k largest as mean and sample."""
        kept = activation_BH.topk(self.k, dim=-1)
        code = torch.zeros_like(activation_BH).scatter(-1, kept.indices, kept.values)
        return Encoding(code, code)

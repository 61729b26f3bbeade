"""The denoising autoencoder: reconstruct the clean row from the corrupted one.

Source: Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", ICML 2008. Without a
corruption it is the plain autoencoder.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from aepipe.learn import objectives
from aepipe.learn.objectives import Batch, Descent
from aepipe.learn.shards import together


class Options(objectives.Options):
    """Options of the objective.

    Attributes:
        decorrelation: weight of the squared distance between a batch's covariance matrix and the identity. It keeps
            bits balanced and independent, as in spectral hashing.
    """

    digest_name: ClassVar[str] = "reconstruction.Options"
    decorrelation: Annotated[float, Field(ge=0)] = 0.0


class Objective(Descent[Options]):
    """Negative log-likelihood of the clean row given the code of the corrupted one."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the usual terms, and ``decorrelation`` if it has a weight."""
        encoding, terms = self.autoencode(batch)
        if self.options.decorrelation:
            terms["decorrelation"] = self.options.decorrelation * dependence(*together(encoding.sample))
        return terms


def dependence(code_BH: Tensor) -> Tensor:
    """Return the squared distance of a batch's covariance matrix from the identity, a scalar.

    Source: the constraints of Weiss, Torralba and Fergus, "Spectral Hashing", NIPS 2008, as a penalty.
    """
    centred_BH = code_BH.float() - code_BH.float().mean(0)
    covariance_HH = centred_BH.T @ centred_BH / len(code_BH)
    return (covariance_HH - torch.eye(len(covariance_HH), device=code_BH.device)).square().sum()

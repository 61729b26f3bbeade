"""Likelihoods: how probable a row is, given the output of the decoder.

Each kind is a frozen options model. ``params_BD`` is the decoder's output, ``x_BD`` the clean row, ``observed_BD`` a
mask of the cells that count; all may have more axes than two. ``nll`` leaves out constants that no parameter changes;
``constant`` gives them, for comparisons between models.

======================  ====================================  ==========================================
kind                    also named                            the loss
======================  ====================================  ==========================================
``gaussian``            ``mse``                               half the squared error
``bernoulli``           ``cross_entropy``                     sigmoid cross-entropy
``kl``                                                        the same, less the entropy of the row
``categorical``         ``softmax``                           softmax cross-entropy
``hinge``                                                     distance from the right side of a margin
``columns``                                                   the sum of others, each on its own columns
======================  ====================================  ==========================================
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, ClassVar, Protocol, cast, runtime_checkable

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from aepipe.recipe import Choice, Options, resolve


@runtime_checkable
class Likelihood(Protocol):
    """What every kind offers."""

    def nll(self, params_BD: Tensor, x_BD: Tensor, observed_BD: Tensor | None = None) -> Tensor:
        """Return the negative log-likelihood of each row in nats, [B], over the observed cells."""

    def mean(self, params_BD: Tensor) -> Tensor:
        """Return the expected row, [B, D]."""

    def sample(self, params_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Draw rows, [B, D]."""

    def constant(self, cells: int) -> float:
        """Return the constant that ``nll`` leaves out, for a row of ``cells`` observed cells."""

    def refusal(self, shape: Sequence[int]) -> str | None:
        """Return why rows of a shape cannot have it, with the remedy; None if they can."""


class Cellwise(Options, ABC):
    """A likelihood of independent cells: a kind only gives the loss of one cell."""

    @abstractmethod
    def cells(self, params_BD: Tensor, x_BD: Tensor) -> Tensor:
        """Return the negative log-likelihood of each cell, [B, D]."""

    def nll(self, params_BD: Tensor, x_BD: Tensor, observed_BD: Tensor | None = None) -> Tensor:
        """Return the sum over the observed cells of each row, [B]."""
        # In float32 even under bfloat16: a sum over many cells needs the digits.
        cells = self.cells(params_BD.float(), x_BD.float())
        return (cells if observed_BD is None else cells * observed_BD).flatten(1).sum(1)

    def constant(self, cells: int) -> float:
        """Return 0: nothing is left out."""
        return 0.0

    def refusal(self, shape: Sequence[int]) -> str | None:
        """Return None: any row will do."""
        return None


class Gaussian(Cellwise):
    """A Gaussian around the decoder's output: half the squared error, in units of the variance.

    Attributes:
        sigma: its standard deviation, the same for all cells; it weighs the squared error against a divergence.
    """

    digest_name: ClassVar[str] = "likelihood.Gaussian"
    sigma: Annotated[float, Field(gt=0)] = 1.0

    def cells(self, params_BD: Tensor, x_BD: Tensor) -> Tensor:
        """Return half the squared error of each cell."""
        return F.mse_loss(params_BD, x_BD, reduction="none") * (0.5 / self.sigma**2)

    def mean(self, params_BD: Tensor) -> Tensor:
        """Return the decoder's output."""
        return params_BD

    def sample(self, params_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Add noise."""
        noise = torch.randn(params_BD.shape, generator=generator, device=params_BD.device)
        return params_BD + self.sigma * noise

    def constant(self, cells: int) -> float:
        """Return the logarithm of the normaliser."""
        return cells * (0.5 * math.log(2 * math.pi) + math.log(self.sigma))


class Bernoulli(Cellwise):
    """Independent coins with the decoder's logits: the sigmoid cross-entropy; values in 0..1."""

    digest_name: ClassVar[str] = "likelihood.Bernoulli"

    def cells(self, params_BD: Tensor, x_BD: Tensor) -> Tensor:
        """Return the cross-entropy of each cell."""
        return F.binary_cross_entropy_with_logits(params_BD, x_BD, reduction="none")

    def mean(self, params_BD: Tensor) -> Tensor:
        """Return the probabilities."""
        return params_BD.sigmoid()

    def sample(self, params_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the coins."""
        return torch.bernoulli(params_BD.sigmoid().float(), generator=generator)


class Divergence(Bernoulli):
    """The divergence of the decoder's coins from the row's: zero if both agree, also on grey."""

    digest_name: ClassVar[str] = "likelihood.Divergence"

    def cells(self, params_BD: Tensor, x_BD: Tensor) -> Tensor:
        """Return the cross-entropy less the row's own entropy."""
        # xlogy is zero at zero, where x log x would be NaN.
        return super().cells(params_BD, x_BD) + torch.xlogy(x_BD, x_BD) + torch.xlogy(1 - x_BD, 1 - x_BD)


class Hinge(Cellwise):
    """The distance of the decoder's output from the right side of a margin; values in 0..1.

    A cell of value x is of class sign(2x - 1) with weight |2x - 1|: half grey belongs to neither side, and costs
    nothing. The margin is 1. It is no density; samples are coins of the right mean.
    """

    digest_name: ClassVar[str] = "likelihood.Hinge"

    def cells(self, params_BD: Tensor, x_BD: Tensor) -> Tensor:
        """Return the weighted hinge loss of each cell."""
        side = 2 * x_BD - 1
        return side.abs() * F.relu(1 - side.sign() * params_BD)

    def mean(self, params_BD: Tensor) -> Tensor:
        """Return the output between its margins, as 0..1."""
        return (params_BD.clamp(-1, 1) + 1) / 2

    def sample(self, params_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Return coins whose mean is :meth:`mean`."""
        return torch.bernoulli(self.mean(params_BD).float(), generator=generator)


class Categorical(Options):
    """One choice among classes, or counts of choices: the softmax cross-entropy.

    Attributes:
        classes: values in a row for one choice; a row of more has several, side by side. None takes the row as one.
    """

    digest_name: ClassVar[str] = "likelihood.Categorical"
    classes: Annotated[int, Field(ge=2)] | None = None

    def nll(self, params_BD: Tensor, x_BD: Tensor, observed_BD: Tensor | None = None) -> Tensor:
        """Return the sum of ``-x log softmax(params)`` over the observed cells of each row, [B]."""
        cells = -x_BD.float() * self._groups(params_BD.float()).log_softmax(-1).view(params_BD.shape)
        return (cells if observed_BD is None else cells * observed_BD).flatten(1).sum(1)

    def mean(self, params_BD: Tensor) -> Tensor:
        """Return the probabilities of the classes."""
        return self._groups(params_BD).softmax(-1).view(params_BD.shape)

    def sample(self, params_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one class of each choice, as ones among zeros."""
        weights = self._groups(params_BD.float()).softmax(-1)
        drawn = torch.multinomial(weights.flatten(0, -2), 1, generator=generator)
        return torch.zeros_like(weights).flatten(0, -2).scatter_(1, drawn, 1.0).view(params_BD.shape)

    def constant(self, cells: int) -> float:
        """Return 0, as the multinomial coefficient of counts is the same for all models."""
        return 0.0

    def refusal(self, shape: Sequence[int]) -> str | None:
        """Refuse rows whose values do not divide into choices."""
        size = math.prod(shape)
        if self.classes and size % self.classes:
            return f"{size} values are no multiple of {self.classes} classes; allowed: a divisor of {size}"
        return None

    def _groups(self, params_BD: Tensor) -> Tensor:
        return params_BD.reshape(len(params_BD), -1, self.classes or math.prod(params_BD.shape[1:]))


class Span(Options):
    """Consecutive columns with one likelihood."""

    columns: Annotated[int, Field(ge=1)]
    likelihood: Choice = Choice(kind="gaussian")

    @cached_property
    def resolved(self) -> Likelihood:
        """The likelihood."""
        return cast(Likelihood, resolve(KINDS, self.likelihood, "of.likelihood"))

    def model_post_init(self, context: object, /) -> None:
        """Resolve at once, so that a mistake is found with all the others."""
        self.resolved  # noqa: B018


class Columns(Options):
    """Mixed rows: consecutive columns, each span with a likelihood of its own.

    Attributes:
        of: the spans in their order: ``[{ columns = 3 }, { columns = 5, likelihood = "categorical" }]``.
    """

    digest_name: ClassVar[str] = "likelihood.Columns"
    of: Annotated[tuple[Span, ...], Field(min_length=1, strict=False)]

    def nll(self, params_BD: Tensor, x_BD: Tensor, observed_BD: Tensor | None = None) -> Tensor:
        """Return the sum over the spans, [B]."""
        return torch.stack(
            [
                one.nll(
                    params_BD[..., place], x_BD[..., place], None if observed_BD is None else observed_BD[..., place]
                )
                for one, place in self._spans()
            ]
        ).sum(0)

    def mean(self, params_BD: Tensor) -> Tensor:
        """Return the means of the spans, side by side."""
        # Spans are of the only axis but the first: rows are flat, as `refusal` asks.
        return torch.cat([one.mean(params_BD[..., place]) for one, place in self._spans()], 1)

    def sample(self, params_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Draw each span."""
        return torch.cat([one.sample(params_BD[..., place], generator) for one, place in self._spans()], 1)

    def constant(self, cells: int) -> float:
        """Return the sum over the spans, as if all cells were observed."""
        return sum(one.constant(place.stop - place.start) for one, place in self._spans())

    def refusal(self, shape: Sequence[int]) -> str | None:
        """Refuse rows that the spans do not fill, or that one of them refuses."""
        size = sum(span.columns for span in self.of)
        if tuple(shape) != (size,):
            return f"its spans have {size} columns in all, and rows are of shape {list(shape)}; allowed: a flat row"
        return next((text for one, place in self._spans() if (text := one.refusal([place.stop - place.start]))), None)

    def _spans(self) -> Iterator[tuple[Likelihood, slice]]:
        """Yield each likelihood with its columns."""
        start = 0
        for span in self.of:
            yield span.resolved, slice(start, start + span.columns)
            start += span.columns


KINDS: Mapping[str, type[Options]] = {
    "gaussian": Gaussian,
    "mse": Gaussian,
    "bernoulli": Bernoulli,
    "cross_entropy": Bernoulli,
    "kl": Divergence,
    "categorical": Categorical,
    "softmax": Categorical,
    "hinge": Hinge,
    "columns": Columns,
}

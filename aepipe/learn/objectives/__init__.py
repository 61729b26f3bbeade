"""Objectives: one file per training principle; the file name is its name in a recipe.

A file holds two names. ``Options`` is a frozen options model, and ``Objective`` a class built as
``Objective(model, options, compute)`` with::

    terms(batch) -> {name: tensor}   the loss in parts, each a mean over the rows; their sum is what falls
    phases() -> [Phase]              which parameters are moved, and how a batch leaves gradients on them

Most objectives only write ``terms`` and inherit the rest from :class:`Descent`.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

import torch
from torch import Tensor, nn

from aepipe.learn.compute import Compute
from aepipe.recipe import Options, OptionsT

if TYPE_CHECKING:
    from aepipe.learn.layer import Autoencoder


class Batch(NamedTuple):
    """Some rows, as an objective sees them.

    Attributes:
        clean: float[B, *shape], the target.
        noisy: float[B, *shape], the input.
        observed: bool[B, *shape], the cells of ``clean`` that count; None for all.
        generator: for whatever is random; None while evaluating, when nothing is.
    """

    clean: Tensor
    noisy: Tensor
    observed: Tensor | None
    generator: torch.Generator | None


@dataclass(frozen=True, slots=True)
class Phase:
    """One of the moves that a training step is made of.

    Attributes:
        name: for messages and checkpoints.
        parameters: what the optimiser of this phase moves.
        step: leaves gradients on the parameters and returns the terms of the loss, detached.
    """

    name: str
    parameters: list[nn.Parameter]
    step: Callable[[Batch], dict[str, Tensor]]


class Descent(ABC, Generic[OptionsT]):
    """An objective whose only phase is gradient descent on the sum of its terms, over all parameters."""

    def __init__(self, model: Autoencoder, options: OptionsT, compute: Compute) -> None:
        self.model = model
        self.options = options
        self.compute = compute

    @abstractmethod
    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss in parts, each a mean over the rows of the batch."""

    def phases(self) -> list[Phase]:
        """Return the one phase."""
        return [Phase("all", list(self.model.parameters()), self._step)]

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        """Leave the gradient of the sum on every parameter."""
        with self.compute.autocast():
            terms = self.terms(batch)
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        return {name: term.detach() for name, term in terms.items()}


@cache
def kinds() -> Mapping[str, type[Options]]:
    """Return the options model of every objective, discovered by file name."""
    found = [module.name for module in pkgutil.iter_modules(__path__)]
    return {name: importlib.import_module(f"{__name__}.{name}").Options for name in sorted(found)}


def build(model: Autoencoder, options: Options, compute: Compute) -> Descent[Options]:
    """Return the objective that an options model belongs to: the one in the same file."""
    module: Any = importlib.import_module(type(options).__module__)
    objective: Descent[Options] = module.Objective(model, options, compute)
    return objective

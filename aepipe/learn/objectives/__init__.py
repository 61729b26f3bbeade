"""Objectives: one file per training principle; its name is the kind in recipes.

A file holds two names. ``Options`` is a frozen options model with a ``digest_name`` that never changes; it may refuse
choices that it cannot train. ``Objective`` is a class built as ``Objective(model, options, compute,
seed=...)`` with::

    prepare(rows, neighbours)        looks at the training rows, before the first step
    terms(batch) -> {name: tensor}   the loss in parts, each a mean over the rows; training minimises their sum
    phases() -> [Phase]              which parameters are moved, and how a batch leaves gradients on them
    own: nn.ModuleDict               networks of its own, trained and saved with the model, dropped at the end

Most objectives only write ``terms`` and inherit the rest from :class:`Descent`.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from aepipe import recipe
from aepipe.learn import posterior, shards
from aepipe.learn.autoencoder import Autoencoder, Choices
from aepipe.learn.batches import Compute, Feed
from aepipe.learn.corruption import Corruption
from aepipe.learn.edited_rows import EditedRows
from aepipe.learn.neighbour_graph import Neighbours
from aepipe.learn.posterior import Encoding


class Options(recipe.Options):
    """Base of the options of every objective.

    Each has a ``digest_name`` of its own. Digests are over it, so it stays the same for good, even if the class moves.

    Attributes:
        unrolled: whether it can train a whole stack at once, in fine-tuning, and not only single layers.
        descends: whether its loss falls step by step; else it has its solution before the first step.
        example: choices that it can train, if a dense layer with straight-through bits is refused: those of a layer,
            or, with ``normalize``, of the layer of bits.
        falls: the term that training lowers; ``loss`` is the sum of all.
    """

    unrolled: ClassVar[bool] = True
    descends: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {}
    falls: ClassVar[str] = "loss"

    def refusal(self, choices: Choices) -> str | None:
        """Return why the objective cannot train such a layer, with the remedy; None if it can."""
        return None


OptionsT = TypeVar("OptionsT", bound=Options)


class Batch(NamedTuple):
    """A batch of rows, as an objective sees it.

    Attributes:
        clean: float[B, *shape], the target; zero where it is not observed.
        noisy: float[B, *shape], the input; NaN where a cell is missing, if the network reads holes.
        observed: bool[B, *shape], the cells of ``clean`` that count; None for all.
        generator: source of all randomness; None while evaluating, when nothing is random.
        kept: bool[B, *shape], the cells of ``noisy`` that the corruption kept; None if unknown.
        corruption: the one behind ``noisy``, for objectives that corrupt again; None if unknown.
        positions: int64[B], of the rows among the training rows; None for other rows.
        pass_seed: the same for all batches of one pass over the training rows, for draws that all of them share.
        passes: how many passes over the training rows are done.
        edits: gives other training rows, edited like these; None if rows are not edited.
    """

    clean: Tensor
    noisy: Tensor
    observed: Tensor | None
    generator: torch.Generator | None
    kept: Tensor | None = None
    corruption: Corruption | None = None
    positions: Tensor | None = None
    pass_seed: int | None = None
    passes: int = 0
    edits: EditedRows | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of a training step, with an optimiser of its own.

    Attributes:
        name: for messages and checkpoints.
        parameters: those that the optimiser of this phase changes.
        step: leaves gradients on the parameters and returns the terms of the loss, detached.
        lr: factor on the learning rate of the recipe.
    """

    name: str
    parameters: list[nn.Parameter]
    step: Callable[[Batch], dict[str, Tensor]]
    lr: float = 1.0


class Descent(ABC, Generic[OptionsT]):
    """An objective with one phase: gradient descent on the sum of its terms, for all parameters.

    A term about pairs of rows, or about statistics of the batch, sees the rows of all its slices by
    :func:`aepipe.learn.shards.together`.

    Args:
        model: the autoencoder to train.
        options: from the file of the objective.
        compute: the device.
        seed: for the weights of its own networks.
    """

    def __init__(self, model: Autoencoder, options: OptionsT, compute: Compute, *, seed: int = 0) -> None:
        self.model = model
        self.options = options
        self.compute = compute
        self.seed = seed
        self.own = nn.ModuleDict()

    def prepare(self, rows: Feed, neighbours: Neighbours | None) -> None:
        """Look at the training rows before the first step; most objectives do not need to.

        Args:
            rows: the training rows; the ``positions`` of a batch are positions in them.
            neighbours: finds nearest neighbours among float vectors; None if there is no such function.
        """

    @abstractmethod
    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss in parts, each a mean over the rows of the batch."""

    def autoencode(self, batch: Batch) -> tuple[Encoding, dict[str, Tensor]]:
        """Encode corrupted rows and decode the codes; return the codes and the usual terms.

        ``reconstruction`` is the negative log-likelihood of the clean rows in nats per row. ``kl`` is the divergence
        from the prior, if the posterior has one.
        """
        encoding = self.model.encode(batch.noisy, batch.generator)
        params = self.model.decode(encoding.sample, encoding.switches)
        terms = {"reconstruction": self.model.likelihood.nll(params, batch.clean, batch.observed).mean()}
        if encoding.kl is not None:
            terms["kl"] = encoding.kl.mean()
        return encoding, terms

    def phases(self) -> list[Phase]:
        """Return the one phase."""
        return [Phase("all", list(self.model.parameters()), self.descend)]

    def descend(self, batch: Batch) -> dict[str, Tensor]:
        """Leave the gradient of the sum of terms on every parameter; return the terms, detached."""
        with self.compute.autocast():
            terms = self.terms(batch)
        shards.backward(torch.stack(list(terms.values())).sum())
        return {name: term.detach() for name, term in terms.items()}


class ClosedForm(Descent[OptionsT]):
    """An objective that sets its solution before the first step; steps only measure its loss."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``reconstruction``, the negative log-likelihood in nats per row."""
        return self.autoencode(batch)[1]

    def phases(self) -> list[Phase]:
        """Return the one phase, which changes nothing."""
        return [Phase("closed form", list(self.model.parameters()), self.look)]

    def look(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms; no parameter gets a gradient."""
        with torch.no_grad():
            return self.terms(batch)


def affine_maps(half: nn.Module) -> list[nn.Linear]:
    """Return the affine maps of an encoder or a decoder, in order."""
    return [module for module in half.modules() if isinstance(module, nn.Linear)]


def needs_prior(choices: Choices) -> str | None:
    """Return a refusal if the posterior has no prior, else None."""
    if isinstance(choices.posterior, posterior.Stochastic):
        return None
    able = [kind for kind, model in posterior.KINDS.items() if hasattr(model, "log_ratio")]
    return f"a divergence from a prior needs a posterior that has one; allowed: {', '.join(sorted(able))}"


@cache
def kinds() -> Mapping[str, type[Options]]:
    """Return the options model of every objective, discovered by file name."""
    found = [module.name for module in pkgutil.iter_modules(__path__)]
    return {name: importlib.import_module(f"{__name__}.{name}").Options for name in sorted(found)}


def build(model: Autoencoder, options: Options, compute: Compute, *, seed: int = 0) -> Descent[Options]:
    """Build the objective of an options model, from the same file, on the device."""
    module: Any = importlib.import_module(type(options).__module__)
    objective: Descent[Options] = module.Objective(model, options, compute, seed=seed)
    objective.own.to(compute.device)
    return objective

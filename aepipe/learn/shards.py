"""The slices of a batch: a fixed number of them, whichever process computes which.

A batch is cut into slices, each with a generator of its own. Every process computes some of them, one after the other,
and the gradients of all are added in the order of a fixed tree. So weights depend on the number of slices, which is
part of the recipe, and not on the number of processes, which is a matter of machines.

Some terms are about pairs of rows, or about statistics of the batch. They see the rows of all slices by
:func:`together`. There the graph of a slice is cut: it goes on from a leaf that holds the rows of all. Backward, the
gradients of these leaves are added over the slices, before each slice takes those of its own rows. So nothing is
exchanged while gradients are computed, and every slice has its own graph, the same in whichever process it is.

Source: the exchange is that of gradient caches, Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory
Limited Setup", 2021; here graphs are kept, so nothing on the way forward is computed twice.

Legend: S slices, B rows of a batch, b rows of a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from aepipe.errors import TrainingError
from aepipe.learn.sharing import few
from aepipe.learn.turns import Turns
from aepipe.learn.world import World

T = TypeVar("T")
BatchT = TypeVar("BatchT")
Terms = dict[str, Tensor]
Nodes = dict[tuple[int, int], Tensor]
"""Sums over slices ``first <= slice < last``."""
LARGE = 1 << 16
"""Numbers of a sum from which more than two processes share out the adding."""


@dataclass(slots=True)
class Cut:
    """A place where the graph of a slice is cut.

    Attributes:
        given: tensors of the slice, with a gradient.
        leaves: the same of all slices, from which its graph goes on.
        own: the rows of the leaves that are those of the slice.
    """

    given: list[Tensor]
    leaves: list[Tensor]
    own: list[slice]


@dataclass(slots=True)
class Slice:
    """A slice of a batch while it is computed.

    Attributes:
        place: among the slices of this process.
        number: among all.
        share: its part of the rows of the batch.
        cuts: of its graph, in the order of the way forward.
        gradients: of the parameters, in their order, weighted with the share; None where one has none.
    """

    shards: Shards
    place: int
    number: int
    share: float = 1.0
    cuts: list[Cut] = field(default_factory=list)
    gradients: list[Tensor | None] | None = None


_NOW: ContextVar[Slice | None] = ContextVar("slice", default=None)


def together(*rows: Tensor) -> list[Tensor]:
    """Return tensors of rows of the whole batch, for tensors of rows of the present slice.

    Rows are in the order of slices. Whoever computes a term from them computes it whole, in every slice. Outside of a
    batch that is cut, tensors are returned as they are.
    """
    now = _NOW.get()
    return list(rows) if now is None else now.shards.gathered(now, rows)


def is_cut() -> bool:
    """Say whether the present rows are a slice of a batch."""
    return _NOW.get() is not None


def of_slices(value: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values of all slices, ``[S, ...]``, and the share of each in the batch, [S].

    Args:
        value: of the present slice, of one shape for all: a mean over its rows, say.
    """
    now = _NOW.get()
    if now is None:
        return value[None], value.new_ones(1)
    (whole,) = now.shards.gathered(now, [value[None]], once=True)
    return whole, value.new_tensor(now.shards.rows) / sum(now.shards.rows)


def average(mean: Tensor) -> Tensor:
    """Return the mean over all rows of the batch, for that of the present slice."""
    if not is_cut():
        return mean
    values, share_S = of_slices(mean)
    found: Tensor = torch.tensordot(share_S, values, 1)
    return found


def own_rows(whole: Tensor, rows: int) -> Tensor:
    """Return those rows of the whole batch that are the present slice's."""
    now = _NOW.get()
    if now is None:
        return whole
    before = now.shards.rows[: now.number]
    first = sum(before) * (rows // now.shards.rows[now.number])
    return whole[first : first + rows]


def rows_of_all(rows: int) -> int:
    """Return how many rows all slices have together, for those of the present one."""
    now = _NOW.get()
    return rows if now is None else rows // now.shards.rows[now.number] * sum(now.shards.rows)


def leads() -> bool:
    """Say whether this slice does the work of a whole batch: one in each process does."""
    now = _NOW.get()
    return now is None or now.place == 0


def backward(loss: Tensor) -> None:
    """Leave the gradient of a loss, a mean over rows, on every parameter."""
    now = _NOW.get()
    if now is None:
        torch.autograd.backward(loss)
    else:
        now.shards.descend(now, loss)


class Shards:
    """The slices of the batches of one training, and those that this process computes.

    Args:
        world: the processes.
        count: S.

    Attributes:
        own: the numbers of the slices of this process.
        rows: of each slice of the present batch.

    Raises:
        TrainingError: there are more processes than slices.
    """

    def __init__(self, world: World, count: int) -> None:
        if world.size > count:
            raise TrainingError(few(world.size, count))
        self.world, self.count = world, count
        borders = [count * rank // world.size for rank in range(world.size + 1)]
        self._ranges = [range(first, last) for first, last in pairwise(borders)]
        self.own = self._ranges[world.rank]
        self.rows: list[int] = []
        self._turns = Turns(len(self.own))
        self._parameters: Sequence[nn.Parameter] = ()

    def cut(self, index: Tensor) -> list[Tensor]:
        """Return the positions of the rows of this process' slices."""
        if self.count == 1:
            return [index]
        parts = index.tensor_split(self.count)
        self.rows = [len(part) for part in parts]
        return [parts[number] for number in self.own]

    def seeds(self, place: int) -> tuple[int, ...]:
        """Return what a slice adds to the seeds of its batch."""
        return () if self.count == 1 else (self.own[place],)

    def each(self, work: Callable[[int], T]) -> list[T]:
        """Return what a function gives for each slice of this process, by its place."""
        return [work(0)] if self.count == 1 else self._turns.run(lambda place: self._within(place, work)[0])

    def step(
        self, work: Callable[[BatchT], Terms], batches: Sequence[BatchT], parameters: Sequence[nn.Parameter]
    ) -> Terms:
        """Leave the gradient of the whole batch on parameters; return its terms.

        Args:
            work: leaves the gradient of a slice on the parameters, and returns its terms, means over its rows.
            batches: the slices of this process.
            parameters: without a gradient.
        """
        if self.count == 1:
            return work(batches[0])
        self._parameters = parameters
        found = self._turns.run(lambda place: self._kept(place, lambda at: work(batches[at])))
        names, there = list(found[0][0]), [one is not None for one in found[0][1]]
        nodes = [_flat([*(one for one in gradients if one is not None), *terms.values()]) for terms, gradients in found]
        wanted = [parameter for parameter, has in zip(parameters, there, strict=True) if has]
        *gradients, terms = _apart(self.sum(nodes), [*(one.shape for one in wanted), torch.Size([len(names)])])
        for parameter, gradient in zip(wanted, gradients, strict=True):
            parameter.grad = gradient
        return dict(zip(names, terms, strict=True))

    def sum(self, own: Sequence[Tensor]) -> Tensor:
        """Return the sum over all slices of vectors, in a fixed order, for those of this process."""
        nodes: Nodes = {(number, number + 1): one for number, one in zip(self.own, own, strict=True)}
        if self.world.size == 1:
            return _folded(nodes, 0, self.count)
        kept = [_folded(nodes, *node) for node in _largest(0, self.count, self.own)]
        known = [list(_largest(0, self.count, one)) for one in self._ranges]
        most = max(len(one) for one in known)
        padding = [torch.zeros_like(own[0])] * (most - len(kept))
        stacked = kept[0][None] if most == 1 else torch.stack([*kept, *padding])
        if self.world.size == 2 or stacked.shape[1] < LARGE:
            return self._joined(self.world.gather(stacked), known)
        # Each adds a part, and all get the parts: every number goes to the process that adds it, and comes back.
        width = -(-stacked.shape[1] // self.world.size)
        padded = nn.functional.pad(stacked, (0, width * self.world.size - stacked.shape[1]))
        mine = self._joined(self.world.swap([one.contiguous() for one in torch.split(padded, width, 1)]), known)
        return torch.cat(self.world.gather(mine))[: stacked.shape[1]]

    def gathered(self, now: Slice, rows: Sequence[Tensor], *, once: bool = False) -> list[Tensor]:
        """Return the rows of all slices, for those of one; see :func:`together`.

        Args:
            now: the slice.
            rows: some for each row of the slice; or, ``once``, one for the slice.
            once: see there.
        """
        collect = partial(self._collected, once=once)
        wholes, sizes = self._turns.meet(now.place, [one.detach() for one in rows], collect)
        if not torch.is_grad_enabled():
            return wholes
        cut, found = Cut([], [], []), []
        for given, whole, lengths in zip(rows, wholes, sizes, strict=True):
            if given.requires_grad:
                whole = whole.detach().requires_grad_()
                first = sum(lengths[: now.number])
                cut.given.append(given)
                cut.leaves.append(whole)
                cut.own.append(slice(first, first + len(given)))
            found.append(whole)
        if cut.given:
            now.cuts.append(cut)
        return found

    def descend(self, now: Slice, loss: Tensor) -> None:
        """Compute the gradients of all slices of this process, once each of them has a loss."""
        self._turns.meet(now.place, (now, loss), self._descended)

    def blocks(self, count: int) -> range:
        """Return the numbers of those of ``count`` blocks of rows that this process looks at."""
        return range(self.world.rank, count, self.world.size)

    def _within(self, place: int, work: Callable[[int], T]) -> tuple[T, Slice]:
        number = self.own[place]
        now = Slice(self, place, number, self.rows[number] / sum(self.rows))
        token = _NOW.set(now)
        try:
            return work(place), now
        finally:
            _NOW.reset(token)

    def _kept(self, place: int, work: Callable[[int], Terms]) -> tuple[Terms, list[Tensor | None]]:
        """Return the terms and gradients of a slice, weighted with its share."""
        terms, now = self._within(place, work)
        weighted = {name: term.detach().float() * now.share for name, term in terms.items()}
        if now.gradients is None:  # an objective that leaves them without a loss
            now.gradients = [None if one is None else one * now.share for one in self._taken()]
        return weighted, now.gradients

    def _taken(self) -> list[Tensor | None]:
        """Take the gradients away from the parameters."""
        found = [parameter.grad for parameter in self._parameters]
        for parameter in self._parameters:
            parameter.grad = None
        return found

    def _collected(self, own: list[list[Tensor]], *, once: bool) -> tuple[list[Tensor], list[list[int]]]:
        """Return for each of several tensors the rows of all slices, and how many are of which."""
        found = []
        for parts in zip(*own, strict=True):
            times = len(parts[0]) // self.rows[self.own[0]]
            lengths = [1 if once else times * rows for rows in self.rows]
            found.append((self._concatenated(parts, lengths), lengths))
        return [whole for whole, _ in found], [lengths for _, lengths in found]

    def _concatenated(self, parts: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
        if self.world.size == 1:
            return torch.cat(list(parts))
        most = max(len(one) for one in self._ranges)
        padded = parts[0].new_zeros((most, max(lengths), *parts[0].shape[1:]))
        for place, part in enumerate(parts):
            padded[place, : len(part)] = part
        told = self.world.gather(padded)
        return torch.cat(
            [
                rows[: lengths[number]]
                for own, of_rank in zip(told, self._ranges, strict=True)
                for rows, number in zip(own, of_rank, strict=False)
            ]
        )

    def _descended(self, losses: list[tuple[Slice, Tensor]]) -> None:
        roots = [([loss], [loss.new_tensor(now.share)]) for now, loss in losses]
        for number in reversed(range(len(losses[0][0].cuts))):
            cuts = [now.cuts[number] for now, _ in losses]
            total = self.sum([_flat(_of_leaves(cut, *root)) for cut, root in zip(cuts, roots, strict=True)])
            for cut, (given, gradients) in zip(cuts, roots, strict=True):
                given += cut.given
                whole = _apart(total, [one.shape for one in cut.leaves])
                gradients += [one[own].to(rows.dtype) for one, own, rows in zip(whole, cut.own, cut.given, strict=True)]
        for (now, _), (given, gradients) in zip(losses, roots, strict=True):
            torch.autograd.backward(given, gradients)
            now.gradients = self._taken()

    def _joined(self, told: Sequence[Tensor], known: Sequence[Sequence[tuple[int, int]]]) -> Tensor:
        nodes: Nodes = {}
        for of_rank, names in zip(told, known, strict=True):
            nodes |= dict(zip(names, of_rank, strict=False))  # what is beyond the names is padding
        return _folded(nodes, 0, self.count)


def _of_leaves(cut: Cut, roots: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
    """Return the gradients of the leaves of a cut, whose slice has these roots beyond it."""
    found = torch.autograd.grad(roots, cut.leaves, gradients, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(leaf) if one is None else one for leaf, one in zip(cut.leaves, found, strict=True)]


def _largest(first: int, last: int, own: range) -> Iterator[tuple[int, int]]:
    """Yield the largest nodes of the tree over ``first <= slice < last`` that lie within a range."""
    if own.start <= first and last <= own.stop:
        yield first, last
    elif first < own.stop and own.start < last:
        middle = (first + last) // 2
        yield from _largest(first, middle, own)
        yield from _largest(middle, last, own)


def _folded(nodes: Nodes, first: int, last: int) -> Tensor:
    """Return the sum over ``first <= slice < last``: that of its halves, and so on down to what is known."""
    known = nodes.get((first, last))
    if known is not None:
        return known
    middle = (first + last) // 2
    return _folded(nodes, first, middle) + _folded(nodes, middle, last)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([one.reshape(-1).float() for one in tensors])


def _apart(vector: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    parts = torch.split(vector, [shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

"""The training loop and its checkpoints. It knows phases and terms, but no objective.

Everything random in a step comes from (seed, epoch, step), and from the number of the slice where batches are cut. So a
run that is resumed from a checkpoint repeats exactly the steps of an uninterrupted run, wherever it was cut off. A
checkpoint is one safetensors file, replaced by rename; its header holds the position.

Several processes share out the slices of a batch (:mod:`aepipe.learn.shards`). Each has the whole network and the whole
state; all get the same gradients and the same losses, and so decide alike. The first one saves.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aepipe.errors import TrainingError
from aepipe.learn import objectives
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import BLOCK, Compute, Feed, seed_of
from aepipe.learn.edited_rows import EditedRows
from aepipe.learn.neighbour_graph import Neighbours
from aepipe.learn.objectives import Batch, Phase
from aepipe.learn.shards import Shards
from aepipe.learn.sharing import EVERY
from aepipe.learn.spec import Training
from aepipe.learn.world import Saved

CHECK_EVERY = 50  # steps between looks at the loss; looking makes a GPU wait
HELD_OUT = 2**31  # in place of an epoch, in seeds: the held-out slice is corrupted the same way every time
Curve = list[dict[str, float]]
"""One entry for each epoch: losses by name."""
Report = Callable[[int, int, str], None]
"""``(epochs done, epochs in all, note)``: reports the progress of training."""


class Trainer:
    """Trains one autoencoder on one feed.

    Args:
        model: trained in place.
        training: corruption, objective and schedule.
        train: the rows.
        held_out: rows for the curve and for early stopping; may be empty.
        seed: of order and corruption.
        edits: gives the training rows with a change of the whole item; None if they stay as they are.

    Raises:
        TrainingError: rows have missing cells, and the network does not read them; or batches cannot be cut into as
            many slices as there are to be.
    """

    def __init__(
        self,
        model: Autoencoder,
        training: Training,
        *,
        train: Feed,
        held_out: Feed,
        seed: int,
        compute: Compute,
        edits: EditedRows | None = None,
    ) -> None:
        self.model = model.to(compute.device)
        self.training = training
        self.train = train
        self.held_out = held_out
        self.compute = compute
        self._seed = seed
        self.edits = edits
        self._posterior = model.posterior
        self._objective = objectives.build(self.model, training.objective, compute, seed=seed)
        self._world = compute.world
        self._phases = self._objective.phases()
        self._optimizers = [_optimizer(phase, training, compute) for phase in self._phases]
        self._shards = Shards(compute.world, compute.shards)
        self._generators = [compute.generator(seed) for _ in self._shards.own]
        self._rows = _trained(len(train), training.fit.batch, compute.shards)
        self._position = Position()
        self._sums: dict[str, Tensor] = {}
        self._best: dict[str, Tensor] = {}
        if train.holes and not model.net.holes:
            raise TrainingError(
                "the rows have missing cells; `holes = true` under the net of the lowest layer reads them"
            )

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(self._rows / self.training.fit.batch)

    def run(self, checkpoint: Checkpoint, report: Report, *, neighbours: Neighbours | None = None) -> Curve:
        """Train to the end, from the checkpoint where there is one.

        Args:
            checkpoint: where the state is saved whenever it is due.
            report: called after each epoch, and every ``CHECK_EVERY`` steps within one.
            neighbours: finds nearest neighbours, for objectives that use them.

        Returns:
            One entry per epoch: each term's mean over the training rows, their sum ``loss``, and ``held_out``.

        Raises:
            TrainingError: a loss is not finite.
        """
        self._restore(self._world.send(checkpoint.load() if self._world.first else None))
        at, fit = self._position, self.training.fit
        if at.epoch:
            report(at.epoch, fit.epochs, "resumed")
        if at.epoch < fit.epochs:
            self._prepare(neighbours)
        while at.epoch < fit.epochs and not (fit.patience and at.stale >= fit.patience):
            self._epoch(checkpoint, report)
            report(at.epoch, fit.epochs, _note(at.curve[-1]))
        if fit.patience and self._best:
            self.model.load_state_dict(self._best)
        self.model.eval()
        return at.curve

    def evaluate(self, clean: Feed, noisy: Feed | None = None) -> dict[str, float]:
        """Return each term's mean over some rows, without training noise.

        Args:
            clean: the targets.
            noisy: the inputs; without them, the targets under a corruption that is the same every time.
        """
        sums: dict[str, float] = {}
        blocks, cut = math.ceil(len(clean) / BLOCK), self.compute.shards > 1
        generator = self.compute.generator(self._seed, HELD_OUT)
        self.model.eval()
        own: dict[int, dict[str, float]] = {}
        with torch.no_grad(), self.compute.autocast():
            for number in self._shards.blocks(blocks):
                if cut:  # whoever looks at a block has its draws
                    generator.manual_seed(seed_of(self._seed, HELD_OUT, number))
                target, given = clean.block(number), None if noisy is None else noisy.block(number)
                # The corruption is drawn, codes are not: the curve compares networks, not draws.
                terms = self._objective.terms(self._batch(target, generator, given)._replace(generator=None))
                own[number] = {name: len(target) * term.item() for name, term in terms.items()}
        for _, terms in sorted((int(number), one) for told in self._world.ask(own) for number, one in told.items()):
            for name, total in terms.items():
                sums[name] = sums.get(name, 0.0) + total
        return {name: total / len(clean) for name, total in sums.items()}

    def _prepare(self, neighbours: Neighbours | None) -> None:
        """Let the objective look at the rows; all processes go on from the weights of the first."""
        shared = neighbours and (lambda features, k: self._world.array(lambda: neighbours(features, k)))
        self._objective.prepare(self.train, shared)
        if self._world.size > 1:
            for module in (self.model, self._objective.own):
                saved = self._world.send((module.state_dict(), {}))
                assert saved is not None
                module.load_state_dict(saved[0])

    def _epoch(self, checkpoint: Checkpoint, report: Report) -> None:
        """Train one epoch, or the rest of it."""
        at = self._position
        self.model.train()
        for index in self._indices():
            self._step(index)
            at.step += 1
            if at.step % CHECK_EVERY == 0 or at.step == self.steps:
                self._check_finite()
                report(at.epoch, self.training.fit.epochs, f"epoch {at.epoch + 1}: {at.step / self.steps:.0%}")
            if at.step < self.steps:
                self._save_if_due(checkpoint)
        self._close_epoch()
        self._save_if_due(checkpoint)

    def _indices(self) -> Iterator[Tensor]:
        """Yield the positions of the rows of each remaining step of the present epoch."""
        at, size = self._position, self.training.fit.batch
        # On the CPU, so that the order is the same on every device.
        shuffle = torch.Generator().manual_seed(seed_of(self._seed, at.epoch))
        order = torch.randperm(len(self.train), generator=shuffle)
        for step in range(at.step, self.steps):
            yield order[step * size : (step + 1) * size]

    def _step(self, index: Tensor) -> None:
        """Move the parameters once per phase."""
        at, parts = self._position, self._shards.cut(index)
        batches = self._shards.each(lambda place: self._drawn(parts[place], place))
        done = at.epoch * self.steps + at.step
        self.model.posterior = self._posterior.at(done / (self.training.fit.epochs * self.steps))
        rate = learning_rate(self.training, done, self.steps)
        for phase, optimizer in zip(self._phases, self._optimizers, strict=True):
            optimizer.zero_grad(set_to_none=True)
            terms = self._shards.step(phase.step, batches, phase.parameters)
            optimizer.param_groups[0]["lr"] = rate * phase.lr
            optimizer.step()
            for name, term in terms.items():
                # On the device, as a number would make the GPU wait in every step.
                self._sums[name] = self._sums.get(name, 0) + term.double() * len(index)

    def _drawn(self, index: Tensor, place: int) -> Batch:
        """Return the rows of a step, or of one of its slices, corrupted."""
        at, generator = self._position, self._generators[place]
        # Seeded again in every step, so a resumed run needs no state of a generator.
        generator.manual_seed(seed_of(self._seed, at.epoch, at.step, *self._shards.seeds(place)))
        edited = None if self.edits is None else self.edits.batch(index, generator)
        batch = self._batch(self.train.batch(index), generator, edited=edited)
        pass_seed = seed_of(self._seed, at.epoch)
        return batch._replace(positions=index, pass_seed=pass_seed, passes=at.epoch, edits=self.edits)

    def _batch(
        self, rows: Tensor, generator: torch.Generator, noisy: Tensor | None = None, *, edited: Tensor | None = None
    ) -> Batch:
        """Corrupt rows, or their edited form, unless they come corrupted; missing cells (NaN) are no target."""
        kept, kind = None, self.training.corruption
        if noisy is None:
            noisy, kept = kind.corrupt_tensor(rows if edited is None else edited, generator)
        # Without holes every cell counts; no mask spares work in every step.
        if not self.train.holes:
            return Batch(rows, noisy, None, generator, kept, kind)
        observed = ~rows.isnan()
        return Batch(torch.where(observed, rows, 0.0), noisy, observed, generator, kept, kind)

    def _close_epoch(self) -> None:
        """Add the epoch to the curve and remember the best weights."""
        at = self._position
        entry = {name: total.item() / self._rows for name, total in self._sums.items()}
        entry["loss"] = sum(entry.values())
        if len(self.held_out):
            entry["held_out"] = sum(self.evaluate(self.held_out).values())
            better = entry["held_out"] < at.best
            at.best, at.stale = (entry["held_out"], 0) if better else (at.best, at.stale + 1)
            if better and self.training.fit.patience:
                self._best = {name: value.clone() for name, value in self.model.state_dict().items()}
        at.curve.append(entry)
        at.epoch, at.step, self._sums = at.epoch + 1, 0, {}

    def _check_finite(self) -> None:
        """Stop if a loss is not finite.

        Raises:
            TrainingError: with the epoch, the rows, the term and the learning rate.
        """
        at = self._position
        for name, total in self._sums.items():
            if not torch.isfinite(total):
                last = min(at.step * self.training.fit.batch, self._rows)
                first = max(0, (at.step - 1) // CHECK_EVERY * CHECK_EVERY) * self.training.fit.batch + 1
                raise TrainingError(
                    f"the term {name!r} is {total.item()} in epoch {at.epoch + 1}, among rows {first:,} to {last:,} of "
                    f"its shuffled order, at lr {self.training.fit.lr:g}: lower fit.lr"
                )

    def _save_if_due(self, checkpoint: Checkpoint) -> None:
        """Save everything that the rest of the run depends on, in the first process: all have the same."""
        if not (self._world.first and checkpoint.due()):
            return
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"own.{name}": value for name, value in self._objective.own.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        tensors |= {f"sum.{name}": value for name, value in self._sums.items()}
        for i, optimizer in enumerate(self._optimizers):
            for j, moments in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{i}.{j}.{name}": value for name, value in moments.items()}
        at = self._position
        position = {"epoch": at.epoch, "step": at.step, "curve": at.curve, "best": at.best, "stale": at.stale}
        checkpoint.save(tensors, position)

    def _restore(self, saved: Saved | None) -> None:
        """Load the state that was saved."""
        if saved is None:
            return
        tensors = {name: value.to(self.compute.device) for name, value in saved[0].items()}
        self._position = Position(**saved[1])
        self.model.load_state_dict(_below(tensors, "model."))
        self._objective.own.load_state_dict(_below(tensors, "own."))
        self._best, self._sums = _below(tensors, "best."), _below(tensors, "sum.")
        for i, optimizer in enumerate(self._optimizers):
            state = optimizer.state_dict()
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in _below(tensors, f"optimizer.{i}.").items():
                row, _, moment = name.partition(".")
                moments.setdefault(int(row), {})[moment] = value
            optimizer.load_state_dict({**state, "state": moments})


def learning_rate(training: Training, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step; steps are counted over the whole training."""
    fit = training.fit
    rising = min(1.0, (step + 1) / fit.warmup) if fit.warmup else 1.0
    falling = 0.5 * (1 + math.cos(math.pi * step / (fit.epochs * steps_per_epoch)))
    return fit.lr * rising * (falling if fit.schedule == "cosine" else 1.0)


@dataclass(slots=True)
class Position:
    """A point of training; JSON-able.

    Attributes:
        epoch: epochs completed.
        step: steps completed in the present epoch.
        curve: losses of each completed epoch.
        best: lowest loss on the held-out slice so far.
        stale: epochs since then.
    """

    epoch: int = 0
    step: int = 0
    curve: Curve = field(default_factory=list)
    best: float = math.inf
    stale: int = 0


class Checkpoint(Protocol):
    """A place where the state of a training outlives its process."""

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the last saved state: tensors by name, and a JSON-able position."""

    def due(self) -> bool:
        """Tell whether it is time to save."""

    def save(self, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
        """Replace the saved state."""


class FileCheckpoint:
    """The last state of one training, in a folder.

    Args:
        folder: outlives the process.
        seconds: between two saved states, at least.
    """

    def __init__(self, folder: Path, *, seconds: float = EVERY) -> None:
        self._file = folder / "checkpoint.safetensors"
        self._seconds = seconds
        self._saved_at = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the last saved state; None if there is none, or it cannot be read."""
        try:
            with safe_open(self._file, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return tensors, json.loads(file.metadata()["position"])
        except (OSError, SafetensorError, KeyError, ValueError):
            return None  # training starts over, which costs time and nothing else

    def due(self) -> bool:
        """Tell whether it is time to save."""
        return time.monotonic() - self._saved_at >= self._seconds

    def save(self, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
        """Replace the saved state; a crash leaves the old one or the new one."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # Written next to the old file, synced, then renamed: the name always holds a whole file.
        fresh = self._file.with_suffix(".new")
        on_cpu = {name: value.contiguous().cpu() for name, value in tensors.items()}
        save_file(on_cpu, fresh, {"position": json.dumps(position)})
        with fresh.open("rb") as stream:
            os.fsync(stream.fileno())
        fresh.replace(self._file)
        self._saved_at = time.monotonic()


def _optimizer(phase: Phase, training: Training, compute: Compute) -> torch.optim.Optimizer:
    # One kernel for all parameters; other devices do not have it.
    fused = compute.device.type in {"cpu", "cuda"}
    return torch.optim.AdamW(phase.parameters, lr=training.fit.lr, weight_decay=training.fit.weight_decay, fused=fused)


def _trained(rows: int, batch: int, shards: int) -> int:
    """Return how many rows an epoch trains on: all but a last batch that has fewer rows than slices.

    Raises:
        TrainingError: no batch has enough.
    """
    if min(rows, batch) < shards:
        raise TrainingError(
            f"batches of {min(rows, batch):,} rows cannot be cut into {shards:,} slices; allowed: compute.shards of "
            f"at most {min(rows, batch):,}"
        )
    last = rows % batch
    return rows - (last if last < shards else 0)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _note(entry: dict[str, float]) -> str:
    held_out = f", held out {entry['held_out']:.4g}" if "held_out" in entry else ""
    return f"loss {entry['loss']:.4g}{held_out}"

"""Pretrain one layer on top of the finished ones.

Files: :class:`aepipe.store.layout.Layer`, that is the weights, and the losses of each epoch. The inputs of a layer hold
the digest of the layer below, so a stack is a chain of digests, and two recipes that share their first layers share
these artifacts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from aepipe.index.float_knn import neighbours
from aepipe.learn import stack
from aepipe.learn.batches import Feed
from aepipe.learn.sharing import EVERY
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.log import step
from aepipe.pipeline.launch import Launch
from aepipe.pipeline.resolve import ResolvedStack
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, ref_of
from aepipe.store.io import disk_errors_named

VERSION = 3


def pretrain(
    store: Store,
    resolved: ResolvedStack,
    views: Ref,
    below: Sequence[Ref],
    *,
    processes: Launch | None = None,
    save_every: float = EVERY,
) -> Ref:
    """Train the next layer; a run that was killed goes on from its last checkpoint.

    Args:
        store: where artifacts are read and written.
        resolved: the recipe with every choice resolved.
        views: written by :mod:`aepipe.pipeline.views`.
        below: the finished layers, bottom up.
        processes: those to be started for it; None trains as one of those of ``resolved.compute``.
        save_every: seconds between two checkpoints.

    Raises:
        TrainingError: a loss is not finite.
        FullError: the disk is full.
    """
    inputs = {
        "stage": "pretrain",
        "version": VERSION,
        "views": str(views),
        "below": str(below[-1]) if below else "",
        **resolved.training_key(len(below) + 1),
    }
    ref = ref_of("layer", inputs)
    if store.reuse(ref):
        return ref
    if processes is not None:
        given = {"views": str(views), "below": [str(one) for one in below]}
        return processes.run(store, resolved, ref, "pretrain", given)
    with disk_errors_named(store.root):
        work = store.work(ref)
        trainer, evaluation = _trainer(store, resolved, views, below, work)
        began = time.monotonic()  # after loading: the time is compared between recipes
        report = partial(step, resolved.title(len(below)))
        curve = trainer.run(FileCheckpoint(work, seconds=save_every), report, neighbours=neighbours)
        seconds, evaluated = time.monotonic() - began, trainer.evaluate(*evaluation)
    if not resolved.compute.world.first:
        return ref
    with store.draft("layer") as draft:
        save_file(trainer.model.state_dict(), draft.path / layout.Layer.WEIGHTS)
        (draft.path / layout.Layer.CURVE).write_text(json.dumps(curve, indent=1), encoding="utf-8")
        facts = {"seconds": round(seconds, 3), "rows": len(trainer.train), "evaluation": evaluated}
        draft.finish(inputs, facts | curve[-1])
    store.work_done(ref)
    return ref


def _trainer(
    store: Store, resolved: ResolvedStack, views: Ref, below: Sequence[Ref], work: Path
) -> tuple[Trainer, tuple[Feed, Feed | None]]:
    """Return the trainer of the next layer, and clean and noisy rows for its evaluation."""
    folder, compute, depth = store.verified(views), resolved.compute, len(below)
    feeds = {
        name: Feed(np.load(folder / file, mmap_mode="r", allow_pickle=False), compute)
        for name, file in layout.Views.ARRAYS.items()
    }
    files = [store.verified(ref) / layout.Layer.WEIGHTS for ref in below]
    layers = stack.load(resolved.specs, feeds["train"].shape, files, seed=resolved.recipe.seed, compute=compute)
    codes = {
        name: stack.codes(layers[:depth], feeds[name], compute, spill=work / layout.array_file(name))
        for name in ("train", "held_out", "clean")
    }
    trainer = Trainer(
        layers[depth],
        resolved.specs[depth].training,
        train=codes["train"],
        held_out=codes["held_out"],
        seed=resolved.recipe.seed + depth,
        compute=compute,
    )
    # The fixed corrupted copy is of data, and only the lowest layer reads data; the others read codes.
    return trainer, (codes["clean"], feeds["noisy"] if depth == 0 else None)

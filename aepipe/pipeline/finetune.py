"""Fine-tune the pretrained stack end to end, and freeze its encoder.

Files: :class:`aepipe.store.layout.Model`, that is the weights of the unrolled stack, the thresholds, float32[K], and
the losses of each epoch of every training up to here; encoder and decoder as :mod:`aepipe.codes.encoder` names them;
and a copy of the frozen network below the stack, where there is one.

Legend: K bits.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file

from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import DECODER, GRAPH, Card, Encoder, session, write_card
from aepipe.index.float_knn import neighbours
from aepipe.learn import stack
from aepipe.learn.align import match_bits, reorder_bits
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import Feed
from aepipe.learn.edited_rows import edited_rows_of
from aepipe.learn.onnx_export import BATCH, freeze, freeze_decoder
from aepipe.learn.sharing import EVERY
from aepipe.learn.stack import activations, bits, fit_rotation, load_finetuned, thresholds, unroll
from aepipe.learn.trainer import Curve, FileCheckpoint, Trainer
from aepipe.log import step
from aepipe.pipeline.launch import Launch
from aepipe.pipeline.resolve import ResolvedStack
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, ref_of
from aepipe.store.io import disk_errors_named

VERSION = 5
MATCHED = 4096
"""Rows to compare the bits of the new encoder with those of the one before."""
SEED_OFFSET = 1000  # gives fine-tuning another order of rows than any layer has


def finetune(
    store: Store,
    resolved: ResolvedStack,
    views: Ref,
    layers: Sequence[Ref],
    *,
    after: Ref | None = None,
    warm: bool = False,
    processes: Launch | None = None,
    save_every: float = EVERY,
) -> Ref:
    """Unroll the stack, train it end to end, set the thresholds and freeze it.

    Args:
        store: where artifacts are read and written.
        resolved: the recipe with every choice resolved.
        views: written by :mod:`aepipe.pipeline.views`.
        layers: the pretrained layers, bottom up, the layer of bits last; without them, from random weights.
        after: the model that this one replaces, with the same number of bits: bits get the order and the sign of the
            old ones; ``aligned`` among the facts says how far they agree.
        warm: start from the weights of ``after``, with the same layers.
        processes: those to be started for it; None trains as one of those of ``resolved.compute``.
        save_every: seconds between two checkpoints.

    Raises:
        TrainingError: a loss is not finite.
        FullError: the disk is full.
    """
    ref = ref_of("model", inputs := _inputs(resolved, views, layers, after=after, warm=warm))
    if store.reuse(ref):
        return ref
    if processes is not None:
        given = {"views": str(views), "layers": [*map(str, layers)], "after": after and str(after), "warm": warm}
        return processes.run(store, resolved, ref, "finetune", given)
    folder = store.verified(views)
    feeds = _feeds(folder, resolved, layout.Views.ARRAYS)
    stacked = _stack(store, resolved, feeds["train"], layers, after if warm else None)
    began = time.monotonic()
    with disk_errors_named(store.root):
        trainer, seen = _trainer(resolved, stacked, feeds, store.work(ref))
        checkpoint = FileCheckpoint(store.work(ref), seconds=save_every)
        curve = trainer.run(checkpoint, partial(step, "fine-tuning"), neighbours=neighbours)
        seconds, evaluated = time.monotonic() - began, trainer.evaluate(seen["clean"], seen["noisy"])
    if not resolved.compute.world.first:
        return ref
    facts = {"seconds": round(seconds, 3), "rows": len(feeds["train"]), **_edits(trainer)}
    facts |= {**(curve[-1] if curve else {}), "evaluation": evaluated}
    fit_rotation(trainer.model, seen["train"])  # of a posterior with a rotation; others stay as they are
    if after is not None:
        old, items = Encoder.open(store.verified(after)), np.load(folder / layout.Views.TRAIN, mmap_mode="r")[:MATCHED]
        facts["aligned"] = _align(old, resolved, stacked[-1], trainer.model, items, seen["train"])
    with store.draft("model") as draft:
        lift = stack.lift(stacked[0], feeds["train"]) if resolved.recipe.code.embedding == "lowest" else None
        card, graphs = _card(store, resolved, views, draft.path), store.root / layout.Root.GRAPHS
        _write(draft.path, card, stacked, trainer.model, seen["train"], resolved.recipe.code.threshold, lift, graphs)
        curves = {resolved.title(k): _curve(store, one) for k, one in enumerate(layers)} | {"fine-tuning": curve}
        (draft.path / layout.Model.CURVES).write_text(json.dumps(curves, indent=1), encoding="utf-8")
        draft.finish(inputs, facts)
    store.work_done(ref)
    return ref


def _edits(trainer: Trainer) -> dict[str, Any]:
    """Return edits as strong as the rows bear them, for the facts; nothing where there are none."""
    return {} if trainer.edits is None else {"edits": trainer.edits.kind.model_dump(mode="json")}


def codes(
    store: Store, resolved: ResolvedStack, views: Ref, layers: Sequence[Ref], others: Sequence[str]
) -> dict[str, BitCodes]:
    """Fine-tune the layers and return codes, without freezing an encoder.

    Freezing takes longer than a short training. A bit whose activation equals its threshold but for rounding may differ
    from that of the frozen encoder.

    Args:
        store: where artifacts are read, and checkpoints written.
        resolved: the recipe with every choice resolved.
        views: written by :mod:`aepipe.pipeline.views`.
        layers: as for :func:`finetune`.
        others: names of further arrays of the views.

    Returns:
        The codes of the training rows as ``train``, and those of the others by their names.

    Raises:
        TrainingError: a loss is not finite.
        FullError: the disk is full.
    """
    ref = ref_of("model", _inputs(resolved, views, layers, after=None, warm=False))
    files = layout.Views.ARRAYS | {name: layout.array_file(name) for name in others}
    with disk_errors_named(store.root):
        work = store.work(ref)
        feeds = _feeds(store.verified(views), resolved, files)
        stacked = _stack(store, resolved, feeds["train"], layers, None)
        trainer, seen = _trainer(resolved, stacked, feeds, work)
        trainer.run(FileCheckpoint(work), partial(step, "fine-tuning"), neighbours=neighbours)
    model = trainer.model
    fit_rotation(model, seen["train"])
    threshold_K = thresholds(model, seen["train"], resolved.recipe.code.threshold)
    found = {
        name: BitCodes.from_bits((activations(model, seen[name]).cpu() > threshold_K).numpy())
        for name in ("train", *others)
    }
    store.work_done(ref)
    return found


def _feeds(folder: Path, resolved: ResolvedStack, files: Mapping[str, str]) -> dict[str, Feed]:
    return {
        name: Feed(np.load(folder / file, mmap_mode="r", allow_pickle=False), resolved.compute)
        for name, file in files.items()
    }


def _inputs(
    resolved: ResolvedStack, views: Ref, layers: Sequence[Ref], *, after: Ref | None, warm: bool
) -> dict[str, Any]:
    """Return everything that the model depends on, for its digest."""
    inputs = {
        "stage": "finetune",
        "version": VERSION,
        "views": str(views),
        "layers": str(layers[-1]) if layers else "",
        "finetune": resolved.finetune.key(),
        "frozen": resolved.recipe.finetune.frozen,
        "threshold": resolved.recipe.code.threshold,
        **resolved.training_key(len(resolved.specs)),
    }
    if resolved.recipe.code.embedding != "topmost":
        inputs["embedding"] = resolved.recipe.code.embedding
    return inputs if after is None else inputs | {"after": str(after), "warm": warm}


def _stack(
    store: Store, resolved: ResolvedStack, train: Feed, refs: Sequence[Ref], after: Ref | None
) -> list[Autoencoder]:
    """Return the stack with pretrained weights, or with those of the model to start from."""
    files = [store.verified(ref) / layout.Layer.WEIGHTS for ref in refs]
    stacked = stack.load(resolved.specs, train.shape, files, seed=resolved.recipe.seed, compute=resolved.compute)
    if after is not None:
        load_finetuned(stacked, store.verified(after) / layout.Model.WEIGHTS)
    return stacked


def _trainer(
    resolved: ResolvedStack,
    stacked: Sequence[Autoencoder],
    feeds: dict[str, Feed],
    work: Path,
) -> tuple[Trainer, dict[str, Feed]]:
    """Return the trainer of the free layers, and the views as the frozen layers encode them."""
    frozen, compute = stacked[: resolved.recipe.finetune.frozen], resolved.compute
    seen = {
        name: stack.codes(frozen, feed, compute, spill=work / layout.array_file(name)) for name, feed in feeds.items()
    }
    edits = edited_rows_of(
        resolved.finetune.edits,
        resolved.finetune.edits_within,
        rows=feeds["train"],
        below=frozen,
        seen=seen["train"],
        compute=compute,
    )
    trainer = Trainer(
        unroll(stacked[len(frozen) :]),
        resolved.finetune,
        train=seen["train"],
        held_out=seen["held_out"],
        seed=resolved.recipe.seed + SEED_OFFSET,
        compute=compute,
        edits=edits,
    )
    return trainer, seen


def _align(
    encoder: Encoder,
    resolved: ResolvedStack,
    layer: Autoencoder,
    trained: Autoencoder,
    items: NDArray[np.generic],
    seen: Feed,
) -> dict[str, Any] | None:
    """Give the new bits the order and the sign of those of an earlier encoder.

    Args:
        encoder: the earlier one.
        resolved: the recipe with every choice resolved.
        layer: the layer of bits, changed in place.
        trained: the unrolled layers, with ``layer`` on top.
        items: some training rows.
        seen: all training rows, as ``trained`` reads them.

    Returns:
        ``fingerprint`` of the earlier encoder; ``flips``, the share of bits that differ after this, and ``unaligned``,
        the share before; None where the codes cannot be compared, or the network cannot be reordered.
    """
    if encoder.n_bits != resolved.recipe.code.bits or encoder.card.shape != items.shape[1:]:
        return None
    old = encoder.encode(items, threads=os.cpu_count() or 1).codes.unpack()
    new = bits(trained, seen, resolved.recipe.code.threshold)[: len(items)]
    order, signs = match_bits(old, new, resolved.recipe.finetune.objective.options.get("nested", ()))
    if not reorder_bits(layer, order, signs):
        return None
    # Only the weights of the layer were reordered; the bits need not be computed again.
    now = new[:, order] ^ (signs < 0)
    flips, unaligned = (float((old != these).mean()) for these in (now, new))
    return {"fingerprint": encoder.fingerprint, "flips": round(flips, 6), "unaligned": round(unaligned, 6)}


def _card(store: Store, resolved: ResolvedStack, views: Ref, folder: Path) -> Card:
    """Return the card of the encoder, and copy the frozen network below the stack, where there is one, into a folder.

    A query needs that network too.
    """
    # How bytes become rows is what the rows were made with, not what the source would do today.
    rows = store.manifest(Ref.parse(store.manifest(views).inputs["rows"]))
    shape, dtype = tuple(rows.facts["shape"]), rows.facts["dtype"]
    card = Card(resolved.recipe.source.kind, rows.inputs["features"], shape, resolved.recipe.code.bits, BATCH, dtype)
    if seen_by := card.features.get("backbone"):
        ref = Ref.parse(seen_by["ref"])
        for name in store.manifest(ref).outputs:
            shutil.copyfile(store.verified(ref) / name, folder / name)
    return card


def _write(
    folder: Path,
    card: Card,
    stacked: Sequence[Autoencoder],
    trained: Autoencoder,
    train: Feed,
    threshold: Literal["zero", "median"],
    lift: float | None,
    graphs: Path,
) -> None:
    """Write weights, thresholds, and the graphs of encoder and decoder.

    Thresholds are computed by the trained layers from the rows that these have read; ``lift`` is that of
    :func:`aepipe.learn.onnx_export.freeze`, and ``graphs`` its folder.
    """
    threshold_K = thresholds(trained, train, threshold)
    whole = unroll([layer.eval() for layer in stacked])
    save_file(whole.state_dict(), folder / layout.Model.WEIGHTS)
    np.save(folder / layout.Model.THRESHOLDS, threshold_K.numpy())
    graph = freeze(stacked, threshold_K, card.shape, card.dtype, lift=lift, opened=session, folder=graphs)
    (folder / GRAPH).write_bytes(graph)
    (folder / DECODER).write_bytes(freeze_decoder(whole, opened=session, folder=graphs))
    write_card(folder, card)


def _curve(store: Store, layer: Ref) -> Curve:
    curve: Curve = json.loads((store.verified(layer) / layout.Layer.CURVE).read_text(encoding="utf-8"))
    return curve

"""Measure everything that one recipe built, so that it can be compared with other recipes.

File: :class:`aepipe.store.layout.Measures`, with ``figures``, a number for each of
:data:`aepipe.evaluate.probes.FIGURES`, null where there is none; ``notes``, the reason for each null; ``yardsticks``,
the retrieval figures of the systems that our codes are measured against; ``measured``, the number of rows for each kind
of measurement. The sample of rows does not depend on the recipe's seed, except for the rows held out from training.

Legend: N rows, H width of the embedding, K bits.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import Encoder, Encoding, scaled
from aepipe.errors import CodeError
from aepipe.evaluate.probes import FIGURES, RETRIEVAL, Figures, cluster_nmi, pca_errors, probe_accuracy, squared_errors
from aepipe.evaluate.relevance import Labels
from aepipe.evaluate.retrieval import retrieval
from aepipe.evaluate.scores import OURS, Scores
from aepipe.learn import generate
from aepipe.learn.stack import unroll
from aepipe.log import step
from aepipe.pipeline.resolve import ResolvedRecipe
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, ref_of
from aepipe.store.labels import any_several, label_sets
from aepipe.store.rows import Rows
from aepipe.store.segments import CodeSegments

VERSION = 2
STAGE = "measure"
SEED = 20093
MOST = 10_000
"""Rows to train a probe on, and rows to test it on."""
BLOCK = 2048
"""Rows rebuilt at a time."""
MOST_KEPT = 8
"""Sets of rows whose principal components are remembered."""
SLOW = {
    "reconstruction": {"reconstruction_bits", "reconstruction_float", "parameters"},
    "principal components": {"reconstruction_pca", "reconstruction_pca_30", "width"},
    "probes": {"probe_embedding", "probe_bits", "nmi_bits"},
}
"""Measurements that take time, each with its figures."""
NARROW = 30
"""Principal components of one yardstick: the width of the codes of Hinton and Salakhutdinov (2006)."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class BuildOutputs:
    """Artifacts that the stages built from one recipe.

    Attributes:
        rows: the collection.
        views: the arrays of training.
        layers: the pretrained layers, bottom up; empty where training started from random weights.
        model: the fine-tuned stack.
        codes: segments that together hold the codes of all rows.
        scores: of these codes.
    """

    rows: Ref
    views: Ref
    layers: tuple[Ref, ...]
    model: Ref
    codes: tuple[Ref, ...]
    scores: Ref


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A sample of the rows of one split.

    Attributes:
        rows: [N, *shape], as in the table.
        labels: of each row; empty text where it has none.
    """

    rows: Array
    labels: NDArray[np.str_]

    def labelled(self, encoder: Encoder) -> tuple[Encoding, NDArray[np.str_]]:
        """Return encodings and labels of the rows that have a label."""
        known = self.labels != ""
        return _encoded(encoder, self.rows[known]), self.labels[known]


def compare(store: Store, resolved: ResolvedRecipe, made: BuildOutputs, *, figures: Sequence[str] | None = None) -> Ref:
    """Measure reconstruction, retrieval, bits and probes, and the cost of training.

    Args:
        store: where artifacts are read and written.
        resolved: the recipe with every choice resolved.
        made: the artifacts that the other stages built from it.
        figures: that are wanted; what takes time and is not among them is not measured. None for all.

    Raises:
        CorruptError: an artifact is damaged.
    """
    inputs = {name: str(getattr(made, name)) for name in ("rows", "views", "model", "scores")}
    inputs |= {name: ",".join(map(str, getattr(made, name))) for name in ("layers", "codes")}
    inputs |= {"stage": STAGE, "version": str(VERSION)}
    slow = [name for name in SLOW if figures is None or not SLOW[name].isdisjoint(figures)]
    if len(slow) < len(SLOW):
        inputs["measured"] = ",".join(slow)
    ref = ref_of("segment", inputs)
    if store.reuse(ref):
        return ref
    found = Figures()
    measured = _all(Bench(store, resolved, made, found), slow)
    body = {
        "name": resolved.recipe.name,
        "figures": {name: found.found.get(name) for name in FIGURES},
        "notes": found.notes,
        **measured,
        "compute": resolved.compute.key(),
    }
    with store.draft("segment") as draft:
        (draft.path / layout.Measures.MEASURES).write_text(json.dumps(body, indent=1), encoding="utf-8")
        return draft.finish(inputs, {"kind": "measures"})


class Bench:
    """Opened artifacts of one build, and the figures found so far.

    Attributes:
        table: all rows.
        encoder: the frozen encoder of the model.
        train: a sample of the training rows.
        test: a sample of the test rows; may be empty.
        held_out: [N, *shape], training rows that were held out; may be empty.
    """

    def __init__(self, store: Store, resolved: ResolvedRecipe, made: BuildOutputs, figures: Figures) -> None:
        self.store, self.resolved, self.made, self.figures = store, resolved, made, figures
        self.table = Rows(store.verified(made.rows))
        self.encoder = Encoder.open(store.verified(made.model))
        self._share = resolved.recipe.views.sample
        self.train, self.test = (_side(self.table, split, self._share) for split in ("train", "test"))
        self.held_out = np.load(store.verified(made.views) / layout.Views.HELD_OUT, mmap_mode="r", allow_pickle=False)

    def unseen(self) -> Array:
        """Return at most 10,000 rows that training did not see."""
        return self.test.rows if len(self.test.rows) else np.asarray(self.held_out[:MOST])

    def all_unseen(self) -> Iterator[Array]:
        """Give all rows that training did not see, block by block."""
        if len(self.test.rows):
            drawn = self.table.sampled(self._share)
            yield from (rows for _, rows in self.table.batches(BLOCK, "test", mask=drawn))
        else:
            yield from (np.asarray(self.held_out[i : i + BLOCK]) for i in range(0, len(self.held_out), BLOCK))


def _all(bench: Bench, slow: Sequence[str]) -> dict[str, Any]:
    """Measure everything, and return the entries that are reported with the figures.

    Args:
        bench: what is measured.
        slow: which of :data:`SLOW`.
    """
    scores = Scores.read(bench.store.verified(bench.made.scores) / layout.Scores.SCORES)
    yardsticks = _scored(bench, scores)
    _held_out(bench)
    _trained(bench)
    rebuilt, measures = 0, dict(zip(SLOW, _MEASURES, strict=True))
    for done, (name, measure) in enumerate(measures.items()):
        step(STAGE, done, len(measures), name)
        if name in slow:
            rebuilt += measure(bench) or 0
        else:
            bench.figures.leave_out("it was not asked for", *sorted(SLOW[name]))
    step(STAGE, len(measures), len(measures))
    counts = {"rebuilt": rebuilt, "train": len(bench.train.rows), "test": len(bench.test.rows)}
    ours = {name: scores.metric(name) for name in RETRIEVAL}
    intervals = {name: [one.low, one.high] for name, one in ours.items() if one is not None}
    return {"yardsticks": yardsticks, "measured": counts, "intervals": intervals}


def _scored(bench: Bench, scores: Scores) -> dict[str, dict[str, float]]:
    """Take over the scores of our codes, and return those of the other systems."""
    systems = {
        row.system: {name: row.metrics[name].value for name in RETRIEVAL if name in row.metrics} for row in scores.rows
    }
    ours, health, figures = systems.pop(OURS), scores.health, bench.figures
    figures.found |= ours | {"entropy": health.entropy, "distinct_share": health.unique_share}
    figures.found["dead_bits"] = len(health.dead_bits)
    figures.leave_out("the rows have no labels", *(name for name in RETRIEVAL if name not in ours))
    return systems


def _held_out(bench: Bench) -> None:
    """Search with held-out training rows among the others.

    A choice between recipes can be made by this figure, so that test rows are still unseen afterwards.
    """
    name, labels = "held_out_map_at_1000", bench.table.labels()
    kept_back = np.load(bench.store.verified(bench.made.views) / layout.Views.HELD_OUT_IDS, allow_pickle=False)
    if labels is None or not len(kept_back):
        bench.figures.leave_out("the rows have no labels" if labels is None else "no rows were held out", name)
        return
    ids = bench.table.ids()
    # A row without a label is relevant to no query: its class is its own.
    classes: Labels = np.array([label or f"row {row}" for row, label in zip(ids, labels, strict=True)], np.str_)
    if any_several(labels):
        classes = label_sets(labels)
    codes, asked = CodeSegments.open(bench.store, bench.made.codes), np.isin(ids, kept_back)
    own, others = (
        np.flatnonzero(asked)[: bench.resolved.recipe.evaluate.queries],
        np.flatnonzero(bench.table.of_split("train") & ~asked),
    )
    sides = [(codes.of(ids[at]), classes[at]) for at in (others, own)]
    found = retrieval(sides[0][0], sides[1][0], sides[0][1], sides[1][1])
    bench.figures.found[name] = float(found.map_at_cut.mean())


def _trained(bench: Bench) -> None:
    """Note seconds and epochs of all training, and the best epoch of fine-tuning."""
    facts = [bench.store.manifest(ref).facts for ref in (*bench.made.layers, bench.made.model)]
    file = bench.store.verified(bench.made.model) / layout.Model.CURVES
    curves = json.loads(file.read_text(encoding="utf-8"))
    bench.figures.found["seconds"] = sum(one["seconds"] for one in facts)
    bench.figures.found["epochs"] = sum(map(len, curves.values()))
    held_out = [entry["held_out"] for entry in curves["fine-tuning"] if "held_out" in entry]
    if held_out:
        bench.figures.found["best_epoch"] = 1 + int(np.argmin(held_out))
    else:
        bench.figures.leave_out("fine-tuning had no epochs, or no rows were held out", "best_epoch")


def _rebuilt(bench: Bench) -> int:
    """Rebuild unseen rows from bits and from the float embedding; return their number.

    The embedding is that of the pretrained layers, before fine-tuning.
    """
    specs, compute, shape, store = bench.resolved.specs, bench.resolved.compute, bench.table.shape, bench.store
    whole = generate.open_finetuned(specs, shape, store.verified(bench.made.model) / layout.Model.WEIGHTS, compute)
    files = [store.verified(ref) / layout.Layer.WEIGHTS for ref in bench.made.layers[:-1]]
    below = unroll(generate.open_stack(specs, shape, files, compute)) if files else None
    bits, floats = [np.empty(0)], [np.empty(0)]
    for rows in bench.all_unseen():
        # By the frozen encoder, as in service: its thresholds differ from those of training.
        codes = generate.signs(_encoded(bench.encoder, rows).codes.unpack())
        bits.append(squared_errors(rows, generate.decode_codes(whole, codes, compute)))
        if below is not None:
            floats.append(squared_errors(rows, generate.reconstruct_rows(below, rows, compute)))
    bench.figures.found["parameters"] = generate.parameters(whole)
    nothing = "there are no test rows, and none were held out"
    bench.figures.add("reconstruction_bits", lambda: _mean(bits, nothing))
    without = nothing if files else "the layers were not pretrained"
    bench.figures.add("reconstruction_float", lambda: _mean(floats, without))
    return sum(map(len, bits))


_KEPT: dict[tuple[object, ...], Figures] = {}
"""What principal components came to in this process: recipes that are compared have rows in common."""


def _components(bench: Bench) -> None:
    """Rebuild unseen rows from principal components: as many as the embedding has units, and 30."""
    width = _encoded(bench.encoder, bench.train.rows[:1]).embedding.shape[1]
    bench.figures.found["width"] = width
    # Without test rows, those are rebuilt that were held out.
    key = (bench.store.root, bench.made.rows, None if len(bench.test.rows) else bench.made.views, width)
    if key not in _KEPT:
        for oldest in list(_KEPT)[: max(0, len(_KEPT) - MOST_KEPT + 1)]:
            del _KEPT[oldest]
        _KEPT[key] = _of_components(bench, width)
    bench.figures.found |= _KEPT[key].found
    bench.figures.notes |= _KEPT[key].notes


def _of_components(bench: Bench, width: int) -> Figures:
    found = Figures()
    train, unseen = (_cells(rows) for rows in (bench.train.rows, bench.unseen()))
    wanted = {"reconstruction_pca": width, "reconstruction_pca_30": NARROW}
    possible = {name: count for name, count in wanted.items() if count < min(train.shape)}
    found.leave_out(
        f"{len(train):,} rows of {train.shape[1]:,} cells have no such number of components",
        *(wanted.keys() - possible),
    )
    if not len(unseen) or not (np.isfinite(train).all() and np.isfinite(unseen).all()):
        found.leave_out("there are no unseen rows, or they have missing cells", *wanted)
    elif possible:
        found.found |= dict(zip(possible, pca_errors(train, unseen, list(possible.values()), seed=SEED), strict=True))
    return found


def _probed(bench: Bench) -> None:
    """Predict labels from embedding and bits by linear probes, and from clusters of codes."""
    figures, names = bench.figures, ("probe_embedding", "probe_bits", "nmi_bits")
    labels = bench.table.labels()
    if labels is None or any_several(labels):
        # A classifier and a partition give each row one class.
        figures.leave_out("the rows have no labels" if labels is None else "the rows have several labels each", *names)
        return
    (known, classes), (asked, truth) = (side.labelled(bench.encoder) for side in (bench.train, bench.test))
    figures.add(names[0], lambda: probe_accuracy((known.embedding, classes), (asked.embedding, truth)))
    bits = [one.codes.unpack() for one in (known, asked)]
    figures.add(names[1], lambda: probe_accuracy((bits[0], classes), (bits[1], truth)))
    clustered = (bits[1], truth) if len(truth) else (bits[0], classes)
    figures.add(names[2], lambda: cluster_nmi(*clustered, seed=SEED))


_MEASURES: tuple[Callable[[Bench], int | None], ...] = (_rebuilt, _components, _probed)
"""In the order of :data:`SLOW`."""


def _side(table: Rows, split: str, share: float = 1.0) -> Side:
    """Return at most 10,000 rows of a split, of a sample of all rows; the same rows in every run."""
    found = np.flatnonzero(table.of_split(split) & table.sampled(share))
    drawn = np.random.default_rng(SEED).permutation(found)[:MOST]
    # A mask instead of positions: features are read in the order of the table, in one pass.
    chosen = np.zeros(len(table), bool)
    chosen[drawn] = True
    labels = table.labels() or [None] * len(table)
    return Side(table.features(mask=chosen), np.array([labels[i] or "" for i in np.flatnonzero(chosen)], np.str_))


def _encoded(encoder: Encoder, rows: Array) -> Encoding:
    return encoder.encode(rows, threads=os.cpu_count() or 1)


def _cells(rows: Array) -> NDArray[np.float32]:
    return scaled(rows).reshape(len(rows), math.prod(rows.shape[1:]))


def _mean(parts: Sequence[NDArray[np.float64]], nothing: str) -> float:
    if not sum(map(len, parts)):
        raise CodeError(nothing)
    return float(np.concatenate(parts).mean())

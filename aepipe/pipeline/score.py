"""Score codes by labels and by exact float neighbours, and compare with baselines.

Files: :class:`aepipe.store.layout.Scores`, that is the scores as :meth:`aepipe.evaluate.scores.Scores.to_dict` gives
them, and the fitted baselines, so that scores of the same encoder on other rows need no new fit. Rows of the split
``test`` are the queries and those of ``train`` the database; where one of these is empty, a fixed sample of all rows
are the queries and the rest is the database.

Legend: N rows, D cells of one row.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save_file

from aepipe import recipe as recipes
from aepipe.codes.encoder import Decoder
from aepipe.errors import StoreError
from aepipe.evaluate import scores as evaluation
from aepipe.evaluate.baselines import Baseline, of_arrays
from aepipe.evaluate.scores import Others, Sample, Scores
from aepipe.log import step
from aepipe.pipeline import confidence
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, ref_of
from aepipe.store.io import weights_in
from aepipe.store.labels import any_several, label_sets
from aepipe.store.rows import Rows, gather
from aepipe.store.segments import CodeSegments

if TYPE_CHECKING:
    from aepipe.evaluate.relevance import Labels
    from aepipe.evaluate.strangers import Space
    from aepipe.pipeline.resolve import ResolvedRecipe
    from aepipe.recipe import Recipe
    from aepipe.release.release import Release

VERSION = 7
SAMPLE_SEED = 20092
SAMPLE_SHARE = 0.1
"""Share of rows that are queries where no row is in the split ``test``."""
MIN_QUERIES = 2
MOST_KEPT = 8
"""Sets of rows whose other systems are remembered."""
BLOCK = 65_536
"""Rows whose missing cells are filled at a time."""

Positions = NDArray[np.int64]


def score(
    store: Store, resolved: ResolvedRecipe, rows: Ref, model: Ref, codes: Sequence[Ref], *, before: Ref | None = None
) -> Ref:
    """Score codes against labels, baselines and exact float neighbours.

    Baselines and float neighbours read the rows as they go into the encoder. Baselines are fitted on the present
    training rows, or taken from the scores of an earlier release with the same encoder.

    Args:
        store: where artifacts are read and written.
        resolved: the recipe with every choice resolved.
        rows: the collection.
        model: the encoder that made the codes.
        codes: segments that together hold the codes of all rows.
        before: earlier scores; their fitted baselines are used where they belong to the same model.

    Raises:
        CodeError: there are fewer than 2 rows.
        CorruptError: an artifact is damaged, or a row has no code.
    """
    fitted = _fitted(store, before, model)
    others = _Shared(fitted=fitted) if fitted else _others(store, resolved.recipe, rows)
    inputs = {"stage": "score", "version": VERSION, "rows": str(rows), "model": str(model)}
    inputs |= {"codes": ",".join(map(str, codes)), "queries": str(resolved.recipe.evaluate.queries)}
    inputs |= {"seed": str(resolved.recipe.seed), "rerank_recall": str(resolved.recipe.evaluate.rerank_recall)}
    inputs |= {"sample": str(share)} if (share := resolved.recipe.views.sample) < 1 else {}
    if fitted:
        inputs["baselines"] = str(before)
    ref = ref_of("segment", inputs)
    if store.reuse(ref):
        return ref
    with store.draft("segment") as draft:
        # Inside the draft, so that nothing of it is left, however this ends.
        scratch = draft.path / "scratch"
        scratch.mkdir()
        scores, space = _measured(store, resolved.recipe, rows, model, codes, scratch, others=others)
        shutil.rmtree(scratch)
        for file, array in zip(
            (layout.Scores.SPACE, layout.Scores.SEEN), space.arrays() if space else (), strict=False
        ):
            np.save(draft.path / file, array)
        known = others.fitted
        arrays = {f"{name}/{part}": array for name, one in known.items() for part, array in one.arrays().items()}
        save_file(arrays, draft.path / layout.Scores.BASELINES)
        (draft.path / layout.Scores.SCORES).write_text(json.dumps(scores.to_dict(), indent=1), encoding="utf-8")
        return draft.finish(inputs, {"kind": "scores", "queries": scores.protocol.n_queries})


def measure(
    store: Store,
    recipe: Recipe,
    rows: Ref,
    model: Ref,
    codes: Sequence[Ref],
    scratch: Path,
    *,
    n_bits: int | None = None,
    others: _Shared | None = None,
) -> Scores:
    """Return the scores that :func:`score` writes, without writing anything.

    Args:
        store: where artifacts are read and written.
        recipe: number of queries, and the seed.
        rows: the collection.
        model: the encoder that made the codes.
        codes: segments that together hold the codes of all rows.
        scratch: an empty folder for float features.
        n_bits: score only the first bits of the codes; None scores all.
        others: see :func:`aepipe.evaluate.scores.score`.

    Raises:
        CodeError: there are fewer than 2 rows, or the codes have fewer bits.
        CorruptError: an artifact is damaged, or a row has no code.
    """
    return _measured(store, recipe, rows, model, codes, scratch, n_bits=n_bits, others=others)[0]


def _measured(
    store: Store,
    recipe: Recipe,
    rows: Ref,
    model: Ref,
    codes: Sequence[Ref],
    scratch: Path,
    *,
    n_bits: int | None = None,
    others: _Shared | None = None,
) -> tuple[Scores, Space | None]:
    """Return scores, and the space that strangers are told by."""
    database, queries = samples(store, recipe, rows, codes, scratch)
    whole = n_bits is None or n_bits == database.codes.n_bits
    if n_bits is not None and n_bits != database.codes.n_bits:
        # What is rebuilt, and what re-ranking has to look at, was never measured for a part of the code.
        database, queries = (
            replace(sample, codes=sample.codes.prefix(n_bits), embeddings=None) for sample in (database, queries)
        )
    elif decoder := Decoder.open(store.verified(model)):
        items = queries.features.reshape(len(queries), *Rows(store.verified(rows)).shape)
        queries = replace(queries, errors=decoder.errors(items, queries.codes))
    for sample in (database, queries):
        _fill(sample.features)
    wanted, others = recipe.evaluate, others or _Shared()
    found = evaluation.score(
        database,
        queries,
        seed=recipe.seed,
        n_queries=wanted.queries,
        rerank_recall=wanted.rerank_recall,
        fitted=others.fitted,
        others=others,
    )
    if not whole:
        return found, None
    asked = evaluation.first_queries(queries, wanted.queries)
    near = others.exact[0].neighbours if others.exact else None
    known = Rows(store.verified(rows)), store.verified(model)
    worth = confidence.measure(*known, database, asked, found, recipe.seed, near)
    return worth.added(found), worth.space


def measure_release(store: Store, release: Release, *, n_bits: int | None = None) -> Scores:
    """Score a release again, as its own recipe says; the store is only read.

    Args:
        store: where it lies.
        release: whose codes are scored.
        n_bits: how many of the first bits of the codes are looked at; all of them where it is None.

    Raises:
        CodeError: the codes have fewer bits.
        CorruptError: something in the store is not what was written.
    """
    read = recipes.parse(release.recipe, Path(f"the recipe of release {release.ref.short}"))
    rows, model, codes = release.part("rows"), release.part("encoder"), release.all_parts("codes")
    # Features can be many; a store that can only be read has no room for them.
    room = store.root if os.access(store.root, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=".tmp-evaluate-", dir=room) as scratch:
        return measure(store, read, rows, model, codes, Path(scratch), n_bits=n_bits)


def samples(store: Store, recipe: Recipe, rows: Ref, codes: Sequence[Ref], scratch: Path) -> tuple[Sample, Sample]:
    """Return database and queries; their features and embeddings are mapped from files.

    Args:
        store: where artifacts are read and written.
        recipe: number of queries where no row is in the split ``test``.
        rows: the collection.
        codes: segments that together hold the codes of all rows.
        scratch: an empty folder for the files.

    Raises:
        CodeError: there are fewer than 2 rows.
        CorruptError: an artifact is damaged, or a row has no code.
    """
    table, segments, n_queries = Rows(store.verified(rows)), CodeSegments.open(store, codes), recipe.evaluate.queries
    ids, keys = table.ids(), np.array(table.table(["key"]).column("key").to_pylist(), np.str_)
    classes, known = _classes(table)
    database, queries = _sides(table, n_queries, table.sampled(recipe.views.sample))
    if classes is not None:
        # Nothing is relevant to a query without a label, so it would only lower the scores.
        labelled = queries[known[queries]]
        queries, classes = (labelled, classes) if len(labelled) >= MIN_QUERIES else (queries, None)
    positions = {"database": database, "queries": queries}
    features = gather(table, positions, scratch, lambda done: step("evaluate", 0, None, f"{done:,} rows read"))
    database_sample, query_sample = (
        Sample(
            segments.of(ids[at]),
            features[side].reshape(len(at), -1),
            None if classes is None else classes[at],
            keys[at],
            segments.embeddings_in(scratch / layout.array_file(f"{side}-embedding"), ids[at])
            if segments.width and len(at)
            else None,
        )
        for side, at in positions.items()
    )
    return database_sample, query_sample


@dataclass(slots=True)
class _Shared(Others):
    """Other systems, with their fitted baselines."""

    fitted: dict[str, Baseline] = field(default_factory=dict)


_KEPT: dict[tuple[object, ...], _Shared] = {}
"""What was measured of other systems in this process: recipes that are compared have rows in common."""


def _others(store: Store, recipe: Recipe, rows: Ref) -> _Shared:
    """Return what was measured of other systems on the same rows, or what is going to hold it."""
    asked = (store.root, rows, recipe.evaluate.queries, recipe.views.sample)
    key = (*asked, recipe.code.bits, recipe.seed)
    # What exact search finds depends on neither bits nor seed.
    exact = next((one.exact for known, one in _KEPT.items() if known[: len(asked)] == asked), None)
    found = _KEPT.pop(key, None) or _Shared(exact)
    for oldest in list(_KEPT)[: max(0, len(_KEPT) - MOST_KEPT + 1)]:
        del _KEPT[oldest]
    _KEPT[key] = found
    return found


def _fitted(store: Store, before: Ref | None, model: Ref) -> dict[str, Baseline]:
    """Return fitted baselines of earlier scores, if they are sound and of the same model."""
    if before is None:
        return {}
    try:
        known = store.manifest(before).inputs.get("model") == str(model)
        file = store.verified(before) / layout.Scores.BASELINES
        if not known or not file.exists():
            return {}
        arrays = weights_in(file, load)
    except StoreError:
        return {}
    parts: dict[str, dict[str, NDArray[np.generic]]] = {}
    for key, array in arrays.items():
        name, _, part = key.partition("/")
        parts.setdefault(name, {})[part] = array
    return {name: of_arrays(name, one) for name, one in parts.items()}


def _fill(features: NDArray[np.generic]) -> None:
    """Replace missing cells by zeros, in place.

    Baselines need every cell, and zero is the mean of a numeric column after scaling.
    """
    if features.dtype.kind == "f":
        for start in range(0, len(features), BLOCK):
            block = features[start : start + BLOCK]
            np.nan_to_num(block, copy=False, nan=0.0)


def _sides(table: Rows, n_queries: int, drawn: NDArray[np.bool_]) -> tuple[Positions, Positions]:
    """Return the positions of database and queries, each in the order of ids; all are ``drawn``, bool[N]."""
    order = np.argsort(table.ids(), kind="stable")
    order = order[drawn[order]]
    database, queries = (order[table.of_split(split)[order]] for split in ("train", "test"))
    if len(queries) >= MIN_QUERIES and len(database):
        return database, queries
    # A fixed seed: releases of the same rows are scored on the same queries.
    wanted = min(n_queries, max(1, int(len(order) * SAMPLE_SHARE)))
    asking = np.zeros(len(order), bool)
    asking[np.random.default_rng(SAMPLE_SEED).permutation(len(order))[:wanted]] = True
    return order[~asking], order[asking]


def _classes(table: Rows) -> tuple[Labels | None, NDArray[np.bool_]]:
    """Return labels as numbers, int64[N], or as sets where rows have several; and which rows have one, bool[N].

    A row without one gets a negative number of its own, or an empty set.
    """
    labels = table.labels()
    if labels is None:
        return None, np.zeros(len(table), bool)
    known = np.array([label is not None for label in labels], bool)
    if any_several(labels):
        return label_sets(labels), known
    numbers = {label: i for i, label in enumerate(sorted({label for label in labels if label is not None}))}
    return np.array([-1 - i if label is None else numbers[label] for i, label in enumerate(labels)], np.int64), known

"""Cut rows into the arrays that training and its curves read.

Files: :class:`aepipe.store.layout.Views`, all of them memory-mapped when read. Training rows and held-out rows are
``[N, *shape]`` as in the table; ids of the held-out rows are int64; the evaluation slice comes clean and, as float16,
corrupted. The corrupted copy does not depend on the recipe's seed: it is the same in every run, so that losses of
different recipes can be compared.

A search for a better recipe reads the views of a sample: rows to train on, and :class:`aepipe.store.layout.Sample`,
queries to ask while it goes on and others to ask at its end. Rows of the split ``test`` are in none of them: they stay
unseen until a release is scored. A smaller sample has a part of the larger one's rows, and the same queries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aepipe.codes.encoder import scaled
from aepipe.errors import SourceError
from aepipe.log import step
from aepipe.pipeline.resolve import ResolvedRecipe
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, ref_of
from aepipe.store.rows import Rows, gather

VERSION = 2
EVALUATION_SEED = 20091
SAMPLE_VERSION, SAMPLE_SEED = 1, 20095
ASKED_SHARE, MOST_ASKED = 0.15, 500
"""Share of the training rows that are queries of a search, and as many again that are queries at its end."""
FEWEST = 200
"""Training rows of which a search makes sense: of fewer, the queries are too few to tell recipes apart."""


def views(store: Store, resolved: ResolvedRecipe, rows: Ref) -> Ref:
    """Cut the rows into views.

    Raises:
        SourceError: there are too few rows to train on.
    """
    inputs = {
        "stage": "views",
        "version": VERSION,
        "rows": str(rows),
        "views": resolved.recipe.views.model_dump(),
        "corruption": resolved.specs[0].key()["corruption"],
        "seed": resolved.recipe.seed,
    }
    ref = ref_of("views", inputs)
    if store.reuse(ref):
        return ref
    table = Rows(store.verified(rows))
    train, held_out, evaluation = _slices(table, resolved)
    with store.draft("views") as draft:
        slices = {"train": train, "held_out": held_out, "clean": evaluation}
        cut = gather(table, slices, draft.path, lambda done: step("views", done, len(table)))
        np.save(draft.path / layout.Views.NOISY, _corrupted(cut["clean"], resolved))
        np.save(draft.path / layout.Views.HELD_OUT_IDS, table.ids()[held_out])
        counts = {"train": len(train), "held_out": len(held_out), "evaluation": len(evaluation)}
        return draft.finish(inputs, counts | {"next_id": table.next_id})


def sample(store: Store, resolved: ResolvedRecipe, rows: Ref, size: int) -> Ref:
    """Cut a sample of the rows into views: at most ``size`` training rows, and the queries.

    Args:
        store: where artifacts are read and written.
        resolved: the recipe with every choice resolved.
        rows: the collection.
        size: most rows to train on.

    Raises:
        SourceError: there are too few rows.
    """
    inputs = {
        "stage": "sample",
        "version": SAMPLE_VERSION,
        "rows": str(rows),
        "size": size,
        "views": resolved.recipe.views.model_dump(),
        "corruption": resolved.specs[0].key()["corruption"],
    }
    ref = ref_of("views", inputs)
    if store.has(ref):
        return ref
    table = Rows(store.verified(rows))
    slices = _sampled(table, resolved, size)
    with store.draft("views") as draft:
        cut = gather(table, slices, draft.path, lambda done: step("sample", done, len(table)))
        np.save(draft.path / layout.Views.NOISY, _corrupted(cut["clean"], resolved))
        for name, positions in slices.items():
            np.save(draft.path / layout.Sample.ids(name), table.ids()[positions])
        counts = {name: len(positions) for name, positions in slices.items()}
        return draft.finish(inputs, counts | {"next_id": table.next_id})


def sizes(store: Store, rows: Ref, most: int, share: float = 1.0) -> tuple[list[int], int]:
    """Return the training rows of each stage of a trial, rising, and the number of all.

    Args:
        store: where artifacts are read and written.
        rows: the collection.
        most: training rows of the last stage; 0 takes all.
        share: of the rows, which the recipe learns from.

    Raises:
        SourceError: there are too few rows.
    """
    table = Rows(store.verified(rows))
    count = int((table.of_split("train") & table.sampled(share)).sum())
    if count < FEWEST:
        raise SourceError(f"{count:,} rows to train on are too few to tell recipes apart: {FEWEST} are needed")
    free = count - 2 * _asked(count)
    last = min(free, most or free)
    return [part for part in (last // 9, last // 3) if part >= FEWEST] + [last], count


def _slices(table: Rows, resolved: ResolvedRecipe) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of training rows, held-out rows and the evaluation slice."""
    drawn = table.sampled(resolved.recipe.views.sample)
    train = np.flatnonzero(table.of_split("train") & drawn)
    shuffled = np.random.default_rng(resolved.recipe.seed).permutation(train)
    n_held_out = int(len(train) * resolved.recipe.views.holdout)
    held_out, train = np.sort(shuffled[:n_held_out]), np.sort(shuffled[n_held_out:])
    if len(train) < 2:
        raise SourceError(f"{resolved.recipe.file}: rows to train on: {len(train):,}; at least 2 are needed")
    test = np.flatnonzero(table.of_split("test") & drawn)
    # Curves should show rows that training does not see: test rows, or else held-out ones.
    evaluation = (test if len(test) else held_out)[: resolved.recipe.views.evaluation]
    return train, held_out, evaluation


def _sampled(table: Rows, resolved: ResolvedRecipe, size: int) -> dict[str, NDArray[np.int64]]:
    """Return the positions of all slices."""
    train = table.of_split("train") & table.sampled(resolved.recipe.views.sample)
    drawn = np.random.default_rng(SAMPLE_SEED).permutation(np.flatnonzero(train))
    asked = _asked(len(drawn))
    queries, kept_back, others = drawn[:asked], drawn[asked : 2 * asked], drawn[2 * asked :][:size]
    held_out = int(len(others) * resolved.recipe.views.holdout)
    slices = {
        "train": others[held_out:],
        "held_out": others[:held_out],
        "clean": others[:held_out][: resolved.recipe.views.evaluation],
        layout.Sample.ASKED: queries,
        layout.Sample.KEPT_BACK: kept_back,
    }
    return {name: np.sort(positions) for name, positions in slices.items()}


def _asked(count: int) -> int:
    return min(MOST_ASKED, int(count * ASKED_SHARE))


def _corrupted(clean: NDArray[np.generic], resolved: ResolvedRecipe) -> NDArray[np.float16]:
    rng = np.random.default_rng(EVALUATION_SEED)
    noisy, _ = resolved.specs[0].training.corruption.corrupt(scaled(clean), rng)
    return noisy.astype(np.float16)

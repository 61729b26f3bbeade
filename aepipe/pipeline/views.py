"""Cut rows into the arrays that training and its curves read.

Files: :class:`aepipe.store.layout.Views`, all of them memory-mapped when read. Training rows and held-out rows are
``[N, *shape]`` as in the table; ids of the held-out rows are int64; the evaluation slice comes clean and, as float16,
corrupted. The corrupted copy does not depend on the recipe's seed: it is the same in every run, so that losses of
different recipes can be compared.
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


def _slices(table: Rows, resolved: ResolvedRecipe) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of training rows, held-out rows and the evaluation slice."""
    train = np.flatnonzero(table.of_split("train"))
    shuffled = np.random.default_rng(resolved.recipe.seed).permutation(train)
    n_held_out = int(len(train) * resolved.recipe.views.holdout)
    held_out, train = np.sort(shuffled[:n_held_out]), np.sort(shuffled[n_held_out:])
    if len(train) < 2:
        raise SourceError(f"{resolved.recipe.file}: rows to train on: {len(train):,}; at least 2 are needed")
    test = np.flatnonzero(table.of_split("test"))
    # Curves should show rows that training does not see: test rows, or else held-out ones.
    evaluation = (test if len(test) else held_out)[: resolved.recipe.views.evaluation]
    return train, held_out, evaluation


def _corrupted(clean: NDArray[np.generic], resolved: ResolvedRecipe) -> NDArray[np.float16]:
    rng = np.random.default_rng(EVALUATION_SEED)
    noisy, _ = resolved.specs[0].training.corruption.corrupt(scaled(clean), rng)
    return noisy.astype(np.float16)

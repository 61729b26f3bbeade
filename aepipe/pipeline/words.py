"""Make what answers questions in words, where a recipe names it.

Files: :class:`aepipe.store.layout.Words`; the kind of words decides which of them there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe.log import step
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store, ref_of
from aepipe.store.rows import Rows
from aepipe.words import WordsSpec

VERSION = 1


def make_words(store: Store, wanted: WordsSpec | None, rows: Ref, model: Ref) -> Ref | None:
    """Make the words of a release; None where the recipe names none.

    Args:
        store: where artifacts are read and written.
        wanted: what the recipe names.
        rows: of the release.
        model: its encoder.

    Raises:
        CorruptError: a network cannot be used.
        FullError: the disk is full.
    """
    if wanted is None:
        return None
    inputs = {"stage": "words", "version": VERSION, "model": str(model), **wanted.inputs()}
    if wanted.of_rows:
        inputs["rows"] = str(rows)
    ref = ref_of("words", inputs)
    if store.reuse(ref):
        return ref
    step("words", 0, 1)
    table = Rows(store.verified(rows))
    with store.draft("words") as draft:
        wanted.make(draft.path, table, _learned(store, model, table))
        draft.finish(inputs)
    step("words", 1, 1)
    return ref


def _learned(store: Store, model: Ref, rows: Rows) -> NDArray[Any]:
    """Return the rows that an encoder has learned from; where they are gone, those to train on of today."""
    views = store.manifest(model).inputs.get("views")
    if views and store.has(Ref.parse(views)):
        learned: NDArray[Any] = np.load(store.verified(Ref.parse(views)) / layout.Views.TRAIN, mmap_mode="r")
        return learned
    return rows.features("train", mask=rows.with_features)

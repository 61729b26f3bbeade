"""A collection for tests that answers words by what is known of them; the classes of its classifier are colours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from aepipe.learn import onnx_export
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from aepipe.words import known
from aepipe.words.kinds.imagenet import ImageNet
from tests.support.releases import BarePlan, publish_rows
from tests.support.towers import COLOURS, MAP, make_towers_release, plan_of

SYNONYMS = {"red": ("red", "scarlet"), "grey": ("grey", "gray")}


def make_known_release(folder: Path, columns: tuple[str, ...] = ()) -> tuple[Store, Ref]:
    """Make a release of pictures of eight colours that answers words by their names, as ``colours``."""
    store, _ = make_towers_release(folder, promote=False)
    (rows,), (model,) = store.refs("rows"), store.refs("model")
    ref = publish_known(store, plan_of(folder), rows, model, columns)
    registry.promote(store, "colours", ref, why="made by a test")
    return store, ref


def publish_known(store: Store, plan: BarePlan, rows: Ref, model: Ref, columns: tuple[str, ...] = ()) -> Ref:
    """Publish rows with words that are known by colours in place of ImageNet's classes."""
    features = {**plan.recipe.features, "words": "imagenet"}
    answering = ImageNet("efficientnet-lite0", columns)
    named = replace(plan, recipe=plan.recipe.model_copy(update={"features": features}), words=answering)
    seen = (np.array(list(COLOURS.values())) - 127) / 128 @ MAP[:3] + MAP[3]
    seen = seen / np.linalg.norm(seen, axis=1, keepdims=True)
    phrases = [(name, SYNONYMS.get(name, (name,))) for name in COLOURS]
    texts = [text for _, several in phrases for text in several]
    targets = [number for number, (_, several) in enumerate(phrases) for _ in several]
    members = [(number,) for number in range(len(COLOURS))]
    with (
        patch.object(known, "_of_imagenet", lambda: (texts, targets, members)),
        patch.object(onnx_export, "classifier", lambda _: (4 * (seen - seen.mean(axis=0)), np.zeros(len(COLOURS)))),
    ):
        return publish_rows(store, named, rows, model)

"""The networks behind a release: its layers as they were pretrained, and the fine-tuned whole.

An encoder in service is one frozen graph; to decode, to sample and to look inside takes the networks themselves, which
the shelf keeps. This is for people who study a model; a query never comes here.

Legend: N rows, ``shape`` of one row, H units of a code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe import recipe as recipes
from aepipe.errors import QueryError
from aepipe.learn import compute as computing
from aepipe.learn import layer, trained
from aepipe.learn.compute import Compute
from aepipe.learn.finetune import unroll
from aepipe.learn.layer import Autoencoder, LayerSpec
from aepipe.recipe import Recipe
from aepipe.release import Release
from aepipe.store import Ref, Store

WEIGHTS = "weights.safetensors"
LAYER = "layer.safetensors"


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of one release.

    Attributes:
        name: what the release is called in service.
        recipe: what it was made by.
        specs: the layers of the recipe, bottom up, the layer of bits last.
        layers: as they were pretrained; empty where the recipe pretrains nothing.
        whole: unrolled and fine-tuned; its code is bits, -1 and 1.
        compute: where they are.
    """

    name: str
    recipe: Recipe
    specs: tuple[LayerSpec, ...]
    layers: tuple[Autoencoder, ...]
    whole: Autoencoder
    compute: Compute

    @classmethod
    def open(cls, store: Store, release: Release, *, device: str | None = None) -> Networks:
        """Open the networks that a release was made with.

        Args:
            store: the shelf.
            release: which.
            device: in place of the recipe's own.

        Raises:
            RecipeError: its recipe is not understood any more, or there is no such device.
            CorruptError: a file is not what was written.
        """
        table = dict(release.recipe)
        table["compute"] = table["compute"] | ({"device": device} if device else {})
        recipe = recipes.parse(table, Path(f"the recipe of release {release.ref.short}"))
        specs = tuple(layer.layer_spec(one, f"layers.{k}") for k, one in enumerate(recipe.layers))
        specs += (layer.code_spec(recipe.code),)
        shape, compute = release.encoder.card.shape, computing.resolve(recipe.compute)
        model = release.part("encoder")
        files = [store.verified(ref) / LAYER for ref in _chain(store, model)]
        whole = trained.open_finetuned(specs, shape, store.verified(model) / WEIGHTS, compute)
        return cls(release.name, recipe, specs, tuple(trained.open_stack(specs, shape, files, compute)), whole, compute)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.whole.net.shape_in

    def floats(self, depth: int | None = None) -> Autoencoder:
        """Return the pretrained layers below the bits as one autoencoder, whose code is the float embedding.

        Args:
            depth: how many of them; None takes all.

        Raises:
            QueryError: there are none, because the recipe pretrains nothing.
        """
        below = self.layers[: len(self.specs) - 1 if depth is None else depth]
        if not below:
            raise QueryError(f"{self.name} was trained without pretraining, so there is no stack of single layers")
        return unroll(below)

    def reconstruct(self, rows: NDArray[np.generic], *, bits: bool) -> NDArray[np.float32]:
        """Return what is decoded from the codes of rows, float32[N, *shape].

        Args:
            rows: uint8, which stands for 0..1, or float ``[N, *shape]``.
            bits: from the bits of the whole; else from the float embedding of the pretrained layers.
        """
        return trained.reconstruct(self.whole if bits else self.floats(), rows, self.compute)


def _chain(store: Store, model: Ref) -> list[Ref]:
    """Return the layers that a model was made of, bottom up."""
    found: list[Ref] = []
    below = str(store.manifest(model).inputs["layers"])
    while below:
        found.append(Ref.parse(below))
        below = str(store.manifest(found[-1]).inputs["below"])
    return found[::-1]

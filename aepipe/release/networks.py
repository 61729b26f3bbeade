"""Networks behind a release: the pretrained layers, and the fine-tuned stack.

An encoder in service is one frozen graph. To decode, to sample and to look inside a model takes the networks, which the
store keeps. They serve people who study a model; a query never needs them.

Legend: N rows, ``shape`` of one row, H units of a code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe import recipe as recipes
from aepipe.codes.encoder import scaled
from aepipe.errors import QueryError
from aepipe.learn import batches, corruption, generate
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import Compute
from aepipe.learn.posterior import Stochastic
from aepipe.learn.spec import LayerSpec, code_spec, layer_spec
from aepipe.learn.stack import unroll
from aepipe.recipe import Recipe
from aepipe.release.release import Release
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of one release.

    Attributes:
        name: the collection's name in the registry.
        recipe: of the release.
        specs: the layers of the recipe, bottom up, the layer of bits last.
        layers: the pretrained layers; empty where the recipe pretrains nothing.
        whole: the fine-tuned, unrolled stack; its code is bits, -1 and 1.
        compute: the device that holds them.
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
            store: where artifacts are read and written.
            release: made with these networks.
            device: instead of the recipe's own.

        Raises:
            RecipeError: this version does not understand the release's recipe, or there is no such device.
            CorruptError: a file is damaged.
        """
        table = dict(release.recipe)
        table["compute"] = table["compute"] | ({"device": device} if device else {})
        recipe = recipes.parse(table, Path(f"the recipe of release {release.ref.short}"))
        specs = tuple(layer_spec(one, f"layers.{k}") for k, one in enumerate(recipe.layers))
        specs += (code_spec(recipe.code),)
        shape, compute = release.encoder.card.shape, batches.resolve(recipe.compute)
        model = release.part("encoder")
        files = [store.verified(ref) / layout.Layer.WEIGHTS for ref in _chain(store, model)]
        whole = generate.open_finetuned(specs, shape, store.verified(model) / layout.Model.WEIGHTS, compute)
        return cls(
            release.name, recipe, specs, tuple(generate.open_stack(specs, shape, files, compute)), whole, compute
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.whole.net.shape_in

    def floats(self, depth: int | None = None) -> Autoencoder:
        """Return the pretrained layers below the bits as one autoencoder; its code is floats.

        Args:
            depth: number of layers, from the bottom; None takes all.

        Raises:
            QueryError: the recipe pretrains nothing, so there are none.
        """
        below = self.layers[: len(self.specs) - 1 if depth is None else depth]
        if not below:
            raise QueryError(f"{self.name} was trained without pretraining, so there is no stack of single layers")
        return unroll(below)

    def rows(self, items: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return decoded items, uint8 or float ``[N, *shape]``, scaled for the networks: 0 to 1."""
        return scaled(items)

    def corrupted(self, items: NDArray[np.generic], *, seed: int = 0) -> NDArray[np.float32] | None:
        """Return rows corrupted as the lowest layer's training does; None where it does not corrupt."""
        noise = self.specs[0].training.corruption
        if isinstance(noise, corruption.Clean):
            return None
        return noise.corrupt(self.rows(items), np.random.default_rng(seed))[0]

    def reconstruct(self, items: NDArray[np.generic], *, bits: bool) -> NDArray[np.float32]:
        """Encode rows and decode them again, float32[N, *shape].

        Args:
            items: uint8, scaled to 0 to 1, or float ``[N, *shape]``.
            bits: decode the bits of the fine-tuned stack; otherwise the float embedding of the pretrained layers.
        """
        return generate.reconstruct_rows(self.whole if bits else self.floats(), items, self.compute)

    @property
    def prior_depth(self) -> int | None:
        """Number of the topmost layer with a prior to sample from, from 1; None without one."""
        depths = [k for k, spec in enumerate(self.specs[: len(self.layers)], 1) if _draw(spec) or _has_prior(spec)]
        return depths[-1] if depths else None

    def sample(self, count: int, *, seed: int = 0) -> NDArray[np.float32]:
        """Return rows decoded from samples of the prior, float32[count, *shape].

        Raises:
            QueryError: no layer has a prior.
        """
        depth = self.prior_depth
        if depth is None:
            raise QueryError(
                f"{self.name}: no layer has a prior to draw from; allowed: a variational or an adversarial one, or the "
                f"chain of a denoising one, from rows that are there"
            )
        draw = _draw(self.specs[depth - 1])
        made = generate.from_prior(self.layers[:depth], count, self._generator(seed), draw=draw)
        return generate.as_array(made.mean)

    def chain(self, start: NDArray[np.generic], *, steps: int, seed: int = 0) -> Iterator[NDArray[np.float32]]:
        """Corrupt and rebuild rows over and over with the lowest layer; give each step's rows.

        Raises:
            QueryError: the layer was trained without a corruption, so there is no chain.
        """
        noise = self.specs[0].training.corruption
        if not self.layers or isinstance(noise, corruption.Clean):
            raise QueryError(f"{self.name}: the lowest layer was trained without a corruption, so it has no chain")
        rows = generate.as_tensor(self.rows(start), self.compute)
        walk = generate.chain(self.layers[0], rows, noise, steps=steps, generator=self._generator(seed))
        return (generate.as_array(made.mean) for made in walk)

    def interpolate(self, a: NDArray[np.generic], b: NDArray[np.generic], steps: int) -> NDArray[np.float32]:
        """Decode the line between the float codes of two rows, float32[steps, *shape]."""
        first, last = (generate.as_tensor(self.rows(one), self.compute) for one in (a, b))
        return generate.as_array(generate.interpolate(self.floats(self.prior_depth), first, last, steps).mean)

    def walk(self, item: NDArray[np.generic], units: int, offsets: Sequence[float]) -> NDArray[np.float32]:
        """Move single units of a row's code and decode the results, float32[units, offsets, *shape].

        The units are those that change the row most. Offsets are in standard deviations of the prior where there is
        one, otherwise in units of the code.
        """
        model = self.floats(self.prior_depth)
        moved = generate.walk(model, self.rows(item), units, np.array(offsets, np.float32), self.compute)
        return moved

    def tangents(self, item: NDArray[np.generic], count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the directions that change a row's code most, [count, *shape], and strengths."""
        found = generate.tangents(self.floats(), generate.as_tensor(self.rows(item), self.compute), count)
        return generate.as_array(found.directions), generate.as_array(found.strengths)

    def filters(self, count: int) -> NDArray[np.float32]:
        """Return the incoming weights of the lowest units, strongest first, float32[count, ...]."""
        weights = generate.as_array(generate.filters(self.layers[0] if self.layers else self.whole))
        strength = np.square(weights).reshape(len(weights), -1).sum(1)
        return weights[np.argsort(-strength, kind="stable")[:count]]

    def features(self, depth: int, count: int) -> NDArray[np.float32]:
        """Decode single units of a layer, less the decoded code of zeros, [count, *shape].

        Args:
            depth: number of the layer, from 1.
            count: units, at most.
        """
        model = self.floats(depth)
        return generate.as_array(generate.features(model, generate.units(model, count, self.compute)))

    def _generator(self, seed: int) -> Any:  # noqa: ANN401  torch has one room
        return self.compute.generator(seed)


def _has_prior(spec: LayerSpec) -> bool:
    return isinstance(spec.posterior, Stochastic)


def _draw(spec: LayerSpec) -> Any:  # noqa: ANN401  torch has one room
    # Only an adversarial objective has a prior of its own, and so a function that draws from it.
    return getattr(spec.training.objective, "draw", None)


def _chain(store: Store, model: Ref) -> list[Ref]:
    """Return the pretrained layers of a model, bottom up."""
    found: list[Ref] = []
    below = str(store.manifest(model).inputs["layers"])
    while below:
        found.append(Ref.parse(below))
        below = str(store.manifest(found[-1]).inputs["below"])
    return found[::-1]

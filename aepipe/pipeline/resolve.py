"""Resolve every choice of a recipe: its mistakes are found before the first stage starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aepipe import recipe as recipes
from aepipe import sources, words
from aepipe.errors import RecipeError
from aepipe.index import hamming
from aepipe.learn import batches
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Compute
from aepipe.learn.spec import LayerSpec, Training
from aepipe.recipe import Choice, LayerRecipe, Options, Recipe
from aepipe.sources import base
from aepipe.sources.item import Source
from aepipe.sources.networks import packaged
from aepipe.words import WordsSpec

WORDS = "words"
"""The key under ``[features]`` that names what answers words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedStack:
    """The part of a recipe that training needs, and the objects that its choices stand for.

    Attributes:
        recipe: as it was written, with the columns of the source filled in.
        specs: the layers from the bottom up; the layer of bits is the last.
        finetune: training of the unrolled stack.
        compute: device and precision on this machine.
    """

    recipe: Recipe
    specs: tuple[LayerSpec, ...]
    finetune: Training
    compute: Compute

    def training_key(self, depth: int) -> dict[str, Any]:
        """Return the inputs of the first ``depth`` layers except their rows, for a digest."""
        return {
            "specs": [spec.key() for spec in self.specs[:depth]],
            "compute": self.compute.key(),
            "seed": self.recipe.seed,
        }

    def title(self, depth: int) -> str:
        """Return the name of a layer for users, counted from 1."""
        return f"layer {depth + 1}" if depth < len(self.recipe.layers) else "code layer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRecipe(ResolvedStack):
    """A recipe, and the objects that its choices stand for.

    Attributes:
        source: reads the items.
        index: options of the index.
        words: what answers questions in words; None where the recipe names nothing.
    """

    source: Source
    index: Options
    words: WordsSpec | None = None


def resolve(recipe: Recipe, known: Mapping[str, Any] | None = None) -> ResolvedRecipe:
    """Resolve every choice of a recipe.

    Args:
        recipe: to resolve.
        known: features of the rows that an encoder has learned from, where new rows are for that one.

    Raises:
        RecipeError: a kind is unknown, or one of its options is wrong; the text names the file and the key.
        SourceError: the source is missing.
    """
    try:
        return resolve_for(recipe, sources.resolve(recipe).under(known))
    except RecipeError as error:
        raise _named(error, recipe) from None


def resolve_for(recipe: Recipe, source: Source) -> ResolvedRecipe:
    """Resolve every choice of a recipe but its source, which is known already.

    Raises:
        RecipeError: as :func:`resolve`.
    """
    try:
        recipe = recipe.model_copy(update={"layers": tuple(_with_columns(one, source) for one in recipe.layers)})
        stack = resolve_stack(recipe)
        layer_specs.check_stack(stack.specs, source.shape)
        layer_specs.check_edits(stack.finetune, source.shape)
        return ResolvedRecipe(
            recipe=recipe,
            source=source,
            specs=stack.specs,
            finetune=stack.finetune,
            compute=stack.compute,
            index=hamming.resolve(recipe.index.kind),
            words=_words(recipe, source),
        )
    except RecipeError as error:
        raise _named(error, recipe) from None


def resolve_stack(recipe: Recipe) -> ResolvedStack:
    """Resolve the part of a recipe that training needs; its columns are those of the source.

    Raises:
        RecipeError: a kind is unknown, or one of its options is wrong.
    """
    layers = (layer_specs.layer_spec(one, f"layers.{k}") for k, one in enumerate(recipe.layers))
    specs = (*layers, layer_specs.code_spec(recipe.code))
    finetune = layer_specs.finetune_training(recipe.finetune, specs)
    return ResolvedStack(recipe=recipe, specs=specs, finetune=finetune, compute=batches.resolve(recipe.compute))


def _words(recipe: Recipe, source: Source) -> WordsSpec | None:
    """Return what answers words, where the recipe names it.

    Raises:
        RecipeError: columns are named that the source does not have, or nothing answers words.
        SourceError: there is no such thing, or it has another space than the rows.
        ExtraError: a package is not installed.
    """
    named, columns = named_words(recipe.features), base.several(recipe.source.options.get(WORDS, ()))
    if not named and columns:
        raise RecipeError("source.words: columns are joined to what answers words; allowed: with [features] words")
    if not named:
        return None
    known = list(source.schema().names) if columns else []
    for column in columns:
        if column not in known:
            others = f"its columns, without the label: {', '.join(known)}" if known else "it has none"
            raise RecipeError(f"source.words: the source has no column {column!r}; {others}")
    folder, backbone = recipe.file.parent, recipe.features.get("backbone")
    return words.resolve(named, base=folder, width=source.shape[0], backbone=backbone, columns=columns)


def named_words(features: Mapping[str, Any]) -> str | None:
    """Return what a recipe names to answer words.

    In recipes of documents the same key is the number of words in a row.
    """
    named = features.get(WORDS)
    return named if isinstance(named, str) and named else None


def _named(error: RecipeError, recipe: Recipe) -> RecipeError:
    """Return an error that names the recipe's file; those of the recipe's own parser do already."""
    text = str(error)
    return RecipeError(text if text.startswith(str(recipe.file)) else f"{recipe.file}: {text}")


def override(recipe: Recipe, *, name: str | None = None, device: str | None = None) -> Recipe:
    """Return a recipe with another name or device and with absolute paths, checked again.

    A release keeps its recipe, and the next run may start where the recipe's own file is not at hand, so paths that are
    relative to that file would lead nowhere.

    Raises:
        RecipeError: the name or the device is not allowed.
    """
    base = recipe.file.parent
    table = recipe.model_dump(mode="json") | {"engine": recipe.engine.model_dump()}
    table["name"] = name or recipe.name
    table["compute"]["device"] = device or recipe.compute.device
    options = table["source"]["options"]
    if isinstance(options.get("path"), str) and "://" not in options["path"]:
        options["path"] = _absolute(base, options["path"])
    features = table["features"]
    named, network = named_words(features), features.get("backbone")
    if named and words.is_place(named):
        features[WORDS] = _absolute(base, named)
    # What is not there is named in the error as it was written.
    if isinstance(network, str) and network not in packaged.NAMES and os.path.exists(_absolute(base, network)):
        features["backbone"] = _absolute(base, network)
    if recipe.gate.canaries:
        table["gate"]["canaries"] = _absolute(base, recipe.gate.canaries)
    return recipes.parse(table, recipe.file)


def _absolute(base: Path, path: str) -> str:
    return os.path.abspath(base / Path(path).expanduser())


def _with_columns(layer: LayerRecipe, source: Source) -> LayerRecipe:
    """Return a layer with the columns of a table, where the recipe does not name them.

    The likelihood ``columns`` needs them to read a row, and missing cells come in whole columns.
    """
    if source.spans is None:
        return layer
    update: dict[str, Choice] = {}
    if layer.likelihood.kind == "columns" and not layer.likelihood.options:
        update["likelihood"] = Choice(kind="columns", options={"of": source.spans})
    noise = layer.corruption
    if noise.kind in {"mcar", "mar", "mnar"} and "spans" not in noise.options:
        spans = tuple(span["columns"] for span in source.spans)
        update["corruption"] = Choice(kind=noise.kind, options={**noise.options, "spans": spans})
    return layer.model_copy(update=update)

"""Resolve every choice of a recipe: its mistakes are found before the first stage starts.

Layers, training and device need torch, which takes a second to import. They are resolved when they are asked for, and
all are asked for at once, unless an encoder that is in service was trained by the same choices.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aepipe import recipe as recipes
from aepipe import sources, words
from aepipe.errors import RecipeError
from aepipe.index import hamming
from aepipe.recipe import Choice, LayerRecipe, Options, Recipe
from aepipe.sources import base
from aepipe.sources.item import Source
from aepipe.sources.networks import packaged
from aepipe.store.artifacts import digest_of
from aepipe.words import WordsSpec

if TYPE_CHECKING:
    from aepipe.learn.batches import Compute
    from aepipe.learn.spec import LayerSpec, Training

TRAINED = ("layers", "code", "finetune", "pretrain")
"""The parts of a recipe that only training reads."""
WORDS = "words"
"""The key under ``[features]`` that names what answers words."""


@dataclass(frozen=True, kw_only=True)
class ResolvedStack:
    """The part of a recipe that training needs, and the objects that its choices stand for.

    Attributes:
        recipe: as it was written, with the columns of the source filled in.
        own: device and precision of one of several processes; None where the recipe's are taken.
    """

    recipe: Recipe
    own: Compute | None = None

    @cached_property
    def specs(self) -> tuple[LayerSpec, ...]:
        """The layers from the bottom up; the layer of bits is the last.

        Raises:
            RecipeError: a kind is unknown, or one of its options is wrong.
        """
        from aepipe.learn.spec import code_spec, layer_spec

        layers = (layer_spec(one, f"layers.{k}") for k, one in enumerate(self.recipe.layers))
        return (*layers, code_spec(self.recipe.code))

    @cached_property
    def finetune(self) -> Training:
        """Training of the unrolled stack.

        Raises:
            RecipeError: as for :attr:`specs`.
        """
        from aepipe.learn.spec import finetune_training

        return finetune_training(self.recipe.finetune, self.specs)

    @cached_property
    def compute(self) -> Compute:
        """Device and precision on this machine.

        Raises:
            RecipeError: this machine has no such device.
        """
        from aepipe.learn import batches

        return self.own or batches.resolve(self.recipe.compute)

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


@dataclass(frozen=True, kw_only=True)
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

    def check(self) -> None:
        """Resolve the stack, and check that it can read the rows.

        Raises:
            RecipeError: it cannot, a kind is unknown, one of its options is wrong, or this machine has no such device.
        """
        from aepipe.learn.spec import check_edits, check_stack

        check_stack(self.specs, self.source.shape)
        check_edits(self.finetune, self.source.shape)
        _ = self.compute


def resolve(recipe: Recipe, known: Mapping[str, Any] | None = None, *, trained: Recipe | None = None) -> ResolvedRecipe:
    """Resolve every choice of a recipe.

    Args:
        recipe: to resolve.
        known: features of the rows that an encoder has learned from, where new rows are for that one.
        trained: of an encoder, so its layers are known to be right.

    Raises:
        RecipeError: a kind is unknown, or one of its options is wrong; the text names the file and the key.
        SourceError: the source is missing.
    """
    try:
        return resolve_for(recipe, sources.resolve(recipe).under(known), trained=trained)
    except RecipeError as error:
        raise _named(error, recipe) from None


def resolve_for(recipe: Recipe, source: Source, *, trained: Recipe | None = None) -> ResolvedRecipe:
    """Resolve every choice of a recipe but its source, which is known already.

    Args:
        recipe: to resolve.
        source: of it.
        trained: as for :func:`resolve`.

    Raises:
        RecipeError: as :func:`resolve`.
    """
    try:
        recipe = recipe.model_copy(update={"layers": tuple(_with_columns(one, source) for one in recipe.layers)})
        index, named = hamming.resolve(recipe.index.kind), _words(recipe, source)
        resolved = ResolvedRecipe(recipe=recipe, source=source, index=index, words=named)
        if trained is None or not _trains_alike(recipe, trained):
            resolved.check()
        return resolved
    except RecipeError as error:
        raise _named(error, recipe) from None


def training_digest(recipe: Recipe) -> str:
    """Return a digest of the parts of a recipe that only training reads."""
    return digest_of(recipe.model_dump(mode="json", include=set(TRAINED)))


def _trains_alike(recipe: Recipe, trained: Recipe) -> bool:
    """Say whether a recipe trains as another one did, or as the one that its rotated components stand for."""
    same = (recipe.source.kind, recipe.features, recipe.compute)
    if same != (trained.source.kind, trained.features, trained.compute):
        return False
    return training_digest(recipe) in (trained.code.stands_for, training_digest(trained))


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

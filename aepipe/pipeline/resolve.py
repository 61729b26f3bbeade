"""The plan: a recipe with every choice resolved, so that all of its mistakes are found before any stage starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aepipe import sources
from aepipe.errors import RecipeError
from aepipe.index import hamming
from aepipe.learn import batches
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Compute
from aepipe.learn.spec import LayerSpec, Training
from aepipe.recipe import Choice, LayerRecipe, Options, Recipe
from aepipe.sources.item import Source


@dataclass(frozen=True, slots=True)
class ResolvedRecipe:
    """A recipe, resolved.

    Attributes:
        recipe: what was written.
        source: where the rows come from.
        specs: the layers, bottom up, the layer of bits last.
        finetune: how the unrolled stack is trained.
        compute: the device and precision of this machine.
        index: the options of the index.
    """

    recipe: Recipe
    source: Source
    specs: tuple[LayerSpec, ...]
    finetune: Training
    compute: Compute
    index: Options

    def training_key(self, depth: int) -> dict[str, Any]:
        """Return what the first ``depth`` layers' training depends on beside the rows, for a digest."""
        return {
            "specs": [spec.key() for spec in self.specs[:depth]],
            "compute": self.compute.key(),
            "seed": self.recipe.seed,
        }

    def title(self, depth: int) -> str:
        """Return what a layer is called where users see it."""
        return f"layer {depth + 1}" if depth < len(self.recipe.layers) else "code layer"


def resolve(recipe: Recipe) -> ResolvedRecipe:
    """Resolve every choice of a recipe.

    Raises:
        RecipeError: a kind is unknown or one of its options is wrong; the text names the file and the key.
        SourceError: the source is missing.
    """
    try:
        source = sources.resolve(recipe)
        recipe = recipe.model_copy(update={"layers": tuple(_spanned(one, source) for one in recipe.layers)})
        specs = (
            *(layer_specs.layer_spec(one, f"layers.{k}") for k, one in enumerate(recipe.layers)),
            layer_specs.code_spec(recipe.code),
        )
        layer_specs.check_stack(specs, source.shape)
        return ResolvedRecipe(
            recipe=recipe,
            source=source,
            specs=specs,
            finetune=layer_specs.finetune_training(recipe.finetune, specs),
            compute=batches.resolve(recipe.compute),
            index=hamming.resolve(recipe.index.kind),
        )
    except RecipeError as error:
        text = str(error)
        raise RecipeError(text if text.startswith(str(recipe.file)) else f"{recipe.file}: {text}") from None


def _spanned(layer: LayerRecipe, source: Source) -> LayerRecipe:
    """Return a layer that knows the columns of its rows, where the recipe leaves them to the source.

    The likelihood ``columns`` takes those of the source, and cells go missing whole columns at a time.
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

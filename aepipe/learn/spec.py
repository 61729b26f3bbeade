"""The layers of a recipe, resolved: options of every choice, checked, with digest keys.

Everything is resolved and checked before anything is trained, so a mistake in the topmost layer costs seconds, not the
hours of the layers below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import torch

from aepipe.errors import RecipeError
from aepipe.learn import corruption as corruptions
from aepipe.learn import likelihood, nets, objectives, posterior
from aepipe.learn.autoencoder import Autoencoder, Choices
from aepipe.learn.corruption import Corruption
from aepipe.learn.likelihood import Likelihood
from aepipe.learn.nets import NetOptions, dense
from aepipe.learn.posterior import Posterior
from aepipe.recipe import Choice, CodeRecipe, FinetuneRecipe, FitRecipe, LayerRecipe, Options, resolve

RoleT = TypeVar("RoleT")
NO_EDITS = corruptions.Clean()


@dataclass(frozen=True, slots=True)
class Training:
    """How an autoencoder is trained: the resolved choices of a recipe."""

    corruption: Corruption
    objective: objectives.Options
    fit: FitRecipe
    edits: Corruption = NO_EDITS
    edits_within: float = 0.0

    @property
    def edited(self) -> bool:
        """Whether whole items are edited before the lowest layer sees them."""
        return self.edits != NO_EDITS

    def key(self) -> dict[str, Any]:
        """Return everything that changes the result, for a digest."""
        found = {
            "corruption": _key(self.corruption),
            "objective": _key(self.objective),
            "fit": self.fit.model_dump(include=set(FitRecipe.model_fields)),
        }
        # Without edits, as digests were before there were any.
        return found | ({"edits": _key(self.edits), "edits_within": self.edits_within} if self.edited else {})


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer of a stack: the resolved choices of a recipe."""

    net: NetOptions
    posterior: Posterior
    likelihood: Likelihood
    training: Training

    def key(self) -> dict[str, Any]:
        """Return everything that changes the result, for a digest."""
        parts = {"net": self.net, "posterior": self.posterior, "likelihood": self.likelihood}
        return {name: _key(cast(Options, part)) for name, part in parts.items()} | self.training.key()

    @property
    def choices(self) -> Choices:
        """The choices that an objective may refuse."""
        return Choices(self.net, self.posterior, self.likelihood, self.training.corruption)

    def build(self, shape: Sequence[int], generator: torch.Generator) -> Autoencoder:
        """Make the layer for rows of one shape, with random weights."""
        return Autoencoder(self.net.build(shape, generator, self.posterior.head), self.posterior, self.likelihood)


def layer_spec(recipe: LayerRecipe, at: str) -> LayerSpec:
    """Resolve one entry of ``[[layers]]``.

    Raises:
        RecipeError: a kind or one of its options is wrong, or the choices do not go together.
    """
    return _checked(
        LayerSpec(
            net=_role(nets.kinds(), recipe.net, f"{at}.net", NetOptions),
            posterior=_role(posterior.KINDS, recipe.posterior, f"{at}.posterior", Posterior),
            likelihood=_role(likelihood.KINDS, recipe.likelihood, f"{at}.likelihood", Likelihood),
            training=training(recipe, at, recipe.fit),
        ),
        at,
    )


def code_spec(recipe: CodeRecipe, at: str = "code") -> LayerSpec:
    """Resolve ``[code]``, the layer of bits.

    It is an affine map to one activation for each bit, and a posterior that turns these into bits.

    Raises:
        RecipeError: a kind or one of its options is wrong, the choices do not go together, or there are no bits.
    """
    return _checked(
        LayerSpec(
            # Fixed, not a choice: alignment, rotation and thresholds rely on one affine map.
            net=dense.Options(width=recipe.bits, activation="linear", normalize=recipe.normalize),
            posterior=_role(posterior.BITS, recipe.binarize, f"{at}.binarize", Posterior),
            likelihood=_role(likelihood.KINDS, recipe.likelihood, f"{at}.likelihood", Likelihood),
            training=training(recipe, at, recipe.fit),
        ),
        at,
    )


def finetune_training(recipe: FinetuneRecipe, specs: Sequence[LayerSpec], at: str = "finetune") -> Training:
    """Resolve ``[finetune]`` for a stack, the layer of bits last.

    Raises:
        RecipeError: a kind or one of its options is wrong, or the objective cannot train a whole stack.
    """
    edits = resolve(corruptions.KINDS, recipe.edits, f"{at}.edits")
    found = replace(training(recipe, at, recipe), edits=edits, edits_within=recipe.edits_within)
    if edits.makes_holes and not specs[0].net.holes:
        raise RecipeError(
            f"{at}.edits: leaves missing cells, which the lowest net does not read; allowed: jitter, shift"
        )
    if not found.objective.unrolled:
        able = [kind for kind, options in objectives.kinds().items() if options.unrolled]
        raise RecipeError(f"{at}.objective: trains single layers, not a whole stack; allowed: {', '.join(able)}")
    if recipe.frozen >= len(specs):
        raise RecipeError(
            f"{at}.frozen: the stack has {len(specs) - 1} layers and the bits, so {recipe.frozen} leave none to train; "
            f"allowed: at most {len(specs) - 1}"
        )
    # The unrolled stack reconstructs the rows of its lowest trained layer, and reads its holes.
    lowest = specs[recipe.frozen]
    _checked(replace(specs[-1], likelihood=lowest.likelihood, training=found), at, net=lowest.net)
    return found


def check_edits(finetune: Training, shape: Sequence[int]) -> None:
    """Check that rows of a shape can be edited as fine-tuning wants it.

    Raises:
        RecipeError: they cannot.
    """
    refused = finetune.edits.refusal(shape)
    if refused:
        raise RecipeError(f"finetune.edits: {refused}")


def training(recipe: LayerRecipe | CodeRecipe | FinetuneRecipe, at: str, fit: FitRecipe) -> Training:
    """Resolve the choices that layers and fine-tuning share.

    Raises:
        RecipeError: a kind or one of its options is wrong.
    """
    return Training(
        corruption=resolve(corruptions.KINDS, recipe.corruption, f"{at}.corruption"),
        objective=resolve(objectives.kinds(), recipe.objective, f"{at}.objective"),
        fit=fit,
    )


def check_stack(specs: Sequence[LayerSpec], shape: Sequence[int]) -> None:
    """Check that each layer can read the codes of the layer below.

    Args:
        specs: bottom up, the layer of bits last.
        shape: of one row of data.

    Raises:
        RecipeError: one cannot; the text names it, and the remedy.
    """
    for number, spec in enumerate(specs):
        at = f"layers.{number}" if number < len(specs) - 1 else "code"
        refused = spec.likelihood.refusal(shape)
        if refused:
            raise RecipeError(f"{at}.likelihood: {refused}")
        try:
            shape = spec.net.code_shape(shape, spec.posterior.head)
        except RecipeError as error:
            raise RecipeError(f"{at}.net: {error}") from None
        refused = spec.posterior.refusal(shape[-1])
        if refused:
            raise RecipeError(f"{at}.posterior: {refused}")


def _checked(spec: LayerSpec, at: str, *, net: NetOptions | None = None) -> LayerSpec:
    """Return the layer if its choices go together; ``net`` reads the corrupted rows.

    Raises:
        RecipeError: they do not.
    """
    options = spec.training.objective
    refused = options.refusal(spec.choices)
    if refused:
        raise RecipeError(f"{at}.objective: {refused}")
    if spec.training.corruption.makes_holes and not (net or spec.net).holes:
        raise RecipeError(
            f"{at}.corruption: leaves missing cells, which this net does not read; allowed: `holes = true` under the "
            f"net, where its kind has it, or a corruption that puts other values in their place, like mask"
        )
    return spec


def _role(kinds: Mapping[str, type[Options]], choice: Choice, at: str, role: Callable[..., RoleT]) -> RoleT:
    # The protocols cannot be checked by types: kinds are found at run time.
    found: Any = resolve(kinds, choice, at)
    assert isinstance(found, cast(type, role)), f"{type(found).__name__} does not play its role"
    return cast(RoleT, found)


def _key(options: Options) -> dict[str, Any]:
    """Return an options model under its name in digests.

    Raises:
        TypeError: the class gives no name of its own; an inherited one would mix up two kinds.
    """
    model = type(options)
    name = vars(model).get("digest_name")
    if not isinstance(name, str):
        raise TypeError(
            f"{model.__module__}.{model.__qualname__} has no digest_name; give the class one of its own, as "
            f'`digest_name: ClassVar[str] = "file.Class"`, and never change it: names of directories depend on it'
        )
    return {"kind": name, **options.model_dump()}

"""The space of a search for a better recipe: keys of the recipe, and their ranges.

A range suits what the recipe has: :data:`RANGES` names those of each kind of layer, corruption and objective. A file in
TOML can take their place, with the same keys as ``aepipe study``::

    finetune.lr = { low = 3e-4, high = 1e-2, log = true }
    finetune.batch = [64, 128, 256]
    layers.1.net.width = { low = 256, high = 2048, log = true }

What the recipe says itself is always inside: a range grows until it holds that value.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aepipe.errors import RecipeError
from aepipe.pipeline.resolve import ResolvedRecipe
from aepipe.pipeline.sweep import value_at, written

if TYPE_CHECKING:
    from aepipe.learn.spec import Training

DIGITS = 3
"""Significant digits of a number that is tried, so that recipes stay readable."""
_KEYS = {"low", "high", "log"}


@dataclass(frozen=True, slots=True)
class Dimension:
    """One key and what it may be: some values, or all numbers of a range.

    Attributes:
        key: as in :mod:`aepipe.pipeline.sweep`, without its short keys.
        values: that are tried; none where it is a range.
        low, high: ends of the range; whole numbers where only those are tried.
        log: whether ratios count and not differences.
        own: what the recipe says.
    """

    key: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    own: Any = None

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def holding(self, own: object) -> Dimension:
        """Return the dimension with what the recipe says in it.

        Raises:
            RecipeError: that is no number, and this is a range.
        """
        if self.values:
            return replace(self, values=tuple(dict.fromkeys([*self.values, _plain(own)])), own=_plain(own))
        if isinstance(own, bool) or not isinstance(own, int | float):
            raise RecipeError(f"{self.key}: the recipe has {own!r} there, which is no number; name values in a list")
        low, high = min(self.low, own), max(self.high, own)
        return replace(self, low=low, high=high, log=self.log and low > 0, own=own)

    def range_text(self) -> str:
        """Return what may be tried, in TOML."""
        if self.values:
            return json.dumps(list(self.values), ensure_ascii=False)
        low, high = (self.low, self.high) if self.whole else (float(self.low), float(self.high))
        ends = f"low = {low}, high = {high}"
        return f"{{ {ends}, log = true }}" if self.log else f"{{ {ends} }}"


RANGES: Mapping[tuple[str, str], Mapping[str, Dimension]] = {
    ("net", "dense"): {"width": Dimension("", values=(256, 512, 1024, 2048))},
    ("objective", "components"): {"whiten": Dimension("", low=0.0, high=1.0)},
    ("objective", "neighbourhood"): {
        "k": Dimension("", low=4, high=60, log=True),
        "whiten": Dimension("", low=0.0, high=1.0),
        "decorrelation": Dimension("", low=0.3, high=10.0, log=True),
    },
    ("objective", "reconstruction"): {"decorrelation": Dimension("", low=0.0, high=0.2)},
    ("corruption", "mask"): {"rate": Dimension("", low=0.05, high=0.6)},
    ("corruption", "gaussian"): {"sigma": Dimension("", low=0.02, high=0.5, log=True)},
    ("corruption", "shift"): {"pixels": Dimension("", low=1, high=3)},
}
"""What is tried of each kind, by the role and the kind of a choice."""
FIT: Mapping[str, Dimension] = {
    "lr": Dimension("", low=3e-4, high=1e-2, log=True),
    "batch": Dimension("", values=(64, 128, 256)),
}
"""What is tried of the last training: of fine-tuning, or of the bits where there is none."""
MORE_EPOCHS = 3
"""Epochs are tried from this part of the recipe's to this multiple."""


def space_of(resolved: ResolvedRecipe) -> list[Dimension]:
    """Return the space that suits a recipe.

    Raises:
        RecipeError: nothing in it can be searched.
    """
    table = full_table(resolved)
    found = [one.holding(value_at(table, one.key)) for one in _suited(resolved)]
    if not found:
        raise RecipeError(f"{resolved.recipe.file}: nothing in it is trained, so there is nothing to search")
    return found


def read_space(file: Path, resolved: ResolvedRecipe) -> list[Dimension]:
    """Read a space from a file.

    Raises:
        RecipeError: it cannot be read, or names a key that the recipe does not have.
    """
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"--space {file}: not a readable TOML file: {error}") from None
    whole = full_table(resolved)
    try:
        found = [one.holding(value_at(whole, one.key)) for one in _leaves(table)]
    except RecipeError as error:
        raise RecipeError(f"--space {file}: {error}") from None
    if not found:
        raise RecipeError(
            f"--space {file}: names no key, as in finetune.lr = {{ low = 3e-4, high = 1e-2, log = true }}"
        )
    return found


def space_text(dimensions: list[Dimension]) -> str:
    """Return a space as a file for :func:`read_space`; a comment has the recipe's own value."""
    lines = [(f"{one.key} = {one.range_text()}", json.dumps(one.own, ensure_ascii=False)) for one in dimensions]
    wide = max(len(line) for line, _ in lines)
    return "\n".join(f"{line:{wide}}  # {own}" for line, own in lines) + "\n"


def full_table(resolved: ResolvedRecipe) -> dict[str, Any]:
    """Return a recipe as ``model_dump`` gives it, with every default of its kinds."""
    table = resolved.recipe.model_dump(mode="json")
    for layer, spec in zip([*table["layers"], table["code"]], resolved.specs, strict=True):
        _fill(layer, spec.training)
        if "net" in layer:
            layer["net"]["options"] = spec.net.model_dump(mode="json")  # type: ignore[attr-defined]
    _fill(table["finetune"], resolved.finetune)
    return table


def as_dict(dimension: Dimension) -> dict[str, Any]:
    """Return a dimension for JSON."""
    return asdict(dimension)


def from_dict(table: Mapping[str, Any]) -> Dimension:
    """Read the output of :func:`as_dict`, also through JSON."""
    return Dimension(**{**table, "values": tuple(table["values"])})


def rounded(value: float) -> float:
    """Return a number with few digits."""
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def _suited(resolved: ResolvedRecipe) -> Iterator[Dimension]:
    """Yield the ranges of everything that the recipe trains, bottom up."""
    recipe, tuned = resolved.recipe, resolved.recipe.finetune.epochs > 0
    for number, layer in enumerate(recipe.layers):
        at = f"layers.{number}"
        if layer.objective.kind in RANGES_OF_CLOSED_FORMS:
            yield from _of_choice(at, "objective", layer.objective.kind)
        elif "width" in layer.net.options:
            yield from _of_choice(at, "net", layer.net.kind)
    if not tuned and recipe.code.objective.kind in CLOSED:
        return
    at, fit, training = (
        ("finetune", "finetune", resolved.finetune) if tuned else ("code", "code.fit", resolved.specs[-1].training)
    )
    yield from (replace(one, key=f"{fit}.{name}") for name, one in FIT.items())
    epochs = training.fit.epochs
    yield Dimension(f"{fit}.epochs", low=max(1, epochs // MORE_EPOCHS), high=MORE_EPOCHS * epochs, log=True)
    part = recipe.finetune if tuned else recipe.code
    yield from _of_corruption(f"{at}.corruption", part.corruption.kind, training)
    yield from _of_choice(at, "objective", part.objective.kind)


CLOSED = frozenset({"components", "itq"})
"""Objectives that are solved, not trained."""
RANGES_OF_CLOSED_FORMS = frozenset({"components"})


def _of_choice(at: str, role: str, kind: str) -> Iterator[Dimension]:
    for name, one in RANGES.get((role, kind), {}).items():
        yield replace(one, key=f"{at}.{role}.{name}")


def _of_corruption(at: str, kind: str, training: Training) -> Iterator[Dimension]:
    """Yield the ranges of a corruption, or of each link of a chain."""
    from aepipe.learn.corruption import Chain  # with torch, which the charts of a search do without

    links = training.corruption.of if isinstance(training.corruption, Chain) else ()
    for place, link in [(f"{at}.{number}", link.kind) for number, link in enumerate(links)] or [(at, kind)]:
        for name, one in RANGES.get(("corruption", link), {}).items():
            yield replace(one, key=f"{place}.{name}")


def _fill(table: dict[str, Any], training: Training) -> None:
    for role in ("corruption", "objective"):
        table[role]["options"] = getattr(training, role).model_dump(mode="json")


def _leaves(table: Mapping[str, Any], at: str = "") -> Iterator[Dimension]:
    """Yield the ranges of a file: lists of values, and tables with ``low`` and ``high``.

    Raises:
        RecipeError: an entry is neither.
    """
    for name, entry in table.items():
        key = f"{at}.{name}" if at else name
        if isinstance(entry, list) and entry:
            yield Dimension(key, values=tuple(dict.fromkeys(map(_plain, entry))))
        elif isinstance(entry, Mapping) and _KEYS & entry.keys():
            yield _range(key, entry)
        elif isinstance(entry, Mapping):
            yield from _leaves(entry, key)
        else:
            raise RecipeError(f"{key}: {entry!r} is neither a list of values nor {{ low = ..., high = ... }}")


def _range(key: str, entry: Mapping[str, Any]) -> Dimension:
    low, high, log = entry.get("low", 0), entry.get("high", 0), entry.get("log", False)
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (low, high))
    if entry.keys() - _KEYS or not numbers or not isinstance(log, bool) or low >= high or (log and low <= 0):
        raise RecipeError(f"{key}: no range; write {{ low = 0.1, high = 0.5 }}, and log = true where ratios count")
    return Dimension(key, low=low, high=high, log=log)


def _plain(value: object) -> Any:  # noqa: ANN401  words, numbers and booleans
    """Return a value that can be tried.

    Raises:
        RecipeError: it is a table or a list, of which only single entries can be tried.
    """
    if not isinstance(value, bool | int | float | str):
        raise RecipeError(f"{written(value)} is no single value; name a key below it")
    return value

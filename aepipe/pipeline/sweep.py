"""Sweep over variations of a recipe: keys, their values, and the grid of all combinations.

A key is the path of an entry in the recipe: ``layers.0.net.width``, ``code.bits``, ``finetune.corruption.rate``,
``seed``. Three short keys stand for several entries:

=============  =====================================================================
key            entries
=============  =====================================================================
``fit.KEY``    ``fit.KEY`` of every layer and of the code, and ``finetune.KEY``
``width``      ``net.width`` of every layer
``depth``      the number of ``[[layers]]``, counted from the first
=============  =====================================================================
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aepipe import recipe as recipes
from aepipe.errors import RecipeError
from aepipe.recipe import Recipe

Settings = Mapping[str, Any]
"""One value for each key."""

SHORT = ("fit.KEY", "width", "depth")
_OPTIONS = {"name": "--name", "source.path": "--source", "source.kind": "--kind"}
"""Keys of a recipe that have an option of their own where a recipe is run."""
_WORD = re.compile(r"[A-Za-z_][\w.-]*")


@dataclass(frozen=True, slots=True)
class Variation:
    """One key and the values that it takes."""

    key: str
    values: tuple[Any, ...]


def read_variation(text: str) -> Variation:
    """Read ``fit.lr=1e-3,3e-3``: values in TOML, where a single word needs no quotes.

    Raises:
        RecipeError: the text has another form, names no value, or names one twice.
    """
    key, equals, listed = text.partition("=")
    if not (equals and re.fullmatch(r"[\w-]+(\.[\w-]+)*", key.strip())):
        raise RecipeError(f"--vary {text}: not of the form KEY=VALUE,VALUE, as in fit.batch=64,256")
    values = _values(listed, text)
    if not values:
        raise RecipeError(f"--vary {text}: names no value")
    twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
    if twice is not None:
        raise RecipeError(f"--vary {text}: {written(twice)} stands there twice")
    return Variation(key.strip(), tuple(values))


def read_variations(texts: Sequence[str]) -> list[Variation]:
    """Read several variations of different keys.

    Raises:
        RecipeError: one cannot be read, two have the same key, or there is none.
    """
    if not texts:
        raise RecipeError("nothing varies: say what with --vary, as in --vary fit.batch=64,256")
    found = [read_variation(text) for text in texts]
    keys = [one.key for one in found]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice:
        raise RecipeError(f"--vary {twice}: given twice; name all its values in one")
    return found


def read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Read several of ``code.bits=32``: one value for each key, in TOML or a bare word.

    Raises:
        RecipeError: a text has another form, a key is given twice, or an option of its own says it.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not (equals and re.fullmatch(r"[\w-]+(\.[\w-]+)*", key)):
            raise RecipeError(f"--set {text}: not of the form KEY=VALUE, as in code.bits=32")
        if key in _OPTIONS:
            raise RecipeError(f"--set {text}: {_OPTIONS[key]} says that")
        if key in found:
            raise RecipeError(f"--set {key}: given twice")
        found[key] = _value(value.strip())
    return found


def _value(text: str) -> Any:  # noqa: ANN401  whatever TOML has
    """Return a value in TOML; what is none is a word, as a name, a path or a letter."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def grid(variations: Sequence[Variation]) -> Iterator[dict[str, Any]]:
    """Give all combinations; the last key varies fastest."""
    for values in itertools.product(*(one.values for one in variations)):
        yield {one.key: value for one, value in zip(variations, values, strict=True)}


def checked_grid(
    variations: Sequence[Variation], file: Path, check: Callable[[Settings], object]
) -> list[dict[str, Any]]:
    """Return all combinations, after each of them has been checked.

    Each value is tried alone first, so that the message names the one that is wrong.

    Args:
        variations: keys and their values.
        file: the recipe, whose name errors need not repeat.
        check: raises where the recipe cannot be run with some settings.

    Raises:
        RecipeError: a key or a value is wrong, or values do not go together.
    """
    alone = [{one.key: value} for one in variations for value in one.values]
    together = list(grid(variations))
    for settings in [*alone, *together]:
        try:
            check(settings)
        except RecipeError as error:
            raise RecipeError(f"--vary {label(settings)}: {str(error).removeprefix(f'{file}: ')}") from None
    return together


def apply_settings(recipe: Recipe, settings: Settings) -> Recipe:
    """Return a recipe with other values, checked like a written one.

    Raises:
        RecipeError: there is no such key, or it cannot have such a value; the text says what is allowed.
    """
    table = recipe.model_dump(mode="json") | {"engine": recipe.engine.model_dump()}
    # The depth comes first: the other keys count the layers that are left.
    # Then the short keys, so that a longer one says more exactly what is meant.
    for key in sorted(settings, key=lambda key: (key != "depth", key != "width" and not key.startswith("fit."))):
        _set(table, key, settings[key])
    return recipes.parse(table, recipe.file)


def value_at(table: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401  a value of a recipe may be anything
    """Return the entry at the end of a path, of a recipe as ``model_dump`` gives it.

    Raises:
        RecipeError: there is none.
    """
    there: Any = table
    parts = key.split(".")
    for depth, part in enumerate(parts):
        there, step = _step(there, part, ".".join(parts[:depth]))
        if isinstance(there, Mapping) and step not in there:
            raise RecipeError(f"{key}: the recipe has no such key")
        there = there[step]
    return there


def written(value: object) -> str:
    """Return a value as short text: a word as it is, a table or a list as its values."""
    if isinstance(value, Mapping):
        return " ".join(written(one) for one in value.values())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def label(settings: Settings) -> str:
    """Return settings as one line: ``fit.batch=64 fit.lr=0.001``."""
    return " ".join(f"{key}={written(value)}" for key, value in settings.items())


def _values(listed: str, text: str) -> list[Any]:
    """Read values that are separated by commas."""
    try:
        return list(tomllib.loads(f"values = [{listed}]")["values"])
    except tomllib.TOMLDecodeError:
        pass
    values: list[Any] = []
    for piece in listed.split(","):
        try:
            values += [piece.strip()] if _WORD.fullmatch(piece.strip()) else tomllib.loads(f"v = [{piece}]")["v"]
        except tomllib.TOMLDecodeError:
            raise RecipeError(f"--vary {text}: {piece.strip()!r} is not a value in TOML") from None
    return values


def _set(table: dict[str, Any], key: str, value: object) -> None:
    """Change one entry, or all entries that a short key stands for."""
    layers = table["layers"]
    if key == "depth":
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= len(layers):
            raise RecipeError(
                f"depth: {value!r} of {len(layers)} layers; allowed: whole numbers from 1 to {len(layers)}"
            )
        table["layers"] = layers[:value]
        return
    paths = [key]
    if key == "width":
        paths = [f"layers.{number}.net.width" for number in range(len(layers))]
    elif key.startswith("fit."):
        paths = [*(f"layers.{number}.{key}" for number in range(len(layers))), f"code.{key}", f"finetune.{key[4:]}"]
    for path in paths:
        _put(table, path.split("."), value)


def _put(table: dict[str, Any], path: Sequence[str], value: object) -> None:
    """Change the entry at the end of a path; missing tables on the way are made.

    Raises:
        RecipeError: the path goes through a value that has no entries, or beyond the end of a list.
    """
    there: Any = table
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        there, step = _step(there, part, ".".join(path[:depth]))
        if last:
            there[step] = value
        elif isinstance(there, dict):
            there = there.setdefault(step, {})
        else:
            there = there[step]


def _step(there: Any, part: str, at: str) -> tuple[Any, str | int]:  # noqa: ANN401  tables, lists and values alike
    """Return the table or list where the next part of a path is found, and its key there.

    A parsed choice keeps everything except its kind below ``options``, and a chain keeps its links below ``of``; a
    written recipe has neither word.
    """
    if isinstance(there, dict):
        if set(there) == {"kind", "options"} and part != "kind":
            chained = there["kind"] == "chain" and part.isdecimal()
            return _step(there["options"]["of"], part, at) if chained else (there["options"], part)
        return there, part
    if not isinstance(there, list):
        raise RecipeError(f"{at}: is {written(there)}, and has no {part}")
    if not part.isdecimal() or int(part) >= len(there):
        raise RecipeError(f"{at}.{part}: no such entry; allowed: {at}.0 to {at}.{len(there) - 1}")
    return there, int(part)

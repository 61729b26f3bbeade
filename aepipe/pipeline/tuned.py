"""Write a recipe that was found: the given file with other values, comments, and reasons."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Table

from aepipe import recipe as recipes
from aepipe.errors import RecipeError
from aepipe.pipeline.sweep import apply_settings, label, value_at

LINE = 118
"""Letters of a line of reasons."""


def tuned_text(
    file: Path, changes: Mapping[str, Any], *, folder: Path, source: str | None, reasons: Sequence[str]
) -> str:
    """Return the text of a recipe with other values.

    Args:
        file: the given recipe.
        changes: values by key, as in :mod:`aepipe.pipeline.sweep`, without its short keys.
        folder: where the new file is going to lie: relative paths are written so that they hold there.
        source: that was named in place of the recipe's own.
        reasons: sentences for its head.

    Raises:
        RecipeError: the values cannot be put into the file; the text names them.
    """
    given = recipes.load(file)
    table, kinds = tomlkit.parse(file.read_text(encoding="utf-8")), given.model_dump(mode="json")
    by_hand = RecipeError(f"{file}: these values cannot be written into it, do so by hand: {label(changes)}")
    try:
        for key, value in changes.items():
            _put(table, key.split("."), value, kinds)
    except RecipeError:
        raise by_hand from None
    _move_paths(table, file.absolute().parent, folder.absolute(), source)
    head = "".join(f"# {line}\n" for reason in reasons for line in _wrapped(reason))
    text = f"{head}\n{tomlkit.dumps(table).lstrip()}"
    read = recipes.parse(tomllib.loads(text), folder / file.name)
    if _without_paths(read) != _without_paths(apply_settings(given, changes)):
        raise by_hand
    return text


def _put(table: Any, path: Sequence[str], value: object, kinds: Mapping[str, Any]) -> None:  # noqa: ANN401
    """Change one entry; tables on the way are made, and a choice that is a word becomes a table."""
    there = table
    for depth, part in enumerate(path[:-1], 1):
        step: Any = int(part) if isinstance(there, list) else part
        if isinstance(there, list) or (step in there and not isinstance(there[step], str)):
            there = there[step]
            continue
        known = value_at(kinds, ".".join(path[:depth]))
        whole = depth == 1  # a block of its own, as [finetune]
        made = tomlkit.table() if whole else tomlkit.inline_table()
        if isinstance(known, Mapping) and "kind" in known:
            made["kind"] = known["kind"]
        there[step] = made
        there = there[step]
    last: Any = int(path[-1]) if isinstance(there, list) else path[-1]
    there[last] = value


def _move_paths(table: Any, here: Path, there: Path, source: str | None) -> None:  # noqa: ANN401
    """Write the paths of a recipe so that they hold in another folder."""
    if source is not None:
        table["source"]["path"] = source if "://" in source else os.path.abspath(Path(source).expanduser())
    for block, key in (("source", "path"), ("gate", "canaries")):
        found = table.get(block)
        if here == there or not isinstance(found, Table) or not isinstance(found.get(key), str):
            continue
        if "://" not in found[key]:
            found[key] = os.path.abspath(here / Path(found[key]).expanduser())


def _without_paths(recipe: recipes.Recipe) -> dict[str, Any]:
    table = recipe.model_dump(mode="json")
    table["source"]["options"].pop("path", None)
    table["gate"].pop("canaries")
    return table


def _wrapped(text: str) -> list[str]:
    """Return a sentence in lines; one that begins with spaces goes on with as many."""
    indent = " " * (len(text) - len(text.lstrip()))
    lines = [""]
    for word in text.split():
        if lines[-1] and len(indent) + len(lines[-1]) + 1 + len(word) > LINE:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return [indent + line for line in lines]

"""Paths of collections as recipes write them, and names that are made of them."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from aepipe import recipe as recipes
from aepipe.sources.remote import is_address
from aepipe.store import registry

FOLDERS, NUMBERS = 4, 1000
"""Most parts of a path in a derived name, and the number above those that are tried after a name."""
_ENDING = re.compile(
    r"\.(tar|tgz|zip|parquet|pq|arrow|feather|csv|tsv|txt|jsonl|ndjson|json|npy|npz|xlsx|xls|ods|db|sqlite3?|"
    r"duckdb|mbox|mbx)"
    r"(\.(gz|bz2|xz|zst))?$"
)


def name_of(path: str) -> str:
    """Return a name for a collection: its folder or file, in the letters that names may have."""
    return next(names_of(path))


def names_of(path: str) -> Iterator[str]:
    """Yield names for a collection, the best first.

    The first is that of its folder or file; then come those with the folders above it, and with a number.
    """
    parts = [part for part in absolute(path).parts if not set(part) & set("*?[")]
    words = [_ENDING.sub("", _word(part)) or "collection" for part in parts[-1:]]
    words = [*filter(None, map(_word, parts[1:-1])), *words]
    for count in range(1, min(len(words), FOLDERS) + 1):
        yield _fitting("-".join(words[-count:]))
    for number in range(2, NUMBERS):
        yield f"{_fitting(words[-1], spare=4)}-{number}"


def _word(part: str) -> str:
    """Return the name of a folder or file in the letters that names may have."""
    letters = (letter if recipes.in_names(letter) else "-" for letter in registry.tidy_name(part.lower()))
    return re.sub("-+", "-", "".join(letters)).strip("-._")


def _fitting(name: str, spare: int = 0) -> str:
    """Cut a name to the length that is allowed, less some letters."""
    name = name[: recipes.NAME_LETTERS - spare]
    return name.encode()[: recipes.NAME_BYTES - spare].decode(errors="ignore").rstrip("-._")


def same_source(file: Path, path: str) -> bool:
    """Tell whether a file is a recipe for the same path."""
    try:
        there = tomllib.loads(file.read_text(encoding="utf-8"))["source"]["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if is_address(path):
        return bool(there == path)
    return isinstance(there, str) and absolute(file.absolute().parent / Path(there).expanduser()) == absolute(path)


def absolute(path: str | Path) -> Path:
    """Return a path from the root, without ``..``.

    Links are not followed, because a user may move a link on purpose.
    """
    return Path(os.path.abspath(Path(path).expanduser()))


def relative(path: str, folder: Path) -> str:
    """Return a path as a recipe writes it: relative below the recipe's folder, else absolute."""
    if is_address(path):
        return path
    whole = absolute(path)
    return str(whole.relative_to(folder)) if whole.is_relative_to(folder) else str(whole)

"""A recipe for a collection that has none yet: look at it, choose, and say why.

The outcome is the text of a recipe, meant to be kept, read and changed; nothing is chosen behind it.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

from aepipe import recipe as recipes
from aepipe.errors import SourceError
from aepipe.pipeline.suggest import images, kinds, others
from aepipe.pipeline.suggest.kinds import Holding
from aepipe.sources.remote import is_address

_UNLABELLED = '[gate]\nmetric = "recall_at_10"  # without labels, neighbours among the rows are the measure'


def suggest(path: str, *, name: str | None = None, folder: Path) -> tuple[str, str, Holding]:
    """Return the name and the text of a recipe, and what was found at the path.

    Args:
        path: a folder, a glob, an archive or a list, as ``[source] path`` takes it, relative to the working directory.
        name: of the recipe; made of the path where it is None.
        folder: where the recipe is going to lie; paths below it are written relative to it.

    Raises:
        RecipeError: the name is not one.
        SourceError: the path does not exist, or holds nothing that can be learned from.
    """
    chosen, held = name or name_of(path), kinds.look(path)
    if not held.kind:
        raise SourceError(
            f"{path}: nothing in it that can be learned from: {'; '.join(kinds.describe_strangers(held.strangers))}"
        )
    whole, written = path if is_address(path) else str(absolute(path)), _relative(path, folder)
    if held.kind in images.COLUMN:
        seen, blocks, labelled = images.write(held.kind, whole, written, held.columns.get(held.kind))
    else:
        seen, blocks, labelled = others.write(held.kind, whole, written, held.columns.get(held.kind))
    head = [f"# Derived from {seen}. Yours to change.", f"name = {json.dumps(chosen)}"]
    text = "\n\n".join([*head, *blocks, *([] if labelled else [_UNLABELLED])]) + "\n"
    recipes.parse(tomllib.loads(text), folder / f"{chosen}.toml")
    return chosen, text, held


def name_of(path: str) -> str:
    """Return a name for a collection: its folder or file, in the letters that names may have."""
    parts = [part for part in absolute(path).parts if not set(part) & set("*?[")]
    words = re.sub("[^a-z0-9._-]+", "-", parts[-1].lower().removesuffix(".tar.gz")).strip("-._")
    return re.sub(r"\.(tar|tgz|parquet|pq|csv|tsv|txt|jsonl|ndjson|npy|npz)(\.gz)?$", "", words)[:64] or "collection"


def same_source(file: Path, path: str) -> bool:
    """Say whether a file is a recipe for the same path."""
    try:
        there = tomllib.loads(file.read_text(encoding="utf-8"))["source"]["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if is_address(path):
        return bool(there == path)
    return isinstance(there, str) and absolute(file.absolute().parent / Path(there).expanduser()) == absolute(path)


def _relative(path: str, folder: Path) -> str:
    """Return a path as a recipe in a folder writes it: relative below that folder, absolute elsewhere."""
    if is_address(path):
        return path
    whole = absolute(path)
    return str(whole.relative_to(folder)) if whole.is_relative_to(folder) else str(whole)


def absolute(path: str | Path) -> Path:
    """Return a path from the root, without ``..``; links are not followed, for a link may be moved on purpose."""
    return Path(os.path.abspath(Path(path).expanduser()))

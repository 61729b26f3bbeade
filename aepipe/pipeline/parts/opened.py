"""Sources, stores and tables that work on parts opens once in each process."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from aepipe import recipe as recipes
from aepipe import sources
from aepipe.errors import SourceError
from aepipe.recipe import Recipe
from aepipe.sources.backbone import BackboneSource
from aepipe.sources.item import Source
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Rows

_TABLES = 16
"""Tables of rows that a process keeps open."""
_here: dict[str, Source] = {}


@dataclass(frozen=True, slots=True)
class SourceAt:
    """A source as another process opens it.

    Attributes:
        token: names it in the process that has it open.
        recipe: all of it as JSON, with absolute paths; empty where only that process can open it.
        file: of the recipe, for messages.
        features: of the source as JSON, which say what it has learned from its items.
    """

    token: str
    recipe: str
    file: str
    features: str


@contextmanager
def shared(source: Source, recipe: Recipe | None) -> Iterator[SourceAt]:
    """Let work on parts open a source: in this process, and by its recipe in others.

    Args:
        source: fitted, with its network.
        recipe: that it was made by, with absolute paths; None where no other process opens it.
    """
    text, file = ("", "") if recipe is None else (recipe.model_dump_json(), str(recipe.file))
    at = SourceAt(secrets.token_hex(8), text, file, json.dumps(source.features(), sort_keys=True))
    _here[at.token] = source
    try:
        yield at
    finally:
        _here.pop(at.token, None)


def source_at(at: SourceAt, store: Store) -> Source:
    """Return a source: that of this process, or one like it.

    Raises:
        SourceError: this machine sees other files, or its versions make other rows.
    """
    return _here.get(at.token) or _opened(at, store.address)


@lru_cache(2)
def _opened(at: SourceAt, root: str) -> Source:
    if not at.recipe:
        raise SourceError("this source was not made by a recipe, so only the process that has made it can read it")
    wanted = json.loads(at.features)
    source = sources.resolve(recipes.parse(json.loads(at.recipe), Path(at.file))).under(wanted)
    if isinstance(source, BackboneSource) and source.backbone is not None:
        network = Ref.parse(wanted["backbone"]["ref"])
        source.attach(store_at(root).verified(network), str(network))
    source = source.fitted(wanted)
    if json.loads(json.dumps(source.features())) != wanted:
        raise SourceError(f"{source.location}: its rows would be other ones here; are the versions of aepipe the same?")
    return source


@lru_cache(2)
def store_at(root: str) -> Store:
    """Return a store; it remembers what it has checked."""
    return Store(root)


@lru_cache(_TABLES)
def table_at(root: str, ref: Ref) -> Rows:
    """Return a table of rows, its bytes checked once.

    Raises:
        NotFoundError, CorruptError: it is not there, or damaged.
    """
    return Rows(store_at(root).verified(ref))

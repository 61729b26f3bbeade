"""The models of every kind that a recipe can choose, as the code has them."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module

from pydantic import BaseModel

from aepipe import corrupt, index, sources
from aepipe.learn import likelihood, nets, objectives, posterior
from aepipe.sources import items

Model = type[BaseModel]
COMMON = items.Options
"""The keys of ``[source]`` that every kind has."""


def of_sources() -> dict[str, tuple[Model, Model]]:
    """Return the models of ``[source]`` and ``[features]`` of each kind of source."""
    found = {}
    for info in pkgutil.iter_modules(sources.__path__):
        module = import_module(f"aepipe.sources.{info.name}")
        if hasattr(module, "Options") and hasattr(module, "Features"):
            found[info.name] = (module.Options, module.Features)
    return found


def of_choices() -> dict[str, Mapping[str, Model]]:
    """Return the models of the other kinds, by the key that takes them."""
    return {
        "net": nets.kinds(),
        "posterior": posterior.KINDS,
        "binarize": posterior.BITS,
        "likelihood": likelihood.KINDS,
        "corruption": {kind: model for kind, model in corrupt.KINDS.items() if kind != "chain"},
        "objective": objectives.kinds(),
        "index.kind": {kind: index.module_of(kind).options() for kind in index.kinds()},
    }

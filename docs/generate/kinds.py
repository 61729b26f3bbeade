"""The models of every kind that a recipe can choose, as the code has them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from pydantic import BaseModel

from aepipe import sources
from aepipe.index import hamming
from aepipe.learn import corruption, likelihood, nets, objectives, posterior
from aepipe.sources import base

Model = type[BaseModel]
COMMON = base.Options
"""The keys of ``[source]`` that every kind has."""


def of_sources() -> dict[str, tuple[Model, Model]]:
    """Return the models of ``[source]`` and ``[features]`` of each kind of source."""
    return {kind: (module.Options, module.Features) for kind, module in sorted(sources.kinds().items())}


def of_choices() -> dict[str, Mapping[str, Model]]:
    """Return the models of the other kinds, by the key that takes them."""
    return {
        "net": nets.kinds(),
        "posterior": posterior.KINDS,
        "binarize": posterior.BITS,
        "likelihood": likelihood.KINDS,
        "corruption": {kind: model for kind, model in corruption.KINDS.items() if kind != "chain"},
        "objective": objectives.kinds(),
        "index.kind": {kind: import_module(f"aepipe.index.kinds.{kind}").options() for kind in hamming.kinds()},
    }

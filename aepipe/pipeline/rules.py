"""Options of a run and rules of a night, as Python callers give them."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, Literal, TypedDict

from aepipe.errors import QueryError


class NightlyRules(TypedDict, total=False):
    """When a night trains, and what it leaves behind; ``flows.quiet.Rules`` has the defaults.

    Attributes:
        retrain: ``auto`` where there is reason to, ``always``, or ``never``.
        days: an encoder that is older is a reason.
        cold: train from the beginning, and not on from the weights in service.
        keep: releases of each collection that stay in the store; 0 keeps all.
        hours: folders written since then stay.
        metrics: the folder where ``<name>.prom`` is written; else ``metrics`` in the store.
        engine: what works on the parts of a large collection, as ``ray://HOST:PORT``; see :mod:`aepipe.engines`.
    """

    retrain: Literal["auto", "always", "never"]
    days: float
    cold: bool
    keep: int
    hours: float
    metrics: str | None
    engine: str | None


class RunOptions(TypedDict, total=False):
    """What a run does in place of what its recipe says.

    Attributes:
        source: in place of the recipe's own ``[source] path``.
        device: in place of the recipe's own.
        promote: false leaves the release out of service, whatever the gate says.
        save: where a derived recipe is written; else ``NAME.toml`` in the working directory.
        kind: what a collection is of, where a recipe is derived: ``images``, ``text``, ``table`` and others; else its
            files tell.
        pixels: compare photographs by their pixels where the network that sees what is in them is not installed.
        settings: other values of the recipe by key, as ``{"code.bits": 32, "source.header": False}``; a recipe that is
            derived is derived under them.
        wait: seconds to wait for another run under its name; 0 fails at once.
        engine: what works on the parts of a large collection, as ``ray://HOST:PORT``; see :mod:`aepipe.engines`.
        world: processes of this machine that share out each training, as ``"2"``; with an address of this machine,
            ``"2@10.0.0.1:29500"``, others join there with ``aepipe join``. Where the engine is a Ray cluster, it runs
            that many. Else ``$AEPIPE_WORLD`` says so.
    """

    source: str | PathLike[str] | None
    device: str | None
    promote: bool
    save: str | PathLike[str] | None
    kind: str | None
    pixels: bool
    settings: Mapping[str, Any] | None
    wait: float
    engine: str | None
    world: str | None


def check_options(options: Mapping[str, Any]) -> None:
    """Check that options of a run are known.

    Raises:
        QueryError: one is not.
    """
    if unknown := sorted(options.keys() - RunOptions.__annotations__.keys()):
        raise QueryError(
            f"no such option of run: {', '.join(unknown)}; these are: {', '.join(RunOptions.__annotations__)}"
        )


def check_rules(rules: Mapping[str, Any]) -> None:
    """Check that rules are known.

    Raises:
        QueryError: one is not.
    """
    if unknown := sorted(rules.keys() - NightlyRules.__annotations__.keys()):
        known = ", ".join(NightlyRules.__annotations__)
        raise QueryError(f"no such rule of nightly: {', '.join(unknown)}; these are: {known}")

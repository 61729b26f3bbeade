"""Rules of a night, as Python callers give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from aepipe.errors import QueryError


class NightlyRules(TypedDict, total=False):
    """When a night trains, and what it leaves behind; ``flows.nightly.Rules`` has the defaults.

    Attributes:
        retrain: ``auto`` where there is reason to, ``always``, or ``never``.
        days: an encoder that is older is a reason.
        cold: train from the beginning, and not on from the weights in service.
        keep: releases of each collection that stay in the store; 0 keeps all.
        hours: folders written since then stay.
        metrics: the folder where ``<name>.prom`` is written; else ``metrics`` in the store.
    """

    retrain: Literal["auto", "always", "never"]
    days: float
    cold: bool
    keep: int
    hours: float
    metrics: str | None


def check_rules(rules: Mapping[str, Any]) -> None:
    """Check that rules are known.

    Raises:
        QueryError: one is not.
    """
    if unknown := sorted(rules.keys() - NightlyRules.__annotations__.keys()):
        known = ", ".join(NightlyRules.__annotations__)
        raise QueryError(f"no such rule of nightly: {', '.join(unknown)}; these are: {known}")

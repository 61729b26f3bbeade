"""Rules of a night, as Python callers give them."""

from __future__ import annotations

from typing import Literal, TypedDict


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

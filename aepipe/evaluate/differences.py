"""Compare scores that were measured twice: which figures differ, and by how much."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ROUNDING = 1e-6
"""Relative difference that another processor, or another number of threads, may make of the same sum."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that is not the same.

    Attributes:
        name: of the figure: ``ours map_at_1000 value``.
        before: as it is in the store; None where it was not measured.
        again: as it is now; None where it is not measured any more.
    """

    name: str
    before: Any
    again: Any

    @property
    def rounding(self) -> bool:
        """Whether both are numbers and the difference may come from rounding."""
        pair = (self.before, self.again)
        if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in pair):
            return False
        return bool(abs(self.before - self.again) <= ROUNDING * max(abs(self.before), abs(self.again)))

    def __str__(self) -> str:
        before, again = (_shown(value) for value in (self.before, self.again))
        numbers = isinstance(self.before, int | float) and isinstance(self.again, int | float)
        by = f" ({self.again - self.before:+.4g})" if numbers else ""
        return f"{self.name}: {before} in the store, {again} now{by}"


def differences(before: Mapping[str, Any], again: Mapping[str, Any]) -> list[Difference]:
    """Return the figures that differ between two scores, each a dict or what JSON reads."""
    first, second = (dict(_figures(json.loads(json.dumps(scores)))) for scores in (before, again))
    names = [*first, *(name for name in second if name not in first)]
    return [
        Difference(name, first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)
    ]


def _figures(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401  JSON has no types
    """Yield the name and the value of each figure in JSON; rows of the table are named by their system."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _figures(part, f"{name} {key}" if name else key)
    elif isinstance(value, list):
        for place, part in enumerate(value):
            system = part.get("system") if isinstance(part, dict) else None
            yield from _figures(part, system or f"{name}[{place}]")
    elif value is not None:
        yield name.replace(" metrics ", " "), value


def _shown(value: object) -> str:
    if value is None:
        return "not measured"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

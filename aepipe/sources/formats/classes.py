"""Classes: numbers that Hugging Face's metadata has names for, at any depth."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
from pyarrow import types

from aepipe.sources.formats import schemas

Named = tuple[pa.DataType, Callable[[Any], Any]]
"""The type of a column with names, and what makes a value with names of one with numbers."""


def named(schema: pa.Schema) -> dict[str, Named]:
    """Return the columns in which numbers have names."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {field.name: _named(schemas.plain(field.type), features.get(field.name)) for field in schema}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    return {name: one for name, one in found.items() if one is not None}


def _named(kind: pa.DataType, feature: object) -> Named | None:
    """Return how values of a type get names; None where they have none."""
    if isinstance(feature, list):  # as older versions write a list
        feature = {"feature": feature[0]} if len(feature) == 1 else None
    if not isinstance(feature, Mapping):
        return None
    if types.is_integer(kind):
        names = feature.get("names")
        return (pa.string(), _Names([str(name) for name in names])) if isinstance(names, list) else None
    if schemas.is_list(kind):
        inner = _named(kind.value_type, feature.get("feature"))
        return None if inner is None else (pa.list_(inner[0]), _List(inner[1]))
    return _named_struct(kind, feature) if types.is_struct(kind) else None


def _named_struct(kind: pa.DataType, feature: Mapping[str, Any]) -> Named | None:
    """Return how records get names; a sequence of records is a record of lists."""
    inner = feature.get("feature") if "_type" in feature else feature
    if not isinstance(inner, Mapping):
        return None
    parts = {
        one.name: {"feature": inner.get(one.name)} if inner is not feature else inner.get(one.name) for one in kind
    }
    found = {one.name: part for one in kind if (part := _named(one.type, parts[one.name])) is not None}
    fields = [pa.field(one.name, found[one.name][0] if one.name in found else one.type) for one in kind]
    return (pa.struct(fields), _Struct({name: make for name, (_, make) in found.items()})) if found else None


class _Names:
    """Makes names of numbers."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def __call__(self, value: int | None) -> str | None:
        """Return the name of a number."""
        # Hugging Face writes -1 where there is no class.
        return self._names[value] if value is not None and 0 <= value < len(self._names) else None


class _List:
    """Makes names in lists."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __call__(self, value: list[Any] | None) -> list[Any] | None:
        """Return a list with names."""
        return None if value is None else [self._make(one) for one in value]


class _Struct:
    """Makes names in records."""

    def __init__(self, makes: Mapping[str, Callable[[Any], Any]]) -> None:
        self._makes = makes

    def __call__(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return a record with names."""
        return None if value is None else value | {name: make(value[name]) for name, make in self._makes.items()}

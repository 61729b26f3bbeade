"""A mistake in a recipe, in one line."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails


def explain(model: type[BaseModel], detail: ErrorDetails, at: str) -> str:
    """Return ``key: what is wrong; what is allowed``.

    Args:
        model: what was validated.
        detail: what pydantic says is wrong.
        at: where in the recipe the model stands.
    """
    path = [part for part in detail["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    key = ".".join([*([at] if at else []), *map(str, path)]) or "recipe"
    if detail["type"] == "extra_forbidden":
        owner = _model_at(model, path[:-1])
        return f"{key}: unknown key; allowed: {', '.join(owner.model_fields)}"
    if detail["type"] == "missing":
        return f"{key}: missing"
    return f"{key}: {detail['msg'][0].lower()}{detail['msg'][1:]}, not {detail['input']!r}"


def _model_at(model: type[BaseModel], path: list[int | str]) -> type[BaseModel]:
    """Return the model that a path of field names and positions leads to."""
    for part in path:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is None:
            continue
        nested = [t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type)]
        model = next((t for t in nested if issubclass(t, BaseModel)), model)
    return model

"""The page ``reference/recipe.md``: every key of a recipe with its type, default and meaning."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from griffe import Docstring, DocstringSectionKind
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from aepipe import recipe
from aepipe.recipe import Choice
from docs.generate import kinds
from docs.generate.kinds import Model
from docs.generate.markdown import fence, inline, prose, table

ROOT = Path(__file__).parents[2]
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}
LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "max_length": "length ≤"}

INTRODUCTION = """\
# Recipe

A recipe is one TOML file: everything that a pipeline needs to know. An unknown key is an error that names the file,
the key and the allowed keys. Paths are relative to the recipe's own file. This is a whole one,
`flows/recipes/demo.toml`:
"""
CHOICES = """\
## Kinds

Where a key takes a *kind*, write its name, `net = "dense"`, or a table with its options,
`net = { kind = "dense", width = 256 }`. A list of corruptions is applied in order. Choices that do not go together are
refused when the recipe is read; the message says what is allowed.
"""
SECTIONS = {
    "views": "`[views]`",
    "layers": "`[[layers]]`",
    "code": "`[code]`",
    "finetune": "`[finetune]`",
    "compute": "`[compute]`",
    "index": "`[index]`",
    "evaluate": "`[evaluate]`",
    "gate": "`[gate]`",
    "engine": "`[engine]`",
}


def page() -> str:
    """Return the page."""
    demo = (ROOT / "flows" / "recipes" / "demo.toml").read_text(encoding="utf-8")
    parts = [INTRODUCTION, fence(demo, "toml"), "## Top level\n", keys(recipe.Recipe)]
    parts += _sources()
    for name, title in SECTIONS.items():
        parts += _section(f"## {title}", _model(name))
    parts += _section("## `fit`", recipe.FitRecipe)
    parts.append(CHOICES)
    for key, models in kinds.of_choices().items():
        parts.append(f"### `{key}`\n")
        parts += _described(models)
    return "\n".join(parts)


def keys(model: Model) -> str:
    """Return a table of the keys of a model."""
    told = attributes(model)
    lines = [_line(name, field, told) for name, field in model.model_fields.items() if name not in SECTIONS]
    return table(["key", "type", "default", "meaning"], lines)


def _line(name: str, field: FieldInfo, told: Mapping[str, str]) -> list[str]:
    if field.annotation is recipe.FitRecipe:
        return [f"`{name}`", "[table](#fit)", "", inline(told.get(name, ""))]
    return [f"`{name}`", inline(allowed(field)), default(field), inline(told.get(name, ""))]


def attributes(model: Model) -> dict[str, str]:
    """Return what the docstrings of a model and of its bases say about its attributes."""
    told: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base.__doc__ and issubclass(base, BaseModel) and base is not BaseModel:
            for section in Docstring(base.__doc__, parser="google").parse("google", warnings=False):
                if section.kind is DocstringSectionKind.attributes:
                    told |= {one.name: one.description for one in section.value}
    return told


def allowed(field: FieldInfo) -> str:
    """Return the type of a key with its limits, in words."""
    limits = [
        f"{sign} {value:g}"
        for part in field.metadata
        for name, sign in LIMITS.items()
        if (value := getattr(part, name, None)) is not None
    ]
    return " ".join([_type(field.annotation), ", ".join(limits)]).strip()


def default(field: FieldInfo) -> str:
    """Return the default of a key as it would stand in a recipe."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, Choice):
        value = value.kind
    if value is None or value in ((), {}):
        return "none"
    text = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
    return f"`{text or _toml(value)}`"


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, BaseModel):
        return f"{{ {', '.join(f'{k} = {_toml(v)}' for k, v in value if v is not None)} }}"
    return f'"{value}"' if isinstance(value, str) else f"{value}"


def _type(kind: Any) -> str:  # noqa: ANN401  whatever an annotation is
    """Return a type in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return ", ".join(f"`{_toml(one)}`" for one in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(one) for one in parts if one is not type(None))
    if origin is tuple:
        return f"list of {_type(parts[0])}"
    return "kind" if kind is Choice else WORDS.get(kind, "table")


def _model(name: str) -> Model:
    """Return the model of a section of a recipe."""
    kind = recipe.Recipe.model_fields[name].annotation
    found: Any = get_args(kind)[0] if get_origin(kind) is tuple else kind
    return cast(Model, found)


def _section(title: str, model: Model) -> Iterator[str]:
    yield f"{title}\n"
    yield prose(summary(model))
    yield keys(model)


def summary(model: Model) -> str:
    """Return the docstring of a model up to its sections; of a file with one kind, the first line of the file's."""
    if model.__name__ == "Options":
        return (sys.modules[model.__module__].__doc__ or "").partition("\n\n")[0]
    parsed = Docstring(inspect.getdoc(model) or "", parser="google").parse("google", warnings=False)
    return "\n\n".join(str(one.value) for one in parsed if one.kind is DocstringSectionKind.text)


def _sources() -> Iterator[str]:
    """Say what a source and its features may be."""
    yield "## `[source]` and `[features]`\n"
    yield "Every kind of source has these keys:\n"
    yield keys(kinds.COMMON)
    for kind, (options, features) in kinds.of_sources().items():
        yield f'### `kind = "{kind}"`\n'
        own = {name: field for name, field in options.model_fields.items() if name not in kinds.COMMON.model_fields}
        yield _table("`[source]`", own, attributes(options))
        yield _table("`[features]`", features.model_fields, attributes(features))


def _table(section: str, fields: Mapping[str, FieldInfo], told: Mapping[str, str]) -> str:
    lines = [_line(name, field, told) for name, field in fields.items()]
    return table([f"key of {section}", "type", "default", "meaning"], lines)


def _described(models: Mapping[str, Model]) -> Iterator[str]:
    """Say what each kind of one key is, and list its options; kinds with one model are one entry."""
    together: dict[Model, list[str]] = {}
    for kind, model in models.items():
        together.setdefault(model, []).append(kind)
    for model, names in together.items():
        yield f"**{' or '.join(f'`{name}`' for name in names)}**: {inline(' '.join(summary(model).split()))}\n"
        if model.model_fields:
            yield keys(model)

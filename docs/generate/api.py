"""The page ``reference/api.md``: what ``import aepipe`` gives, from its docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from griffe import Docstring, DocstringSectionKind

import aepipe
from aepipe import errors
from docs.generate.markdown import fence, inline, prose, table

INTRODUCTION = """\
# Python

`import aepipe` imports nothing heavy; each name below is imported when it is used. Asking needs neither torch nor
Prefect. The [guide](../guide/python.md) shows them at work.
"""
ERRORS = """\
## Errors

A mistake that the caller can correct raises one of these; all are in `aepipe.errors`.
"""


def page() -> str:
    """Return the page."""
    names = sorted(name for name in aepipe.__all__ if not name.startswith("_") and name != "errors")
    return "\n".join([INTRODUCTION, *(_public(name) for name in names), ERRORS, fence(_tree())])


def _public(name: str) -> str:
    found = getattr(aepipe, name)
    if inspect.isclass(found):
        return "\n".join([f"## {name}\n", *_described(found), *_members(found)])
    return "\n".join([f"## {name}\n", _signature(f"aepipe.{name}", found), *_described(found)])


def _members(found: type) -> Iterator[str]:
    """Describe the public methods and properties of a class, also those of our own classes that it extends."""
    extended = [kind for kind in reversed(found.__mro__) if kind.__module__.startswith("aepipe.")]
    members = {name: member for kind in extended for name, member in vars(kind).items()}
    for name, member in members.items():
        if name.startswith("_"):
            continue
        member = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if isinstance(member, property):
            yield f"### {found.__name__}.{name}\n"
            yield from _described(member)
        elif inspect.isfunction(member):
            yield f"### {found.__name__}.{name}\n"
            yield _signature(f"{found.__name__}.{name}", member)
            yield from _described(member)


def _signature(name: str, function: Callable[..., Any]) -> str:
    """Return the call of a function with its annotations, a parameter per line where it is long."""
    signature = inspect.signature(function)
    kept = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    signature = signature.replace(parameters=kept)
    text = re.sub(r"'([^']*)'", r"\1", str(signature))
    if len(name) + len(text) > 100:
        returns = text.rpartition(") -> ")[2] if ") -> " in text else "None"
        stars = [re.sub(r"'([^']*)'", r"\1", str(one)) for one in kept]
        keyword_only = next((i for i, one in enumerate(kept) if one.kind is one.KEYWORD_ONLY), None)
        if keyword_only is not None and not any(one.kind is one.VAR_POSITIONAL for one in kept):
            stars.insert(keyword_only, "*")
        text = "(\n" + "".join(f"    {one},\n" for one in stars) + f") -> {returns}"
    return fence(name + text, "python")


def _described(found: object) -> Iterator[str]:
    """Give the sections of a docstring."""
    for section in Docstring(inspect.getdoc(found) or "", parser="google").parse("google", warnings=False):
        if section.kind is DocstringSectionKind.text:
            yield prose(section.value)
        elif section.kind is DocstringSectionKind.examples:
            yield from (
                prose(text) if kind is DocstringSectionKind.text else fence(text) for kind, text in section.value
            )
        elif section.kind in (DocstringSectionKind.parameters, DocstringSectionKind.attributes):
            title = "argument" if section.kind is DocstringSectionKind.parameters else "attribute"
            yield table([title, "meaning"], [[f"`{one.name}`", inline(one.description)] for one in section.value])
        elif section.kind is DocstringSectionKind.raises:
            yield table(["raises", "when"], [[f"`{one.annotation}`", inline(one.description)] for one in section.value])
        elif section.kind is DocstringSectionKind.returns:
            yield "Returns " + inline(" ".join(_returned(one) for one in section.value)) + "\n"


def _returned(one: Any) -> str:  # noqa: ANN401  griffe's own kind
    return ": ".join(str(part) for part in (one.annotation, one.description) if part)


def _tree() -> str:
    """Draw the classes of errors under each other."""
    return "\n".join(_branch(errors.AepipeError, 0))


def _branch(kind: type, depth: int) -> Iterator[str]:
    first = (inspect.getdoc(kind) or "").partition("\n")[0]
    yield f"{'  ' * depth + kind.__name__:28} {first}"
    below = [one for one in vars(errors).values() if inspect.isclass(one) and kind in one.__bases__]
    for one in below:
        yield from _branch(one, depth + 1)

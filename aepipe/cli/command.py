"""One verb as Typer sees it: its help is its docstring, and a light verb starts without pydantic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperOption

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter, Parameter
    from typer.core import TyperArgument

    Reader = Callable[[Context, object], object]


def read_plainly(parameters: list[Parameter]) -> list[Parameter]:
    """Let parameters read words and whole numbers themselves, and return them.

    Typer coerces them with pydantic, whose import takes a quarter of the time of a whole query.
    """
    for parameter in parameters:
        if not isinstance(parameter.process_value, partial):
            parameter.process_value = partial(_read, parameter, parameter.process_value)  # type: ignore[method-assign]
    return parameters


class Verb(TyperCommand):
    """A verb whose help is its docstring as it is written, and whose words and numbers are read without pydantic."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the options, ``--help`` among them."""
        return read_plainly(super().get_params(ctx))

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the docstring's first line, whole."""
        return (self.help or "").partition("\n")[0]

    def format_help_text(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the docstring without filling its lines anew, so that examples stay examples."""
        formatter.write("\n" + "".join(f"  {line}".rstrip() + "\n" for line in (self.help or "").splitlines()))


def _read(parameter: Parameter, typers_way: Reader, context: Context, value: object) -> object:
    """Read words, paths and whole numbers; everything else, and every mistake, goes Typer's way."""
    descriptor = getattr(parameter, "type_descriptor", None)
    if descriptor is None or parameter.required:
        return typers_way(context, value)
    many = parameter.nargs == -1 or (isinstance(parameter, TyperOption) and parameter.multiple)
    if value is None:
        empty: object = () if many else None
        return parameter.callback(context, parameter, empty) if parameter.callback else empty
    if parameter.callback:
        return typers_way(context, value)
    words = value if many and isinstance(value, tuple | list) else (value,)
    try:
        read = _plainly(words, descriptor.annotation, descriptor.parameter_info)
    except (TypeError, ValueError):
        return typers_way(context, value)
    return tuple(read) if many else read[0]


def _plainly(words: tuple[Any, ...] | list[Any], kind: object, limits: TyperArgument | Any) -> list[Any]:  # noqa: ANN401
    """Return words as what they are.

    Raises:
        ValueError: one of them is not, or this is no matter for us.
    """
    if kind in (str, list[str]):
        return list(words)
    if kind is Path:
        return [Path(word) for word in words]
    if kind not in (int, list[int]):
        raise ValueError
    numbers = [int(word) for word in words]
    low, high = limits.min, limits.max
    if any((low is not None and number < low) or (high is not None and number > high) for number in numbers):
        raise ValueError
    return numbers

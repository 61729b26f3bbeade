"""All verbs as one command, and the one place where errors become a line and an exit status.

:data:`aepipe.errors.STATUS` lists the statuses; each class of errors has its own. What the operating system refused is
one line, too; of what nobody foresaw, :mod:`aepipe.cli.crash` tells. The help of a verb is its docstring, and a quick
verb starts without pydantic, with which Typer would read its options.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from aepipe.cli import VERBS
from aepipe.cli.crash import unforeseen
from aepipe.cli.options import flat
from aepipe.cli.output import columns, complain
from aepipe.errors import INTERRUPTED, READER_GONE, UNABLE, WRONG_USE, AepipeError, system_words

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter, Parameter
    from typer.core import TyperArgument

    Reader = Callable[[Context, object], object]

HELP_WIDTH = 104
"""Columns that the help of a verb is written for."""
_HELP = {"help_option_names": ["-h", "--help"]}


def run_command(arguments: Sequence[str]) -> None:
    """Run one command line and exit."""
    get_command(app).main(list(arguments), "aepipe")


class Verbs(TyperGroup):
    """All verbs, and the boundary at which their errors are caught."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  whatever Typer hands on
        super().__init__(**options)
        # Typer would import every verb to make its command, and with them pandas, rich and others.
        self.commands = LazyCommands()

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = "aepipe", **extra: Any) -> NoReturn:  # type: ignore[override]  # noqa: ANN401
        """Run one command line and exit; a mistake that the user can fix becomes one line."""
        try:
            # Outside of its standalone mode Typer leaves errors to us, and does not print them in its own form.
            code = super().main(args, prog_name, **{**extra, "standalone_mode": False})
        except typer.Abort:  # Ctrl-C, or the end of the input, in answer to a question
            code = INTERRUPTED
        except Exception as error:
            code = _report(error)
        sys.exit(code if isinstance(code, int) else 0)

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the options that come before a verb, those of completion among them."""
        return read_plainly(super().get_params(ctx))

    def invoke(self, ctx: Context) -> object:
        """Run the verb; a reader that has stopped (``aepipe ... | head``) is no error."""
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _drop_output()
            raise typer.Exit(READER_GONE) from None
        except OSError:
            _drop_output()
            raise
        return value


class LazyCommands(MutableMapping[str, "Command"]):
    """The verbs by name; the module of a verb is imported when it is first looked up."""

    def __init__(self) -> None:
        self._loaded: dict[str, Command] = {}

    def __getitem__(self, verb: str) -> Command:
        if verb not in self._loaded:
            function = getattr(import_module(f"aepipe.cli.{VERBS[verb].module}"), verb)
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


class Verb(TyperCommand):
    """A verb, whose help is its docstring, and whose options are read without pydantic."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the options, ``--help`` among them."""
        return read_plainly(super().get_params(ctx))

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the first line of the docstring, uncut."""
        return (self.help or "").partition("\n")[0]

    def format_help_text(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the docstring with its own line breaks, so that examples stay examples."""
        text, room = self.help or "", columns()
        if room is not None and room < HELP_WIDTH:
            from aepipe.report.narrow import reflowed

            text = reflowed(text, room - 2)
        formatter.write("\n" + "".join(f"  {line}".rstrip() + "\n" for line in text.splitlines()))


app = typer.Typer(
    cls=Verbs,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings=_HELP,
)


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
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learn binary codes for a collection, and find what is like a picture, a text or a row."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _report(error: Exception) -> int:
    """Print an error as one line on stderr, and return the exit status."""
    if isinstance(error, ModuleNotFoundError):
        from aepipe.sources.packages import missing_extra

        error = missing_extra(error) or error
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        see = f" (see {context.command_path} --help)" if context is not None else ""
        complain(f"{error.format_message()}{see}")
        return WRONG_USE
    if isinstance(error, AepipeError):
        complain(error)
        return error.status
    if isinstance(error, OSError) and error.errno:
        complain(system_words(error))
        return UNABLE
    if isinstance(error, MemoryError):
        complain("the memory of this machine is not enough; give it more, or take fewer rows or bits")
        return UNABLE
    return unforeseen(error, complain)


def _drop_output() -> None:
    """Send the rest of the output nowhere: Python flushes once more at exit, which must not fail again."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def read_plainly(parameters: list[Parameter]) -> list[Parameter]:
    """Let parameters read words and whole numbers without Typer, and return them.

    Typer reads them with pydantic, whose import takes a quarter of the time of a whole query.
    """
    for parameter in parameters:
        if not isinstance(parameter.process_value, partial):
            parameter.process_value = partial(_read, parameter, parameter.process_value)  # type: ignore[method-assign]
    return parameters


def _read(parameter: Parameter, read_by_typer: Reader, context: Context, value: object) -> object:
    """Read words, paths and whole numbers; leave everything else, and every mistake, to Typer."""
    descriptor = getattr(parameter, "type_descriptor", None)
    if descriptor is None or parameter.required:
        return read_by_typer(context, value)
    many = parameter.nargs == -1 or (isinstance(parameter, TyperOption) and parameter.multiple)
    if value is None:
        empty: object = () if many else None
        return parameter.callback(context, parameter, empty) if parameter.callback else empty
    if parameter.callback:
        return read_by_typer(context, value)
    words = value if many and isinstance(value, tuple | list) else (value,)
    try:
        read = _values(words, descriptor.annotation, descriptor.parameter_info)
    except (TypeError, ValueError):
        return read_by_typer(context, value)
    return tuple(read) if many else read[0]


def _values(words: tuple[Any, ...] | list[Any], kind: object, limits: TyperArgument | Any) -> list[Any]:  # noqa: ANN401
    """Return words as words, paths or whole numbers.

    Raises:
        ValueError: a word cannot be read, is out of bounds, or is of another type.
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

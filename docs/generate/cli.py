"""The page ``reference/cli.md``: every verb with its help, arguments and options."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import typer
from typer.main import get_command

from aepipe.cli import VERBS
from aepipe.cli.app import app
from docs.generate.markdown import fence, inline, prose, table

if TYPE_CHECKING:
    from typer._click import Command

INTRODUCTION = """\
# Command line

`aepipe VERB --help` prints the same text. `aepipe --install-completion` sets up completion for your shell.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | the gate refused a release; the old one stays in service |
| 2 | a mistake that you can correct; one line on stderr says how |
| 130 | interrupted (Ctrl-C) |
| 141 | the reader of the output closed the pipe |
"""


def page() -> str:
    """Return the page."""
    group = get_command(app)
    commands = {verb: group.commands[verb] for verb in VERBS}  # type: ignore[attr-defined]
    overview = table(
        ["verb", "purpose"],
        [[f"[`{verb}`](#{verb})", inline(_help(command).partition("\n")[0])] for verb, command in commands.items()],
    )
    return "\n".join([INTRODUCTION, overview, *(_section(verb, command) for verb, command in commands.items())])


def _section(verb: str, command: Command) -> str:
    """Return what the page says about one verb."""
    context = typer.Context(command, info_name=verb)
    usage = f"aepipe {verb} {' '.join(command.collect_usage_pieces(context))}"
    records = [found for one in command.get_params(context) if (found := one.get_help_record(context))]
    options = table(["argument or option", "meaning"], [[f"`{name}`", inline(text)] for name, text in records])
    return "\n".join([f"## {verb}\n", fence(usage), prose(_help(command)), options])


def _help(command: Command) -> str:
    """Return the docstring of a verb."""
    return inspect.cleandoc(command.help or "")

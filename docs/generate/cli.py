"""The page ``reference/cli.md``: every verb with its help, arguments and options."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import typer
from typer.main import get_command

from aepipe.cli import VERBS
from aepipe.cli.app import app
from aepipe.errors import STATUS
from docs.generate.markdown import fence, inline, prose, table

if TYPE_CHECKING:
    from typer._click import Command

INTRODUCTION = """\
# Command line

`aepipe VERB --help` prints the same text. `aepipe --install-completion` sets up completion for your shell.

"""


def page() -> str:
    """Return the page."""
    group = get_command(app)
    commands = {verb: group.commands[verb] for verb in VERBS}  # type: ignore[attr-defined]
    overview = table(
        ["verb", "purpose"],
        [[f"[`{verb}`](#{verb})", inline(_help(command).partition("\n")[0])] for verb, command in commands.items()],
    )
    states = table(["exit status", "meaning"], [[str(status), meaning] for status, meaning in STATUS.items()])
    return "\n".join([INTRODUCTION, states, overview, *(_section(verb, command) for verb, command in commands.items())])


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

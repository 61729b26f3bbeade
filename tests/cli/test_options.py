"""Groups of options, and words read without pydantic exactly as Typer would read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperCommand
from typer.testing import CliRunner

from aepipe.cli.app import Verb
from aepipe.cli.options import Place, flat


@dataclass(frozen=True)
class Group:
    """Options that belong together."""

    size: Annotated[int, typer.Option(min=1, max=9)] = 3
    word: Annotated[str | None, typer.Option()] = None
    many: Annotated[list[int] | None, typer.Option()] = None
    file: Annotated[Path, typer.Option()] = Path("x")
    share: Annotated[float, typer.Option()] = 0.5
    flag: Annotated[bool, typer.Option("--flag/--no-flag")] = False


SEEN: list[Any] = []


def verb(group: Group, place: Place, words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Take what is given."""
    SEEN[:] = [group, place, words]


def _read(arguments: list[str], kind: type[TyperCommand]) -> tuple[int, list[Any], str]:
    app = typer.Typer(rich_markup_mode=None)
    app.command(cls=kind)(flat(verb))
    SEEN.clear()
    found = CliRunner().invoke(app, arguments)
    return found.exit_code, list(SEEN), found.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a", "b"],
        ["--size", "9", "--word", "", "--many", "1", "--many", "-2", "--file", "a/b"],
        ["--share", "0.25", "--flag", "--name", "n", "--home", "/tmp"],
        ["--size", "0"],
        ["--size", "10"],
        ["--size", "4.5"],
        ["--size", "x"],
        ["--many", "x"],
        ["--share", "x"],
        ["--no-flag", "--", "--size"],
    ],
)
def test_options_read_without_typer_are_those_that_typer_reads(arguments: list[str]) -> None:
    assert _read(arguments, Verb) == _read(arguments, TyperCommand)


def test_groups_arrive_whole() -> None:
    status, seen, _ = _read(["w", "--size", "5", "--home", "h"], Verb)
    assert status == 0
    assert seen == [Group(size=5), Place(home=Path("h")), ["w"]]

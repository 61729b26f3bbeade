"""Tables in the form that is asked for: for people, as CSV or Markdown, or as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from aepipe.cli.output import faint, fitted, say, say_json
from aepipe.errors import QueryError
from aepipe.report.tables import markdown_table

Form = Literal["table", "json", "csv", "markdown"]

FORMS: tuple[Form, ...] = ("table", "json", "csv", "markdown")


def _forms(incomplete: str) -> list[str]:
    return [form for form in FORMS if form.startswith(incomplete)]


Format = Annotated[
    str | None,
    typer.Option(
        "--format", help="How it is printed: table, json, csv, markdown.", metavar="FORM", autocompletion=_forms
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs; as --format json.")]


@dataclass(frozen=True, slots=True)
class Shape:
    """In which form a verb prints its table."""

    format: Format = None
    json: AsJson = False

    def form(self) -> Form:
        """Return the form that is asked for.

        Raises:
            QueryError: there is no such form, or two are asked for.
        """
        return form_of(self.format, as_json=self.json)


def form_of(text: str | None, *, as_json: bool = False) -> Form:
    """Return a form by its name.

    Raises:
        QueryError: there is no such form, or JSON is asked for beside another one.
    """
    found = next((form for form in FORMS if form == text), None)
    if text is not None and found is None:
        raise QueryError(f"--format {text}: there is no such form; allowed: {', '.join(FORMS)}")
    if as_json and found not in (None, "json"):
        raise QueryError(f"--json and --format {text} exclude each other")
    return "json" if as_json else found or "table"


def say_table(
    head: Sequence[str],
    lines: Sequence[Sequence[str]],
    form: Form,
    *,
    values: Sequence[Mapping[str, Any]],
    left: Collection[int] = (0,),
) -> None:
    """Print a table.

    Args:
        head: the names of its columns.
        lines: its cells, for people.
        form: table and Markdown show the cells, CSV and JSON the values.
        values: for programs, one object for each line.
        left: columns whose cells stand on the left.
    """
    if form == "json":
        say_json(values)
    elif form == "csv":
        names = list(dict.fromkeys(name for one in values for name in one)) or list(head)
        say_csv([names, *([one.get(name) for name in names] for one in values)])
    elif form == "markdown":
        say(markdown_table([head, *lines], left=left), fold=False)
    elif lines:
        say(fitted(head, lines, left), fold=False)
    else:
        say(faint("nothing"))


def say_csv(lines: Iterable[Sequence[object]]) -> None:
    """Print lines of CSV; lists and mappings are written as JSON."""
    import json

    written = io.StringIO()
    plain = csv.writer(written, lineterminator="\n")
    for line in lines:
        plain.writerow([json.dumps(one) if isinstance(one, Mapping | list | tuple) else one for one in line])
    say(written.getvalue().removesuffix("\n"), fold=False)

"""Write the tables of docs/benchmarks from benchmarks/results: ``python -m benchmarks.pages [--check]``.

Prose is written by hand. A table stands between two comments, ``<!-- table: NAME -->`` and ``<!-- end -->``, and this
program replaces all that is between them. ``benchmarks/tables.py`` says which columns a table has.
"""

from __future__ import annotations

import argparse
import re
import string
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.tables import HEADLINES, TABLES, Headline, Table

PAGES = common.ROOT / "docs" / "benchmarks"
COMMAND = "python -m benchmarks.pages"
MARKED = re.compile(r"(?ms)(?P<start>^<!-- table: (?P<name>[\w-]+) -->\n).*?(?P<end>^<!-- end -->$)")
NUMBERS = re.compile(r"[-–+\d.,%±/ kM]+( to [\d.]+)?")
NONE = "–"


class _Cells(string.Formatter):
    """Formats as Python does; ``si`` shortens a count to thousands or millions."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "si":
            return f"{value / 1e6:.2f}M" if value >= 1e6 else f"{value / 1e3:.0f}k"
        return str(super().format_field(value, format_spec))


def main() -> None:
    """Write the pages, or only say which of them are out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    given = parser.parse_args()
    old = outdated()
    for file, text in {} if given.check else old.items():
        file.write_text(text, encoding="utf-8")
    print("\n".join(str(file.relative_to(common.ROOT)) for file in old) or "all pages are up to date")
    sys.exit(int(given.check and bool(old)))


def outdated() -> dict[Path, str]:
    """Return the pages whose tables differ from the results, and their text as it should be."""
    fresh = {file: rendered(file.read_text(encoding="utf-8")) for file in sorted(PAGES.glob("*.md"))}
    return {file: text for file, text in fresh.items() if text != file.read_text(encoding="utf-8")}


def rendered(text: str) -> str:
    """Return a page with each of its tables as the results have it.

    Raises:
        KeyError: The page asks for a table that does not exist.
    """
    return MARKED.sub(lambda found: f"{found['start']}\n{markdown(found['name'])}\n{found['end']}", text)


def markdown(name: str) -> str:
    """Return one table, with a line that says where its figures come from."""
    if name == "headlines":
        return "\n".join(_lines(("figure", "measured", "compared", "where"), map(headline, HEADLINES))) + "\n"
    table = TABLES[name]
    cells = [[cell(column, row) for column in table.columns.values()] for row in rows_of(table)]
    origins = "  \n".join(dict.fromkeys(origin(result(source)) for source in table.sources))
    return "\n".join([*_lines(tuple(table.columns), cells), "", origins]) + "\n"


@cache
def result(name: str) -> dict[str, Any]:
    """Return a result by its name."""
    return common.read(common.RESULTS / f"{name}.json")


def rows_of(table: Table) -> Iterator[Mapping[str, Any]]:
    """Give the rows that a table shows, each with the settings of its result, spread if the table says so."""
    found = [{**one["settings"], **row} for one in map(result, table.sources) for row in one["rows"]]
    found = [row for row in found if table.having in row and all(row[name] == x for name, x in table.only.items())]
    yield from spread(found, table.spread, table.by) if table.spread else found


def spread(rows: Iterable[Mapping[str, Any]], field: str, by: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Join rows that agree in some fields: each becomes one mapping in it, named by another field.

    A number that names a row comes after the field's name: ``threads_2``.
    """
    joined: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        name = row[field] if isinstance(row[field], str) else f"{field}_{row[field]}"
        case = {key: row[key] for key in by}
        joined.setdefault(tuple(case.values()), case)[name] = row
    yield from joined.values()


def cell(column: str | tuple[str, ...], row: Mapping[str, Any]) -> str:
    """Return a cell: the first of its templates that the row can fill, else a dash."""
    for template in (column,) if isinstance(column, str) else column:
        try:
            return _Cells().vformat(template, (), row)
        except (KeyError, IndexError, TypeError):
            continue
    return NONE


def headline(one: Headline) -> list[str]:
    """Return the cells of one line among the headlines; its templates name rows by what they measured."""
    rows = [row for row in result(one.source)["rows"] if all(row.get(key) == x for key, x in one.only.items())]
    named = {str(row[one.named]): row for row in reversed(rows) if one.named in row}
    cells = [_Cells().vformat(template, (), {**result(one.source)["settings"], **named}) for template in one.templates]
    return [*cells, f"[{one.page.removesuffix('.md')}]({one.page})"]


def origin(result: Mapping[str, Any]) -> str:
    """Return date, machine, versions and command of a result as one line."""
    machine = result["machine"]
    parts = {
        "cpu": "{}",
        "cores": "{} cores",
        "memory_gib": "{} GiB",
        "gpu": "{}",
        "load": "load {}",
        "note": "{}",
    }
    told = [text.format(machine[key]) for key, text in parts.items() if machine.get(key) is not None]
    told += [f"{name} {version}" for name, version in result["versions"].items()]
    told += [f"commit {result['commit'][:12]}"] if result["commit"] else []
    command = f": `{result['command']}`" if result["command"] else ""
    return f"*{result['date']}, {', '.join(told)}*{command}"


def _lines(titles: Sequence[str], cells: Iterable[Sequence[str]]) -> Iterator[str]:
    """Give the lines of a Markdown table; columns of numbers are flushed right."""
    body = list(cells)
    numbers = [all(NUMBERS.fullmatch(row[at]) for row in body) for at in range(len(titles))]
    yield f"| {' | '.join(titles)} |"
    yield f"|{'|'.join('---:' if one else '---' for one in numbers)}|"
    yield from (f"| {' | '.join(row)} |" for row in body)


if __name__ == "__main__":
    main()

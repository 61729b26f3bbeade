"""The block ``[source]`` of a derived recipe, with the columns that are left out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from aepipe.sources.base import Hints
from aepipe.sources.dates import Written
from aepipe.sources.given import key_of

LEFT_OUT = 8
"""Columns left out that are named."""
_REASONS = {"header": "  # the first line is a row like those below it"}


def source_block(
    hints: Hints, kind: str, path: str, options: Mapping[str, str | bool], excluded: Mapping[str, str] | None = None
) -> str:
    """Return ``[source]``.

    Args:
        hints: of the collection.
        kind: of source.
        path: as the recipe writes it.
        options: that only this kind has.
        excluded: patterns of files that are left out, each with its file and the reason.
    """
    seen = hints.survey
    lines = ["[source]", f'kind = "{kind}"', f"path = {json.dumps(path, ensure_ascii=False)}"]
    written = {name: json.dumps(value, ensure_ascii=False) for name, value in options.items()}
    lines += [f"{name} = {value}{_REASONS.get(name, '')}" for name, value in written.items()]
    lines += _excluded(excluded or {})
    label, split = seen.label(), seen.split()
    if label not in {"", "given"}:
        why = f"{len(seen.parents)} folders" if label == "parent" else f"{len(seen.columns[label])} values"
        why += ", several to an item" if label in seen.lists else ""
        lines.append(f'label = "{label}"  # {why}; for evaluation only')
    if not split:
        lines.append("split = { test = 0.1 }  # decided by the bytes of each item, so it stays as it is")
    elif split != "given":
        lines.append(f'split = "{split}"')
    dates = {name: found for name, found in hints.dates.items() if name not in {label, split}}
    return "\n".join([*lines, *_types(dates), *_left_out(hints.left_out)])


def _excluded(files: Mapping[str, str]) -> Iterator[str]:
    """Yield the patterns of files that are left out, and comments with the reasons of the first of them."""
    if files:
        yield f"exclude = {json.dumps(list(files), ensure_ascii=False)}  # they do not fit the other tables:"
    for told in list(files.values())[:LEFT_OUT]:
        yield f"#   {_in_a_line(told)}"


def _types(dates: Mapping[str, Written]) -> Iterator[str]:
    """Yield the types of columns of dates, and how they are read; comments on those that nobody can tell."""
    for name, found in dates.items():
        said, like = found.said(), f"as {_in_a_line(found.first)!r}"
        key = f"types.{key_of(name)}"
        if said:
            months = said.endswith("-mdy")
            first = "" if found.counts["ymd"] == found.total() else f"the {'month' if months else 'day'} is first, "
            yield f'{key} = "{said}"  # {first}{like}'
        elif found.unsure():
            yield f"# no value tells whether the day is first, {like}; if it is, say:"
            yield f'# {key} = "date-dmy"'


def _left_out(columns: Mapping[str, str]) -> Iterator[str]:
    """Yield comments on the columns that are not learned from, the first of them with their reasons."""
    if columns:
        yield "# columns left out:"
    for name, why in list(columns.items())[:LEFT_OUT]:
        # A name may have line ends, which would end the comment.
        yield f"#   {_in_a_line(name) or 'without a name'}: {_in_a_line(why)}"
    if len(columns) > LEFT_OUT:
        yield f"#   and {len(columns) - LEFT_OUT:,} more"


def _in_a_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())

"""Values of ``--set`` in a derived recipe: they are written into its text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aepipe.sources.item import Given, Select

AS_ASKED = "  # as asked"
OWN = ("source", "features")
"""Tables whose keys decide what is read, so a recipe is derived under them."""
FLAT = ("views", "code", "finetune", "compute", "index", "evaluate", "gate")
"""Tables of which a key is a line of its own."""
ALONE = ("seed", "pretrain")


def options(settings: Mapping[str, Any], table: str) -> dict[str, Any]:
    """Return the keys that were given for a table, with tables inside it as mappings.

    Args:
        settings: values by the path of their key: ``{"source.types.zip": "text"}``.
        table: ``source`` or ``features``.
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        first, _, rest = key.partition(".")
        if first == table and rest:
            *above, last = rest.split(".")
            there = found
            for part in above:
                there = there.setdefault(part, {})
            there[last] = value
    return found


def tables(asked: Mapping[str, Any]) -> Given:
    """Return the options about tables; those of a wrong type count as not given.

    Args:
        asked: options under ``[source]``.
    """
    said = {name: value for name, value in asked.items() if isinstance(value, str)}
    header = asked.get("header")
    return Given(
        encoding=said.get("encoding"),
        delimiter=said.get("delimiter"),
        header=header if isinstance(header, bool) else None,
        sheet=said.get("sheet"),
        select=Select(said.get("table"), said.get("query")),
    )


def texts(asked: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the texts of an option that takes one or several; none where it was not given."""
    value = asked.get(name, ())
    several = (value,) if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
    return tuple(one for one in several if isinstance(one, str))


def is_written(key: str) -> bool:
    """Say whether a derived recipe has a line for a key; the others count for one run only."""
    table, _, rest = key.partition(".")
    return (table in OWN and bool(rest)) or (table in FLAT and bool(rest) and "." not in rest) or key in ALONE


def written(blocks: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """Return the blocks of a derived recipe with a line for each key that was given.

    Args:
        blocks: the first is that of ``name``; each other one begins with the head of its table.
        settings: values by the path of their key.
    """
    found = [block.split("\n") for block in blocks if block]
    for key, value in _one_by_one(settings):
        if not is_written(key):
            continue
        table, dot, rest = key.partition(".")
        line = f"{'.'.join(map(key_of, rest.split('.'))) if dot else key} = {toml(value)}{AS_ASKED}"
        own = found[0] if not dot else next((one for one in found if _heads(one[0], table)), None)
        if own is None:
            found.append([f"[{table}]", line])
        else:
            _put(own, line)
    return ["\n".join(block) for block in found]


def key_of(name: str) -> str:
    """Return a name as a key of TOML."""
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _one_by_one(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the settings; those of types column by column, as the recipe says more of them."""
    for key, value in settings.items():
        if key == "source.types" and isinstance(value, Mapping):
            yield from ((f"{key}.{name}", one) for name, one in value.items())
        else:
            yield key, value


def toml(value: object) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(str(name))} = {toml(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return (
        json.dumps(value, ensure_ascii=False) if isinstance(value, bool | int | float | str) else json.dumps(str(value))
    )


def _heads(line: str, table: str) -> bool:
    return line.partition("]")[0] == f"[{table}"


def _put(block: list[str], line: str) -> None:
    """Put a line in place of those of the same key, else behind the last one that is no comment.

    A key inside a table takes the place of the whole table, but leaves other keys inside it: ``types.zip``.
    """
    key = line.partition(" = ")[0]
    keys = [other.partition(" = ")[0].strip() for other in block]
    inside = "." in key
    same = [
        n
        for n, one in enumerate(keys)
        if one in {key, key.partition(".")[0]} or (not inside and one.startswith(f"{key}."))
    ]
    if same:
        block[same[0]] = line
        for number in reversed(same[1:]):
            del block[number]
        return
    lines = [number for number, other in enumerate(block) if not other.startswith("#")]
    block.insert(lines[-1] + 1, line)

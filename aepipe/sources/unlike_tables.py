"""Tables that are unlike most of a folder: a derived recipe leaves them out by name.

Rows of tables with other columns have nothing in common, and one damaged file must not stop all others. Which tables
belong together is told by the names of their columns; where no group is larger than all others, the user has to say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aepipe.errors import ExtraError, SourceError
from aepipe.sources.files import Files, Found
from aepipe.sources.formats import records
from aepipe.sources.formats.text_tables import open_table
from aepipe.sources.item import Given

COMMON = 0.5
"""Two tables are parts of one where more than this share of the columns of the narrower one is in both."""
NAMED = 6
"""Columns, and files, that a message names."""
_SPECIAL = re.compile(r"([*?\[\]\\])")


@dataclass(frozen=True, slots=True)
class Tables:
    """What the tables of a path have in common.

    Attributes:
        left_out: tables that do not fit the others, by place, each with its reason.
        headless: the first lines of those that stay are rows.
    """

    left_out: Mapping[str, str]
    headless: bool = False

    @property
    def patterns(self) -> list[str]:
        """Patterns of ``exclude`` that name exactly these files."""
        return list(self.excluded())

    def excluded(self) -> dict[str, str]:
        """Return these patterns, each with its file and the reason."""
        return {"/" + _SPECIAL.sub(r"\\\1", place): f"{place}: {why}" for place, why in self.left_out.items()}


@dataclass(frozen=True, slots=True)
class _Head:
    """The columns of a table; those of one without names are numbered.

    Attributes:
        names: of the columns.
        headless: its first line is a row.
    """

    names: frozenset[str]
    headless: bool

    def fits(self, other: _Head) -> bool:
        """Tell whether two tables may be parts of one."""
        least = min(len(self.names), len(other.names))
        return self.headless == other.headless and len(self.names & other.names) > COMMON * least


def sorted_out(path: str, files: Files, given: Given) -> Tables:
    """Tell which tables at a path belong together.

    Args:
        path: for messages.
        files: at the path.
        given: what was given of tables.

    Raises:
        SourceError: no columns are those of more than half of the tables.
    """
    heads, left_out = dict[str, _Head](), dict[str, str]()
    for found in filter(records.holds, files):
        try:
            heads[found.place] = _head(found, given)
        except ExtraError as error:
            left_out[found.place] = str(error)
        except SourceError as error:
            left_out[found.place] = str(error).partition(": ")[2] or str(error)
    counts = Counter(heads.values())
    if len(counts) < 2:
        # Whatever is wrong with all of them is said by whoever reads them.
        return Tables(left_out if counts else {}, any(one.headless for one in counts))
    main = max(counts, key=lambda head: (sum(counts[one] for one in counts if one.fits(head)), counts[head]))
    fits = [place for place, head in heads.items() if head.fits(main)]
    if 2 * len(fits) <= len(heads):
        _refuse(path, heads)
    others = {place: _why(head, main) for place, head in heads.items() if not head.fits(main)}
    return Tables(left_out | others, main.headless)


def _head(found: Found, given: Given) -> _Head:
    path = Path(found.path)
    if not records.is_typed(found.place) and given.header is None:
        table = open_table(path, found.place, given)
        if table.first is not None:
            return _Head(frozenset(f"column_{number}" for number in range(len(table.first))), True)
    return _Head(frozenset(records.columns(path, found.place, given).names), False)


def _why(head: _Head, main: _Head) -> str:
    """Return why a table does not fit the others."""
    if head.headless != main.headless:
        return "its first line is a row" if head.headless else "its first line has names, and those of others are rows"
    return f"other columns: {_listed(head.names)}"


def _refuse(path: str, heads: Mapping[str, _Head]) -> None:
    """Raise SourceError: which tables are meant is not clear."""
    named = "; ".join(f"{place} ({_listed(head.names)})" for place, head in list(heads.items())[:NAMED])
    more = f"; and {len(heads) - NAMED:,} more" if len(heads) > NAMED else ""
    first = next(iter(heads))
    raise SourceError(
        f"{path}: tables of different columns: {named}{more}. Say which are meant: one file, such as {first}, or "
        "several by a pattern, such as '*2025*.csv'; --set 'source.exclude=[\"NAME\"]' leaves files out"
    )


def _listed(names: frozenset[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:NAMED]) + (f" and {len(shown) - NAMED:,} more" if len(shown) > NAMED else "")

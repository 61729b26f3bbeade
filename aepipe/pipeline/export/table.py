"""A table to be made in a system, and what a system has to do."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from aepipe.errors import QueryError

K = 10
"""Hits of the question that is shown."""
OURS = ("id", "key", "label", "split", "embedding", "code")
ABANDONED = 86_400
"""Seconds after which a table that has not got its name is taken for that of a process which died."""
_DRAFT = "__draft_"


@dataclass(frozen=True, slots=True)
class Table:
    """A table to be made.

    Attributes:
        name: of the table, the collection or the index, as the system calls it.
        schema: of the groups that come, in plain types.
        n_bits: bits of a code.
        rows: how many come.
        replace: whether one of that name may be replaced.
        index: whether an index for approximate search is made, where that is a step of its own.
        described: what the codes are: fingerprint, bits, order of the bits.
        parts: the name parted at its dot into schema and table, where a user gave it so; empty where it is one.
        asking: the id of a row, for the question that is shown.
        notes: what the system adds for the user to read.
    """

    name: str
    schema: pa.Schema
    n_bits: int
    rows: int
    replace: bool
    index: bool
    described: dict[str, Any]
    parts: tuple[str, ...] = ()
    asking: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def width(self) -> int:
        """Numbers of an embedding; 0 without embeddings."""
        return int(self.schema.field("embedding").type.list_size) if "embedding" in self.schema.names else 0

    @property
    def n_bytes(self) -> int:
        """Bytes of a code."""
        return int(self.schema.field("code").type.byte_width)

    @property
    def packed(self) -> pa.Schema:
        """The schema without the words of codes, for systems that compare bytes."""
        return pa.schema([one for one in self.schema if not is_word(one.name)], self.schema.metadata)

    @property
    def own(self) -> list[str]:
        """The source's own columns."""
        return [name for name in self.packed.names if name not in OURS]

    @property
    def about(self) -> str:
        """What the codes are, as JSON, for the comment of a table."""
        return json.dumps({"aepipe": self.described})

    def check_free(self, where: str, there: bool) -> None:
        """Check that a table of that name may be made.

        Raises:
            QueryError: one is there, and may not be replaced.
        """
        if there and not self.replace:
            raise QueryError(f"{where}: {self.name} is there already; say --replace, or name another one by --table")

    def check_folder_of(self, where: str, held: str | None) -> None:
        """Check that a folder, which holds one table, holds this one.

        Args:
            where: the folder.
            held: the name of the table in it; None where that is not known, or it holds none.

        Raises:
            QueryError: it holds another table.
        """
        if held not in (None, self.name):
            raise QueryError(f"{where}: an export of {held} is there; choose another folder, or say --table {held}")

    def check_name(self, system: str, pattern: str, allowed: str) -> None:
        """Check that the system takes the name.

        Args:
            system: its name.
            pattern: a regular expression that the whole name has to match.
            allowed: the same in words.

        Raises:
            QueryError: it does not.
        """
        if not re.fullmatch(pattern, self.name):
            raise QueryError(f"{self.name}: names in {system} have {allowed}; name another one by --table")

    def draft(self, separator: str = _DRAFT) -> str:
        """Return a name under which the table is written, until it is whole."""
        return f"{self.name}{separator}{int(time.time()):x}_{secrets.token_hex(4)}"

    def abandoned(self, names: Iterable[str], separator: str = _DRAFT) -> list[str]:
        """Return which of some names are drafts of this table that nobody writes any more."""
        pattern = re.compile(re.escape(self.name + separator) + "([0-9a-f]+)_[0-9a-f]{8}")
        found = {name: pattern.fullmatch(name) for name in names}
        return [name for name, match in found.items() if match and int(match[1], 16) < time.time() - ABANDONED]

    def fitting(self, clean: Callable[[str], str]) -> dict[str, str]:
        """Map the columns to names that the system takes; a note says which have changed.

        Args:
            clean: returns a name that fits, equal for names that fit already.
        """
        found: dict[str, str] = {}
        for name in self.schema.names:
            new, number = clean(name), 2
            stem = new
            while new in found.values() or (new != name and new in self.schema.names):
                while not (new := clean(f"{stem}_{number}")).endswith(f"_{number}"):
                    stem = stem[:-1]
                number += 1
            found[name] = new
            if new != name:
                self.notes.append(f"the column {name!r} is called {new} there, because names like that are not allowed")
        return found


class System(Protocol):
    """A system that holds tables."""

    def write(self, table: Table, groups: Iterable[pa.Table]) -> None:
        """Make a table of groups of rows; it gets its name when it is whole.

        Raises:
            QueryError: a table of that name is there and may not be replaced, or columns cannot be written.
            ServiceError: the system refuses, or does not answer.
        """

    def question(self, table: Table) -> str:
        """Return the query for the nearest ``K`` of a row, ``table.asking``."""


def is_word(name: str) -> bool:
    """Say whether a column is a 64-bit word of the codes."""
    return re.fullmatch(r"code_u64_\d+", name) is not None

"""Tables about files next to them, in folders and archives, as ImageFolder has them.

``metadata.csv``, ``metadata.jsonl`` or ``metadata.parquet`` has a column ``file_name``: the path of each file, relative
to the table's folder. Its other columns are columns of the items.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aepipe.errors import SourceError
from aepipe.sources.files import Found, Refused
from aepipe.sources.formats import TABLES
from aepipe.sources.item import Container, Given, Item
from aepipe.sources.passed_over import PassedOver

if TYPE_CHECKING:
    import pyarrow as pa


FILE = "file_name"


class Whole(Container, Protocol):
    """A folder or archives.

    Attributes:
        about: places of tables about the items, which are no items.
    """

    about: frozenset[str]


def is_table(name: str) -> bool:
    """Tell whether a file has the name of a table about the files next to it."""
    return name.rpartition("/")[2] in TABLES


def joined(whole: Whole, tables: Iterable[Found], key: str | None, given: Given) -> Container:
    """Return files whose items have the columns of tables about them, if there are any.

    Args:
        whole: the folder or the archives.
        tables: files for which :func:`is_table` holds; the place of one is where its own key would begin.
        key: the column with the id of each item; None takes its path.
        given: what the recipe says of tables.

    Raises:
        SourceError: a table cannot be read, none has the column of ids, or the types of a column differ.
    """
    from aepipe.sources.formats import records

    schemas = {found: records.columns(Path(found.path), found.place, given) for found in tables}
    schemas = {found: schema for found, schema in schemas.items() if FILE in schema.names}
    if not schemas:
        return whole
    whole.about = frozenset(found.place for found in schemas)
    return Described(whole, schemas, key, given)


class Described:
    """Files of a folder or of archives, with tables about them.

    The types of columns in text are told by all of their values.

    Args:
        whole: the folder or the archives; the key of an item is its path.
        tables: with the columns of each.
        key: the column with the id of each item; None takes its path.
        given: what the recipe says of tables.
    """

    def __init__(self, whole: Whole, tables: Mapping[Found, pa.Schema], key: str | None, given: Given) -> None:
        from aepipe.sources.formats import records
        from aepipe.sources.formats.text_shards import TextShards

        self._whole = whole
        self._tables = tables
        self._texts = TextShards(tables, given, lambda found: not records.is_typed(found.place))
        self._texts.look(())
        self._key = key
        self._unknown = 0
        self.kept: object = None
        """What has to live as long as the tables."""
        self.gives = whole.gives
        if key is not None and key not in self._schema.names:
            raise SourceError(
                f"{next(iter(tables)).path}: no column {key!r}; it has: {', '.join(self._schema.names) or 'none'}"
            )

    @property
    def passed_over(self) -> PassedOver:
        """Files that the last iteration left out, with the reasons."""
        return self._whole.passed_over

    @property
    def notes(self) -> Sequence[str]:
        """What was guessed of the tables, and how many files they do not name."""
        names = ", ".join(found.place for found in self._tables)
        found = [*getattr(self._whole, "notes", ()), *self._texts.notes()]
        return [*found, f"{self._unknown:,} files have no row in {names}"] if self._unknown else found

    def schema(self) -> pa.Schema:
        """Return the columns of all tables, but for the paths."""
        return self._schema

    def keep_types(self, known: pa.Schema) -> None:
        """Let columns have the types that other rows have, where their values fit."""
        self._texts.keep_types(known)

    @property
    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        seen: dict[str, tuple[pa.Field, Found]] = {}
        typed = [(found, schema) for found, schema in self._tables.items() if found not in self._texts.found]
        written = [(found, self._texts.schema()) for found in self._texts.found[:1]]
        for found, schema in [*written, *typed]:
            for field in schema:
                first, where = seen.setdefault(field.name, (field, found))
                try:
                    both = pa.unify_schemas([pa.schema([first]), pa.schema([field])], promote_options="permissive")
                except pa.ArrowException:
                    raise SourceError(
                        f"{found.path}: column {field.name!r} is {field.type}, and {first.type} in {where.place}"
                    ) from None
                seen[field.name] = (both.field(0), where)
        own = [field for field, _ in seen.values() if field.name != FILE]
        told = self._whole.schema()
        return pa.schema([*told, *(field for field in own if field.name not in told.names)])

    def total(self) -> int | None:
        """Return the number of files, where that is cheap to know."""
        return self._whole.total()

    def items(self) -> Iterator[Item]:
        """Yield the files with their columns; then rows of files that are not there, which say so."""
        rows, damaged = self._rows()
        names, self._unknown = self._schema.names, 0
        for item in self._whole.items():
            record = rows.pop(_normal(item.key), None)
            self._unknown += record is None
            columns = {name: (record or {}).get(name) for name in names} | dict(item.columns)
            key = columns.get(self._key) if self._key else None
            yield replace(
                item,
                key=item.key if key in (None, "") else str(key),
                columns=columns,
                reader=Refused("two rows are about it") if record == {} else item.reader,
            )
        for place in rows:
            yield Item(place, place, Refused("named in a table, and not there"))
        yield from damaged

    def _rows(self) -> tuple[dict[str, dict[str, object]], list[Item]]:
        """Return the rows by the place of their file, empty where there are two; and rows that cannot be read."""
        from aepipe.sources.formats import records

        rows, damaged = dict[str, dict[str, object]](), list[Item]()
        self._texts.begin()
        names = self._texts.schema().names
        for found in self._tables:
            folder = posixpath.dirname(found.place)
            values_of = self._texts.typed(found, names) if found in self._texts.found else dict
            for line in records.read(Path(found.path), found.place):
                name = line.record.get(FILE)
                if line.trouble or not isinstance(name, str) or not name:
                    at = f"{found.place}#{line.number}"
                    damaged.append(Item(at, at, Refused(line.trouble or f"no {FILE}")))
                    continue
                place = _normal(posixpath.normpath(posixpath.join(folder, name)))
                rows[place] = {} if place in rows else values_of(line.record)
        return rows, damaged


def _normal(place: str) -> str:
    return place if place.isascii() else unicodedata.normalize("NFC", place)

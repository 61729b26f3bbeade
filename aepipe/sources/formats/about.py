"""Tables about the files next to them, as Hugging Face's ImageFolder has them.

``metadata.csv``, ``metadata.jsonl`` or ``metadata.parquet`` has a column ``file_name``: the path of each file, relative
to the table's folder. Its other columns are columns of the items.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aepipe.errors import SourceError
from aepipe.sources.files import Found, Refused
from aepipe.sources.formats import TABLES
from aepipe.sources.item import Item
from aepipe.sources.passed_over import PassedOver

if TYPE_CHECKING:
    import pyarrow as pa

    from aepipe.sources.formats.folder import Folder
    from aepipe.sources.item import Given

FILE = "file_name"


def is_table(name: str) -> bool:
    """Tell whether a file has the name of a table about the files next to it."""
    return name.rpartition("/")[2] in TABLES


def joined(whole: Folder, tables: Iterable[Found], key: str | None, given: Given) -> Folder | Described:
    """Return a folder whose items have the columns of tables about them, if there are any.

    Args:
        whole: the folder.
        tables: files for which :func:`is_table` holds.
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
    """A folder of files with tables about them.

    The types of columns in text are told by all of their values.

    Args:
        whole: the folder.
        tables: with the columns of each; those of tables in text are text.
        key: the column with the id of each item; None takes its path.
        given: what the recipe says of tables.
    """

    def __init__(self, whole: Folder, tables: Mapping[Found, pa.Schema], key: str | None, given: Given) -> None:
        from aepipe.sources.formats import records
        from aepipe.sources.formats.text_shards import TextShards

        self._whole = whole
        self._tables = tables
        self._texts = TextShards(tables, given, lambda found: not records.is_typed(found.place))
        self._texts.look((FILE,))
        self._key = key
        self._unknown = 0
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
        unknown = [f"{self._unknown:,} files have no row in {names}"] if self._unknown else []
        return [*self._texts.notes(), *unknown]

    def schema(self) -> pa.Schema:
        """Return the columns of all tables, but for the paths."""
        return self._schema

    def keep_types(self, known: pa.Schema) -> None:
        """Let columns have the types that other rows have, where their values fit."""
        self._texts.keep_types(known)
        self.__dict__.pop("_schema", None)

    @cached_property
    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        seen: dict[str, tuple[pa.Field, Found]] = {}
        typed = {field.name: field for field in (self._texts.schema() if self._texts.found else ())}
        for found, schema in self._tables.items():
            for field in schema if found not in self._texts.found else map(typed.__getitem__, schema.names):
                first, where = seen.setdefault(field.name, (field, found))
                try:
                    both = pa.unify_schemas([pa.schema([first]), pa.schema([field])], promote_options="permissive")
                except pa.ArrowException:
                    raise SourceError(
                        f"{found.path}: column {field.name!r} is {field.type}, and {first.type} in {where.place}"
                    ) from None
                seen[field.name] = (both.field(0), where)
        return pa.schema([field for field, _ in seen.values() if field.name != FILE])

    def total(self) -> int | None:
        """Return the number of files, where that is cheap to know."""
        return self._whole.total()

    def items(self) -> Iterator[Item]:
        """Yield the files with their columns; then rows of files that are not there, which say so."""
        rows, damaged = self._rows()
        names, self._unknown = self._schema.names, 0
        for item in self._whole.items():
            record = rows.pop(_normal(item.place), None)
            self._unknown += record is None
            columns = {name: (record or {}).get(name) for name in names}
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
        for found in self._tables:
            folder = posixpath.dirname(found.place)
            text = found in self._texts.found
            typed = self._texts.typed(found, self._schema.names) if text else dict
            for line in self._texts.lines(found) if text else records.read(Path(found.path), found.place):
                name = line.record.get(FILE)
                if line.trouble or not isinstance(name, str) or not name:
                    at = f"{found.place}#{line.number}"
                    damaged.append(Item(at, at, Refused(line.trouble or f"no {FILE}")))
                    continue
                place = _normal(posixpath.normpath(posixpath.join(folder, name)))
                rows[place] = {} if place in rows else typed(line.record)
        return rows, damaged


def _normal(place: str) -> str:
    return place if place.isascii() else unicodedata.normalize("NFC", place)

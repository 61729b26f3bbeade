"""Shards: files with typed columns that are read as one table.

Folders named ``column=value`` give columns, as Hive and Spark write them. Numbers of classes that Hugging Face's
metadata has names for become these names. In a data set that Hugging Face's library has saved, the files are those that
its ``state.json`` names, and its folders are the splits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from aepipe.errors import SourceError
from aepipe.sources.dates import order_said
from aepipe.sources.files import Files, Found, check_pointer, why_not_like
from aepipe.sources.formats import classes, schemas, typed
from aepipe.sources.formats.strays import Strays
from aepipe.sources.item import Given
from aepipe.sources.passed_over import PassedOver

STATE = "state.json"
DESCRIPTIONS = frozenset({STATE, "dataset_info.json", "dataset_dict.json", "_metadata", "_common_metadata", "_SUCCESS"})
"""Files that describe a data set, and hold no rows."""
TYPES = {
    "text": pa.string(),
    "category": pa.string(),
    "number": pa.float64(),
    "integer": pa.int64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
"""The types that a recipe can say of a column."""
NOTHING_GIVEN = Given()
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_SPLITS = frozenset({"train", "test"})


class Shards:
    """Files of a source that are tables with types.

    Attributes:
        schema: the columns of all files, with types that hold the values of each.
        left_out: columns that cannot be kept, with the reason.
        gives_split: folders of a saved data set are splits.

    Args:
        files: the tables among them are read.
        given: what the recipe says.
        others: names and schemas of tables without types that belong to the same source.
        nameless: files without the name of a table are tables where their first bytes say so.

    Raises:
        SourceError: a file is damaged, or a column has types without a common one.
    """

    def __init__(
        self,
        files: Files,
        given: Given = NOTHING_GIVEN,
        others: Sequence[tuple[str, pa.Schema]] = (),
        *,
        nameless: bool = False,
    ) -> None:
        self._files = files
        self._given = given
        self._nameless = nameless
        self._tables: dict[str, typed.Typed] = {}
        self._schemas: dict[str, pa.Schema] = {}
        self._classes: dict[str, dict[str, classes.Named]] = {}
        self._strays = Strays()
        self._states: dict[str, frozenset[str] | None] = {}
        found = list(self.tables())
        parts = [(f"{files.root / one.place}", self._with_names(one)) for one in found]
        self._partitions = _partition_types([_partitions(one.place) for one in found])
        self._said = _said(files.given, given, [schema for _, schema in parts])
        whole = schemas.unified([*parts, *others], self._said)
        self.left_out = {
            field.name: f"{field.type}: rows cannot keep it" for field in whole if not schemas.can_be_kept(field.type)
        }
        kept = [field for field in whole if field.name not in self.left_out]
        # A column of the file itself stands before one of its folder.
        kept += [pa.field(name, kind) for name, kind in self._partitions.items() if name not in whole.names]
        self.schema = pa.schema(kept, whole.metadata)
        self.gives_split = {_split(files.root, one) for one in found} >= _SPLITS
        self._check(found)

    def keep_types(self, known: pa.Schema) -> None:
        """Give columns the types that they have in other rows, where those hold their values."""
        kinds = {field.name: field.type for field in known}
        self.schema = pa.schema(
            [field.with_type(_wider(field.type, kinds.get(field.name, field.type))) for field in self.schema],
            self.schema.metadata,
        )

    def tables(self, passed_over: PassedOver | None = None) -> Iterator[Found]:
        """Yield the files that are tables with types; count and name the others.

        Args:
            passed_over: is emptied first, and filled; None where nobody asks.
        """
        return self._files.picked(self.reason, passed_over or PassedOver())

    @property
    def first(self) -> str | None:
        """The path of the first table; None where there is none."""
        return next((found.path for found in self.tables()), None)

    def total(self) -> int:
        """Return the number of rows."""
        return sum(self.table(found).count() for found in self.tables())

    def table(self, found: Found) -> typed.Typed:
        """Return one file as a table."""
        if found.path not in self._tables:
            check_pointer(found)
            self._tables[found.path] = typed.table_of(Path(found.path), self._given.select)
        return self._tables[found.path]

    def own(self, found: Found) -> pa.Schema:
        """Return the columns that a file has itself."""
        if found.path not in self._schemas:
            own = self.table(found).schema()
            twice = next((name for name in own.names if own.names.count(name) > 1), None)
            if twice is not None:
                count = own.names.count(twice)
                raise SourceError(f"{found.path}: {count} columns have the name {twice!r}; each needs one of its own")
            self._schemas[found.path] = own
        return self._schemas[found.path]

    def _fitted(self, name: str, column: pa.Array) -> pa.Array:
        """Return a column with the type of all files."""
        kind = self.schema.field(name).type
        if name not in self._said:
            return schemas.converted(column, kind)
        order = order_said(dict(self._given.types)[name])
        return self._strays.fitted(name, column, kind, order)

    def begin(self) -> None:
        """Forget the values that an iteration left out."""
        self._strays.clear()

    def notes(self) -> list[str]:
        """Return what was made of values, and those that the last iteration left out, in words."""
        made = (note for table in self._tables.values() for note in getattr(table, "notes", ()))
        return [*dict.fromkeys(made), *self._strays.notes()]

    def _with_names(self, found: Found) -> pa.Schema:
        """Return the columns that a file has itself; those of classes have names."""
        own = self.own(found)
        if found.path not in self._classes:
            self._classes[found.path] = classes.named(own)
        names = self._classes[found.path]
        fields = [field.with_type(names[field.name][0]) if field.name in names else field for field in own]
        return pa.schema(fields, own.metadata)

    def _named(self, found: Found, name: str, column: pa.Array) -> pa.Array:
        """Return a column of a file with the names of its classes."""
        kind, make = self._classes[found.path].get(name, (column.type, None))
        return pa.array(map(make, column.to_pylist()), kind) if make else column

    def split(self, found: Found) -> str | None:
        """Return the split of the rows of a file, where the data set has splits."""
        return _split(self._files.root, found) if self.gives_split else None

    def rows(self, found: Found, names: Sequence[str], size: int) -> Iterator[dict[str, Any]]:
        """Yield some columns of the rows of a file.

        Args:
            found: the file.
            names: of columns; those that the file lacks are None.
            size: rows that are read at a time.

        Raises:
            SourceError: the file is damaged, or has a value that Python cannot hold.
        """
        own = set(self.own(found).names)
        read = [name for name in names if name in own]
        fixed = {name: None for name in names if name not in own} | self._folder_values(found, names, own)
        # A batch without columns has no length, so one is read for it.
        for batch in self.table(found).batches(read or self.own(found).names[:1], size):
            values = self._values(batch, found, read)
            columns = [values[name] if name in values else [fixed[name]] * len(batch) for name in names]
            yield from (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))

    def _values(self, batch: pa.RecordBatch, found: Found, names: Sequence[str]) -> dict[str, list[Any]]:
        """Return the values of some columns of a batch."""
        values = {}
        for name in names:
            column = self._named(found, name, batch.column(name))
            try:
                values[name] = self._fitted(name, column).to_pylist()
            except (pa.ArrowException, ValueError, OverflowError) as error:
                raise self._misfit(found, name, error) from None
        return values

    def reason(self, found: Found) -> str | None:
        """Return why a file is no table with types; None where it is one."""
        if PurePosixPath(found.place).name in DESCRIPTIONS:
            return "describes the data set"
        if not typed.holds(found):
            is_table = self._nameless and not why_not_like(found, _has_mark, "not a table")
            return None if is_table else "not a table"
        folder, _, name = found.path.rpartition("/")
        if not name.lower().endswith(".arrow"):
            return None
        if folder not in self._states:
            self._states[folder] = _files_of_state(folder)
        named = self._states[folder]
        return None if named is None or name in named else f"not in {STATE}"

    def _check(self, files: Sequence[Found]) -> None:
        """Read the columns whose values decide whether they fit the common type.

        Raises:
            SourceError: a value does not fit.
        """
        for found in files:
            own = self._with_names(found)
            doubtful = [
                field.name
                for field in self.schema
                if field.name in own.names
                and field.name not in self._said
                and schemas.may_fail(own.field(field.name).type, field.type)
            ]
            for batch in self.table(found).batches(doubtful, 1 << 16) if doubtful else ():
                for name in doubtful:
                    try:
                        schemas.converted(self._named(found, name, batch.column(name)), self.schema.field(name).type)
                    except pa.ArrowException as error:
                        raise self._misfit(found, name, error) from None

    def _misfit(self, found: Found, name: str, error: Exception) -> SourceError:
        kind, own = self.schema.field(name).type, self.own(found).field(name).type
        where = f"{found.path}: column {name!r} is {own}"
        why = str(error).partition("\n")[0]
        if schemas.plain(own) == kind:
            return SourceError(f"{where} with a value that cannot be read: {why}")
        return SourceError(f"{where}, but {kind} in another file, and a value does not fit: {why}")

    def _folder_values(self, found: Found, names: Sequence[str], own: set[str]) -> dict[str, object]:
        """Return the values of the columns that a file's folders give."""
        values: dict[str, object] = {}
        for name, text in _partitions(found.place).items():
            if name in names and name not in own:
                kind = self._partitions.get(name, pa.string())
                values[name] = int(text) if text is not None and pa.types.is_integer(kind) else text
        return values


def _said(path: str, given: Given, schemas_: Sequence[pa.Schema]) -> dict[str, pa.DataType]:
    """Return the types that a recipe says of columns of tables with types.

    Raises:
        SourceError: there is no such column.
    """
    names = {name for schema in schemas_ for name in schema.names}
    strange = next((name for name, _ in given.types if schemas_ and name not in names), None)
    if strange is not None:
        raise SourceError(f"{path}: types: no column {strange!r}; there are: {', '.join(sorted(names)) or 'none'}")
    return {name: TYPES[kind.partition("-")[0]] for name, kind in given.types if name in names}


def _wider(kind: pa.DataType, known: pa.DataType) -> pa.DataType:
    return known if schemas.merged(kind, schemas.plain(known)) == schemas.plain(known) else kind


def _has_mark(head: bytes) -> bool:
    return bool(typed.suffix_of(head))


def _partitions(place: str) -> dict[str, str | None]:
    """Return the values that folders named ``column=value`` give a file."""
    found: dict[str, str | None] = {}
    for folder in PurePosixPath(place).parts[:-1]:
        name, equals, value = folder.partition("=")
        if equals and name:
            found[unquote(name)] = None if value == _NO_VALUE else unquote(value)
    return found


def _partition_types(files: Sequence[dict[str, str | None]]) -> dict[str, pa.DataType]:
    """Return the columns that folders give: integers where all values are written as such, else texts."""
    found: dict[str, pa.DataType] = {}
    for name in dict.fromkeys(name for values in files for name in values):
        texts = [text for values in files if (text := values.get(name)) is not None]
        found[name] = pa.int64() if texts and all(map(_is_integer, texts)) else pa.string()
    return found


def _is_integer(text: str) -> bool:
    # 007 is no number: written back, it would be 7.
    try:
        return str(int(text)) == text and abs(int(text)) < 2**63
    except ValueError:
        return False


def _files_of_state(folder: str) -> frozenset[str] | None:
    """Return the files that a saved data set consists of; None for other folders.

    Raises:
        SourceError: it is only a selection of the rows of its files.
    """
    try:
        state = json.loads(Path(folder, STATE).read_text(encoding="utf-8"))
        names = frozenset(str(file["filename"]) for file in state["_data_files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if state.get("_indices_data_files"):
        raise SourceError(f"{folder}: a selection of rows; save it with flatten_indices() first")
    return names


def _split(root: Path, found: Found) -> str | None:
    """Return the split of a file in a saved data set; None in other folders."""
    top, inside, _ = found.place.partition("/")
    try:
        splits = json.loads((root / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return top if inside and isinstance(splits, list) and top in splits else None

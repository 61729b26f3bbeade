"""Filter the rows of a release by a condition in SQL, with DuckDB.

The condition is written as after ``WHERE``: ``label = 'Sneaker' AND year > 2020``, over ``id``, ``key``, ``label``,
``split`` and the source's own columns; where rows have several labels, also over the list ``labels``. It may come from
a stranger, so it cannot reach files, the network or settings, and more than one statement is refused.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import QueryError
from aepipe.sources.asked import not_utf8
from aepipe.store.column_names import OURS, quoted, sql_names
from aepipe.store.io import table_errors_named
from aepipe.store.labels import SEPARATOR
from aepipe.store.segments import ids_of

if TYPE_CHECKING:
    from aepipe.release.release import Release
    from aepipe.store.rows import Rows

SETTINGS: dict[str, Any] = {"python_enable_replacements": "false", "autoinstall_known_extensions": "false"}
MEMORY = "1GB"
PART = "part of the rows"
"""A column of the rows on disk: which table they are in."""
LABELS = "labels"
"""A list of texts, where rows have several labels."""
_NAMES = """
    ~~ !~~ ~~* !~~* ~~~ like_escape not_like_escape ilike_escape not_ilike_escape + - * / // % ||
    lower upper length len strlen trim ltrim rtrim contains starts_with ends_with prefix suffix substring substr left
    right regexp_matches regexp_full_match abs round floor ceil ceiling sqrt ln log exp greatest least ifnull nullif
    isnan isinf isfinite date_part date_trunc year month day hour minute second quarter week dayofweek list_contains
    list_has list_has_any list_has_all array_contains list_value
"""
PLAIN = frozenset(_NAMES.split())
"""Functions of conditions from strangers: each takes little time and memory, and tells of nothing but its arguments."""
AGAIN = 0.05
"""Seconds between two interruptions of what does not end."""
_SHOWN = f"replace(label, chr({ord(SEPARATOR)}), ', ')"
_PARTED = f"string_split(label, chr({ord(SEPARATOR)}))"


def ids_where(
    release: Release, condition: str, *, seconds: float | None = None, plain: bool = False
) -> NDArray[np.int64]:
    """Return the ids of the rows for which a condition holds, int64[n], ascending.

    Args:
        release: whose rows are filtered.
        condition: in the SQL of DuckDB.
        seconds: that it may take; None for any time.
        plain: refuse queries within the condition, and all functions but those of :data:`PLAIN`.

    Raises:
        QueryError: it is not a condition, names an unknown column, reaches for files, the network or settings, or
            takes too long.
        CorruptError: the rows of the release are missing.
    """
    import duckdb

    if bad := not_utf8(condition):
        raise QueryError(f"where {condition!r}: {bad}")
    if not condition.strip():
        raise QueryError("where: an empty condition; write it as after WHERE in SQL: \"label = 'Boot'\"")
    with duckdb.connect(":memory:", config=SETTINGS) as database:
        columns, own = _show(database, release)
        _check_names(condition, own)
        # The condition has a line of its own, so that a comment at its end cannot swallow the bracket.
        asked = f"SELECT id FROM items WHERE (\n{condition}\n) ORDER BY id"
        try:
            statements = duckdb.extract_statements(asked)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise QueryError(f"where {condition!r}: one condition is wanted, not several statements")
            # Without brackets, too: a condition may not close those around it.
            duckdb.extract_statements(f"SELECT id FROM items WHERE\n{condition}")
            if plain:
                _check_plain(database, condition, asked)
            with _interrupted_after(database, seconds):
                found = database.execute(asked).fetchnumpy()["id"]
        except duckdb.InterruptException:
            raise QueryError(f"where {condition!r}: takes more than {seconds:g} seconds") from None
        except duckdb.Error as error:
            raise QueryError(f"where {condition!r}: {_reason(error, columns)}") from None
    ids: NDArray[np.int64] = np.asarray(found, np.int64)
    return ids


def rows_named(
    release: Release, keys: Iterable[str] = (), *, ids: Iterable[int] = (), where: str | None = None
) -> NDArray[np.int64]:
    """Return the ids of rows, int64[n], ascending, each once.

    Args:
        release: that has the rows.
        keys: rows by key.
        ids: rows by id.
        where: rows for which this condition holds.

    Raises:
        QueryError: there is no such row, or the condition holds for none.
    """
    chosen = np.zeros(0, np.int64) if where is None else ids_where(release, where)
    if where is not None and not len(chosen):
        raise QueryError(f"where {where!r}: no row of {release.name} fits")
    named = ids_of([*ids, *map(release.id_of, keys)])
    release.items.check(named)
    return np.union1d(named, chosen)


def _show(database: Any, release: Release) -> tuple[list[str], dict[str, str]]:  # noqa: ANN401  duckdb has no types
    """Show the database the rows as ``items``, and nothing else.

    Returns:
        The names of its columns, and those of the source's columns with what they are called here.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    from aepipe.store.rows import Rows

    tables = [Rows(folder) for folder in release.folders("rows")]
    own: dict[str, str] = tables[0].facts["columns"]
    names = sql_names(own)
    shown = {name: name for name in OURS} | {new: own[name] for name, new in names.items()}
    rows, relation = _readable(database, tables)
    if len({name.casefold() for name in rows.schema.names}) < len(rows.schema.names) or "" in rows.schema.names:
        # The engine could not tell these columns apart, so they are read under their new names.
        extra = {PART: ds.field(PART)} if PART in rows.schema.names else {}
        rows = rows.scanner(columns={new: ds.field(written) for new, written in shown.items()} | extra)
        shown = {new: new for new in shown}
    database.register("rows_on_disk", rows)
    database.register("removed", pa.table({"id": np.asarray(release.removed)}))
    read = {"label": _SHOWN} if any(table.several_labels for table in tables) else {}
    listed = ", ".join(f"{read.get(written, quoted(written))} AS {quoted(new)}" for new, written in shown.items())
    if read and LABELS not in {name.casefold() for name in shown}:
        listed, shown = f"{listed}, {_PARTED} AS {LABELS}", shown | {LABELS: LABELS}
    database.execute(f"CREATE VIEW items AS SELECT {listed} FROM {relation} ANTI JOIN removed USING (id)")
    for setting in ("enable_external_access = false", f"memory_limit = '{MEMORY}'", "lock_configuration = true"):
        database.execute(f"SET {setting}")
    return list(shown), names


def _readable(database: Any, tables: Sequence[Rows]) -> tuple[Any, str]:  # noqa: ANN401
    """Return what :func:`_on_disk` does.

    Raises:
        CorruptError: a file is damaged; Arrow says that in a sentence of its own.
    """
    import pyarrow.parquet as pq

    from aepipe.store.row_files import row_files

    try:
        return _on_disk(database, tables)
    except ValueError:
        for file in (file for table in tables for folder in table.folders for file in row_files(folder)):
            with table_errors_named(file):
                pq.read_schema(file)
        raise


def _on_disk(database: Any, tables: Sequence[Rows]) -> tuple[Any, str]:  # noqa: ANN401
    """Return the files of tables as one dataset, and where their rows come from in SQL.

    Rows of a list have the ids of their parts on disk; these are shifted to those that they have in the list.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    from aepipe.store.row_files import row_files

    numbered = list(enumerate(folder for table in tables for folder in table.folders))
    if not any(table.part_names for table in tables):
        return ds.dataset([str(file) for _, folder in numbered for file in row_files(folder)]), "rows_on_disk"
    form, here = ds.ParquetFileFormat(), LocalFileSystem()
    fragments = [
        form.make_fragment(str(file), here, partition_expression=ds.field(PART) == number)
        for number, folder in numbered
        for file in row_files(folder)
    ]
    schema = fragments[0].physical_schema.append(pa.field(PART, pa.int64()))
    shifts = [(part, *one) for part, table in enumerate(_parts_of(tables)) for one in _shifts(table)]
    first = pa.table([pa.array(one, pa.int64()) for one in zip(*shifts, strict=True)], [PART, "from", "shift"])
    database.register("shifts", first)
    # With one run for each part the join is by equality, which is much quicker.
    join = f"JOIN shifts AS s ON r.{quoted(PART)} = s.{quoted(PART)}"
    join = join if len(shifts) == len(numbered) else f'ASOF {join} AND r.id >= s."from"'
    relation = f"(SELECT r.* REPLACE (r.id + s.shift AS id) FROM rows_on_disk AS r {join})"
    return ds.FileSystemDataset(fragments, schema, form, here), relation


def _parts_of(tables: Sequence[Rows]) -> Iterator[Rows]:
    for table in tables:
        yield from table.parts


def _shifts(part: Rows) -> Iterator[tuple[int, int]]:
    """Yield for each run of a part its first id on disk, and what makes ids of the list of those on disk."""
    if not part.is_listed:
        yield 0, 0
        return
    place = 0
    for first, count in part.runs().tolist():
        yield place, first - place
        place += count


def _check_names(condition: str, names: Mapping[str, str]) -> None:
    """Refuse a condition with the name that a renamed column has in its source; SQL would take it for another one.

    Args:
        condition: in SQL.
        names: of the source's columns, and what they are called here.

    Raises:
        QueryError: it names such a column.
    """
    import duckdb

    marks = [*duckdb.tokenize(condition), (len(condition.encode()), None)]
    text = condition.encode()  # places count bytes
    for (start, kind), (end, _) in itertools.pairwise(marks):
        if kind != duckdb.token_type.identifier:
            continue
        word = text[start:end].decode("utf-8", "replace").strip()
        word = word[1:-1].replace('""', '"') if word[:1] == '"' else word
        if names.get(word, word) != word and word not in OURS:
            raise QueryError(f"where {condition!r}: the column {word!r} of the source is called {names[word]} here")


def _check_plain(database: Any, condition: str, asked: str) -> None:  # noqa: ANN401
    """Refuse a condition that is more than one over the columns.

    Raises:
        QueryError: it holds a query, or a function that is not among :data:`PLAIN`.
    """
    tree = json.loads(database.execute("SELECT json_serialize_sql(?)", [asked]).fetchone()[0])
    for node in _nodes(tree):
        if node.get("class") == "SUBQUERY":
            raise QueryError(f"where {condition!r}: a query within a condition is not allowed here")
        name = node.get("function_name")
        if name is not None and name not in PLAIN:
            raise QueryError(f"where {condition!r}: the function {name} is not allowed here")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401  JSON
    """Yield all objects of a tree."""
    left = [tree]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield one
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)


@contextmanager
def _interrupted_after(database: Any, seconds: float | None) -> Iterator[None]:  # noqa: ANN401
    """Interrupt what a database does within the block, once that takes too long."""
    if seconds is None:
        yield
        return
    done = threading.Event()

    def interrupt() -> None:
        # Again and again: one that comes before the work begins is lost.
        while not done.wait(AGAIN):
            database.interrupt()

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        done.set()
        timer.cancel()
        if timer.is_alive():
            timer.join()


def _reason(error: Exception, columns: list[str]) -> str:
    """Return the error in a line; where a column is unknown, with the known ones."""
    lines = str(error).strip().splitlines()
    if "not found in FROM clause" in lines[0]:
        return f"{lines[0].partition('Error: ')[2] or lines[0]} there are: {', '.join(columns)}"
    return lines[0]

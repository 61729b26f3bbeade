"""Filter the rows of a release by a condition in SQL, with DuckDB.

The condition is written as after ``WHERE``: ``label = 'Sneaker' AND year > 2020``, over ``id``, ``key``, ``label``,
``split`` and the source's own columns; where rows have several labels, also over the list ``labels``. It may come from
a stranger, so it cannot reach files, the network or settings, and more than one statement is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import QueryError
from aepipe.store import layout
from aepipe.store.labels import SEPARATOR

if TYPE_CHECKING:
    from aepipe.release.release import Release

OURS = ("id", "key", "label", "split")
SETTINGS: dict[str, Any] = {"python_enable_replacements": "false", "autoinstall_known_extensions": "false"}
MEMORY = "1GB"
LABELS = "labels"
"""A list of texts, where rows have several labels."""
_SHOWN = f"replace(label, chr({ord(SEPARATOR)}), ', ')"
_PARTED = f"string_split(label, chr({ord(SEPARATOR)}))"


def ids_where(release: Release, condition: str) -> NDArray[np.int64]:
    """Return the ids of the rows for which a condition holds, int64[n], ascending.

    Args:
        release: whose rows are filtered.
        condition: in the SQL of DuckDB.

    Raises:
        QueryError: it is not a condition, names an unknown column, or reaches for files, the network or settings.
        CorruptError: the rows of the release are missing.
    """
    import duckdb

    if not condition.strip():
        raise QueryError("where: an empty condition; write it as after WHERE in SQL: \"label = 'Boot'\"")
    with duckdb.connect(":memory:", config=SETTINGS) as database:
        columns = _show(database, release)
        # The condition has a line of its own, so that a comment at its end cannot swallow the bracket.
        asked = f"SELECT id FROM items WHERE (\n{condition}\n) ORDER BY id"
        try:
            statements = duckdb.extract_statements(asked)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise QueryError(f"where {condition!r}: one condition is wanted, not several statements")
            found = database.execute(asked).fetchnumpy()["id"]
        except duckdb.Error as error:
            raise QueryError(f"where {condition!r}: {_reason(error, columns)}") from None
    ids: NDArray[np.int64] = np.asarray(found, np.int64)
    return ids


def ids_named(
    release: Release, keys: Sequence[str], ids: Sequence[int], condition: str | None = None
) -> NDArray[np.int64]:
    """Return the ids of rows that are named by key, by id or by a condition, int64[n].

    Raises:
        QueryError: there is no such key, the condition is not SQL, or holds for no row and none else is named.
    """
    held = [] if condition is None else ids_where(release, condition).tolist()
    named = [*ids, *map(release.id_of, keys), *held]
    if condition is not None and not named:
        raise QueryError(f"no row of {release.name} is one where {condition}")
    return np.array(named, np.int64)


def _show(database: Any, release: Release) -> list[str]:  # noqa: ANN401  duckdb has no types
    """Show the database the rows as ``items``, and nothing else; return the column names."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    from aepipe.store.rows import Rows

    folders = release.folders("rows")
    tables = [Rows(folder) for folder in folders]
    own: dict[str, str] = tables[0].facts["columns"]
    files = [str(file) for folder in folders for file in sorted(folder.glob(layout.Rows.PARTS))]
    database.register("rows_on_disk", ds.dataset(files))
    database.register("removed", pa.table({"id": np.asarray(release.removed)}))
    columns = [*((name, name) for name in OURS), *own.items()]
    # A column of the source with one of our names is shown under the name that it was written under.
    shown = [(name if name not in OURS else written, written) for name, written in columns[len(OURS) :]]
    read = {"label": _SHOWN} if any(table.several_labels for table in tables) else {}
    listed = ", ".join(
        f"{read.get(written, _quoted(written))} AS {_quoted(name)}" for name, written in [*columns[: len(OURS)], *shown]
    )
    if read and LABELS not in own:
        listed, shown = f"{listed}, {_PARTED} AS {LABELS}", [*shown, (LABELS, LABELS)]
    database.execute(f"CREATE VIEW items AS SELECT {listed} FROM rows_on_disk ANTI JOIN removed USING (id)")
    for setting in ("enable_external_access = false", f"memory_limit = '{MEMORY}'", "lock_configuration = true"):
        database.execute(f"SET {setting}")
    return [*OURS, *(name for name, _ in shown)]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _reason(error: Exception, columns: list[str]) -> str:
    """Return the error in a line; where a column is unknown, with the known ones."""
    lines = str(error).strip().splitlines()
    if "not found in FROM clause" in lines[0]:
        return f"{lines[0].partition('Error: ')[2] or lines[0]} there are: {', '.join(columns)}"
    return lines[0]

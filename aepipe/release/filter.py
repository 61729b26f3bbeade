"""Which rows of a release a condition in SQL holds for; DuckDB reads it, and reads nothing but the rows.

The condition is what stands after ``WHERE``: ``label = 'Sneaker' AND year > 2020``, over ``id``, ``key``, ``label``,
``split`` and the source's own columns. It comes from whoever asks: files, the network and settings are out of its
reach, and more than one statement is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import QueryError
from aepipe.store import layout

if TYPE_CHECKING:
    from aepipe.release.release import Release

OURS = ("id", "key", "label", "split")
SETTINGS: dict[str, Any] = {"python_enable_replacements": "false", "autoinstall_known_extensions": "false"}
MEMORY = "1GB"


def ids_where(release: Release, condition: str) -> NDArray[np.int64]:
    """Return the ids of the rows for which a condition holds, int64[n], ascending.

    Args:
        release: whose rows.
        condition: in SQL, as DuckDB has it.

    Raises:
        QueryError: the condition is not one, names a column that there is not, or reaches for something else.
        CorruptError: the rows of the release are missing.
    """
    import duckdb

    if not condition.strip():
        raise QueryError("where: an empty condition; write it as after WHERE in SQL: \"label = 'Boot'\"")
    with duckdb.connect(":memory:", config=SETTINGS) as database:
        columns = _show(database, release)
        # On a line of its own, so that a comment at its end does not swallow the bracket.
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


def _show(database: Any, release: Release) -> list[str]:  # noqa: ANN401  duckdb has no types
    """Make the rows known as ``items``, and everything else unknown; return the names of their columns."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    from aepipe.store.rows import Rows

    folders = release.folders("rows")
    own: dict[str, str] = Rows(folders[0]).facts["columns"]
    files = [str(file) for folder in folders for file in sorted(folder.glob(layout.Rows.PARTS))]
    database.register("rows_on_disk", ds.dataset(files))
    database.register("removed", pa.table({"id": np.asarray(release.removed)}))
    columns = [*((name, name) for name in OURS), *own.items()]
    # A column of the source that has one of our names keeps the name that it was written under.
    shown = [(name if name not in OURS else written, written) for name, written in columns[len(OURS) :]]
    listed = ", ".join(f"{_quoted(written)} AS {_quoted(name)}" for name, written in [*columns[: len(OURS)], *shown])
    database.execute(f"CREATE VIEW items AS SELECT {listed} FROM rows_on_disk ANTI JOIN removed USING (id)")
    for setting in ("enable_external_access = false", f"memory_limit = '{MEMORY}'", "lock_configuration = true"):
        database.execute(f"SET {setting}")
    return [*OURS, *(name for name, _ in shown)]


def _quoted(name: str) -> str:
    """Return a name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def _reason(error: Exception, columns: list[str]) -> str:
    """Return what is wrong, in a line; where a column is unknown, with those that there are."""
    lines = str(error).strip().splitlines()
    if "not found in FROM clause" in lines[0]:
        return f"{lines[0].partition('Error: ')[2] or lines[0]} there are: {', '.join(columns)}"
    return lines[0]

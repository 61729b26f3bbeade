"""The program of a process that reads sheets of workbooks, for :mod:`aepipe.sources.helper`.

A request is ``{"path": ..., "sheet": ...}``. The answer has ``names``, all sheets; ``chosen``, the one that was read;
and its ``rows``; or ``trouble``, in the words of the library.
"""

from __future__ import annotations

import datetime
from typing import Any

from aepipe.sources.helping import serve

MOST_CELLS = 1 << 26
"""Cells of a sheet, between the first and the last that has something in it."""


def main() -> None:
    """Read sheets until there are no more."""
    serve(lambda asked, _: _answer(asked["path"], asked["sheet"]))


def _answer(path: str, sheet: str | None) -> dict[str, Any]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        book = CalamineWorkbook.from_path(path)
        names = book.sheet_names
        if not names or (sheet is not None and sheet not in names):
            return {"names": names, "chosen": None}
        chosen = sheet if sheet is not None else names[0]
        found = book.get_sheet_by_name(chosen)
        if found.total_height * found.total_width > MOST_CELLS:
            return {"trouble": f"a sheet of {found.total_height:,} rows and {found.total_width:,} columns"}
        rows = [[_text(value) for value in row] for row in found.iter_rows()]
    except (CalamineError, OSError, IndexError, ValueError) as error:
        return {"trouble": str(error)}
    return {"names": names, "chosen": chosen, "rows": rows}


def _text(value: Any) -> str:  # noqa: ANN401  a cell has one of many types
    """Return a cell as CSV would have it: whole numbers without a point, dates as in ISO 8601."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1 << 53 else repr(value)
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return value.date().isoformat() if midnight else value.isoformat(" ")
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


if __name__ == "__main__":
    main()

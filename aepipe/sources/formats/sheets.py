"""Workbooks of spreadsheets: one sheet of Excel's or OpenDocument's is a table."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from aepipe.errors import ExtraError, SourceError
from aepipe.sources.files import EMPTY, first_bytes, pointer_in
from aepipe.sources.formats.dialect import Dialect, layout_of
from aepipe.sources.formats.streams import stamp
from aepipe.sources.item import Given

ENDINGS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_SAMPLE = 1000


class Sheet:
    """One sheet, in memory; its cells are texts, as CSV would have them.

    Args:
        path: of the workbook.
        given: which sheet, and whether it has a header.

    Raises:
        SourceError: it is no workbook, or has no such sheet.
        ExtraError: the package that reads workbooks is not installed.
    """

    def __init__(self, path: Path, given: Given) -> None:
        self._rows, self._others = _cells(path, given.sheet, stamp(path))
        self.dialect: Dialect = layout_of(self._rows[:_SAMPLE], header=given.header)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self.dialect.names

    @property
    def notes(self) -> list[str]:
        """What was guessed, in words."""
        return [*self._others, *self.dialect.notes]

    def rows(self) -> Iterator[list[str]]:
        """Yield the rows in order, without empty ones."""
        width = len(self.names)
        for row in self._rows[self.dialect.skipped + self.dialect.header :]:
            if any(row):
                yield row[:width]


@lru_cache(2)
def _cells(path: Path, sheet: str | None, _: tuple[int, int]) -> tuple[list[list[str]], list[str]]:
    """Return the cells of a sheet, all rows of one length; and what there is to be said."""
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError:
        raise ExtraError("python-calamine", "tables") from None
    try:
        book = CalamineWorkbook.from_path(str(path))
        names = book.sheet_names
        if sheet is not None and sheet not in names:
            raise SourceError(f"{path}: no sheet {sheet!r}; it has: {', '.join(names)}")
        chosen = sheet if sheet is not None else names[0]
        rows = [[_text(value) for value in row] for row in book.get_sheet_by_name(chosen).iter_rows()]
    except (CalamineError, OSError, IndexError) as error:
        raise SourceError(f"{path}: not a readable workbook: {_other(path) or error}") from None
    others = [name for name in names if name != chosen]
    notes = [f"sheet {chosen!r} is read; the others are not: {', '.join(others)}"] if others and sheet is None else []
    return rows, notes


def _other(path: Path) -> str:
    """Return what a file is that only has the name of a workbook; empty where that is not known."""
    try:
        head = first_bytes(str(path), 512)
    except OSError:
        return ""
    if not head:
        return EMPTY
    if head.lstrip().lower().startswith((b"<html", b"<!doctype", b"<table", b"<?xml")):
        return "it is a page of HTML or XML; save it as .xlsx or .csv"
    text = b"\0" not in head or head.startswith((b"\xff\xfe", b"\xfe\xff"))
    return pointer_in(head) or ("it is text; if it is a table, name it .csv or .tsv" if text else "")


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

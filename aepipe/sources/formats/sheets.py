"""Workbooks of spreadsheets: one sheet of Excel's or OpenDocument's is a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any

from aepipe.errors import ExtraError, SourceError
from aepipe.sources.files import EMPTY, first_bytes, pointer_in
from aepipe.sources.formats.dialect import Dialect, layout_of
from aepipe.sources.formats.plausible import check_packed
from aepipe.sources.formats.streams import stamp
from aepipe.sources.helper import Helper
from aepipe.sources.item import Given

SECONDS = 300.0
"""Time that one sheet may take."""
COMMAND = (sys.executable, "-m", "aepipe.sources.formats.sheet_reader")
_idle: LifoQueue[Helper] = LifoQueue()
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
    if not find_spec("python_calamine"):
        raise ExtraError("python-calamine", "tables")
    try:
        check_packed(path)
        answer = _read(path, sheet)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: not a readable workbook: {_other(path) or error}") from None
    names, chosen = answer["names"], answer["chosen"]
    if chosen is None:
        what = f"no sheet {sheet!r}" if sheet is not None else "no sheet"
        raise SourceError(f"{path}: {what}; it has: {', '.join(names) or 'none'}")
    rows: list[list[str]] = answer["rows"]
    others = [name for name in names if name != chosen]
    notes = [f"sheet {chosen!r} is read; the others are not: {', '.join(others)}"] if others and sheet is None else []
    return rows, notes


def _read(path: Path, sheet: str | None) -> dict[str, Any]:
    """Return what another process read.

    Raises:
        ValueError: it could not, with the reason.
    """
    try:
        helper = _idle.get_nowait()
    except Empty:
        helper = Helper(COMMAND)
    answer = helper.ask({"path": str(path), "sheet": sheet}, seconds=SECONDS)
    if answer is None:
        late = f"it took more than {SECONDS:g} seconds"
        raise ValueError(late if helper.late else "its reader crashed or ran out of memory: it may be damaged")
    _idle.put(helper)
    if "trouble" in answer:
        raise ValueError(answer["trouble"] or "its reader ran out of memory")
    return answer


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

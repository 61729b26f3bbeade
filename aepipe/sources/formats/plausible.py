"""What a file may grow to when it is read; checked before anything is unpacked.

A small file may say that it holds any number of rows, or be packed so that it fills the memory. Real ones are far from
these bounds: text is packed to a tenth, rarely to a hundredth.
"""

from __future__ import annotations

import os
from pathlib import Path

RATIO, PLAUSIBLE = 200, 1 << 28
"""How many times larger than its file what is packed may be, from this many bytes on."""
MOST_UNPACKED = 1 << 32
"""Bytes that a workbook may unpack to."""
MOST_ENTRIES = 20_000
"""Files in a workbook."""
ROWS, ROWS_A_BYTE = 10_000_000, 100
"""Rows of a table that are plausible whatever its size; and of larger tables, rows for each byte of the file."""
BOMB = "unpacks to more than is plausible"


def check_packed(path: Path) -> None:
    """Check what a zip archive that is read as a whole unpacks to; other files pass.

    Raises:
        ValueError: it is more than is plausible, or the archive is damaged.
        OSError: it cannot be read.
    """
    import zipfile

    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as packed:
            entries = packed.infolist()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ValueError(str(error)) from None
    size = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_ENTRIES or size > min(MOST_UNPACKED, plausible_size(path)):
        raise ValueError(BOMB)


def plausible_size(path: Path) -> int:
    """Return the bytes that a packed file may unpack to."""
    return max(PLAUSIBLE, RATIO * os.path.getsize(path))


def check_rows(path: Path, rows: int) -> None:
    """Check how many rows a table says it has.

    Raises:
        ValueError: it is more than a file of its size plausibly holds.
    """
    if rows > most_rows(path):
        raise ValueError(f"{rows:,} rows in {os.path.getsize(path) / 1e6:.2f} MB are not plausible")


def most_rows(path: Path) -> int:
    """Return how many rows a file of its size may have."""
    return max(ROWS, ROWS_A_BYTE * os.path.getsize(path))

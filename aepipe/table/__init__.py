"""Rows on Parquet: what every item of a collection is, and its features.

::

    rows-00000.parquet   id int64, key, sha256 [32], place, label, split, the source's own columns, features [bytes]
    quarantine.parquet   key, place, reason: the items that could not be read; always there, empty at best
    rows.json            shape, dtype, counts, digest of the source, next_id

A row's features are its elements in C order, so the bytes of a row group are an array as they are.
"""

from aepipe.table.gathering import gather
from aepipe.table.reading import Finder, Rows
from aepipe.table.schema import HELD_OUT_IDS, Rejected, Row
from aepipe.table.writing import RowsWriter, write_quarantine

__all__ = ["HELD_OUT_IDS", "Finder", "Rejected", "Row", "Rows", "RowsWriter", "gather", "write_quarantine"]

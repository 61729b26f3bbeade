"""Whole files as items, in folders, archives, tables or lists: recordings and films."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aepipe.sources.formats import about, archives, parquet, path_lists
from aepipe.sources.formats.folder import Folder

if TYPE_CHECKING:
    from aepipe.sources.files import Files
    from aepipe.sources.item import Columns, Container


def files_or_lists(files: Files, endings: tuple[str, ...], columns: Columns, called: str) -> Container:
    """Return the files of a kind; else those in archives, in tables or in lists.

    Args:
        files: where they are.
        endings: of the names of items; of other files the first bytes count.
        columns: of tables and lists.
        called: what one item is called, with its article.
    """
    there = list(files)
    whole = Folder(files, endings, columns.sniff, called=called, instead=columns.instead)
    packed, listed = (any(one.claims(found.place) for found in there) for one in (archives, path_lists))
    held = any(map(parquet.holds, there))
    # Files first: a list, a table or an archive in a folder of them is about them.
    if (packed or listed or held) and not any(map(whole.is_item, there)):
        if packed:
            wanted = archives.Wanted(called, endings, columns.sniff, instead=columns.instead, key=columns.key)
            return archives.described(files, wanted, columns.given)
        return parquet.Tables(files, columns) if held else path_lists.Lists(files, columns)
    return about.joined(whole, [found for found in there if about.is_table(found.place)], columns.key, columns.given)

"""Whole files as items, in folders, archives or lists: recordings and films."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aepipe.sources.formats import about, archives, path_lists
from aepipe.sources.formats.folder import Folder

if TYPE_CHECKING:
    from aepipe.sources.files import Files
    from aepipe.sources.item import Columns, Container


def files_or_lists(files: Files, endings: tuple[str, ...], columns: Columns, called: str) -> Container:
    """Return the files with these endings or such first bytes; where there are none, those in archives or in lists.

    Args:
        files: where they are.
        endings: of the names of items.
        columns: of lists.
        called: what one item is called.
    """
    there = list(files)
    if archives.prevail(there, endings):
        return archives.Archives(files, archives.Wanted(called, endings, columns.sniff, key=columns.key))
    # Files first: a list in a folder of them is about them.
    named = any(found.place.lower().endswith(endings) for found in there)
    if not named and any(path_lists.claims(found.place) for found in there):
        return path_lists.Lists(files, columns)
    whole = Folder(files, endings, columns.sniff, called=called)
    return about.joined(whole, [found for found in there if about.is_table(found.place)], columns.key)

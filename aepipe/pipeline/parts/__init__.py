"""Ingestion of a large collection in three steps: list, map, reduce.

::

    list      the source's items, cut into listings           one process, in the order of the source
    map       each new listing: read, hash, decode -> rows    an engine, in any order, on any machine
    reduce    ids, counts, what was not read -> a list        one process, without reading an item

A listing is known by what can be said of its items without reading them, and a part of the rows by what its items are
(:mod:`aepipe.sources.listing`). So a listing as it was is not read; one whose files only have new times is read, and
gives the part that is there already. In a part that has changed, rows that were there before are copied, and when it
is encoded, so are their codes. A process holds 20 bytes for each item at most, and a part or two.

The ids are those that the same items get when they are read into one table.
"""

from __future__ import annotations

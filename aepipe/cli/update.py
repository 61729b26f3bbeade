"""The verbs that change a collection without a run: ``add``, ``remove`` and ``compact``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from aepipe.cli.options import Place, Wait, seconds
from aepipe.cli.output import can_ask, complain, say
from aepipe.cli.progress import showing
from aepipe.errors import QueryError
from aepipe.release.filter import rows_named
from aepipe.release.lifecycle import row_count
from aepipe.sources.passed_over import in_words
from aepipe.store import layout

STDIN = "-"
SHOWN = 5
"""Unreadable items that are named; all are in the file that the last line names."""


@dataclass(frozen=True, slots=True)
class Which:
    """Rows of a collection."""

    id: Annotated[list[int] | None, typer.Option("--id", help="A row, by its id.", metavar="N")] = None
    where: Annotated[
        str | None, typer.Option("--where", help="Rows for which this SQL condition holds.", metavar="SQL")
    ] = None


def add(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, folders, or globs in quotes.")],
    place: Place,
    replace: Annotated[
        bool, typer.Option("--replace", help="An item whose key is there with other bytes replaces that row.")
    ] = False,
    wait: Wait = "0",
) -> None:
    """Add items to the collection in service, at once and without a rebuild.

    They are decoded and encoded as the others were, and can be found when this returns; nothing is
    trained. An item that is there already, with the same bytes, is left alone. Queries that run
    meanwhile see the collection as it was before.

    A run or a refresh makes the collection match its source: items that were added from elsewhere are
    left out then. To keep them, put them into the source, too.

    Examples:
      aepipe add photos/2026-11/IMG_1234.jpg
      aepipe add photos/2026-11/
      aepipe add more.parquet --replace --name posts
    """
    collection, limit = place.open(), seconds(wait)
    with showing():
        done = collection.add(*paths, replace=replace, wait=limit)
    for bad in done.bad[:SHOWN]:
        complain(f"{bad.key}: {bad.reason}")
    if len(done.bad) > SHOWN:
        listed = collection.store.root / layout.Root.quarantine(f"{collection.name}-added")
        complain(f"{len(done.bad):,} items are unreadable: {listed}")
    for fact in done.passed_over:
        complain(f"passed over: {in_words(fact)}")
    say(f"{collection.name}: {done.summary()}; release {done.release.short} is in service")


def remove(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY...", help="Rows by key; - reads keys from stdin, one a line.")
    ] = None,
    *,
    place: Place,
    which: Which,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Say how many rows it would be.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask before rows of --where go.")] = False,
    wait: Wait = "0",
) -> None:
    """Remove rows from the collection in service, at once and without a rebuild.

    When this returns they are not found any more, and in no export. Their bytes leave the files of the
    collection with the next `aepipe compact`, run or refresh. A row whose item is still in the source
    comes back with the next run or refresh: remove it there, too.

    On a terminal, the number of rows of --where is shown, and you are asked.

    Examples:
      aepipe remove holidays/IMG_1234.jpg
      aepipe remove -n --where "label = 'draft'"
      aepipe remove --where "label = 'draft' and year < 2020"
      aepipe remove - < keys.txt
    """
    collection, limit = place.open(), seconds(wait)
    # The rows that are counted and agreed to are those that go, whatever happens in between.
    ids = rows_named(collection.release, _keys(keys or []), ids=which.id or [], where=which.where)
    if dry_run:
        say(f"{collection.name}: {row_count(len(ids))} of {row_count(len(collection))} would be removed")
        return
    if which.where is not None and not yes and can_ask():
        asked = f"{collection.name}: remove {row_count(len(ids))} of {row_count(len(collection))}?"
        if not typer.confirm(asked, err=True):
            complain("nothing is removed")
            return
    with showing():
        count = collection.remove(ids=ids.tolist(), wait=limit)
    say(f"{collection.name}: {row_count(count)} removed; release {collection.release.ref.short} is in service")


def compact(place: Place, wait: Wait = "0") -> None:
    """Merge what was added and removed into one index again; nothing is trained.

    Queries get a little slower with every change since the index was built, and removed rows stay in
    the files until then. The scores stay those of the last run.

    Examples:
      aepipe compact
      aepipe compact --name photos
    """
    collection, limit = place.open(), seconds(wait)
    with showing():
        changed = collection.compact(wait=limit)
    now = collection.release.ref.short
    if changed:
        say(f"{collection.name}: {row_count(len(collection.release))} in one index; release {now} is in service")
    else:
        say(f"{collection.name}: nothing was added or removed since release {now} was built")


def _keys(words: list[str]) -> Iterator[str]:
    """Yield the keys that are named, and those on stdin where - stands.

    Raises:
        QueryError: stdin is empty.
    """
    for word in words:
        if word != STDIN:
            yield word
            continue
        lines = [line.rstrip("\r\n") for line in sys.stdin]
        if not any(lines):
            raise QueryError("-: no key came on stdin")
        yield from filter(None, lines)

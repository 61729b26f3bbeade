"""The verbs that change what is in service without building it anew: ``add``, ``remove`` and ``compact``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from aepipe.cli.options import Place
from aepipe.cli.output import complain, say
from aepipe.cli.progress import showing
from aepipe.errors import QueryError
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Store

if TYPE_CHECKING:
    from aepipe.pipeline.update import Added

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
        bool, typer.Option("--replace", help="An item whose key is there with other bytes takes its place.")
    ] = False,
) -> None:
    """Add items to the collection in service, at once and without a rebuild.

    They are decoded and encoded as the others were, and can be found when this returns; nothing is
    learned. What is there already, with the same bytes, is passed over. Queries that run meanwhile
    answer from what was there before.

    A run or a refresh makes the collection what its source holds: what was added from elsewhere is left
    out then, so put it into the source, too, if it is to stay.

    Examples:
      aepipe add photos/2026-11/IMG_1234.jpg
      aepipe add photos/2026-11/
      aepipe add more.parquet --replace --name posts
    """
    from aepipe.pipeline import update as adding

    with _changing(place) as (store, release), showing():
        done = adding.add(store, release, adding.sources_of(release, paths), replace=replace)
        said = _said(done)
        if done.release != release.ref:
            registry.promote(store, release.name, done.release, why=f"add: {said}")
    for bad in done.bad[:SHOWN]:
        complain(f"{bad.key}: {bad.reason}")
    if len(done.bad) > SHOWN:
        complain(f"{len(done.bad):,} items are unreadable: {store.root / f'quarantine-{release.name}-added.parquet'}")
    say(f"{release.name}: {said}; release {done.release.short} is in service")


def remove(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY...", help="Rows by key; - reads keys from stdin, one a line.")
    ] = None,
    *,
    place: Place,
    which: Which,
) -> None:
    """Remove rows from the collection in service, at once and without a rebuild.

    They are found no more when this returns, are in no export, and leave the files of the collection
    with the next `aepipe compact`, run or refresh. A row whose item is still in the source comes back
    with the next run or refresh: remove it there, too.

    Examples:
      aepipe remove holidays/IMG_1234.jpg
      aepipe remove --where "label = 'draft' and year < 2020"
      aepipe remove - < keys.txt
    """
    import numpy as np

    from aepipe.pipeline import update
    from aepipe.release.filter import ids_where

    with _changing(place) as (store, release), showing():
        ids = [*(which.id or []), *(release.id_of(key) for key in _keys(keys or []))]
        if which.where is not None:
            ids += ids_where(release, which.where).tolist()
        done = update.remove(store, release, np.array(ids, np.int64))
        count = len(release) - len(Release.open(store, ref=done))
        registry.promote(store, release.name, done, why=f"remove: {_rows(count)}")
    say(f"{release.name}: {_rows(count)} removed; release {done.short} is in service")


def compact(place: Place) -> None:
    """Fold what was added and removed into one index again; nothing is learned.

    Queries are a little slower the more has changed since the index was built; and what was removed is
    in the files of a release until then. The scores stay those of the last run.

    Examples:
      aepipe compact
      aepipe compact --name photos
    """
    from aepipe.pipeline import compact as compacting

    with _changing(place) as (store, release), showing():
        if not release.changed:
            say(f"{release.name}: nothing was added or removed since release {release.ref.short} was built")
            return
        done = compacting.compact(store, release)
        registry.promote(store, release.name, done, why="compact")
    say(f"{release.name}: {_rows(len(release))} in one index; release {done.short} is in service")


@contextmanager
def _changing(place: Place) -> Iterator[tuple[Store, Release]]:
    """Hold a collection for writing, and open what is in service.

    Raises:
        NotFoundError: there is none.
        BusyError: a run is writing under that name.
    """
    store = place.store()
    name, _ = registry.resolve(store, place.name)
    with registry.lock(store, name):
        yield store, Release.open(store, name)


def _keys(words: list[str]) -> Iterator[str]:
    """Return the keys that are named, those on stdin among them."""
    for word in words:
        if word != STDIN:
            yield word
            continue
        lines = [line.rstrip("\r\n") for line in sys.stdin]
        if not any(lines):
            raise QueryError("-: no key came on stdin")
        yield from filter(None, lines)


def _said(done: Added) -> str:
    """Return what came of items in a line."""
    parts = [
        f"{_rows(done.new)} added" if done.new or not done.replaced else "",
        f"{done.replaced:,} replaced" if done.replaced else "",
        f"{done.unchanged:,} there already" if done.unchanged else "",
        f"{len(done.bad):,} unreadable" if done.bad else "",
    ]
    return ", ".join(filter(None, parts))


def _rows(count: int) -> str:
    """Return a number of rows in words."""
    return f"{count:,} row{'' if count == 1 else 's'}"

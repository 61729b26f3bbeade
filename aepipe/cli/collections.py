"""The verbs about whole collections: ``list``, ``rename`` and ``drop``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from aepipe.cli.completion import names
from aepipe.cli.options import Wait, Where, seconds
from aepipe.cli.output import can_ask, complain, say, size
from aepipe.cli.tables import Shape, say_table
from aepipe.errors import QueryError
from aepipe.release import collections
from aepipe.release.lifecycle import row_count
from aepipe.store import places
from aepipe.store.artifacts import Store

Named = Annotated[str, typer.Argument(metavar="NAME", help="The collection.", autocompletion=names, show_default=False)]
HEAD = ("name", "kind", "rows", "bits", "releases", "since", "source")


def list(where: Where, shape: Shape) -> None:
    """List the collections: those of the store here, and those of the user's store.

    Rows are those in service; a collection with none was made, and nothing of it is in service.

    Examples:
      aepipe list
      aepipe list --user
      aepipe list --json | jq -r '.[].name'
    """
    form = shape.form()
    stores = [where.store()] if where.folder is not None else places.looked_at()
    found = [one for store in stores for one in collections.listed(store)]
    if not found and form == "table":
        say(f"no collection in {' or '.join(store.address for store in stores)}; `aepipe run FOLDER` makes one")
        return
    head = (*HEAD, "store") if len(stores) > 1 else HEAD
    lines = [(*_cells(one), one.store)[: len(head)] for one in found]
    say_table(head, lines, form, values=[asdict(one) for one in found], left=(0, 1, 5, 6, 7))


def rename(
    name: Named,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.", show_default=False)],
    *,
    where: Where,
    wait: Wait = "0",
) -> None:
    """Give a collection another name.

    Ids of rows, history and releases stay, and the release in service stays there. A recipe or a schedule
    with the old name is refused from then on: the message says which name to write.

    Examples:
      aepipe rename photos holidays
    """
    store = _store_of(name, where)
    release = collections.rename(store, name, new, wait=seconds(wait))
    say(f"{name} is {new} now{f', release {release.short} stays in service' if release else ''}")
    if written := collections.mentions(store, release, name, new):
        say(f"In {written}; schedules of it find that there")


def drop(
    name: Named,
    *,
    where: Where,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Remove nothing; say what would go.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    wait: Wait = "0",
) -> None:
    """Remove a collection from the store: its releases, and all that no other collection needs.

    The items themselves, its recipe and other collections stay as they are. You are asked first; where
    nobody can answer, nothing is removed without -y.

    Examples:
      aepipe drop photos -n
      aepipe drop photos
      aepipe drop photos -y
    """
    store, limit = _store_of(name, where), seconds(wait)
    found = collections.drop(store, name, dry_run=True)
    what = _what(found, store)
    if dry_run:
        say(f"{name}: {what} would go")
        return
    if not yes and not _agreed(f"{name}: remove {what}?"):
        return
    done = collections.drop(store, name, wait=limit)
    say(f"{name}: removed, {size(done.freed)} freed in {store.address}")


def _store_of(name: str, where: Where) -> Store:
    """Return the store that has a collection, also one that nothing is in service of."""
    if where.folder is not None:
        return where.store()
    stores = places.looked_at()
    known = [store for store in stores if name in {one.name for one in collections.listed(store)}]
    return (known or stores)[0]


def _what(found: collections.Dropped, store: Store) -> str:
    rows = row_count(found.rows) if found.rows is not None else "no rows in service"
    count = len(found.releases)
    return f"{rows}, {count:,} release{'s' * (count != 1)}, {size(found.freed)} in {store.address}"


def _agreed(question: str) -> bool:
    """Ask, where somebody is there to answer.

    Raises:
        QueryError: nobody is.
    """
    if not can_ask():
        raise QueryError(f"{question} Nobody is here to answer: say so with -y")
    if typer.confirm(question, err=True):
        return True
    complain("nothing is removed")
    return False


def _cells(one: collections.Listed) -> tuple[str, ...]:
    rows = "-" if one.rows is None else f"{one.rows:,}"
    bits = "-" if one.n_bits is None else str(one.n_bits)
    return one.name, one.kind or "-", rows, bits, f"{one.releases:,}", one.since[:16].replace("T", " "), one.source

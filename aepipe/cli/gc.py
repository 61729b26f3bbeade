"""The verb ``gc``."""

from __future__ import annotations

from typing import Annotated

import typer

from aepipe.cli.options import Home, shelf
from aepipe.cli.output import say, size, table
from aepipe.release import gc as collector
from aepipe.store.artifacts import KINDS


def gc(
    keep: Annotated[
        int, typer.Option("--keep", min=1, help="Releases of each collection that stay, the newest.", metavar="N")
    ] = collector.KEEP,
    hours: Annotated[
        float, typer.Option("--hours", min=0, help="What was written since stays.", metavar="HOURS")
    ] = collector.HOURS,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would go.")] = False,
    home: Home = None,
) -> None:
    """Remove what no release needs any more from the shelf.

    What is in service stays, and what a rollback goes back to, and what they refer to, whatever --keep
    says. A run that is under way is not disturbed: then nothing is removed.

    Examples:
      aepipe gc -n
      aepipe gc --keep 3
    """
    store = shelf(home)
    with collector.exclusive(store):
        found = collector.find(store, keep=keep, hours=hours)
        if not dry_run:
            collector.collect(store, found)
    counts = [(kind, sum(ref.kind == kind for ref in found.refs)) for kind in KINDS]
    counts.append(("interrupted work", len(found.work)))
    rows = [(kind, f"{count:,}") for kind, count in counts if count]
    if rows:
        say(table(("kind", "folders"), rows))
    said = "would be freed" if dry_run else "freed"
    say(f"{size(found.freed)} {said}; {len(found.kept):,} release{'s' * (len(found.kept) != 1)} kept in {store.root}")

"""The verb ``gc``."""

from __future__ import annotations

from typing import Annotated

import typer

from aepipe.cli.options import Where
from aepipe.cli.output import say, size, table
from aepipe.release import gc as collector
from aepipe.store.artifacts import KINDS


def gc(
    keep: Annotated[
        int, typer.Option("--keep", min=1, help="Releases of each collection that stay, the newest.", metavar="N")
    ] = collector.KEEP,
    hours: Annotated[
        float, typer.Option("--hours", min=0, help="Folders written in the last HOURS stay.", metavar="HOURS")
    ] = collector.HOURS,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Remove nothing; only list what would go.")] = False,
    *,
    where: Where,
) -> None:
    """Remove from the store what no release needs any more.

    The release in service, the one that a rollback would put back, and everything they refer to always
    stay, whatever --keep says. While a run is under way, nothing is removed.

    Examples:
      aepipe gc -n
      aepipe gc --keep 3
    """
    store = where.store()
    found = collector.clean(store, keep=keep, hours=hours, dry_run=dry_run)
    counts = [(kind, sum(ref.kind == kind for ref in found.refs)) for kind in KINDS]
    counts.append(("interrupted work", len(found.work)))
    rows = [(kind, f"{count:,}") for kind, count in counts if count]
    if rows:
        say(table(("kind", "folders"), rows))
    said = "would be freed" if dry_run else "freed"
    kept = f"{len(found.kept):,} release{'s' * (len(found.kept) != 1)} kept in {store.address}"
    say(f"{size(found.freed)} {said}; {kept}")

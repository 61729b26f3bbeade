"""The verbs about what is in service: ``history``, ``promote``, ``rollback``, ``verify``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from aepipe import service
from aepipe.cli import shelving
from aepipe.cli.options import AsJson, Place, ReleaseText, Why
from aepipe.cli.output import complain, say, say_json, table
from aepipe.service import Event

DAMAGED = 2

Wanted = Annotated[str, typer.Argument(metavar="RELEASE", help="The first characters of its digest.")]


def history(place: Place, as_json: AsJson = False) -> None:
    """List what went into service, when and why, oldest first.

    Examples:
      aepipe history
      aepipe history --name fashion --json
    """
    events = service.history(place.store(), place.name)
    rows = [(e.when, e.name, e.action, e.before[:12] or "-", e.after[:12], e.why) for e in events]
    if as_json:
        say_json([asdict(event) for event in events])
    elif rows:
        say(table(("when", "name", "action", "from", "to", "why"), rows))
    else:
        say(f"nothing was ever in service on the shelf {place.store().root}")


def promote(release: Wanted, place: Place, why: Why = "by hand") -> None:
    """Put a release into service, after reading every byte of it.

    The gate is not asked: this is how a person overrules it. `aepipe history` keeps the reason.

    Examples:
      aepipe promote 3f9a0c11
      aepipe promote 3f9a0c11 --why "the old labels were wrong"
    """
    say(_changed(shelving.put_into_service(place.store(), release, why=why)))


def rollback(place: Place, why: Why = "by hand") -> None:
    """Go back to the release before, after reading every byte of it.

    Examples:
      aepipe rollback
      aepipe rollback --name fashion --why "hits look wrong"
    """
    say(_changed(shelving.roll_back(place.store(), place.name, why=why)))


def verify(
    place: Place,
    release: ReleaseText = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever lies on the shelf.")] = False,
) -> None:
    """Read every byte of a release and compare it with its digests.

    Every damaged file is named on a line; one is enough for exit status 2.

    Examples:
      aepipe verify
      aepipe verify 3f9a0c11
      aepipe verify --all
    """
    store = place.store()
    one = None if everything else shelving.find(store, release, place.name)
    found = shelving.check_all(store) if one is None else shelving.check_release(store, one)
    for line in found.damage:
        complain(line)
    sound = found.folders - len(found.damage)
    say(f"{sound:,} of {found.folders:,} folders are sound, {found.read:,} bytes in {store.root}")
    if found.damage:
        raise typer.Exit(DAMAGED)


def _changed(event: Event) -> str:
    """Say what changed."""
    before = f"in place of {event.before[:12]}" if event.before else "as the first"
    return f"{event.name}: {event.after[:12]} is in service, {before}"

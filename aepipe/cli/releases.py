"""The verbs about releases in service: ``history``, ``promote``, ``rollback``, ``verify``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

import typer

from aepipe.cli.completion import releases
from aepipe.cli.options import Place, ReleaseText, Wait, Why, seconds
from aepipe.cli.output import complain, say
from aepipe.cli.tables import Shape, say_table
from aepipe.errors import UNABLE
from aepipe.release import lifecycle
from aepipe.store.registry import Event

SHOWN = ("map_at_1000", "recall_at_10")

Wanted = Annotated[
    str, typer.Argument(metavar="RELEASE", help="The first characters of its digest.", autocompletion=releases)
]


def history(place: Place, shape: Shape) -> None:
    """List promotions, rollbacks, refusals and renamings, oldest first, with reasons and scores.

    Examples:
      aepipe history
      aepipe history --name fashion --json
    """
    store = place.store()
    entries = lifecycle.history(store, place.name)
    form = shape.form()
    if entries or form != "table":
        rows = [
            (e.when, e.name, e.action, e.before[:12] or "-", e.after[:12], *_shown(one.scores), e.why)
            for one in entries
            for e in (one.event,)
        ]
        values = [asdict(one.event) | {"scores": dict(one.scores)} for one in entries]
        head = ("when", "name", "action", "from", "to", *SHOWN, "why")
        say_table(head, rows, form, values=values, left=(0, 1, 2, 3, 4, 7))
    else:
        under = f" under the name {place.name!r}" if place.name else ""
        say(f"nothing was ever in service{under} in the store {store.address}")


def promote(release: Wanted, place: Place, why: Why = "by hand", wait: Wait = "0") -> None:
    """Put a release into service, after reading every byte of it.

    The gate is not asked: this is how a person overrules it. `aepipe history` keeps the reason.

    Examples:
      aepipe promote 3f9a0c11
      aepipe promote 3f9a0c11 --why "the old labels were wrong"
    """
    # Nothing in service is opened here: a damaged release is replaced by a promotion.
    store = place.store()
    ref, limit = lifecycle.find(store, release), seconds(wait)
    say(_changed(lifecycle.promote(store, ref, why=why, name=place.name, wait=limit)))


def rollback(
    place: Place,
    why: Why = "by hand",
    wait: Wait = "0",
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="Change nothing; say which release would go into service.")
    ] = False,
) -> None:
    """Return to the release before the one in service, after reading every byte of it.

    Examples:
      aepipe rollback
      aepipe rollback -n
      aepipe rollback --name fashion --why "hits look wrong"
    """
    event = lifecycle.rollback(place.store(), place.name, why=why, wait=seconds(wait), dry_run=dry_run)
    say(_changed(event, verb="would be" if dry_run else "is"))


def verify(
    place: Place,
    release: ReleaseText = None,
    everything: Annotated[bool, typer.Option("--all", help="Check everything in the store.")] = False,
) -> None:
    """Read every byte of a release and compare it with its digests.

    Every damaged file is named on a line; if there is one, the exit status is 3.

    Examples:
      aepipe verify
      aepipe verify 3f9a0c11
      aepipe verify --all
    """
    store = place.store()
    found = lifecycle.check_all(store) if everything else place.open(release).verify()
    for line in found.damage:
        complain(line)
    sound = found.folders - len(found.damage)
    say(f"{sound:,} of {found.folders:,} folders are sound, {found.n_bytes:,} bytes in {store.address}")
    if found.damage:
        raise typer.Exit(UNABLE)


def _shown(scores: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(f"{scores[metric]:.3f}" if metric in scores else "-" for metric in SHOWN)


def _changed(event: Event, verb: str = "is") -> str:
    if event.before == event.after:
        return f"{event.name}: {event.after[:12]} is in service already"
    before = f"in place of {event.before[:12]}" if event.before else "as the first"
    return f"{event.name}: {event.after[:12]} {verb} in service, {before}"

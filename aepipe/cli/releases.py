"""The verbs about what is in service: ``history``, ``promote``, ``rollback``, ``verify``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from aepipe.cli.options import AsJson, Place, ReleaseText, Why
from aepipe.cli.output import complain, say, say_json, table
from aepipe.errors import AepipeError
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from aepipe.store.registry import Event

DAMAGED = 2
SHOWN = ("map_at_1000", "recall_at_10")

Wanted = Annotated[str, typer.Argument(metavar="RELEASE", help="The first characters of its digest.")]


def history(place: Place, as_json: AsJson = False) -> None:
    """List what went into service, what the gate refused, when and why, oldest first; with the scores.

    Examples:
      aepipe history
      aepipe history --name fashion --json
    """
    store = place.store()
    events = registry.history(store, place.name, refused=True)
    scores = [_scores(store, event) for event in events]
    if as_json:
        say_json([asdict(event) | {"scores": one} for event, one in zip(events, scores, strict=True)])
    elif events:
        rows = [
            (e.when, e.name, e.action, e.before[:12] or "-", e.after[:12], *_shown(one), e.why)
            for e, one in zip(events, scores, strict=True)
        ]
        say(table(("when", "name", "action", "from", "to", *SHOWN, "why"), rows))
    else:
        say(f"nothing was ever in service on the shelf {place.store().root}")


def promote(release: Wanted, place: Place, why: Why = "by hand") -> None:
    """Put a release into service, after reading every byte of it.

    The gate is not asked: this is how a person overrules it. `aepipe history` keeps the reason.

    Examples:
      aepipe promote 3f9a0c11
      aepipe promote 3f9a0c11 --why "the old labels were wrong"
    """
    say(_changed(lifecycle.put_into_service(place.store(), release, why=why)))


def rollback(place: Place, why: Why = "by hand") -> None:
    """Go back to the release before, after reading every byte of it.

    Examples:
      aepipe rollback
      aepipe rollback --name fashion --why "hits look wrong"
    """
    say(_changed(lifecycle.roll_back(place.store(), place.name, why=why)))


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
    one = None if everything else lifecycle.find(store, release, place.name)
    found = lifecycle.check_all(store) if one is None else lifecycle.check_release(store, one)
    for line in found.damage:
        complain(line)
    sound = found.folders - len(found.damage)
    say(f"{sound:,} of {found.folders:,} folders are sound, {found.read:,} bytes in {store.root}")
    if found.damage:
        raise typer.Exit(DAMAGED)


def _scores(store: Store, event: Event) -> dict[str, float]:
    """Return our own scores of the release that a change was about; none where the shelf has it no more."""
    try:
        scores = Release.open(store, ref=Ref("release", event.after)).scores
    except AepipeError:
        return {}
    ours = (row["metrics"] for row in scores.get("rows", ()) if row["system"] == "ours")
    return {metric: estimate["value"] for metric, estimate in next(ours, {}).items()}


def _shown(scores: dict[str, float]) -> tuple[str, ...]:
    """Return the scores that are listed."""
    return tuple(f"{scores[metric]:.3f}" if metric in scores else "-" for metric in SHOWN)


def _changed(event: Event) -> str:
    """Say what changed."""
    before = f"in place of {event.before[:12]}" if event.before else "as the first"
    return f"{event.name}: {event.after[:12]} is in service, {before}"

"""The verb ``diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aepipe.cli.options import AsJson, Place
from aepipe.cli.output import say, say_json, table, write_picture
from aepipe.release import diff as difference
from aepipe.release import lifecycle
from aepipe.release.diff import Difference, Neighbours
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Store

DRAWN, NAMED = 8, 3
METRICS = ("map_at_1000", "p_at_100", "recall_at_10")


def diff(
    before: Annotated[
        str | None, typer.Argument(metavar="RELEASE", help="One release; else the one before that in service.")
    ] = None,
    after: Annotated[
        str | None, typer.Argument(metavar="RELEASE", help="Another one; else the one in service.")
    ] = None,
    *,
    place: Place,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours of each row.", metavar="N")] = difference.K,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Rows that are asked.", metavar="N")] = difference.ASKED,
    top: Annotated[int, typer.Option("--top", min=0, help="Rows that are shown.", metavar="N")] = 5,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw whose neighbours changed most.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what differs between two releases: rows, bits, scores, and who is whose neighbour.

    Rows are matched by their keys. Those asked are drawn at random, the same every time.

    Examples:
      aepipe diff                            what the last run has changed
      aepipe diff 3f9a0c11 77ab --picture diff.png
    """
    store = place.store()
    old, new = _opened(store, before, after, place.name)
    found = difference.compare(old, new, k=k, asked=rows)
    if picture is not None:
        write_picture(_drawn(old, new, found), picture)
    if as_json:
        say_json(_as_json(old, new, found, top))
    else:
        say(_as_text(old, new, found, top))


def _opened(store: Store, before: str | None, after: str | None, name: str | None) -> tuple[Release, Release]:
    """Open both releases."""
    new = Release.open(store, ref=lifecycle.find(store, after, name))
    old = lifecycle.find(store, before) if before else registry.previous(store, new.name)
    return Release.open(store, ref=old), new


def _as_text(old: Release, new: Release, found: Difference, top: int) -> str:
    """Return it for people."""
    same = old.fingerprint == new.fingerprint
    bits = "codes of another length" if found.flips is None else f"{found.flips:.1%} of the bits differ"
    shared = len(found.asked)
    lines = [
        f"{new.name}: {old.ref.short} and {new.ref.short}",
        f"  rows        {found.rows[0]:,} and {found.rows[1]:,}; {found.lost:.1%} are gone, {found.come:.1%} are new",
        f"  encoder     {'the same' if same else 'another'}; of {shared:,} rows in both {bits}",
        f"  neighbours  {found.overlap:.1%} ±{found.interval:.1%} of the {found.k} nearest are the same; "
        f"{found.unchanged:.1%} of the rows find just the same",
    ]
    if not same and found.mixed is not None:
        lines.append(f"  old codes   {found.mixed:.1%} of the {found.k} nearest are found among them by new codes")
    lines += [f"  {_scores(old, new)}"] if _scores(old, new) else []
    changed = [one for one in _most_changed(found, top) if one.common < 1]
    if changed:
        head = ("row", "common", "no more", "now")
        shown = [(one.key, f"{one.common:.0%}", *_gone_and_come(old, new, one)) for one in changed]
        lines += ["", table(head, shown)]
    return "\n".join(lines)


def _scores(old: Release, new: Release) -> str:
    """Return the scores of both in a line, empty where none was measured for both."""
    values = [
        {metric: row["metrics"][metric]["value"] for metric in METRICS if metric in row["metrics"]}
        for one in (old, new)
        for row in one.scores.get("rows", [])
        if row["system"] == "ours"
    ]
    if len(values) < 2:
        return ""
    common = [metric for metric in METRICS if all(metric in one for one in values)]
    said = [f"{m} {values[0][m]:.3f} and {values[1][m]:.3f} ({values[1][m] - values[0][m]:+.3f})" for m in common]
    return f"scores      {', '.join(said)}"


def _most_changed(found: Difference, top: int) -> list[Neighbours]:
    """Return the rows whose neighbours have changed most."""
    return sorted(found.asked, key=lambda one: (one.common, one.key))[:top]


def _gone_and_come(old: Release, new: Release, one: Neighbours) -> tuple[str, str]:
    """Return the first neighbours that only one of both releases has."""
    keys = [[row.key for row in release.describe(hits[0])] for release, hits in ((old, one.before), (new, one.after))]
    only = [[key for key in some if key not in other] for some, other in (keys, keys[::-1])]
    gone, come = (", ".join(some[:NAMED]) + (", ..." if len(some) > NAMED else "") for some in only)
    return gone, come


def _as_json(old: Release, new: Release, found: Difference, top: int) -> dict[str, Any]:
    """Return the same for programs."""
    told: dict[str, Any] = {"name": new.name, "before": old.ref.digest, "after": new.ref.digest}
    told |= {"rows": list(found.rows), "lost": found.lost, "come": found.come, "asked": len(found.asked)}
    told |= {
        "same_encoder": old.fingerprint == new.fingerprint,
        "flips": found.flips,
        "mixed": found.mixed,
        "k": found.k,
    }
    told |= {"k": found.k, "overlap": found.overlap, "unchanged": found.unchanged}
    most = [
        {
            "key": one.key,
            "common": one.common,
            "before": [row.key for row in old.describe(one.before[0])],
            "after": [row.key for row in new.describe(one.after[0])],
        }
        for one in _most_changed(found, top)
    ]
    return told | {"most_changed": most}


def _drawn(old: Release, new: Release, found: Difference) -> Any:  # noqa: ANN401  Pillow is not imported here
    """Draw whose neighbours changed most, each twice: as it was, and as it is."""
    from aepipe.report.tiles import Found, hits_picture, tile

    lines = []
    for one in _most_changed(found, DRAWN):
        for release, row, (ids, far) in zip((old, new), one.ids, (one.before, one.after), strict=True):
            hits = [tile(release, hit, int(d)) for hit, d in zip(release.describe(ids), far, strict=True)]
            lines.append(Found(tile(release, release.describe([row])[0]), hits))
    title = f"{new.name}: whose neighbours changed most, in {old.ref.short} above and in {new.ref.short} below"
    return hits_picture(lines, title=title, columns=found.k)

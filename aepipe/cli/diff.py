"""The verb ``diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aepipe.cli.options import AsJson, Place
from aepipe.cli.output import check_picture, say, say_json, table, write_picture
from aepipe.release.diff import ASKED, Difference, K, Neighbours
from aepipe.release.originals import check_output
from aepipe.release.release import Release
from aepipe.report.hits import row_json

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
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours of each row.", metavar="N")] = K,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Rows that are compared.", metavar="N")] = ASKED,
    top: Annotated[int, typer.Option("--top", min=0, help="Rows that are shown.", metavar="N")] = 5,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the rows whose neighbours changed most.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two releases: rows, bits, scores and nearest neighbours.

    Rows are matched by their keys. The rows compared are drawn at random, the same ones every time.

    Examples:
      aepipe diff                            the changes of the last run
      aepipe diff 3f9a0c11 77ab --picture diff.png
    """
    check_picture(picture)
    collection = place.open(after)
    check_output(picture, release=collection.release)
    found = collection.diff(before, k=k, rows=rows)
    if picture is not None:
        write_picture(_drawn(found), picture)
    if as_json:
        say_json(_as_json(found, top))
    else:
        say(_as_text(found, top))


def _as_text(found: Difference, top: int) -> str:
    """Return the differences for people."""
    old, new, same = found.before, found.after, found.same_encoder
    bits = "codes of another length" if found.flips is None else f"{found.flips:.1%} of the bits differ"
    shared = len(found.asked)
    lines = [
        f"{new.name}: {old.ref.short} and {new.ref.short}",
        f"  rows        {len(old):,} and {len(new):,}; {found.lost:.1%} are gone, {found.gained:.1%} are new",
        f"  encoder     {'the same' if same else 'another'}; of {shared:,} rows in both {bits}",
        f"  neighbours  {found.overlap:.1%} ±{found.interval:.1%} of the {found.k} nearest are the same; "
        f"{found.unchanged:.1%} of the rows find the same rows",
    ]
    if not same and found.mixed is not None:
        lines.append(f"  old codes   {found.mixed:.1%} of the {found.k} nearest are found by new codes among old ones")
    lines += [f"  {_scores(old, new)}"] if _scores(old, new) else []
    changed = [one for one in found.most_changed(top) if one.common < 1]
    if changed:
        head = ("row", "common", "no more", "now")
        shown = [(one.key, f"{one.common:.0%}", *_gone_and_come(old, new, one)) for one in changed]
        lines += ["", table(head, shown)]
    return "\n".join(lines)


def _scores(old: Release, new: Release) -> str:
    """Return the scores of both releases in a line; empty where none was measured for both."""
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


def _gone_and_come(old: Release, new: Release, one: Neighbours) -> tuple[str, str]:
    """Return the neighbours that only the old, and that only the new release has."""
    keys = [[row.key for row in release.describe(hits[0])] for release, hits in ((old, one.before), (new, one.after))]
    only = [[key for key in some if key not in other] for some, other in (keys, keys[::-1])]
    gone, come = (", ".join(some[:NAMED]) + (", ..." if len(some) > NAMED else "") for some in only)
    return gone, come


def _as_json(found: Difference, top: int) -> dict[str, Any]:
    """Return the differences for programs."""
    old, new = found.before, found.after
    most = [
        {
            "key": one.key,
            "common": one.common,
            "before": [row_json(old, row) for row in old.describe(one.before[0])],
            "after": [row_json(new, row) for row in new.describe(one.after[0])],
        }
        for one in found.most_changed(top)
    ]
    return {
        "name": new.name,
        "before": old.ref.digest,
        "after": new.ref.digest,
        "rows": [len(old), len(new)],
        "lost": found.lost,
        "come": found.gained,
        "asked": len(found.asked),
        "same_encoder": found.same_encoder,
        "flips": found.flips,
        "mixed": found.mixed,
        "k": found.k,
        "overlap": found.overlap,
        "unchanged": found.unchanged,
        "most_changed": most,
    }


def _drawn(found: Difference) -> Any:  # noqa: ANN401  Pillow is not imported here
    """Draw the rows whose neighbours changed most, each twice: before and after."""
    from aepipe.report.tiles import Found, hits_picture, tile

    old, new, lines = found.before, found.after, []
    for one in found.most_changed(DRAWN):
        for release, row, (ids, far) in zip((old, new), one.ids, (one.before, one.after), strict=True):
            hits = [tile(release, hit, int(d)) for hit, d in zip(release.describe(ids), far, strict=True)]
            lines.append(Found(tile(release, release.describe([row])[0]), hits))
    title = f"{new.name}: rows whose neighbours changed most, above in {old.ref.short}, below in {new.ref.short}"
    return hits_picture(lines, title=title, columns=found.k)

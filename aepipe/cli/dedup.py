"""The verb ``dedup``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from aepipe.cli.options import AsJson, Place, writable
from aepipe.cli.output import say, say_json, table, write_picture
from aepipe.cli.progress import showing
from aepipe.release.dedup import Groups
from aepipe.release.release import Release
from aepipe.report.tables import printable

MOST_DRAWN, MOST_HITS = 30, 9
NAMED = 3


def dedup(
    place: Place,
    radius: Annotated[
        int, typer.Option("--radius", min=0, help="Bits by which a row may differ from the first of its group.")
    ] = 3,
    min_size: Annotated[int, typer.Option("--min-size", min=2, help="Rows that a group has at least.")] = 2,
    top: Annotated[int, typer.Option("--top", "-k", min=0, help="Groups that are shown.", metavar="N")] = 20,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Write all groups as Parquet, a line for each row.", metavar="FILE", callback=writable
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Draw the largest groups into a picture.", metavar="FILE", callback=writable),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find rows that are nearly the same, in groups around the first of each.

    Rows are taken in the order of their ids. A row within the radius of the first row of a group joins
    that group; any other starts a new one. So no row is farther than the radius from the first of its
    group, groups do not chain, and no two first rows are within the radius of each other. The answer is
    exact. With --radius 0 a group holds rows with equal codes.

    Examples:
      aepipe dedup                                     groups within 3 bits, the largest first
      aepipe dedup --radius 0 --out doubles.parquet
      aepipe dedup --picture doubles.png
      duckdb -c "select key from 'doubles.parquet' where distance > 0"
    """
    collection = place.open()
    with showing():
        found = collection.dedup(radius, smallest=min_size, out=out)
    release = collection.release
    if picture is not None and len(found):
        _draw(release, found, picture)
    if as_json:
        say_json(_as_json(release, found, top))
        return
    if top and len(found):
        say(_as_table(release, found, top))
    say(found.summary())


def _as_table(release: Release, found: Groups, top: int) -> str:
    """Return the largest groups as a table."""
    lines = []
    for ids, distances in islice(found, top):
        first, *others = release.describe(ids[: NAMED + 1])
        more = f" and {len(ids) - NAMED - 1:,} more" if len(ids) > NAMED + 1 else ""
        named = printable(", ".join(row.key for row in others)) + more
        lines.append((f"{len(ids):,}", str(int(distances.max())), printable(first.key), named))
    return table(("rows", "farthest", "first", "others"), lines, left=2)


def _as_json(release: Release, found: Groups, top: int) -> dict[str, Any]:
    """Return the largest groups for programs."""
    groups = []
    for ids, distances in islice(found, top):
        keys = [row.key for row in release.describe(ids)]
        groups.append({"ids": ids.tolist(), "keys": keys, "distances": distances.tolist()})
    whole = {"name": release.name, "fingerprint": release.fingerprint, "radius": found.radius, "rows": found.rows}
    return whole | {"groups": len(found), "rows_in_groups": len(found.ids), "largest": groups}


def _draw(release: Release, found: Groups, file: Path) -> None:
    """Write a contact sheet: one group per line, its first row framed."""
    from aepipe.report.tiles import Found, hits_picture, tile

    drawn = []
    for ids, distances in islice(found, MOST_DRAWN):
        first, *others = release.describe(ids[: MOST_HITS + 1])
        far = distances[1 : MOST_HITS + 1].tolist()
        hits = [tile(release, row, distance) for row, distance in zip(others, far, strict=True)]
        drawn.append(Found(tile(release, first), hits))
    write_picture(hits_picture(drawn, title=f"{release.name}: {len(found):,} groups within {found.radius} bits"), file)

"""The verb ``dedup``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aepipe.cli.options import Place
from aepipe.cli.output import check_file, check_picture, complain, say, say_json, say_paths, table, write_picture
from aepipe.cli.progress import showing
from aepipe.cli.tables import AsJson, Form, Format, form_of, say_csv
from aepipe.errors import QueryError
from aepipe.release.groups import COPY, Alike, Groups
from aepipe.release.keep import BEST, Order, marked, order_named, write_csv
from aepipe.release.originals import check_output
from aepipe.release.release import Release
from aepipe.report.hits import row_json
from aepipe.report.tables import markdown_table, printable

if TYPE_CHECKING:
    from PIL import Image

MOST_DRAWN, LINES, MOST_HITS = 30, 6, 9
SCREEN = (1920, 1080)
"""Width and height of a contact sheet at most, in pixels."""
NAMED = 3
_CSV = ("group", "mark", "alike", "distance", "id", "key", "path", "label", "split", "snippet")


@dataclass(frozen=True, slots=True)
class GroupFlags:
    """Which rows are in a group, and which one of them is kept."""

    alike: Annotated[
        Alike | None,
        typer.Option(
            "--alike",
            help="How rows of a group are alike; by default pictures are copies, rows of tables identical.",
        ),
    ] = None
    radius: Annotated[
        int | None,
        typer.Option("--radius", min=0, help="Bits by which a row may differ from the first, with --alike content."),
    ] = None
    min_size: Annotated[int, typer.Option("--min-size", min=2, help="Rows that a group has at least.")] = 2
    keep: Annotated[
        str,
        typer.Option("--keep", help="Row of a group that is kept: best, newest, oldest, first or path:GLOB."),
    ] = BEST


@dataclass(frozen=True, slots=True)
class FormFlags:
    """How groups are shown, and where they are written."""

    top: Annotated[int, typer.Option("--top", "-k", min=0, help="Groups that are shown.", metavar="N")] = 20
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write all groups as Parquet, a line for each row.", metavar="FILE"),
    ] = None
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write all groups as CSV, a line for each row.", metavar="FILE")
    ] = None
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Print the files to remove, each ended by a NUL, for xargs -0.")
    ] = False
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Draw the largest groups into a picture.", metavar="FILE"),
    ] = None
    format: Format = None
    json: AsJson = False

    def check(self) -> Form:
        """Check, before any work, that files can be written; return the form of the output.

        Raises:
            QueryError: two forms are asked for, or a file cannot be written.
        """
        check_picture(self.picture)
        check_file(self.out, self.csv)
        form = form_of(self.format, as_json=self.json)
        if self.null and (self.json or self.format):
            raise QueryError(f"{'--json' if self.json else '--format'} and --null exclude each other")
        return form


def dedup(place: Place, wanted: GroupFlags, form: FormFlags) -> None:
    """Find rows that are nearly the same, in groups around the first of each.

    Rows of a group are alike in one of three ways:
      identical  the same bytes, or the same pixels in another format
      copies     identical, or edited copies of one picture: resized, saved again, cropped, turned by some
                 degrees, mirrored, captioned, brighter. Pictures that merely show the same kind of thing
                 are none. How much their details must agree is measured on copies made on purpose.
      content    near codes: at most --radius bits apart (3), whatever the code stands for

    Rows are taken in the order of their ids. A row that is alike to the first row of a group joins that
    group; any other starts a new one, so groups do not chain. With --radius 0 a group holds rows with
    equal codes.

    One row of each group is marked to be kept: by default the one with most pixels, then with most bytes,
    then the oldest; with --keep path:GLOB one whose key or path matches. Nothing is removed: neither rows
    nor files. Look at the groups first.

    Examples:
      aepipe dedup                                     copies, the largest groups first
      aepipe dedup --alike identical --null | xargs -0 ls -l  the files to remove
      aepipe dedup --alike content --radius 2
      aepipe dedup --radius 0 --out doubles.parquet
      aepipe dedup --radius 0 --csv doubles.csv --keep 'path:*/originals/*'
      aepipe dedup --picture doubles.png
      duckdb -c "select key from 'doubles.parquet' where mark = 'remove'"
    """
    shape = form.check()
    order = order_named(wanted.keep)
    collection = place.open()
    check_output(form.out, form.csv, form.picture, release=collection.release)
    with showing():
        found = collection.dedup(
            wanted.radius, alike=wanted.alike, smallest=wanted.min_size, out=form.out, keep=wanted.keep
        )
    release = collection.release
    if form.csv is not None:
        write_csv(release, found, form.csv, order)
    if form.picture is not None and len(found):
        _draw(release, found, form.picture)
    if shape == "json":
        say_json(_as_json(release, found, form.top, order))
    elif form.null:
        _say_files(release, found, order)
    elif shape == "csv":
        say_csv([_CSV, *_csv_lines(release, found, form.top, order)])
    else:
        if form.top and len(found):
            say(_as_table(release, found, form.top, order, markdown=shape == "markdown"), fold=False)
        _say_summary(found, asked=wanted.alike is not None or wanted.radius is not None)


def _say_summary(found: Groups, *, asked: bool) -> None:
    """Print the counts, and a warning where near codes are compared and nobody has asked for that."""
    say(found.summary())
    if len(found) and found.alike == "content" and not asked:
        complain("rows alike in content are no copies: look at some before you remove any, or say --alike identical")


def _as_table(release: Release, found: Groups, top: int, order: Order, *, markdown: bool = False) -> str:
    """Return the largest groups as a table."""
    lines = []
    for number, (ids, distances) in enumerate(islice(found, top)):
        marks = marked(release, ids.tolist(), order)
        (kept,), others = ([one.row.key for one, mark in marks if mark == which] for which in ("keep", "remove"))
        more = f" and {len(others) - NAMED:,} more" if len(others) > NAMED else ""
        named = printable(", ".join(others[:NAMED])) + more
        ways = ", ".join(dict.fromkeys(found.relations_of(number)[1:]))
        lines.append((f"{len(ids):,}", f"{distances.max()}{unit(found)}", ways, printable(kept), named))
    head = ("rows", "farthest", "alike", "keep", "remove")
    return markdown_table([head, *lines], left=range(2, len(head))) + "\n" if markdown else table(head, lines, left=3)


def unit(found: Groups) -> str:
    """Return the unit of distances: none for bits, else per cent of details."""
    return "" if found.alike == "content" else " %"


def _as_json(release: Release, found: Groups, top: int, order: Order) -> dict[str, Any]:
    """Return the largest groups for programs."""
    groups = []
    for number, (ids, distances) in enumerate(islice(found, top)):
        marks = marked(release, ids.tolist(), order)
        each = zip(marks, distances.tolist(), found.relations_of(number), strict=True)
        rows = [
            {"mark": mark, "alike": alike, "distance": far} | row_json(release, one.row)
            for (one, mark), far, alike in each
        ]
        groups.append({"rows": rows})
    whole = {"name": release.name, "fingerprint": release.fingerprint, "alike": found.alike, "radius": found.radius}
    return whole | {"rows": found.rows, "groups": len(found), "rows_in_groups": len(found.ids), "largest": groups}


def _csv_lines(release: Release, found: Groups, top: int, order: Order) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the largest groups, each with the number of its group."""
    for number, group in enumerate(_as_json(release, found, top, order)["largest"], 1):
        yield from ((number, *(row[name] for name in _CSV[1:])) for row in group["rows"])


def _say_files(release: Release, found: Groups, order: Order) -> None:
    """Print the files of all rows that are marked to be removed; other originals have no path of their own."""
    gone = [one for ids, _ in found for one, mark in marked(release, ids.tolist(), order) if mark == "remove"]
    say_paths([str(one.path) for one in gone if one.path], null=True)
    if inside := sum(one.path is None for one in gone):
        complain(f"{inside:,} more rows to remove are no files of their own; --csv lists them")


def _draw(release: Release, found: Groups, file: Path) -> None:
    """Write a contact sheet that fits a screen: one group per line, its first row framed."""
    from aepipe.report.tiles import Found, hits_picture, tile

    drawn = []
    for number, (ids, distances) in enumerate(islice(found, MOST_DRAWN)):
        first, *others = release.describe(ids[: MOST_HITS + 1])
        relations, far = found.relations_of(number)[1:], distances[1 : MOST_HITS + 1].tolist()
        said = (
            [
                f"{relation}, {distance} %" if relation == COPY else relation
                for relation, distance in zip(relations, far, strict=False)
            ]
            if found.alike != "content"
            else [""] * len(others)
        )
        hits = [
            replace(tile(release, row, distance), said=words)
            for row, distance, words in zip(others, far, said, strict=True)
        ]
        drawn.append(Found(tile(release, first), hits))
    title = f"{release.name}: {len(found):,} groups, {_way(found)}"
    write_picture(
        _side_by_side(
            [hits_picture(drawn[at : at + LINES], title=title if not at else " ") for at in range(0, len(drawn), LINES)]
        ),
        file,
    )


def _side_by_side(sheets: list[Image.Image]) -> Image.Image:
    """Join sheets of one height, as many as fit a screen."""
    from PIL import Image

    for sheet in sheets:
        sheet.thumbnail(SCREEN, Image.Resampling.LANCZOS)
    ends = [sum(sheet.width for sheet in sheets[: number + 1]) for number in range(len(sheets))]
    shown = [sheet for sheet, end in zip(sheets, ends, strict=True) if end <= SCREEN[0]]
    whole = Image.new("RGB", (ends[len(shown) - 1], max(sheet.height for sheet in shown)), "white")
    for sheet, end in zip(shown, ends, strict=False):
        whole.paste(sheet, (end - sheet.width, 0))
    return whole


def _way(found: Groups) -> str:
    ways = {"identical": "identical", "copies": "identical or edited copies"}
    return ways.get(found.alike, f"alike in content, within {found.radius} bits")

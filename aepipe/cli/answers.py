"""How the answers of a query are shown: tables, JSON lines, paths, pictures."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from aepipe.asking import AT_ONCE, Question
from aepipe.cli.output import complain, say, say_json, say_paths, say_picture, table, write_picture
from aepipe.finding import Answer, Limits, answer
from aepipe.release import Release
from aepipe.report.tables import printable

if TYPE_CHECKING:
    from aepipe.cli.inline import Way
    from aepipe.report.tiles import Found

Form = Literal["table", "json", "paths"]

UNREADABLE = 2
MOST_DRAWN = 50
"""Queries on one contact sheet: more would be a picture that no program opens."""
TILE_COLUMNS, TILE_LINES = 9, 4
SNIPPET = "snippet"
"""The column with the beginning of a document."""


@dataclass(frozen=True, slots=True)
class Shown:
    """How answers are shown.

    Attributes:
        form: of what is printed.
        picture: where a contact sheet is drawn; None draws none.
        thumbnails: in the terminal; None where it can show real pixels.
    """

    form: Form
    picture: Path | None
    thumbnails: bool | None


def show(release: Release, questions: Iterator[Question], shown: Shown, limits: Limits) -> None:
    """Answer questions and show the answers as they come.

    Raises:
        QueryError: the contact sheet cannot be written, or a code cannot be re-ranked.
        typer.Exit: a picture could not be read; the others have been answered.
    """
    way = _way(shown) if release.recipe["source"]["kind"] in {"images", "video"} else None
    failed = False
    drawn: list[Found] = []
    while block := list(islice(questions, AT_ONCE)):
        for found in answer(release, block, limits):
            if found.question.failure is not None:
                complain(found.question.failure)
                failed = True
                continue
            _print(release, found, shown.form, way)
            if found.strange:
                complain(f"{found.question.text}: {found.strange}")
            if shown.picture and len(drawn) < MOST_DRAWN:
                drawn.append(_tiles(release, found))
    if shown.picture and drawn:
        _draw(release, drawn, shown.picture)
    if failed:
        raise typer.Exit(UNREADABLE)


def as_json(release: Release, found: Answer) -> dict[str, Any]:
    """Return an answer as it is printed by ``--json``."""
    assert found.question.code is not None
    return {
        "fingerprint": release.fingerprint,
        "query": found.question.text,
        "code": found.question.code.hex()[0],
        "strange": found.strange,
        "hits": [
            {
                "rank": hit.rank,
                "id": hit.row.id,
                "distance": hit.distance,
                "similarity": hit.similarity,
                "confidence": hit.confidence,
                **({} if hit.cosine is None else {"cosine": hit.cosine}),
                "key": hit.row.key,
                "label": hit.row.label,
                **({} if SNIPPET not in hit.row.columns else {SNIPPET: hit.row.columns[SNIPPET]}),
            }
            for hit in found.hits
        ],
    }


def as_table(found: Answer) -> str:
    """Return an answer as a table under the name of its query."""
    known, reranked = (any(getattr(hit, name) is not None for hit in found.hits) for name in ("confidence", "cosine"))
    more = (*(("confidence",) if known else ()), *(("cosine",) if reranked else ()))
    told = any(SNIPPET in hit.row.columns for hit in found.hits)
    head = ("rank", "distance", "similarity", *more, "key", "label", *((SNIPPET,) if told else ()))
    rows = [
        (
            *(str(hit.rank), str(hit.distance), f"{hit.similarity:.3f}"),
            *((f"{hit.confidence:.2f}",) if hit.confidence is not None else ()),
            *((f"{hit.cosine:.3f}",) if hit.cosine is not None else ()),
            *(hit.row.key, hit.row.label or ""),
            *((hit.row.columns.get(SNIPPET) or "",) if told else ()),
        )
        for hit in found.hits
    ]
    name = printable(found.question.text)
    if not rows:
        return f"{name}\nnothing found\n"
    lines = table(head, rows, left=len(head) - (3 if told else 2))
    return f"{name}\n{_cut(lines) if told else lines}\n"


def _cut(lines: str) -> str:
    """Return lines that fit into the terminal: what a document begins with may be as long as there is room."""
    room = max(80, shutil.get_terminal_size((120, 24)).columns)
    return "\n".join(line if len(line) <= room else line[: room - 1] + "…" for line in lines.splitlines())


def _tiles(release: Release, found: Answer) -> Found:
    """Return the pictures of an answer."""
    from aepipe.report.tiles import tiles

    return tiles(release, found)


def _print(release: Release, found: Answer, form: str, way: Way | None) -> None:
    """Print one answer."""
    if form == "json":
        say_json(as_json(release, found))
    elif form == "paths":
        say_paths([_path(release, hit.row.key, hit.row.place) for hit in found.hits])
    else:
        if way is not None:
            say_picture(_thumbnails(_tiles(release, found), way))
        say(as_table(found))


def _path(release: Release, key: str, place: str) -> str:
    """Return the path of an original that is a file, else its key."""
    path = release.items.root / place
    return str(path) if path.is_file() else key


def _draw(release: Release, drawn: Sequence[Found], file: Path) -> None:
    """Write a contact sheet."""
    from aepipe.report.tiles import hits_picture

    title = f"{release.name}: {len(release.index):,} rows, {release.n_bits} bits"
    write_picture(hits_picture(drawn, title=title), file)


def _way(shown: Shown, environment: Mapping[str, str] = os.environ) -> Way | None:
    """Return how thumbnails are shown, None for not at all."""
    if shown.form != "table" or shown.thumbnails is False or not (shown.thumbnails or sys.stdout.isatty()):
        return None
    from aepipe.cli.inline import pixels_way

    pixels = pixels_way(environment) if sys.stdout.isatty() else None
    return pixels or ("blocks" if shown.thumbnails else None)


def _thumbnails(found: Found, way: Way) -> str:
    """Return the query and as many hits as fit, side by side."""
    from aepipe.cli.inline import inline
    from aepipe.report.tiles import strip_picture

    fitting = max(1, shutil.get_terminal_size().columns // TILE_COLUMNS)
    shown = [found.query, *found.hits][:fitting]
    return inline(strip_picture(shown), columns=len(shown) * TILE_COLUMNS, lines=TILE_LINES, way=way)

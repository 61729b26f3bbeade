"""The verb ``query``."""

# (from answers.py) How the answers of a query are shown: tables, JSON lines, paths, pictures.

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aepipe.cli.options import AsJson, Place
from aepipe.cli.output import complain, say, say_json, say_paths, say_picture, table, write_picture
from aepipe.errors import QueryError
from aepipe.evaluate.calibration import Confidence
from aepipe.release import query as queries
from aepipe.release.filter import ids_where
from aepipe.release.query import AT_ONCE, Answer, Question, SearchOptions, answer, oversampling
from aepipe.release.release import Prefix, Release
from aepipe.report.tables import printable

if TYPE_CHECKING:
    from aepipe.cli.output import Way
    from aepipe.report.tiles import Found

Form = Literal["table", "json", "paths"]

UNREADABLE = 2
MOST_DRAWN = 50
"""Queries on one contact sheet: more would be a picture that no program opens."""
TILE_COLUMNS, TILE_LINES = 9, 4
SNIPPET = "snippet"
"""The column with the beginning of a document."""


@dataclass(frozen=True, slots=True)
class Display:
    """How answers are shown.

    Attributes:
        form: of what is printed.
        picture: where a contact sheet is drawn; None draws none.
        thumbnails: in the terminal; None where it can show real pixels.
    """

    form: Form
    picture: Path | None
    thumbnails: bool | None


def show(release: Release, questions: Iterator[Question], shown: Display, limits: SearchOptions) -> None:
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


def _way(shown: Display, environment: Mapping[str, str] = os.environ) -> Way | None:
    """Return how thumbnails are shown, None for not at all."""
    if shown.form != "table" or shown.thumbnails is False or not (shown.thumbnails or sys.stdout.isatty()):
        return None
    from aepipe.cli.output import pixels_way

    pixels = pixels_way(environment) if sys.stdout.isatty() else None
    return pixels or ("blocks" if shown.thumbnails else None)


def _thumbnails(found: Found, way: Way) -> str:
    """Return the query and as many hits as fit, side by side."""
    from aepipe.cli.output import inline
    from aepipe.report.tiles import strip_picture

    fitting = max(1, shutil.get_terminal_size().columns // TILE_COLUMNS)
    shown = [found.query, *found.hits][:fitting]
    return inline(strip_picture(shown), columns=len(shown) * TILE_COLUMNS, lines=TILE_LINES, way=way)


@dataclass(frozen=True, slots=True)
class QueryInputs:
    """What is asked; each of these is a query, and they may be mixed."""

    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|FOLDER|WORDS|-", help="Pictures, documents or words; - reads one from stdin."),
    ] = None
    id: Annotated[list[int] | None, typer.Option("--id", help="A row, by its id.", metavar="N")] = None
    key: Annotated[list[str] | None, typer.Option("--key", help="A row, by its key.", metavar="KEY")] = None
    row: Annotated[
        list[str] | None, typer.Option("--row", help="A row of a table that is not in it, as JSON.", metavar="JSON")
    ] = None
    code: Annotated[list[str] | None, typer.Option("--code", help="A code.", metavar="HEX")] = None

    def questions(self, release: Release) -> Iterator[queries.Question]:
        """Return what is asked, read and encoded.

        Raises:
            QueryError: nothing is asked.
        """
        items = [*(self.items or []), *(self.row or [])]
        if not (items or self.id or self.key or self.code):
            raise QueryError(
                "nothing is asked: name files, folders or words, - for stdin, or give --id, --key or --code"
            )
        rows = queries.questions_from_rows(release, self.id or [], self.key or [])
        return chain(
            rows, queries.questions_from_codes(release, self.code or []), queries.questions_from_paths(release, items)
        )


@dataclass(frozen=True, slots=True)
class SearchFlags:
    """How much is wanted of each."""

    top: Annotated[
        int | None, typer.Option("--top", "-k", min=1, help="Most hits of a query; 10, with a radius all.", metavar="N")
    ] = None
    radius: Annotated[
        int | None, typer.Option("--radius", min=0, help="Only rows at most so many bits away.", metavar="BITS")
    ] = None
    min_confidence: Annotated[
        float | None,
        typer.Option(
            "--min-confidence", min=0, max=1, help="Only rows that are so probably of the query's kind.", metavar="P"
        ),
    ] = None
    bits: Annotated[
        int | None, typer.Option("--bits", min=1, help="Compare only the first bits of the codes.", metavar="N")
    ] = None

    where: Annotated[
        str | None,
        typer.Option("--where", help="Only rows where this holds: \"label = 'Boot' AND year > 2020\".", metavar="SQL"),
    ] = None
    others: Annotated[bool, typer.Option("--others", help="A row that asks is not among its own hits.")] = False
    distinct: Annotated[bool, typer.Option("--distinct", help="Of rows with equal codes show only the first.")] = False
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Put hits in the order of what their codes were made from.")
    ] = False
    oversample: Annotated[
        int | None,
        typer.Option("--oversample", min=1, help="Re-rank so many times more hits than wanted.", metavar="FACTOR"),
    ] = None

    def limits(self, release: Release) -> SearchOptions:
        """Return how much is wanted.

        Raises:
            QueryError: as :meth:`farthest` and :meth:`factor`; or the condition of ``--where`` is not one.
        """
        allowed = None if self.where is None else ids_where(release, self.where)
        if allowed is not None and not len(allowed):
            complain(f"no row of {release.name} is one where {self.where}")
        return SearchOptions(
            self.top, self.farthest(release), self.factor(release), allowed, self.others, self.distinct
        )

    def factor(self, release: Release) -> int | None:
        """Return how many times more hits are re-ranked; None for no re-ranking.

        Raises:
            QueryError: embeddings are not kept.
        """
        if not (self.rerank or self.oversample):
            return None
        return oversampling(release, factor=self.oversample)

    def farthest(self, release: Release) -> int | None:
        """Return the radius, in bits; None for none.

        Raises:
            QueryError: a confidence is asked for where distances are not calibrated, or one that no distance has.
        """
        if self.min_confidence is None:
            return self.radius
        known = Confidence.of(release.name, release.scores, release.n_bits)
        if known is None:
            why = "of the first bits" if self.bits is not None else "of this release: run it again"
            raise QueryError(f"{release.name}: it was not measured what distances {why} are worth")
        radius = known.radius(self.min_confidence)
        return radius if self.radius is None else min(radius, self.radius)


@dataclass(frozen=True, slots=True)
class OutputFlags:
    """How it is shown."""

    json: AsJson = False
    paths_only: Annotated[bool, typer.Option("--paths-only", help="Print one path (or key) per line.")] = False
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw the hits into a picture.", metavar="FILE")] = (
        None
    )
    thumbnails: Annotated[
        bool | None, typer.Option("--thumbnails/--no-thumbnails", help="Show the hits in the terminal.")
    ] = None

    def shown(self) -> Display:
        """Return how answers are shown.

        Raises:
            QueryError: two forms exclude each other.
        """
        if self.json and self.paths_only:
            raise QueryError("--json and --paths-only exclude each other")
        form: Form = "json" if self.json else "paths" if self.paths_only else "table"
        return Display(form, self.picture, self.thumbnails)


def query(asked: QueryInputs, wanted: SearchFlags, form: OutputFlags, place: Place) -> None:
    """Find what is most like a picture, a text, a row or a code.

    Each hit comes with its distance (bits that differ), its similarity (the share that agrees), and the
    confidence that it is of the query's kind: the share of rows at that distance that had the same
    label (without labels: that were among the nearest by features), measured on queries held out from
    training. What is nothing like the collection is answered with a warning that says so.
    With --rerank more hits are looked at than are wanted, and put in the order of what their codes were
    made from; how many more was chosen on queries held out from training. With --bits as well it goes
    in three steps: the first bits find candidates, all bits choose among them, embeddings put the last
    in order.
    An unreadable item is one line on stderr; the others are answered, and the exit status is 2.

    Examples:
      aepipe query boot.jpg                       the 10 rows most like a picture
      aepipe query holidays/ -k 3                 the 3 most like each picture of a folder
      curl -s $URL | aepipe query -               a picture from a pipe
      aepipe query "how do I mend a bicycle tyre" of a collection of documents
      aepipe query letter.txt                     the same with a document
      aepipe query --row '{"age": 41}'            of a table
      aepipe query --key train/0007.png           what is like a row of the collection
      aepipe query --code 9f3a62c0d1e4b587        what is near a code
      aepipe query boot.jpg --radius 6            every row at most 6 bits away
      aepipe query boot.jpg --min-confidence 0.9  every row that is of its kind nine times out of ten
      aepipe query boot.jpg --bits 32             by the first 32 bits only
      aepipe query boot.jpg --where "label = 'Boot' AND year > 2020"
      aepipe query --id 17 --others --distinct    like a row, without itself and its doubles
      aepipe query boot.jpg --rerank              by codes, then by their embeddings
      aepipe query *.jpg --json | jq .hits        for programs
      aepipe query boot.jpg --paths-only | xargs feh
      aepipe query *.jpg --picture hits.png       a contact sheet

    In kitty, Ghostty, Konsole, iTerm2 and WezTerm the table comes with thumbnails; --thumbnails
    draws them with coloured characters in any other terminal.
    """
    shown = form.shown()
    release = Release.open(place.store(), place.name)
    if wanted.bits is not None:
        release = Prefix(release, wanted.bits)
    show(release, asked.questions(release), shown, wanted.limits(release))

"""The verb ``query``, and how answers are shown: tables, JSON lines, paths, pictures."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, cast

import typer

from aepipe.cli import completion
from aepipe.cli.options import Place, ServerFlags
from aepipe.cli.output import check_picture, complain, fitted, say, say_json, say_paths, say_picture, write_picture
from aepipe.cli.output import columns as columns_of_terminal
from aepipe.cli.tables import AsJson, Format, form_of, say_csv
from aepipe.errors import QueryError, shortened
from aepipe.report import hits
from aepipe.report.tables import GAP, markdown_table, printable, short_line, width

if TYPE_CHECKING:
    from aepipe.api import Collection
    from aepipe.cli.output import Way
    from aepipe.client.answers import RemoteAnswer
    from aepipe.client.remote import RemoteCollection
    from aepipe.release.query import Answer
    from aepipe.release.release import Release
    from aepipe.release.search import QueryOptions
    from aepipe.report.tiles import Found

Form = Literal["table", "json", "csv", "markdown", "paths", "null"]

UNREADABLE = 2
MOST_DRAWN = 50
"""Queries on one contact sheet; no program opens a picture of many more."""
TILE_COLUMNS, TILE_LINES = 9, 4
PIPED, SHORTEST = 120, 20
"""Columns of a line that goes into a pipe, and those that a snippet has at least."""
EVEN = 0.5
"""The confidence below which a hit is more likely wrong than right."""
TITLE = 120
"""Letters of a question above its hits."""
NUMBERS = (*hits.MEASURES, "id")
"""Columns whose cells stand on the right."""


class Mixed(TypedDict):
    """Words that are added to each question, and taken away, and their share of it."""

    plus: list[str]
    minus: list[str]
    weight: float | None


@dataclass(frozen=True, slots=True)
class Display:
    """How answers are shown.

    Attributes:
        form: what is printed.
        picture: the file of a contact sheet; None draws none.
        thumbnails: whether the terminal shows them; None where it can show real pixels.
        columns: of the table, between commas; None for the usual ones.
    """

    form: Form
    picture: Path | None
    thumbnails: bool | None
    columns: str | None = None


@dataclass(frozen=True, slots=True)
class QueryInputs:
    """The questions; each item, row and code is one, and they may stand together."""

    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|FOLDER|WORDS|-", help="Pictures, documents or words; - reads one from stdin."),
    ] = None
    id: Annotated[list[int] | None, typer.Option("--id", help="A row, by its id.", metavar="N")] = None
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="A row, by its key.", metavar="KEY", autocompletion=completion.row_keys),
    ] = None
    row: Annotated[
        list[str] | None, typer.Option("--row", help="A row of a table that is not in it, as JSON.", metavar="JSON")
    ] = None
    code: Annotated[list[str] | None, typer.Option("--code", help="A code.", metavar="HEX")] = None
    plus: Annotated[
        list[str] | None, typer.Option("--plus", help="Words that are added to each question.", metavar="WORDS")
    ] = None
    minus: Annotated[
        list[str] | None, typer.Option("--not", help="Words that its hits are not to have.", metavar="WORDS")
    ] = None
    weight: Annotated[
        float | None,
        typer.Option("--weight", min=0, max=1, help="Share of added words in a question; 0.5.", metavar="SHARE"),
    ] = None

    def answers(self, collection: Collection, options: QueryOptions) -> Iterable[Answer]:
        """Ask the collection.

        Raises:
            QueryError: nothing is asked, or a row of what is no table.
        """
        things = self._things()
        if self.row:
            from aepipe.release.asked_rows import check_rows

            check_rows(collection.release)
        return collection.answers(
            *things,
            keys=self.key or [],
            ids=self.id or [],
            codes=self.code or [],
            **self._mixture(),
            **options,
        )

    def remote_answers(self, collection: RemoteCollection, options: Mapping[str, Any]) -> Iterable[hits.Answer]:
        """Ask a collection behind a service.

        Raises:
            QueryError: nothing is asked, or a row of what is no table.
        """
        things = self._things()
        if self.row:
            collection.check_rows()
        return collection.answers(
            *things, keys=self.key or [], ids=self.id or [], codes=self.code or [], **self._mixture(), **options
        )

    def _mixture(self) -> Mixed:
        return {"plus": self.plus or [], "minus": self.minus or [], "weight": self.weight}

    def _things(self) -> list[str]:
        things = [*(self.items or []), *(self.row or [])]
        if not (things or self.id or self.key or self.code or self.plus or self.minus):
            raise QueryError(
                "nothing is asked: name files, folders or words, - for stdin, or give --id, --key or --code"
            )
        if self.weight is not None and not (self.plus or self.minus):
            raise QueryError("--weight is the share of the words of --plus and --not; give one of these")
        return things


@dataclass(frozen=True, slots=True)
class Sheet:
    """How answers are drawn.

    Attributes:
        kind: of the source.
        title: above a contact sheet.
        tiles: the pictures of an answer.
    """

    kind: str
    title: str
    tiles: Callable[[hits.Answer], Found]


@dataclass(frozen=True, slots=True)
class SearchFlags:
    """Which hits are wanted, and in which order."""

    top: Annotated[
        int | None, typer.Option("--top", "-k", min=1, help="Most hits of a query; 10, with a radius all.", metavar="N")
    ] = None
    radius: Annotated[
        int | None, typer.Option("--radius", min=0, help="Only rows within this distance.", metavar="BITS")
    ] = None
    min_confidence: Annotated[
        float | None,
        typer.Option(
            "--min-confidence",
            min=0,
            max=1,
            help="Only rows of the query's kind with at least this probability.",
            metavar="P",
        ),
    ] = None
    bits: Annotated[
        int | None, typer.Option("--bits", min=1, help="Compare only the first bits of the codes.", metavar="N")
    ] = None
    where: Annotated[
        str | None,
        typer.Option("--where", help="Only rows where this holds: \"label = 'Boot' AND year > 2020\".", metavar="SQL"),
    ] = None
    others: Annotated[bool, typer.Option("--others", help="Leave a row out of its own hits.")] = False
    distinct: Annotated[bool, typer.Option("--distinct", help="Of rows with equal codes find only the first.")] = False
    fast: Annotated[bool, typer.Option("--fast", help="Leave hits in the order of their codes; read no embedding.")] = (
        False
    )
    rerank: Annotated[
        bool,
        typer.Option("--rerank", help="Order hits by their embeddings, or say why that cannot be done."),
    ] = False
    hybrid: Annotated[
        bool, typer.Option("--hybrid", help="Of documents: hits by code and by their words (BM25), fused by rank.")
    ] = False
    oversample: Annotated[
        int | None,
        typer.Option("--oversample", min=1, help="Re-rank this many times more hits than wanted.", metavar="FACTOR"),
    ] = None

    def options(self, collection: Collection) -> QueryOptions:
        """Return the options as the library takes them.

        Raises:
            QueryError: the condition of ``--where`` is not SQL.
        """
        allowed = None if self.where is None else collection.ids_where(self.where)
        if allowed is not None and not len(allowed):
            self._complain(collection.name)
        return {**self._plain(), "where": allowed, "hybrid": self.hybrid}

    def remote_options(self, collection: RemoteCollection) -> QueryOptions:
        """Return the options as a service takes them.

        Raises:
            QueryError: the condition of ``--where`` is not SQL.
        """
        if self.where is not None and not collection.count_where(self.where):
            self._complain(collection.name)
        return {**self._plain(), "where": self.where, "hybrid": self.hybrid}

    def _complain(self, name: str) -> None:
        complain(f"no row of {name} is one where {self.where}")

    def _plain(self) -> QueryOptions:
        return {
            "k": self.top,
            "radius": self.radius,
            "min_confidence": self.min_confidence,
            "others": self.others,
            "distinct": self.distinct,
            "fast": self.fast,
            "rerank": self.rerank or None,
            "oversample": self.oversample,
        }


@dataclass(frozen=True, slots=True)
class OutputFlags:
    """Options of the output: format, picture, thumbnails."""

    format: Format = None
    json: AsJson = False
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            help="Columns of the table, also the source's own: rank,key,path,year.",
            metavar="NAME,NAME",
            autocompletion=completion.columns,
        ),
    ] = None
    paths_only: Annotated[bool, typer.Option("--paths-only", help="Print one path (or key) per line.")] = False
    null: Annotated[bool, typer.Option("--null", "-0", help="End each of these with a NUL instead, for xargs -0.")] = (
        False
    )
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw the hits into a picture.", metavar="FILE")] = (
        None
    )
    thumbnails: Annotated[
        bool | None, typer.Option("--thumbnails/--no-thumbnails", help="Show the hits in the terminal.")
    ] = None

    def display(self) -> Display:
        """Return how answers are shown.

        Raises:
            QueryError: two forms are asked for, NULs without paths, or a picture that cannot be written.
        """
        form: Form = form_of(self.format, as_json=self.json)
        if self.paths_only and (self.json or self.format):
            raise QueryError(f"{'--json' if self.json else '--format'} and --paths-only exclude each other")
        if self.columns is not None and (self.paths_only or form == "json"):
            raise QueryError(f"--columns is for tables; {'--paths-only' if self.paths_only else 'JSON'} has none")
        if self.null and not self.paths_only:
            raise QueryError("--null parts the paths of --paths-only; give both")
        check_picture(self.picture)
        if self.paths_only:
            form = "null" if self.null else "paths"
        return Display(form, self.picture, self.thumbnails, self.columns)


def query(asked: QueryInputs, wanted: SearchFlags, form: OutputFlags, service: ServerFlags, place: Place) -> None:
    """Find the rows most like a picture, a text, a row or a code.

    Each hit has a distance (bits that differ), a similarity (the share of bits that agree), and a
    confidence that it is of the query's kind: the share of rows at that distance that had the same
    label, or one of several in common (without labels: that were among the nearest by features),
    measured on queries held out from training. A query that is unlike the whole collection is answered
    with a warning.
    More hits than wanted are found by their codes, and ordered by the embeddings that codes were made
    from, by their cosine; how many more was measured on queries held out from training. With --bits there
    are three steps: the first bits find candidates, all bits choose among them, embeddings order the
    last. With --fast hits stay in the order of their codes, as where no embeddings are kept.
    An unreadable item is one line on stderr; the others are answered, and the exit status is 2.

    Examples:
      aepipe query boot.jpg                       the 10 rows most like a picture
      aepipe query holidays/ -k 3                 the 3 most like each picture of a folder
      curl -s $URL | aepipe query -               a picture from a pipe
      aepipe query "how do I mend a bicycle tyre" documents on a question
      aepipe query "a dog on grass"               pictures of it, where the recipe has `[features] words`
      aepipe query beach.jpg --plus "at night"    like a picture, but at night
      aepipe query "a street" --not snow          a street without snow
      aepipe query letter.txt                     documents like a document
      aepipe query --row '{"age": 41}'            rows of a table like one that is not in it
      aepipe query --key train/0007.png           rows like a row of the collection
      aepipe query --code 9f3a62c0d1e4b587        rows near a code
      aepipe query boot.jpg --radius 6            every row within 6 bits
      aepipe query boot.jpg --min-confidence 0.9  every row that is of its kind nine times out of ten
      aepipe query boot.jpg --bits 32             by the first 32 bits only
      aepipe query boot.jpg --where "label = 'Boot' AND year > 2020"
      aepipe query --id 17 --others --distinct    like a row, without itself and duplicates
      aepipe query boot.jpg --fast                in the order of the codes alone
      aepipe query *.jpg --json | jq .hits        for programs
      aepipe query boot.jpg --columns rank,path,year --format csv
      aepipe query boot.jpg --paths-only --null | xargs -0 feh
      aepipe query *.jpg --picture hits.png       a contact sheet
      aepipe query boot.jpg --server http://search.example.org

    With --server (or $AEPIPE_SERVER) a running `aepipe serve` answers; items are read on this machine and
    sent to it, with the token of $AEPIPE_TOKEN where it wants one.
    In kitty, Ghostty, Konsole, iTerm2 and WezTerm the table comes with thumbnails; --thumbnails
    draws them with coloured characters in any other terminal.
    """
    from aepipe.release.originals import check_output

    display = form.display()
    things = asked.items or []
    remote = service.connect(place)
    if remote is not None:
        check_output(display.picture, asked=things)
        remote = remote.first_bits(wanted.bits)
        show(remote, asked.remote_answers(remote, wanted.remote_options(remote)), display, _remote_sheet(remote))
        return
    collection = place.open().first_bits(wanted.bits)
    release = collection.release
    check_output(display.picture, release=release, asked=things)
    show(release, asked.answers(collection, wanted.options(collection)), display, _sheet(release))


def show(shelf: hits.Shelf, answers: Iterable[hits.Answer], display: Display, sheet: Sheet) -> None:
    """Show answers as they come.

    Args:
        shelf: where hits come from.
        answers: to its questions.
        display: how they are shown.
        sheet: how they are drawn.

    Raises:
        QueryError: the contact sheet cannot be written, or a code cannot be re-ranked.
        typer.Exit: an item could not be read; the others have been answered.
    """
    way = _way(sheet.kind, display)
    named = hits.chosen(shelf, display.columns)
    if display.form == "csv":
        say_csv([("query", *(named or hits.names(shelf)))])
    failed = unsure = False
    drawn: list[Found] = []
    for found in answers:
        if display.picture and _is_earlier(found.question.text, display.picture):
            continue
        if found.question.failure is not None:
            complain(found.question.failure)
            failed = True
            continue
        if way is not None:
            say_picture(_thumbnails(sheet.tiles(found), way))
        _print(shelf, found, display.form, named)
        # On stderr, so that a program that reads the hits need not know of it.
        if found.strange:
            complain(f"{shortened(found.question.text)}: {found.strange}")
        unsure = unsure or _is_unsure(found)
        if display.picture and len(drawn) < MOST_DRAWN:
            drawn.append(sheet.tiles(found))
    if display.picture and drawn:
        _draw(sheet.title, drawn, display.picture)
    measured = getattr(shelf, "confidence", None)  # a service does not tell what it measured
    if unsure and measured and display.form in {"table", "markdown"}:
        complain(measured.said_of_few())
    if failed:
        raise typer.Exit(UNREADABLE)


def _is_unsure(found: hits.Answer) -> bool:
    """Tell whether even the surest hit of an answer is more likely wrong than right."""
    known = [hit.confidence for hit in found.hits if hit.confidence is not None]
    return bool(known) and max(known) < EVEN


def _is_earlier(text: str, picture: Path) -> bool:
    """Tell whether a question is the contact sheet of an earlier time, which lies in a folder that is asked with."""
    return Path(text).name == picture.name and os.path.realpath(text) == os.path.realpath(picture)


def as_json(shelf: hits.Shelf, found: hits.Answer) -> dict[str, Any]:
    """Return an answer as ``--json`` prints it."""
    assert found.question.code is not None
    understood = list(found.question.understood)
    return {
        "fingerprint": shelf.fingerprint,
        "query": found.question.text,
        "code": found.question.code.hex()[0],
        "strange": found.strange,
        **({"understood": understood} if understood else {}),
        "hits": [hits.hit_json(shelf, hit) for hit in found.hits],
    }


def usual_columns(found: hits.Answer) -> tuple[str, ...]:
    """Return the columns that a table for people has, where none are named."""
    known, reranked = (any(getattr(hit, name) is not None for hit in found.hits) for name in ("confidence", "cosine"))
    more = (*(("confidence",) if known else ()), *(("cosine",) if reranked else ()))
    more += ("key", *(("label",) if any(hit.row.label for hit in found.hits) else ()))
    snippets = any(hits.SNIPPET in hit.row.columns for hit in found.hits)
    return ("rank", "distance", "similarity", *more, *((hits.SNIPPET,) if snippets else ()))


def as_table(
    shelf: hits.Shelf, found: hits.Answer, columns: Sequence[str] | None = None, *, markdown: bool = False
) -> str:
    """Return an answer as a table under the name of its query."""
    name = printable(shortened(found.question.text, TITLE))
    if found.question.understood:
        name = f"{name}\nunderstood as: {printable(', '.join(found.question.understood))}"
    if not found.hits:
        return f"{name}\nnothing found\n"
    head = tuple(columns or usual_columns(found))
    rows = [hits.cells(shelf, hit, head) for hit in found.hits]
    words = [place for place, name in enumerate(head) if name not in NUMBERS]
    if markdown:
        titled = "\n".join(f"**{line}**  " for line in name.split("\n")).rstrip()
        return f"{titled}\n\n{markdown_table([head, *rows], left=words)}\n"
    if columns is None and head[-1] == hits.SNIPPET:
        rows = _with_short_ends(head, rows)
    return f"{name}\n{fitted(head, rows, words)}\n"


def _with_short_ends(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return rows whose last cells are cut to what the others leave of a line."""
    room = columns_of_terminal() or PIPED
    taken = sum(max(width(row[place]) for row in [head, *rows]) + GAP for place in range(len(head) - 1))
    spare = room - taken if room - taken >= SHORTEST else room - SHORTEST
    return [(*row[:-1], short_line(row[-1], spare)) for row in rows]


def _sheet(release: Release) -> Sheet:
    def drawn(found: hits.Answer) -> Found:
        from aepipe.report.tiles import tiles

        return tiles(release, cast("Answer", found))

    return Sheet(release.recipe["source"]["kind"], _title(release.name, len(release.index), release.n_bits), drawn)


def _remote_sheet(remote: RemoteCollection) -> Sheet:
    def drawn(found: hits.Answer) -> Found:
        from aepipe.client.pictures import tiles

        return tiles(remote, cast("RemoteAnswer", found))

    return Sheet(remote.kind, _title(remote.name, len(remote), remote.n_bits), drawn)


def _title(name: str, rows: int, n_bits: int) -> str:
    return f"{name}: {rows:,} rows, {n_bits} bits"


def _print(shelf: hits.Shelf, found: hits.Answer, form: Form, columns: Sequence[str] | None) -> None:
    if form == "json":
        say_json(as_json(shelf, found))
    elif form == "csv":
        names = columns or hits.names(shelf)
        lines = [[hits.value(shelf, hit, name) for name in names] for hit in found.hits]
        if lines:
            say_csv([(found.question.text, *line) for line in lines])
    elif form in {"paths", "null"}:
        say_paths([shelf.path_of(hit.row.place) or hit.row.key for hit in found.hits], null=form == "null")
    else:
        say(as_table(shelf, found, columns, markdown=form == "markdown"), fold=False)


def _draw(title: str, drawn: Sequence[Found], file: Path) -> None:
    from aepipe.report.tiles import hits_picture

    write_picture(hits_picture(drawn, title=title), file)


def _way(kind: str, display: Display, environment: Mapping[str, str] = os.environ) -> Way | None:
    """Return how the terminal shows thumbnails; None for not at all."""
    if display.form != "table" or display.thumbnails is False or not (display.thumbnails or sys.stdout.isatty()):
        return None
    from aepipe.cli.output import pixels_way
    from aepipe.sources import has_pictures

    if not has_pictures(kind):
        return None
    pixels = pixels_way(environment) if sys.stdout.isatty() else None
    return pixels or ("blocks" if display.thumbnails else None)


def _thumbnails(found: Found, way: Way) -> str:
    """Return the query and as many hits as fit, side by side."""
    from aepipe.cli.output import inline
    from aepipe.report.tiles import strip_picture

    fitting = max(1, shutil.get_terminal_size().columns // TILE_COLUMNS)
    shown = [found.query, *found.hits][:fitting]
    return inline(strip_picture(shown), columns=len(shown) * TILE_COLUMNS, lines=TILE_LINES, way=way)

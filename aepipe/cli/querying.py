"""The verb ``query``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from aepipe import asking
from aepipe.cli import answers
from aepipe.cli.answers import Shown, show
from aepipe.cli.options import AsJson, Place
from aepipe.cli.output import complain
from aepipe.confidence import Confidence
from aepipe.errors import QueryError
from aepipe.filtering import ids_where
from aepipe.finding import Limits
from aepipe.prefix import Prefix
from aepipe.release import Release
from aepipe.reranking import oversampling


@dataclass(frozen=True, slots=True)
class Asked:
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

    def questions(self, release: Release) -> Iterator[asking.Question]:
        """Return what is asked, read and encoded.

        Raises:
            QueryError: nothing is asked.
        """
        items = [*(self.items or []), *(self.row or [])]
        if not (items or self.id or self.key or self.code):
            raise QueryError(
                "nothing is asked: name files, folders or words, - for stdin, or give --id, --key or --code"
            )
        rows = asking.rows(release, self.id or [], self.key or [])
        return chain(rows, asking.codes(release, self.code or []), asking.things(release, items))


@dataclass(frozen=True, slots=True)
class Wanted:
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

    def limits(self, release: Release) -> Limits:
        """Return how much is wanted.

        Raises:
            QueryError: as :meth:`farthest` and :meth:`factor`; or the condition of ``--where`` is not one.
        """
        allowed = None if self.where is None else ids_where(release, self.where)
        if allowed is not None and not len(allowed):
            complain(f"no row of {release.name} is one where {self.where}")
        return Limits(self.top, self.farthest(release), self.factor(release), allowed, self.others, self.distinct)

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
        known = Confidence.of(release)
        if known is None:
            why = "of the first bits" if self.bits is not None else "of this release: run it again"
            raise QueryError(f"{release.name}: it was not measured what distances {why} are worth")
        radius = known.radius(self.min_confidence)
        return radius if self.radius is None else min(radius, self.radius)


@dataclass(frozen=True, slots=True)
class Form:
    """How it is shown."""

    json: AsJson = False
    paths_only: Annotated[bool, typer.Option("--paths-only", help="Print one path (or key) per line.")] = False
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw the hits into a picture.", metavar="FILE")] = (
        None
    )
    thumbnails: Annotated[
        bool | None, typer.Option("--thumbnails/--no-thumbnails", help="Show the hits in the terminal.")
    ] = None

    def shown(self) -> Shown:
        """Return how answers are shown.

        Raises:
            QueryError: two forms exclude each other.
        """
        if self.json and self.paths_only:
            raise QueryError("--json and --paths-only exclude each other")
        form: answers.Form = "json" if self.json else "paths" if self.paths_only else "table"
        return Shown(form, self.picture, self.thumbnails)


def query(asked: Asked, wanted: Wanted, form: Form, place: Place) -> None:
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

"""The verb ``label``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aepipe.cli.options import AsJson, Place, ServerFlags
from aepipe.cli.output import complain, remark, say, say_json
from aepipe.cli.tables import say_csv
from aepipe.errors import QueryError, shortened, system_words

if TYPE_CHECKING:
    from aepipe.api import Collection
    from aepipe.client.labels import RemoteLabelled
    from aepipe.client.remote import RemoteCollection
    from aepipe.release.label import Labelled
    from aepipe.report.labels import Line

Given = Annotated[
    list[str],
    typer.Argument(
        metavar="[RELEASE] WORDS",
        help="A file with a word or a phrase in each line, - for stdin; before it the name of a collection, or the "
        "first characters of a release's digest; else the one in service.",
        show_default=False,
    ),
]


def label(
    given: Given,
    service: ServerFlags,
    place: Place,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write NAME.csv or NAME.parquet, in place of stdout.", metavar="FILE")
    ] = None,
    json: AsJson = False,
) -> None:
    """Label every row by words of your own: which of them it is most like, and how sure that is.

    Nothing is trained, and the release stays as it is: labels are printed as CSV, or written to a file.
    The confidence says how far the label stands out from your other words, so it depends on them: give
    words for everything that the collection may hold. It needs a collection that answers words:
    documents do, pictures where their recipe has `[features] words`.

    Examples:
      aepipe label words.txt > labels.csv
      aepipe label photos words.txt --out labels.parquet
      aepipe label - --json < words.txt | jq 'select(.confidence > 0.8)'
      aepipe label words.txt --server http://search.example.org
    """
    from aepipe.release.originals import check_output
    from aepipe.report.labels import NAMES, write
    from aepipe.words import words_in

    if len(given) > 2:
        raise QueryError(f"{' '.join(given)}: a release and a file of words are wanted")
    words, named = words_in(_text(given[-1])), given[0] if len(given) == 2 else None
    remote = service.connect(replace(place, name=place.name or named))
    opened = None if remote else _opened(place, named)
    check_output(out, release=opened.release if opened is not None else None, asked=given[-1:])
    found, lines = _remotely(remote, words) if remote else _here(opened, words)
    for far in found.far:
        complain(far)
    if out is not None:
        write(lines, out)
        say(f"{out}: {len(found):,} rows labelled")
    elif json:
        for line in lines:
            say_json(dict(zip(NAMES, line, strict=True)))
    else:
        say_csv([NAMES, *lines])
    remark("; ".join(f"{word}: {count:,}" for word, count in found.counts().items()))


def _remotely(remote: RemoteCollection, words: Sequence[str]) -> tuple[RemoteLabelled, Iterator[Line]]:
    found = remote.label(words)
    return found, found.lines()


def _here(opened: Collection | None, words: Sequence[str]) -> tuple[Labelled, Iterator[Line]]:
    from aepipe.release.label import lines

    assert opened is not None, "no service is asked"
    found = opened.label(words)
    return found, lines(opened.release, found)


def _opened(place: Place, named: str | None) -> Collection:
    """Return the collection of a name, or that of a release; without either the one in service."""
    if named is None:
        return place.open()
    from aepipe.store import registry

    if place.name is None and named in registry.names(place.making()):
        return replace(place, name=named).open()
    return place.open(named)


def _text(file: str) -> str:
    """Return the content of the file of words.

    Raises:
        QueryError: it cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8")
    except FileNotFoundError:
        raise QueryError(
            f"{shortened(file)}: no such file; write the words into one, each in a line of its own, or give - for stdin"
        ) from None
    except OSError as error:
        raise QueryError(system_words(error)) from None
    except UnicodeDecodeError:
        raise QueryError(f"{file}: not text in UTF-8") from None

"""The verb ``evaluate``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from aepipe.cli.options import AsJson, Place, ReleaseText, writable
from aepipe.cli.output import say, say_json, write_picture
from aepipe.errors import QueryError
from aepipe.report.facts import scores_text


def evaluate(
    place: Place,
    release: ReleaseText = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure again, from the rows and codes in the store.")
    ] = False,
    bits: Annotated[
        int | None, typer.Option("--bits", min=1, help="Measure the first bits of the codes.", metavar="N")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            help="Draw precision by recall and by radius, with the baselines.",
            metavar="FILE",
            callback=writable,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the scores of a release and of its baselines.

    The scores were measured when the release was made. With --again they are measured again from its
    rows and codes; nothing is written or trained, but it needs the extra `train`. With --bits the first
    bits of each code are measured in the same way, with baselines of that length.

    Examples:
      aepipe evaluate
      aepipe evaluate 3f9a0c11 --json
      aepipe evaluate --again             the same figures, or a reason to look closer
      aepipe evaluate --bits 16           the worth of the first two bytes
      aepipe evaluate --picture curves.png
    """
    collection = place.open(release)
    began = time.monotonic()
    scores = collection.evaluate(again=again, bits=bits)
    if picture:
        _draw(scores, f"{collection.name}: {scores['protocol']['n_bits']} bits", picture)
    if as_json:
        say_json(scores)
        return
    say(f"{collection.name}, release {collection.release.ref.short}\n\n{scores_text(scores)}")
    if again and not bits:
        same = "the same figures as" if scores == collection.scores else "figures that DIFFER from those"
        say(f"\nmeasured in {time.monotonic() - began:.1f} s: {same} in the store")


def _draw(scores: dict[str, Any], title: str, file: Path) -> None:
    """Draw curves of precision.

    Raises:
        QueryError: there are none without labels, or the file cannot be written.
    """
    from aepipe.report.charts import precision_picture

    drawn = precision_picture(scores, title=title)
    if drawn is None:
        raise QueryError("precision was not measured: the rows have no labels, or the scores are old; try --again")
    write_picture(drawn, file)

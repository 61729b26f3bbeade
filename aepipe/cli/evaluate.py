"""The verb ``evaluate``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from aepipe.api import Collection
from aepipe.cli.options import AsJson, Place, ReleaseText
from aepipe.cli.output import check_picture, columns, say, say_json, write_picture
from aepipe.errors import QueryError
from aepipe.evaluate.differences import differences
from aepipe.release.originals import check_output
from aepipe.report.explain import explained
from aepipe.report.facts import scores_text

MOST_DIFFERENCES = 10
"""Figures that differ that are named."""


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
        ),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say below each figure what it means.")] = False,
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
      aepipe evaluate --explain           each figure in plain words
    """
    if explain and as_json:
        raise QueryError("--explain and --json exclude each other")
    check_picture(picture, chart=True)
    collection = place.open(release)
    check_output(picture, release=collection.release)
    began = time.monotonic()
    scores = collection.evaluate(again=again, bits=bits)
    if picture:
        _draw(scores, f"{collection.name}: {scores['protocol']['n_bits']} bits", picture)
    if as_json:
        say_json(scores)
        return
    told = explained(scores) if explain else scores_text(scores, columns())
    say(f"{collection.name}, release {collection.release.ref.short}\n\n{told}", fold=explain)
    if again and not bits:
        say(f"\nmeasured in {time.monotonic() - began:.1f} s: {_compared(collection, scores)}")


def _compared(collection: Collection, again: dict[str, Any]) -> str:
    """Say whether scores are those in the store; where not, which figures differ, and why that can be."""
    found = differences(collection.scores, again)
    if not found:
        return "the same figures as in the store"
    if all(one.rounding for one in found):
        return f"the same figures as in the store, but for rounding in {len(found)} of them"
    lines = [f"  {one}" for one in found[:MOST_DIFFERENCES]]
    if len(found) > MOST_DIFFERENCES:
        lines.append(f"  and {len(found) - MOST_DIFFERENCES:,} more; all are in --json")
    return "\n".join([f"{len(found):,} figures DIFFER from those in the store:", *lines, _why(collection)])


def _why(collection: Collection) -> str:
    """Say why figures can be others than those that were measured when the release was made."""
    from aepipe.pipeline.score import VERSION

    release = collection.release
    if release.changed:
        return "Rows were added or removed since the figures in the store were measured."
    then = collection.store.manifest(release.part("scores")).inputs.get("version")
    if then != VERSION:
        return f"Those in the store were measured by version {then} of the protocol; this is version {VERSION}."
    return (
        f"The protocol is the same: files were changed (`aepipe verify {release.ref.short}`), or libraries of other "
        "versions measure."
    )


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

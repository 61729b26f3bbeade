"""The verb ``evaluate``."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from aepipe.cli.options import AsJson, Place, ReleaseText
from aepipe.cli.output import say, say_json, write_picture
from aepipe.errors import QueryError
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.report.release import scores_text
from aepipe.store import layout
from aepipe.store.artifacts import Store


def evaluate(
    place: Place,
    release: ReleaseText = None,
    again: Annotated[bool, typer.Option("--again", help="Measure anew, from the rows and codes on the shelf.")] = False,
    bits: Annotated[
        int | None, typer.Option("--bits", min=1, help="Measure the first bits of the codes.", metavar="N")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Draw precision by recall and by radius, beside the baselines.", metavar="FILE"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print how good a release is, beside its baselines.

    The scores were measured when the release was made. With --again they are measured anew from
    its rows and codes, and nothing is written; that takes the extra `train`, but trains nothing. With
    --bits so are the first bits of each code, beside baselines of that length.

    Examples:
      aepipe evaluate
      aepipe evaluate 3f9a0c11 --json
      aepipe evaluate --again             the same figures, or a reason to look closer
      aepipe evaluate --bits 16           what the first two bytes are worth
      aepipe evaluate --picture curves.png
    """
    store = place.store()
    opened = Release.open(store, ref=lifecycle.find(store, release, place.name))
    began = time.monotonic()
    scores = measure(store, opened, bits) if again or bits else opened.scores
    if picture:
        _draw(scores, f"{opened.name}: {scores['protocol']['n_bits']} bits", picture)
    if as_json:
        say_json(scores)
        return
    say(f"{opened.name}, release {opened.ref.short}\n\n{scores_text(scores)}")
    if again and not bits:
        same = "the same figures as" if scores == opened.scores else "figures that DIFFER from those"
        say(f"\nmeasured in {time.monotonic() - began:.1f} s: {same} on the shelf")


def _draw(scores: dict[str, Any], title: str, file: Path) -> None:
    """Draw the curves.

    Raises:
        QueryError: without labels there are none, or the file cannot be written.
    """
    from aepipe.report.charts import precision_picture

    drawn = precision_picture(scores, title=title)
    if drawn is None:
        raise QueryError("precision was not measured: the rows have no labels, or the scores are old; try --again")
    write_picture(drawn, file)


def measure(store: Store, release: Release, n_bits: int | None = None) -> dict[str, Any]:
    """Score a release, or the first bits of its codes, as its own recipe says, without a trace on the shelf.

    Raises:
        CodeError: the codes have not so many bits.
        CorruptError: something on the shelf is not what was written.
        ModuleNotFoundError: the extra ``train`` is not installed.
    """
    from aepipe import recipe
    from aepipe.pipeline import score

    file = store.root / "release" / release.ref.digest / layout.Release.MANIFEST
    codes = [part for what, part in release.parts if what == "codes"]
    read = recipe.parse(release.recipe, file)
    with tempfile.TemporaryDirectory(prefix=".tmp-evaluate-", dir=store.root) as scratch:
        rows, model = release.part("rows"), release.part("encoder")
        found = score.measure(store, read, rows, model, codes, Path(scratch), n_bits=n_bits)
    return found.to_dict()

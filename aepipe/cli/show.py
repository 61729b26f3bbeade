"""The verb ``show``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aepipe.cli.options import AsJson, Place, ReleaseText
from aepipe.cli.output import say, say_json, write_picture, write_text
from aepipe.errors import QueryError
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.report.release import describe, describe_text
from aepipe.store.artifacts import Ref, Store

if TYPE_CHECKING:
    from PIL.Image import Image

ACROSS = 10
"""Tiles in one line of filters."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """A page and pictures of one release, made where a file is named."""

    page: Annotated[
        Path | None,
        typer.Option("--page", help="Write all this, with hits and losses, as one page of HTML.", metavar="FILE"),
    ] = None
    hits: Annotated[Path | None, typer.Option("--hits", help="Draw what a few of its rows find.", metavar="FILE")] = (
        None
    )
    curves: Annotated[
        Path | None, typer.Option("--curves", help="Draw the losses of its training.", metavar="FILE")
    ] = None
    map: Annotated[
        Path | None, typer.Option("--map", help="Draw its codes on a plane, alike ones together.", metavar="FILE")
    ] = None
    filters: Annotated[
        Path | None, typer.Option("--filters", help="Draw what the units of its layers look at.", metavar="FILE")
    ] = None


def show(place: Place, pictures: Pictures, release: ReleaseText = None, as_json: AsJson = False) -> None:
    """Say what is in service, how good it is, and where it lies.

    Scores stand beside ITQ, random hyperplanes (lsh), signs of principal components (pca-sign) and
    spectral hashing at the same number of bits, and exact search among the float features. Where the
    shelf has a release of the same recipe without pretraining, the difference is what it was worth.

    Examples:
      aepipe show                         every collection in service
      aepipe show --name fashion
      aepipe show 3f9a0c11                a release that need not be in service
      aepipe show --page fashion.html     to look at in a browser, or to send
      aepipe show --hits hits.png --curves curves.png --map map.png --filters filters.png
      aepipe show --json | jq '.[].scores'
    """
    store = place.store()
    wanted = lifecycle.wanted(store, release, place.name)
    found = [describe(store, ref) for ref in wanted]
    for ref in wanted:
        draw(store, ref, pictures)
    if as_json:
        say_json(found)
    else:
        say("\n\n".join(map(describe_text, found)))


def draw(store: Store, ref: Ref, pictures: Pictures) -> None:
    """Make the page and the pictures of a release that are asked for.

    Raises:
        QueryError: no original of its rows is at hand any more, or a file cannot be written.
    """
    if not (pictures.page or pictures.hits or pictures.curves or pictures.map or pictures.filters):
        return
    from aepipe.report.page import examples_picture, map_picture, training_picture

    release = Release.open(store, ref=ref)
    if pictures.page:
        write_text(_page(store, release), pictures.page)
    if pictures.hits:
        drawn = examples_picture(release)
        if drawn is None:
            raise QueryError(f"{release.name}: no original is left in {release.items.root} to draw")
        write_picture(drawn, pictures.hits)
    if pictures.curves:
        write_picture(training_picture(store, release), pictures.curves)
    if pictures.map:
        write_picture(map_picture(release), pictures.map)
    if pictures.filters:
        write_picture(_filters(store, release), pictures.filters)


def _page(store: Store, release: Release) -> str:
    """Return all there is to say of a release as a page."""
    from aepipe.report.page import page, shown

    return page(describe(store, release.ref), shown(store, release))


def _filters(store: Store, release: Release) -> Image:
    """Draw the weights of the lowest units, and what units of the layers above them are decoded to."""
    from aepipe.release.networks import Networks
    from aepipe.report.tiles import Line, as_images, grid_picture

    networks = Networks.open(store, release)
    weights = as_images(networks.filters(4 * ACROSS))
    lines = [
        Line("lowest units" if not start else "", weights[start : start + ACROSS], "signed")
        for start in range(0, len(weights), ACROSS)
    ]
    for depth in range(2, len(networks.layers)):
        lines.append(Line(f"layer {depth}", as_images(networks.features(depth, ACROSS)), "signed"))
    return grid_picture(lines, title=f"{release.name}: what units look at, blue for light, orange for dark")

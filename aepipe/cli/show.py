"""The verb ``show``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aepipe.cli.options import Place, ReleaseText
from aepipe.cli.output import check_file, check_picture, columns, say, say_json, write_picture, write_text
from aepipe.cli.tables import Form, Shape, say_table
from aepipe.errors import NotFoundError, QueryError
from aepipe.release import lifecycle
from aepipe.release.originals import check_output
from aepipe.release.query import check_pixels
from aepipe.release.release import Release
from aepipe.report.facts import describe, describe_text
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store

if TYPE_CHECKING:
    from PIL.Image import Image

ACROSS = 10
"""Tiles in one line of filters."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """A page and pictures of one release; each is made where a file is named."""

    page: Annotated[
        Path | None,
        typer.Option("--page", help="Write all this, with hits and losses, as one page of HTML.", metavar="FILE"),
    ] = None
    hits: Annotated[Path | None, typer.Option("--hits", help="Draw the hits of a few of its rows.", metavar="FILE")] = (
        None
    )
    curves: Annotated[
        Path | None, typer.Option("--curves", help="Draw the losses of its training.", metavar="FILE")
    ] = None
    map: Annotated[
        Path | None, typer.Option("--map", help="Draw its codes as a map, with like codes together.", metavar="FILE")
    ] = None
    filters: Annotated[
        Path | None, typer.Option("--filters", help="Draw the weights of the units of its layers.", metavar="FILE")
    ] = None


def show(
    place: Place,
    pictures: Pictures,
    release: ReleaseText = None,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="List the items that could not be read, and the files passed over.")
    ] = False,
    *,
    shape: Shape,
) -> None:
    """Describe the releases in service: rows, scores, folders, and files that were not read.

    Scores are shown with those of ITQ, random hyperplanes (lsh), signs of principal components
    (pca-sign) and spectral hashing at the same number of bits, and of exact search by float features.
    Where the store has a release of the same recipe without pretraining, the gain by pretraining is
    shown, too.

    Examples:
      aepipe show                         every collection in service
      aepipe show --name fashion
      aepipe show 3f9a0c11                a release that need not be in service
      aepipe show --quarantine            what was not read, by name, with the reason
      aepipe show --page fashion.html     to look at in a browser, or to send
      aepipe show --hits hits.png --curves curves.png --map map.png --filters filters.png
      aepipe show --json | jq '.[].scores'
    """
    form = shape.form()
    check_picture(pictures.hits, pictures.filters)
    check_picture(pictures.curves, pictures.map, chart=True)
    check_file(pictures.page)
    place, release = place.meant(release)
    store = place.store()
    refused = _refused(store, place.name) if quarantine and release is None else {}
    try:
        wanted = lifecycle.find_all(store, release, place.name)
    except NotFoundError:
        if not refused:
            raise
        wanted = []
    found = [describe(store, ref) for ref in wanted]
    for ref in wanted:
        draw(store, ref, pictures)
    if quarantine:
        lists = {one["name"]: one["read"].get("list") for one in found}
        _list_quarantine(refused | lists, form)
    elif form == "json":
        say_json(found)
    elif form == "table":
        say("\n\n".join(described(one) for one in found), fold=False)
    else:
        _list_releases(found, form)


def _refused(store: Store, name: str | None) -> dict[str, str]:
    """Return the lists of what runs and additions did not read, also of those that failed, by collection."""
    before, after = layout.Root.quarantine("*").split("*")
    known = store.backend.names("", f"{before}*")
    files = {file.removeprefix(before).removesuffix(after): str(store.backend.file(file)) for file in known}
    return {one: file for one, file in sorted(files.items()) if name in (None, one, one.removesuffix("-added"))}


def _list_quarantine(lists: Mapping[str, str | None], form: Form) -> None:
    """Print what was not read of the sources of some collections."""
    from aepipe.store.rows import read_quarantine

    listed = [
        {"collection": name, **row}
        for name, file in lists.items()
        for row in (read_quarantine(Path(file)) if file else ())
    ]
    head = ["collection", "what", "reason", "name"]
    rows = [[row["collection"], row["what"], row["reason"], _name(row)] for row in listed]
    if rows or form != "table":
        say_table(head, rows, form, values=listed, left=(0, 1, 2, 3))
    else:
        say("everything was read")


def described(found: Mapping[str, Any]) -> str:
    """Return the facts of a release for people, folded where the terminal is narrow."""
    room = columns()
    return describe_text(found) if room is None else describe_text(found, room)


def _list_releases(found: Sequence[Mapping[str, Any]], form: Form) -> None:
    """Print a line for each release."""
    names = ("name", "release", "in_service", "created", "rows", "n_bits", "index", "path")
    lines = [[str(one[name]) for name in names] for one in found]
    say_table(names, lines, form, values=[{name: one[name] for name in names} for one in found])


def _name(row: dict[str, Any]) -> str:
    return row["key"] or row["place"] or f"and {row['count']:,} more"


def draw(store: Store, ref: Ref, pictures: Pictures) -> None:
    """Write the page and the pictures of a release for which a file is named.

    Raises:
        QueryError: all originals of its rows are gone, or a file cannot be written.
        TargetError: a file is one of the collection, or a recipe.
    """
    if not (pictures.page or pictures.hits or pictures.curves or pictures.map or pictures.filters):
        return
    from aepipe.report.page import examples_picture, map_picture, training_picture

    release = Release.open(store, ref=ref)
    named = (pictures.page, pictures.hits, pictures.curves, pictures.map, pictures.filters)
    check_output(*named, release=release)
    if pictures.filters:
        check_filters(release)
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


def check_filters(release: Release) -> None:
    """Check, before anything is drawn, that weights of units are pictures.

    Raises:
        QueryError: rows are no pictures, as features of a network, words or cells of a table.
    """
    shape = release.encoder.card.shape
    if len(shape) != 3 or shape[-1] not in {1, 3}:
        check_pixels(release)


def _page(store: Store, release: Release) -> str:
    """Return the page of a release, with pictures."""
    from aepipe.report.page import page, shown

    return page(describe(store, release.ref), shown(store, release))


def _filters(store: Store, release: Release) -> Image:
    """Draw the weights of the lowest units, and the decoded units of the layers above them."""
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
    return grid_picture(lines, title=f"{release.name}: weights of units, blue for light, orange for dark")

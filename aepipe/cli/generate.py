"""The verbs that look at what a network makes by itself: ``generate``, ``reconstruct``, ``interpolate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aepipe.cli.options import Place, ReleaseOption
from aepipe.cli.output import complain, say, table, write_picture
from aepipe.errors import QueryError
from aepipe.release import lifecycle
from aepipe.release import query as queries
from aepipe.release.release import Release

if TYPE_CHECKING:
    from PIL.Image import Image

    from aepipe.release.networks import Networks

UNREADABLE = 2
MOST = 12
"""Rows side by side on one picture."""
ACROSS = 10
Picture = Annotated[Path, typer.Option("--picture", help="Where it is drawn.", metavar="FILE")]


def _array_file(file: Path | None) -> Path | None:
    """Return the name of a file for arrays, as it was given.

    Raises:
        QueryError: it is the name of something else.
    """
    if file and file.suffix != ".npy":
        raise QueryError(f"{file}: rows are written as NumPy arrays: name a file like rows.npy, or give --picture FILE")
    return file


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that are looked at; they may be mixed."""

    images: Annotated[list[str] | None, typer.Argument(metavar="IMAGE|FOLDER|-", help="Pictures.")] = None
    id: Annotated[list[int] | None, typer.Option("--id", help="A row, by its id.", metavar="N")] = None
    key: Annotated[list[str] | None, typer.Option("--key", help="A row, by its key.", metavar="KEY")] = None


def generate(
    place: Place,
    release: ReleaseOption = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many.", metavar="N")] = 40,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of a denoising chain.", metavar="N")] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.", metavar="N")] = 0,
    picture: Picture = Path("samples.png"),
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the rows, too.", metavar="FILE.npy", callback=_array_file),
    ] = None,
    walk: Annotated[Path | None, typer.Option("--walk", help="Draw a walk along single units.", metavar="FILE")] = None,
) -> None:
    """Make new rows with the networks of a release.

    Where a layer has a prior (a variational or an adversarial autoencoder), codes are drawn from it and
    decoded. Otherwise the chain of the denoising layer is walked from rows of the collection: each line
    of the picture is one chain.

    --walk takes a row of the collection and moves single units of its code, those that change it most.

    Examples:
      aepipe run zoo/vae
      aepipe generate --name vae --picture samples.png --walk walk.png
      aepipe generate --release 3f9a0c11 -n 100 --out samples.npy
    """
    import numpy as np

    store = place.store()
    opened = Release.open(store, ref=lifecycle.find(store, release, place.name))
    networks = _networks(place, opened)
    if networks.prior_depth is not None:
        rows = networks.sample(count, seed=seed)
        write_picture(_grid(_lines(rows), f"{opened.name}: draws from the prior, decoded"), picture)
    else:
        lines = -(-count // ACROSS)
        start = _some_rows(opened, lines)
        visited = [networks.rows(start), *networks.chain(start, steps=steps, seed=seed)]
        at = np.unique(np.linspace(0, steps, ACROSS).round().astype(int))
        rows = np.stack([visited[step] for step in at], 1).reshape(-1, *networks.shape)
        heads = ["start", *(f"step {step}" for step in at[1:])]
        write_picture(_grid(_lines(rows, len(at)), f"{opened.name}: chains of {steps} steps", heads), picture)
    say(f"{picture}: {len(rows)} rows")
    if out:
        np.save(out, rows)
        say(f"{out}: float32{list(rows.shape)}")
    if walk:
        write_picture(_walk(networks, _some_rows(opened, 1)[0]), walk)
        say(f"{walk}: what single units of a code do")


def reconstruct(
    place: Place,
    rows: Rows,
    release: ReleaseOption = None,
    picture: Picture = Path("reconstruction.png"),
    tangents: Annotated[
        Path | None, typer.Option("--tangents", help="Draw the directions that move the code most.", metavar="FILE")
    ] = None,
) -> None:
    """Show what is left of a picture in its code: the input, corrupted as in training, and decoded.

    Decoded twice: from the float embedding of the layers as they were pretrained, and from the bits of
    the fine-tuned whole. Errors are squares, summed over the cells of a row, whose values are 0 to 1.

    --tangents draws, for each picture, the leading right singular vectors of the Jacobian of its code:
    what the code notices most, blue where more and orange where less light moves it.

    Examples:
      aepipe reconstruct boot.jpg bag.jpg --picture looked-at.png
      aepipe reconstruct --key train/0007.png --tangents tangents.png
    """
    opened, names, items = _asked(place, release, rows)
    networks = _networks(place, opened)
    given = networks.rows(items)
    parts = {"input": given, "corrupted": networks.corrupted(items)}
    if networks.layers:
        parts["from the embedding"] = networks.reconstruct(items, bits=False)
    parts[f"from {opened.n_bits} bits"] = networks.reconstruct(items, bits=True)
    shown = {name: found for name, found in parts.items() if found is not None}
    drawn = {name: found[:MOST] for name, found in shown.items()}
    write_picture(_grid_named(drawn, f"{opened.name}: what is left in the code"), picture)
    outputs = [name for name in shown if name.startswith("from")]
    errors = [((shown[name] - given) ** 2).reshape(len(given), -1).sum(1) for name in outputs]
    cells = [(*(f"{error[i]:.2f}" for error in errors), name) for i, name in enumerate(names)]
    say(table((*outputs, "squared error of"), cells, left=len(outputs)))
    say(f"{picture}: {min(len(items), MOST)} of {len(items)} rows")
    if tangents:
        write_picture(_tangents(networks, items[:MOST], names), tangents)
        say(f"{tangents}: directions that move the code most")


def interpolate(
    a: Annotated[str, typer.Argument(metavar="A", help="A picture.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.", show_default=False)],
    place: Place,
    release: ReleaseOption = None,
    steps: Annotated[int, typer.Option("--steps", min=2, help="With both ends.", metavar="N")] = 9,
    picture: Picture = Path("interpolation.png"),
) -> None:
    """Draw what lies between two pictures: their codes are mixed, and the mixtures decoded.

    Below it, for comparison, the pictures themselves are mixed.

    Examples:
      aepipe interpolate boot.jpg sandal.jpg --steps 9 --picture between.png
    """
    import numpy as np

    opened, _, items = _asked(place, release, Rows(images=[a, b]))
    if len(items) != 2:
        raise QueryError("name two pictures: what lies between them is drawn")
    networks = _networks(place, opened)
    first, last = networks.rows(items)
    share = np.linspace(0, 1, steps).reshape(-1, *(1,) * first.ndim)
    parts = {
        "codes mixed": networks.interpolate(items[0], items[1], steps),
        "pictures mixed": (1 - share) * first + share * last,
    }
    write_picture(_grid_named(parts, f"{opened.name}: between two pictures"), picture)
    say(f"{picture}: {steps} steps")


def _networks(place: Place, opened: Release) -> Networks:
    """Open the networks of a release."""
    from aepipe.release.networks import Networks

    return Networks.open(place.store(), opened)


def _asked(place: Place, release: str | None, rows: Rows) -> tuple[Release, list[str], Any]:
    """Return the release, the names of the rows and the rows themselves, uint8[N, *shape].

    Raises:
        QueryError: nothing is asked, or an original is gone.
        typer.Exit: not one could be read.
    """
    import numpy as np

    store = place.store()
    opened = Release.open(store, ref=lifecycle.find(store, release, place.name))
    names, items = [], []
    for name, item in queries.decoded_items(opened, rows.images or [], rows.id or [], rows.key or []):
        if isinstance(item, Exception):
            complain(item)
        else:
            names.append(name)
            items.append(item)
    if not items:
        if rows.images or rows.id or rows.key:
            raise typer.Exit(UNREADABLE)
        raise QueryError("nothing is asked: name pictures, or rows with --id or --key")
    return opened, names, np.stack(items)


def _some_rows(opened: Release, count: int) -> Any:  # noqa: ANN401  numpy is imported late
    """Return some rows of the collection, uint8[count, *shape], the same ones every time.

    Raises:
        QueryError: their originals are gone.
    """
    import numpy as np

    ids = opened.items.ids
    chosen = [int(ids[place]) for place in np.linspace(0, len(ids) - 1, count).astype(int)]
    found = [item for _, item in queries.decoded_items(opened, [], chosen, []) if not isinstance(item, Exception)]
    if len(found) < count:
        raise QueryError(f"{opened.name}: originals are gone from {opened.items.root}; a chain starts from some")
    return np.stack(found)


def _lines(rows: Any, columns: int = ACROSS) -> list[Any]:  # noqa: ANN401
    """Return rows as lines of a grid without names."""
    from aepipe.report.tiles import as_images, tiled

    return tiled(as_images(rows), columns)


def _grid(lines: list[Any], title: str, heads: list[str] | None = None) -> Image:
    """Draw lines."""
    from aepipe.report.tiles import grid_picture

    return grid_picture(lines, title=title, heads=heads or ())


def _grid_named(parts: dict[str, Any], title: str) -> Image:
    """Draw a line for each part."""
    from aepipe.report.tiles import Line, as_images

    return _grid([Line(name, as_images(rows)) for name, rows in parts.items()], title)


def _walk(networks: Networks, item: Any) -> Image:  # noqa: ANN401
    """Draw a walk along single units."""
    from aepipe.report.tiles import Line, as_images

    offsets = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    moved = networks.walk(item, 8, offsets)
    lines = [Line("", as_images(rows)) for rows in moved]
    heads = [f"{offset:+g}" if offset else "the row" for offset in offsets]
    return _grid(lines, f"{networks.name}: single units of the code moved", heads)


def _tangents(networks: Networks, items: Any, names: list[str]) -> Image:  # noqa: ANN401
    """Draw each row and its tangents."""
    import numpy as np

    from aepipe.report.tiles import Line, as_images, grid_picture

    directions = np.stack([networks.tangents(item, 8)[0] for item in items])
    rows = as_images(networks.rows(items))
    lines = [Line("input", rows)]
    for number in range(directions.shape[1]):
        lines.append(Line(f"direction {number + 1}", as_images(directions[:, number]), "signed"))
    return grid_picture(lines, title=f"{networks.name}: directions that move the code most")

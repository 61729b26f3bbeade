"""The verbs that decode: ``generate``, ``reconstruct``, ``interpolate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aepipe.cli.options import Place, ReleaseOption
from aepipe.cli.output import check_file, check_picture, complain, say, table, write_picture
from aepipe.errors import QueryError
from aepipe.release import query as queries
from aepipe.release.originals import check_output

if TYPE_CHECKING:
    from PIL.Image import Image

    from aepipe.release.networks import Networks
    from aepipe.release.release import Release

UNREADABLE = 2
MOST = 12
"""Most rows on one picture."""
ACROSS = 10
Picture = Annotated[Path, typer.Option("--picture", help="The picture to write.", metavar="FILE")]


def _array_file(file: Path | None) -> Path | None:
    """Check that a file is named as NumPy arrays are and can be written, and return it.

    Raises:
        QueryError: it has another ending.
        StoreError: it cannot be written.
    """
    if file and file.suffix != ".npy":
        raise QueryError(f"{file}: rows are written as NumPy arrays: name a file like rows.npy, or give --picture FILE")
    check_file(file)
    return file


@dataclass(frozen=True, slots=True)
class Rows:
    """Pictures and rows of the collection; they may be mixed."""

    images: Annotated[list[str] | None, typer.Argument(metavar="IMAGE|FOLDER|-", help="Pictures.")] = None
    id: Annotated[list[int] | None, typer.Option("--id", help="A row, by its id.", metavar="N")] = None
    key: Annotated[list[str] | None, typer.Option("--key", help="A row, by its key.", metavar="KEY")] = None


def generate(
    place: Place,
    release: ReleaseOption = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Rows to make.", metavar="N")] = 40,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of a denoising chain.", metavar="N")] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random numbers.", metavar="N")] = 0,
    picture: Picture = Path("samples.png"),
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the rows, too.", metavar="FILE.npy", callback=_array_file),
    ] = None,
    walk: Annotated[
        Path | None,
        typer.Option("--walk", help="Draw a row with single units of its code changed.", metavar="FILE"),
    ] = None,
) -> None:
    """Make new rows with the networks of a release.

    Where a layer has a prior (a variational or an adversarial autoencoder), codes are drawn from the
    prior and decoded. Otherwise a denoising layer makes a chain from rows of the collection: it corrupts
    and decodes a row again and again, and each line of the picture is one chain.

    --walk takes a row of the collection and changes single units of its code: those that change the
    decoded row most.

    Examples:
      aepipe run zoo/vae
      aepipe generate --name vae --picture samples.png --walk walk.png
      aepipe generate --release 3f9a0c11 -n 100 --out samples.npy
    """
    import numpy as np

    check_picture(picture, walk)
    check_file(out)
    opened = place.open(release).release
    check_output(picture, out, walk, release=opened)
    networks = _networks(place, opened)
    if networks.prior_depth is not None:
        rows = networks.sample(count, seed=seed)
        write_picture(_grid(_lines(rows), f"{opened.name}: draws from the prior, decoded"), picture)
    else:
        at = np.unique(np.linspace(0, steps, ACROSS).round().astype(int))
        start = _some_rows(opened, -(-count // len(at)))
        visited = [networks.rows(start), *networks.chain(start, steps=steps, seed=seed)]
        rows = np.stack([visited[step] for step in at], 1).reshape(-1, *networks.shape)[:count]
        heads = ["start", *(f"step {step}" for step in at[1:])]
        write_picture(_grid(_lines(rows, len(at)), f"{opened.name}: chains of {steps} steps", heads), picture)
    say(f"{picture}: {len(rows)} rows")
    if out:
        np.save(out, rows)
        say(f"{out}: float32{list(rows.shape)}")
    if walk:
        write_picture(_walk(networks, _some_rows(opened, 1)[0]), walk)
        say(f"{walk}: a row with single units of its code changed")


def reconstruct(
    place: Place,
    rows: Rows,
    release: ReleaseOption = None,
    picture: Picture = Path("reconstruction.png"),
    tangents: Annotated[
        Path | None,
        typer.Option("--tangents", help="Draw the changes that the code reacts to most.", metavar="FILE"),
    ] = None,
) -> None:
    """Draw pictures as the networks see them: as given, corrupted as in training, and decoded.

    They are decoded twice: from the float embedding of the pretrained layers, and from the bits of the
    fine-tuned network. Errors are squared and summed over the cells of a row, with values from 0 to 1.

    --tangents draws, for each picture, the leading right singular vectors of the Jacobian of its code:
    the changes that the code reacts to most, blue for more light and orange for less.

    Examples:
      aepipe reconstruct boot.jpg bag.jpg --picture decoded.png
      aepipe reconstruct --key train/0007.png --tangents tangents.png
    """
    check_picture(picture, tangents)
    opened, names, items = _asked(place, release, rows, picture, tangents)
    networks = _networks(place, opened)
    given = networks.rows(items)
    parts = {"input": given, "corrupted": networks.corrupted(items)}
    if networks.layers:
        parts["from the embedding"] = networks.reconstruct(items, bits=False)
    parts[f"from {opened.n_bits} bits"] = networks.reconstruct(items, bits=True)
    shown = {name: found for name, found in parts.items() if found is not None}
    drawn = {name: found[:MOST] for name, found in shown.items()}
    write_picture(_grid_named(drawn, f"{opened.name}: decoded from its code"), picture)
    outputs = [name for name in shown if name.startswith("from")]
    errors = [((shown[name] - given) ** 2).reshape(len(given), -1).sum(1) for name in outputs]
    cells = [(*(f"{error[i]:.2f}" for error in errors), name) for i, name in enumerate(names)]
    say(table((*outputs, "squared error of"), cells, left=len(outputs)))
    say(f"{picture}: {min(len(items), MOST)} of {len(items)} rows")
    if tangents:
        write_picture(_tangents(networks, items[:MOST], names), tangents)
        say(f"{tangents}: changes that the code reacts to most")


def interpolate(
    a: Annotated[str, typer.Argument(metavar="A", help="A picture.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another picture.", show_default=False)],
    place: Place,
    release: ReleaseOption = None,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Pictures in a line, with both ends.", metavar="N")] = 9,
    picture: Picture = Path("interpolation.png"),
) -> None:
    """Interpolate between two pictures: mix their codes, and decode the mixtures.

    For comparison, the line below mixes the pictures themselves.

    Examples:
      aepipe interpolate boot.jpg sandal.jpg --steps 9 --picture between.png
    """
    import numpy as np

    check_picture(picture)
    opened, _, items = _asked(place, release, Rows(images=[a, b]), picture)
    if len(items) != 2:
        raise QueryError("name two pictures to interpolate between")
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
    from aepipe.release.networks import Networks

    return Networks.open(place.store(), opened)


def _asked(place: Place, release: str | None, rows: Rows, *pictures: Path | None) -> tuple[Release, list[str], Any]:
    """Return the release, the names of the rows, and the rows, uint8[N, *shape].

    Args:
        place: of the collection.
        release: the first characters of its digest.
        rows: that are asked for.
        pictures: to be written.

    Raises:
        QueryError: no row is named, or an original is gone.
        TargetError: a picture to be written is an original, or was asked with.
        typer.Exit: none of the rows could be read.
    """
    import numpy as np

    opened = place.open(release).release
    check_output(*pictures, release=opened, asked=rows.images or [])
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
    """Return rows of the collection, uint8[count, *shape], the same ones every time.

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
    """Return rows as lines of a grid, without names."""
    from aepipe.report.tiles import as_images, tiled

    return tiled(as_images(rows), columns)


def _grid(lines: list[Any], title: str, heads: list[str] | None = None) -> Image:
    from aepipe.report.tiles import grid_picture

    return grid_picture(lines, title=title, heads=heads or ())


def _grid_named(parts: dict[str, Any], title: str) -> Image:
    from aepipe.report.tiles import Line, as_images

    return _grid([Line(name, as_images(rows)) for name, rows in parts.items()], title)


def _walk(networks: Networks, item: Any) -> Image:  # noqa: ANN401
    """Draw a row with single units of its code changed, a line for each unit."""
    from aepipe.report.tiles import Line, as_images

    offsets = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    moved = networks.walk(item, 8, offsets)
    lines = [Line("", as_images(rows)) for rows in moved]
    heads = [f"{offset:+g}" if offset else "the row" for offset in offsets]
    return _grid(lines, f"{networks.name}: single units of the code changed", heads)


def _tangents(networks: Networks, items: Any, names: list[str]) -> Image:  # noqa: ANN401
    """Draw each row with its tangents below it."""
    import numpy as np

    from aepipe.report.tiles import Line, as_images, grid_picture

    directions = np.stack([networks.tangents(item, 8)[0] for item in items])
    rows = as_images(networks.rows(items))
    lines = [Line("input", rows)]
    for number in range(directions.shape[1]):
        lines.append(Line(f"direction {number + 1}", as_images(directions[:, number]), "signed"))
    return grid_picture(lines, title=f"{networks.name}: changes that the code reacts to most")

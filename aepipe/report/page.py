"""Pages of HTML in one file: a release with its pictures, and the answers of a notebook.

Pages are Jinja2 templates. Whatever comes from a collection is escaped, and a name that a template does not know is an
error. Jinja2 and matplotlib are imported when a page is made: a query from the shell makes none.
"""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aepipe.errors import AepipeError, CorruptError
from aepipe.release.query import Answer
from aepipe.release.release import Release
from aepipe.report.facts import facts, notes
from aepipe.report.tables import cells, protocol_line
from aepipe.report.tiles import Found, hits_picture, tile, tiles
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import write_into_folder
from aepipe.store.segments import Row

if TYPE_CHECKING:
    from jinja2 import Environment

    from aepipe.report.charts import Chart, Curve

TEMPLATES = Path(__file__).with_name("templates")
SIDE = 96
"""Pixels of the longest side of a picture in a notebook."""


def page(found: Mapping[str, Any], pictures: Mapping[str, str], said: Sequence[str] = ()) -> str:
    """Return the page of a release.

    Args:
        found: as :func:`aepipe.report.facts.describe` returns it.
        pictures: as :func:`shown` returns them.
        said: why the release is in service, or is not; where it is empty, the reasons of its last promotion.
    """
    scores = found["scores"]
    return _render(
        "release.html",
        title=f"{found['name']}: release {found['release'][:12]}",
        facts=facts(found),
        said=said or (found["promoted"]["why"].split("; ") if found["promoted"] else []),
        scores=cells(scores) if scores else [],
        notes=[protocol_line(scores), *notes(found)] if scores else [],
        pictures=pictures,
    )


def answer_page(release: Release, found: Answer) -> str:
    """Return an answer as HTML for a notebook, its pictures within it."""
    return tiles_page(tiles(release, found))


def tiles_page(found: Found) -> str:
    """Return a query and its hits as HTML for a notebook."""
    return _render("answer.html", query=found.query, hits=found.hits)


def _render(template: str, **values: object) -> str:
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    """Return what reads the templates."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["inline"] = _thumbnail
    return found


def shown(store: Store, release: Release, chart: Path | None = None) -> dict[str, str]:
    """Return the hits and the losses of a release as URLs, by their headings.

    Hits are left out where no original is left to look at.

    Args:
        store: of the release.
        release: that is shown.
        chart: a file that keeps the chart of the losses, which is drawn again where another model was trained; None
            draws it in any case.

    Raises:
        CorruptError: the losses cannot be read.
    """
    hits = examples_picture(release)
    found = {} if hits is None else {"Hits": data_uri(hits)}
    return found | {"Training": _uri("svg+xml", _training_chart(store, release, chart).encode())}


def _training_chart(store: Store, release: Release, file: Path | None) -> str:
    """Return the losses as SVG, of a file that keeps them where they are those of the release."""
    mark = f"<!-- {release.name}, {release.part('encoder')} -->"
    if file is not None and (kept := _text_of(file)).endswith(mark):
        return kept.removesuffix(mark)
    drawn = training_picture(store, release).svg()
    if file is not None:
        with suppress(AepipeError):  # the page beside it says so
            write_into_folder(file, drawn + mark)
    return drawn


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def examples_picture(release: Release, *, queries: int = 6, k: int = 8) -> Image.Image | None:
    """Draw the nearest neighbours of a few rows; None where there is nothing to look at.

    Args:
        release: whose index is asked.
        queries: rows asked, evenly spread over the test split, or over everything where there is none.
        k: hits of each, without the row itself.
    """
    asked = _spread(release, queries)
    codes = release.codes_of([row.id for row in asked])
    hits = release.query(codes, k + 1)
    results = []
    for number, row in enumerate(asked):
        ids, distances = hits.of(number)
        others = [(one, int(d)) for one, d in zip(release.describe(ids), distances, strict=True) if one.id != row.id]
        results.append(Found(tile(release, row), [tile(release, one, d) for one, d in others[:k]]))
    if not any(found.query.picture or found.query.text for found in results):
        return None
    return hits_picture(results, title=f"{release.name}: {len(release.index):,} rows, {release.n_bits} bits")


def map_picture(release: Release, *, rows: int = 2000, tiles: int = 200) -> Chart:
    """Draw the codes of some rows on a plane, near each other where few bits differ.

    Args:
        release: whose rows.
        rows: at most, evenly spread.
        tiles: rows whose originals are drawn where there is room, at most.
    """
    from aepipe.evaluate.probes import plane
    from aepipe.release.regions import regions
    from aepipe.report.charts import plane_picture

    shown = release.describe(_evenly(release.items.ids, rows))
    bits = release.codes_of([row.id for row in shown]).unpack().astype(np.float32)
    pictures: dict[int, Image.Image] = {}
    for position in range(0, len(shown), max(1, len(shown) // tiles)):
        picture = tile(release, shown[position]).picture
        if picture is not None:
            pictures[position] = picture
    title = f"{release.name}: {len(shown):,} of {len(release.items):,} rows by their {release.n_bits} bits"
    points = plane(bits)
    named = regions(release, np.array([row.id for row in shown], np.int64), points)
    names = [(one.name, (one.x, one.y)) for one in named]
    return plane_picture(points, _main_labels(shown), tiles=pictures, title=title, names=names)


def _main_labels(rows: Sequence[Row]) -> list[str | None]:
    """Return a label of each row; of several, the one that most rows have."""
    often = Counter(label for row in rows for label in row.labels)
    return [max(row.labels, key=often.__getitem__, default=None) for row in rows]


def training_picture(store: Store, release: Release) -> Chart:
    """Draw the losses of every layer and of fine-tuning.

    Raises:
        CorruptError: they cannot be read.
    """
    from aepipe.report.charts import curves_picture

    return curves_picture(training_curves(store, release.part("encoder")), title=f"{release.name}: loss per row")


def training_curves(store: Store, model: Ref) -> dict[str, Curve]:
    """Return the losses of each training of a model by epoch: ``train`` and ``valid``.

    Raises:
        CorruptError: they cannot be read.
    """
    from aepipe.report.charts import by_part

    file = store.path(model) / layout.Model.CURVES
    try:
        stored = json.loads(file.read_bytes())
        return {title: by_part(curve) for title, curve in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CorruptError(f"{file}: corrupt, not readable ({error}); `aepipe verify` lists what is damaged") from None


def data_uri(picture: Image.Image) -> str:
    """Return a picture as a URL with all its data.

    It is a JPEG: a sheet of photographs has megabytes as PNG.
    """
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=88)
    return _uri("jpeg", stream.getvalue())


def _thumbnail(picture: Image.Image) -> str:
    """Return a small picture as a URL with all its data."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    small.save(stream, "PNG")
    return _uri("png", stream.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _spread(release: Release, count: int) -> list[Row]:
    ids = release.items.ids
    test = ids[np.fromiter((split == "test" for split in release.items.column("split")), bool, len(ids))]
    return release.describe(_evenly(test if len(test) else ids, count))


def _evenly(ids: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    places = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(np.int64))
    return ids[places]

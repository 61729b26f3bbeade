"""A recipe for images that have none yet: look at some of them, choose, and say why.

The outcome is the text of a recipe, meant to be kept, read and changed; nothing is chosen behind it.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from aepipe import recipe as recipes
from aepipe import sources
from aepipe.errors import ItemError, SourceError
from aepipe.recipe import Choice, LayerRecipe, Recipe
from aepipe.sources import RawItem
from aepipe.sources.decode import thumbnail

SAMPLE = 200
LONGEST = 64
"""What is looked at is made so small first; a picture whose longest side is smaller shows its size."""
SMALL = 40
"""Pictures whose sides are at most this are taken as they are."""
SIDE = 32
"""Others are made so large: enough to tell scenes and things apart (Torralba, Fergus and Freeman, 2008)."""
COLOURED = 0.02
"""Mean spread of the channels, as a share of white, from which a picture counts as coloured."""
SPLITS = frozenset({"train", "test"})
STEPS = {"layer": 250, "finetune": 700}
"""Steps of training aimed at; on 6,700 photographs, twice as many added 4 % to mAP@1000."""
MOST_EPOCHS = 40
_LAYER = """[[layers]]
net = {{ kind = "dense", width = {width} }}
likelihood = "{likelihood}"
corruption = {{ kind = "mask", rate = 0.2, rescale = true }}
{fit}"""
_CODE = """[code]
bits = {bits}
binarize = {{ kind = "straight-through", noise = 0.3 }}
threshold = "median"  # each bit is one for half of the rows
corruption = {{ kind = "mask", rate = 0.2, rescale = true }}
objective = {{ kind = "reconstruction", decorrelation = 0.02 }}
{fit}"""
_COMPONENTS = """[[layers]]  # principal components, half whitened: small differences count, too
net = { kind = "dense", width = 256, activation = "linear" }
objective = "components"
fit = { epochs = 1, batch = 4096 }"""
_WALKS = """[finetune]  # bits agree where walks among nearest neighbours lead
frozen = 1  # the components stay as they are
epochs = {epochs}
batch = {batch}
lr = 2e-3
warmup = 50
corruption = {{ kind = "mask", rate = 0.2, rescale = true }}
objective = {{ kind = "neighbourhood", whiten = 0.0 }}"""
_RECONSTRUCTION = """[finetune]  # too few rows for walks among neighbours
epochs = {epochs}
batch = {batch}
lr = 1e-3
warmup = 50
corruption = [{{ kind = "shift", pixels = 1 }}, {{ kind = "mask", rate = 0.2, rescale = true }}]
objective = {{ kind = "reconstruction", decorrelation = 0.02 }}"""
WALKABLE = 1000
"""Rows from which bits learn from neighbours; on 6,700 photographs that added 12 % to mAP@1000."""


@dataclass(slots=True)
class Survey:
    """What was seen of a collection.

    Attributes:
        rows: items in all.
        sizes: width and height of the sampled pictures, the longest side cut to 64.
        coloured: share of the sampled pictures that have colours.
        unreadable: sampled items that could not be decoded.
        parents: items by the name of their folder.
        tops: items by the name of their topmost folder.
        columns: items by value, for each of the columns ``label`` and ``split`` that there is.
        given: items with a ``label``, and with a ``split``, that their container knows of itself.
    """

    rows: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    coloured: float = 0.0
    unreadable: int = 0
    parents: Counter[str] = field(default_factory=Counter)
    tops: Counter[str] = field(default_factory=Counter)
    columns: dict[str, Counter[str]] = field(default_factory=dict)
    given: Counter[str] = field(default_factory=Counter)


def derive(path: str, *, name: str | None = None, folder: Path) -> tuple[str, str]:
    """Return the name and the text of a recipe for images.

    Args:
        path: a folder, a glob, an archive or a list, as ``[source] path`` takes it, relative to the working directory.
        name: of the recipe; made of the path where it is None.
        folder: where the recipe is going to lie; paths below it are written relative to it.

    Raises:
        RecipeError: the name is not one.
        SourceError: the path does not exist, holds no images, or none that can be decoded.
    """
    chosen = name or name_of(path)
    survey = look(path)
    if not survey.sizes:
        raise SourceError(f"{path}: none of {survey.unreadable} sampled images could be decoded")
    text = write(survey, name=chosen, path=_relative(path, folder))
    recipes.parse(tomllib.loads(text), folder / f"{chosen}.toml")
    return chosen, text


def name_of(path: str) -> str:
    """Return a name for a collection: its folder or file, in the letters that names may have."""
    parts = [part for part in _absolute(path).parts if not set(part) & set("*?[")]
    words = re.sub("[^a-z0-9._-]+", "-", parts[-1].lower().removesuffix(".tar.gz")).strip("-._")
    return re.sub(r"\.(tar|tgz|parquet|csv|txt)$", "", words)[:64] or "images"


def same_source(file: Path, path: str) -> bool:
    """Say whether a file is a recipe for the same images."""
    try:
        there = tomllib.loads(file.read_text(encoding="utf-8"))["source"]["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return isinstance(there, str) and _absolute(file.absolute().parent / Path(there).expanduser()) == _absolute(path)


def look(path: str) -> Survey:
    """Go through all items by name, and decode a sample of them.

    Raises:
        SourceError: the path does not exist, or holds no images.
    """
    survey, rng = Survey(), np.random.default_rng(0)
    sampled: list[RawItem] = []
    for item in _items(path):
        survey.rows += 1
        _count(survey, item)
        # Vitter's algorithm R: each item seen so far is in the sample with the same chance.
        place = len(sampled) if len(sampled) < SAMPLE else int(rng.integers(survey.rows))
        if place < SAMPLE:
            sampled[place : place + 1] = [item]
    spreads = [spread for item in sampled if (spread := _decode(survey, item)) is not None]
    survey.coloured = float(np.mean(np.array(spreads) > COLOURED)) if spreads else 0.0
    return survey


def write(survey: Survey, *, name: str, path: str) -> str:
    """Return the recipe's text, each choice with its reason."""
    height, width = _size(survey)
    color = "rgb" if survey.coloured >= 0.1 else "gray"
    bits = 64 if survey.rows < 200_000 else 128
    batch, walks = _batch(survey.rows), survey.rows >= WALKABLE
    likelihood = "gaussian" if walks else "bernoulli"  # pixels lie between 0 and 1, components do not
    epochs = {part: int(np.clip(round(steps * batch / survey.rows), 1, MOST_EPOCHS)) for part, steps in STEPS.items()}
    fit = f"fit = {{ epochs = {epochs['layer']}, batch = {batch}, warmup = 50 }}"
    blocks = [
        f"# Derived from {survey.rows:,} images, of which {len(survey.sizes):,} were looked at. Yours to change.",
        f"name = {json.dumps(name)}",
        _source_block(survey, path),
        "\n".join(
            [
                "[features]",
                f"size = [{height}, {width}]  # {_size_reason(survey)}",
                f'color = "{color}"  # {survey.coloured:.0%} of them have colours',
            ]
        ),
        *([_COMPONENTS] if walks else []),
        _LAYER.format(width=max(1024 if walks else 512, 2 * bits), likelihood=likelihood, fit=fit),
        _CODE.format(bits=bits, fit=fit),
        (_WALKS if walks else _RECONSTRUCTION).format(epochs=epochs["finetune"], batch=batch),
    ]
    if not _label(survey):
        blocks.append('[gate]\nmetric = "recall_at_10"  # without labels, neighbours among the pixels are the measure')
    return "\n\n".join(blocks) + "\n"


def _items(path: str) -> Iterator[RawItem]:
    """Give the items of a path, with whatever columns there are."""
    bare = Recipe(
        name="derived",
        source=Choice(kind="images", options={"path": str(_absolute(path))}),
        layers=(LayerRecipe(net=Choice(kind="dense")),),
    )
    return sources.resolve(bare).items()


def _count(survey: Survey, item: RawItem) -> None:
    """Count what labels and splits could be made of."""
    folders = PurePosixPath(item.key).parts[:-1]
    survey.parents[folders[-1] if folders else ""] += 1
    survey.tops[folders[0] if folders else ""] += 1
    survey.given["label"] += item.label is not None
    survey.given["split"] += item.split is not None
    for column in ("label", "split"):
        value = item.columns.get(column)
        if value is not None:
            survey.columns.setdefault(column, Counter())[str(value)] += 1


def _decode(survey: Survey, item: RawItem) -> float | None:
    """Note the size of a picture, and return the mean spread of its channels in 0..1; None where it is unreadable."""
    try:
        picture = thumbnail(item.read(), item.key, LONGEST)
    except ItemError:
        survey.unreadable += 1
        return None
    survey.sizes.append(picture.size)
    pixels: NDArray[np.float64] = np.asarray(picture, np.float64) / 255
    return float((pixels.max(axis=2) - pixels.min(axis=2)).mean())


def _size(survey: Survey) -> tuple[int, int]:
    """Return height and width of a row."""
    width, height = (int(side) for side in np.median(np.array(survey.sizes), axis=0))
    return (height, width) if max(height, width) <= SMALL else (SIDE, SIDE)


def _size_reason(survey: Survey) -> str:
    """Say why."""
    return "height and width as they are" if max(_size(survey)) != SIDE else "height and width; larger sees more detail"


def _batch(rows: int) -> int:
    """Return rows per step: fewer for few rows, so that an epoch has a fair number of steps."""
    return next((batch for batch in (512, 128) if rows >= 40 * batch), 32)


def _source_block(survey: Survey, path: str) -> str:
    """Return ``[source]``."""
    lines = ["[source]", 'kind = "images"', f"path = {json.dumps(path, ensure_ascii=False)}"]
    label, split = _label(survey), _split(survey)
    if label not in {"", "given"}:
        lines.append(f'label = "{label}"  # {_label_reason(survey, label)}; for evaluation only')
    if split != "given":
        lines.append(f"split = {split}")
    return "\n".join(lines)


def _label(survey: Survey) -> str:
    """Return what serves as a label: a column, ``parent``, ``given`` by the container, or nothing."""
    if survey.given["label"]:
        return "given"
    if "label" in survey.columns:
        return "label"
    classes = {name: count for name, count in survey.parents.items() if name and name not in SPLITS}
    # Folders by date or by author are no classes: there are many of them, or few images in each.
    plausible = 2 <= len(classes) <= max(2, survey.rows // 5) and np.median(list(classes.values())) >= 3
    return "parent" if plausible and sum(classes.values()) >= 0.95 * survey.rows else ""


def _label_reason(survey: Survey, label: str) -> str:
    """Say where labels come from."""
    return f"{len(survey.parents)} folders" if label == "parent" else f"{len(survey.columns['label'])} values"


def _split(survey: Survey) -> str:
    """Return what parts training from test rows, as TOML."""
    if survey.given["split"]:
        return "given"
    if set(survey.columns.get("split", ())) >= SPLITS:
        return '"split"'
    if set(survey.tops) >= SPLITS and survey.tops["train"] + survey.tops["test"] >= 0.95 * survey.rows:
        return '"top"'
    return "{ test = 0.1 }  # decided by the bytes of each image, so it stays as it is"


def _relative(path: str, folder: Path) -> str:
    """Return a path as a recipe in a folder writes it: relative below that folder, absolute elsewhere."""
    absolute = _absolute(path)
    return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else str(absolute)


def _absolute(path: str | Path) -> Path:
    """Return a path from the root, without ``..``; links are not followed, for a link may be moved on purpose."""
    return Path(os.path.abspath(Path(path).expanduser()))

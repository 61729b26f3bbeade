"""Retrieval of small pictures by the recipe that is derived for them, next to ITQ, LSH and exact search on the pixels.

    python -m benchmarks.quality.pixels fashion-mnist glyphs.parquet cifar10.parquet [--rows 60000] [--plain]

A collection is a folder of gzipped IDX files, or a Parquet file with the columns ``image``, ``label`` and ``split``, as
``benchmarks.quality.glyphs`` and ``benchmarks.quality.cifar10`` write them. The recipe is the one that ``aepipe run``
derives for pixels from the number of rows and their size, so no choice is made for a collection.

All test pictures are asked of the training pictures: on Fashion-MNIST, P@100 of 1,000 of them, drawn at random, was
0.016 below that of all. Labels are only used for the figures.
"""

from __future__ import annotations

import argparse
import gzip
import io
import time
import tomllib
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from aepipe import recipe as recipes
from aepipe.evaluate.baselines import fit_itq, fit_lsh
from aepipe.evaluate.retrieval import Retrieval, retrieval, retrieval_float
from aepipe.pipeline.suggest import stack
from aepipe.recipe import Recipe
from aepipe.sources.images.decode import decode
from aepipe.sources.images.source import edits_of
from benchmarks.common import add_output, describe, fashion_mnist, write
from benchmarks.quality.vectors import train

PACKAGES = ("torch", "faiss-cpu")
BITS = 64
SHOWN = ("map", "map_at_1000", "p_at_100")
TITLES = {
    "fashion-mnist": "Fashion-MNIST",
    "glyphs": "letters and digits in fonts",
    "cifar10": "CIFAR-10, pixels",
}

Rows = NDArray[np.uint8]
Classes = NDArray[np.str_]


def derived(rows: int, edits: str, seed: int) -> Recipe:
    """Return the recipe that `aepipe run` would write for a number of pictures, as far as training goes."""
    head = f'name = "pixels"\nseed = {seed}\n[source]\nkind = "images"\npath = "x"\n'
    return recipes.parse(tomllib.loads("\n\n".join([head, *stack(rows, edits=edits)])), Path("pixels.toml"))


@cache
def read(path: Path) -> tuple[Rows, Classes, Rows, Classes]:
    """Return training pictures, their classes, test pictures and theirs; all have the size of the first."""
    if path.is_dir():
        classes = []
        for name in ("train", "t10k"):
            raw = gzip.decompress((path / f"{name}-labels-idx1-ubyte.gz").read_bytes())
            classes.append(np.frombuffer(raw, np.uint8, offset=8).astype(np.str_))
        rows, asked = fashion_mnist(path)
        return rows, classes[0], asked, classes[1]
    table = pq.read_table(path)
    split, label = (np.array(table[name].to_pylist(), np.str_) for name in ("split", "label"))
    cells = table["image"].to_pylist()
    first = Image.open(io.BytesIO(cells[0]))
    color: Literal["gray", "rgb"] = "gray" if first.mode == "L" else "rgb"
    images = [decode(cell, key="picture", size=first.size[::-1], color=color) for cell in cells]
    whole, test = np.stack(images), split == "test"
    return whole[~test], label[~test], whole[test], label[test]


@cache
def exact(path: Path, most: int) -> list[float]:
    """Return the figures of exact search on the pixels, which are the same for all seeds."""
    rows, classes, asked, truth = read(path)
    return means(retrieval_float(_flat(rows[:most]), _flat(asked), classes[:most], truth))


def measured(path: Path, seed: int, most: int, *, plain: bool) -> tuple[float, dict[str, list[float]]]:
    """Return the seconds of a training, with edits or without, and the figures of each system."""
    rows, classes, asked, truth = read(path)
    rows, classes = rows[:most], classes[:most]
    began = time.monotonic()
    edits = "" if plain else edits_of(max(rows.shape[1:3]))
    codes = {"plain" if plain else "ours": train(derived(len(rows), edits, seed), rows, asked, seed)}
    seconds = time.monotonic() - began
    flat = [_flat(one) for one in (rows, asked)]
    for name, fit in (("itq", fit_itq), ("lsh", fit_lsh)):
        baseline = fit(flat[0], BITS, seed)
        codes[name] = [baseline.codes(one) for one in flat]
    found = {name: means(retrieval(both[0], both[1], classes, truth)) for name, both in codes.items()}
    return seconds, found | {"float": exact(path, most)}


def means(found: Retrieval) -> list[float]:
    """Return the means over the queries of what is shown."""
    named = found.named()
    return [float(named[name].mean()) for name in SHOWN]


def _flat(pictures: Rows) -> Rows:
    return pictures.reshape(len(pictures), -1)


def main() -> None:
    """Print a line for each seed and system, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=60_000, help="most training pictures")
    parser.add_argument("--plain", action="store_true", help="the recipe that is derived for rows of other kinds")
    add_output(parser, "pixels")
    given = parser.parse_args()
    print(describe(*PACKAGES))
    told = []
    for path in given.collections:
        runs = []
        for seed in range(given.seeds):
            seconds, found = measured(path, seed, given.rows, plain=given.plain)
            runs.append(found)
            for system, values in found.items():
                figures = "".join(f"{value:8.4f}" for value in values)
                print(f"{path.stem:14} seed {seed} {system:6}{figures}  {seconds:6.0f} s", flush=True)
        rows, _, asked, _ = read(path)
        line: dict[str, float | str] = {
            "collection": TITLES.get(path.stem, path.stem),
            "count": min(len(rows), given.rows),
            "queries": len(asked),
            "seeds": given.seeds,
        }
        for system in runs[0]:
            each = np.array([run[system] for run in runs])
            spread = each.std(0, ddof=1) if given.seeds > 1 else np.zeros(len(SHOWN))
            for name, mean, sd in zip(SHOWN, each.mean(0), spread, strict=True):
                line |= {f"{system}_{name}": mean.item(), f"{system}_{name}_sd": sd.item()}
        told.append(line)
        write(given.json, told, PACKAGES, settings={"rows": given.rows, "seeds": given.seeds, "bits": BITS})


if __name__ == "__main__":
    main()

"""Retrieval from small collections by the recipe that is derived for them, next to ITQ, LSH and exact search.

    python -m benchmarks.quality.small caltech.npz [--rows 100,200,300,640,1000] [--seeds 3] [--features photos.tar]

The file holds ``x``, float[N, D], and ``y``, the class of each row, which is only used for the figures; also
``xtr`` and ``ytr``. With ``--features`` it is made first, of the photographs in a tar archive with a folder for each
class, by EfficientNet-Lite0 (a few minutes). A collection of n rows has at most 80 of each of some classes, drawn anew
for each seed; 300 further rows of these classes are the queries.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aepipe import recipe as recipes
from aepipe.evaluate.scores import Sample, score
from aepipe.pipeline.suggest import stack
from aepipe.recipe import Recipe
from benchmarks.common import add_output, describe, write
from benchmarks.quality.vectors import train

PACKAGES = ("torch", "faiss-cpu")
OF_A_CLASS = 80
QUERIES, FEWEST_QUERIES = 300, 60
SHOWN = ("map", "recall_at_10")
SYSTEMS = ("ours", "itq", "lsh", "float")

Data = tuple[NDArray[np.float32], NDArray[np.str_]]


def read(file: Path) -> Data:
    """Return rows and their classes."""
    with np.load(file, allow_pickle=False) as held:
        rows, classes = ("xtr", "ytr") if "xtr" in held else ("x", "y")
        return held[rows].astype(np.float32), held[classes].astype(np.str_)


def write_features(photos: Path, file: Path) -> None:
    """Write the features of the photographs in an archive."""
    from aepipe.learn.onnx_export import efficientnet_lite0
    from aepipe.sources.backbone import Backbone
    from aepipe.sources.images.decode import decode

    size = (224, 224)
    rows, classes = [], []
    with tempfile.TemporaryDirectory() as folder, tarfile.open(photos) as archive:
        graph = Path(folder, "backbone.onnx")
        graph.write_bytes(efficientnet_lite0(size))
        network = Backbone(graph, mean=[127.0], scale=[128.0])
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None and member.name.endswith(".jpg"):
                rows.append(network(decode(stream.read(), key=member.name, size=size)))
                classes.append(member.name.split("/")[-2])
    np.savez(file, x=np.stack(rows), y=np.array(classes))


def drawn(classes: NDArray[np.str_], count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of the rows of a small collection, and of its queries."""
    rng = np.random.default_rng(seed)
    taken: list[int] = []
    for one in rng.permutation(np.unique(classes)):
        taken += rng.permutation(np.flatnonzero(classes == one))[:OF_A_CLASS].tolist()
        if len(taken) >= max(1.3 * count, count + FEWEST_QUERIES):
            break
    order = rng.permutation(np.array(taken, np.int64))
    return order[:count], order[count : count + QUERIES]


def derived(rows: int, seed: int) -> Recipe:
    """Return the recipe that `aepipe run` would write for so many rows."""
    head = f'name = "small"\nseed = {seed}\n[source]\nkind = "vectors"\npath = "x.npy"\n'
    return recipes.parse(tomllib.loads("\n\n".join([head, *stack(rows)])), Path("small.toml"))


def measured(data: Data, count: int, seed: int) -> dict[str, list[float]]:
    """Return the figures of each system for one collection."""
    rows, classes = data
    known, asked = drawn(classes, count, seed)
    codes = train(derived(count, seed), rows[known], rows[asked], seed)
    samples = [Sample(code, rows[at], classes[at]) for code, at in zip(codes, (known, asked), strict=True)]
    table = score(*samples, seed=seed).rows
    return {row.system: [row.metrics[name].value for name in SHOWN if name in row.metrics] for row in table}


def main() -> None:
    """Print a line for each number of rows, means over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", default="100,200,300,640,1000")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--features", type=Path)
    add_output(parser, "small")
    args = parser.parse_args()
    print(describe(*PACKAGES))
    if args.features:
        write_features(args.features, args.file)
    data, told = read(args.file), []
    for count in map(int, args.rows.split(",")):
        runs = [measured(data, count, seed) for seed in range(args.seeds)]
        line: dict[str, float] = {}
        for system in (name for name in runs[0] if name in SYSTEMS):
            means = np.mean([run[system] for run in runs], axis=0).tolist()
            line |= {f"{system}_{name}": value for name, value in zip(SHOWN, means, strict=False)}
            print(f"{count:6} {system:6}{''.join(f'{value:8.3f}' for value in means)}", flush=True)
        told.append({"collection": args.file.stem, "count": count, **line})
    write(args.json, told, PACKAGES, settings={"file": args.file.name, "seeds": args.seeds, "bits": 64})


if __name__ == "__main__":
    main()

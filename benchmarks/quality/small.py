"""Retrieval by the recipe that is derived for so many rows, next to ITQ, LSH and exact search.

    python -m benchmarks.quality.small caltech.npz [--rows 100,300,1000,3000,10000] [--seeds 3] [--features photos.tar]
    python -m benchmarks.quality.small adult-train.csv --label 14
    python -m benchmarks.quality.small train.jsonl.gz

An ``.npz`` file holds vectors ``x``, float[N, D], and ``y``, the class of each row, which is only used for figures; or
``xtr`` and ``ytr``. With ``--features`` it is made first, by EfficientNet-Lite0: of the photographs in a tar archive
with a folder for each class (a few minutes), or of the pictures in an ``.npz`` file as
:mod:`benchmarks.quality.cifar10` takes it. Of a CSV file (``--label`` is the number of the column of classes) and of
JSON lines with ``text`` and ``label``, the source makes the rows, as its derived recipe says, from the chosen rows.

A collection of n rows has at most 80 of each of some classes, drawn anew for each seed, while there are enough classes
for that; else it is drawn from all rows. Some 300 further rows are the queries. Figures of an answer are those of a
query of the release as it comes: of the better codes, trained or ITQ, in the order of the embeddings.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aepipe import recipe as recipes
from aepipe import sources
from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import cosines
from aepipe.evaluate.exact_search import nearest
from aepipe.evaluate.reranking import choose
from aepipe.evaluate.scores import Sample, Scores, score
from aepipe.pipeline.suggest import stack, suggest
from aepipe.recipe import Recipe
from aepipe.sources.item import Source
from aepipe.sources.loader import read_all
from benchmarks.common import add_output, describe, write
from benchmarks.quality.cifar10 import pictures
from benchmarks.quality.vectors import encoded

PACKAGES = ("torch", "faiss-cpu")
OF_A_CLASS = 80
QUERIES, FEWEST_QUERIES = 300, 60
TOP, RERANKED = 10, 0.9
SHOWN = ("map", "p_at_100", "recall_at_10")
SYSTEMS = ("ours", "itq", "lsh", "float")
GATED = "map_at_1000"
"""By it a run chooses between the trained codes and those of ITQ, where there are labels."""
_LINEAR = """[[layers]]
net = {{ kind = "dense", width = 256, activation = "linear", holes = {holes} }}
objective = {{ kind = "components", whiten = 0.0 }}
fit = {{ epochs = 1, batch = 4096 }}
[code]
normalize = false
objective = "itq"
embedding = "{kept}"
fit = {{ epochs = 1, batch = 4096 }}
[finetune]
epochs = 0"""

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Data:
    """Everything that collections are drawn from.

    Attributes:
        classes: of each row.
        rows: vectors, float32[N, D]; empty where a source makes them.
        items: lines of JSON, which a source reads.
    """

    classes: NDArray[np.str_]
    rows: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection, and queries.

    Attributes:
        recipe: derived for the collection.
        rows, asked: float32[n, D] and float32[Q, D]; missing cells of tables are NaN.
        classes: of both.
    """

    recipe: Recipe
    rows: Floats
    asked: Floats
    classes: tuple[NDArray[np.str_], NDArray[np.str_]]


def read(file: Path, label: int) -> Data:
    """Return what collections are drawn from."""
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as held:
            rows, told = ("xtr", "ytr") if "xtr" in held else ("x", "y")
            return Data(held[told].astype(np.str_), held[rows].astype(np.float32))
    if file.suffix == ".gz":
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            posts = [json.loads(line) for line in lines]
        items = tuple(json.dumps({"text": post["text"]}) for post in posts)
        return Data(np.array([post["label"] for post in posts], np.str_), items=items)
    import pandas as pd

    table = pd.read_csv(file, header=None, skipinitialspace=True, na_values="?", low_memory=False)
    classes = table.pop(table.columns[label]).astype(str).to_numpy(np.str_)
    table.columns = [f"c{number}" for number in range(table.shape[1])]
    return Data(classes, items=tuple(table.to_json(orient="records", lines=True).splitlines()))


def write_features(photos: Path, file: Path) -> None:
    """Write the features of photographs."""
    from aepipe.learn.onnx_export import efficientnet
    from aepipe.sources.images.decode import decode
    from aepipe.sources.networks.pictures import Backbone

    size = (224, 224)
    rows, classes = [], []
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder, "backbone.onnx")
        graph.write_bytes(efficientnet("efficientnet-lite0", size))
        network = Backbone(graph, mean=[127.0], scale=[128.0])
        for key, data, label in _photographs(photos):
            rows.append(network(decode(data, key=key, size=size)))
            classes.append(label)
    np.savez(file, x=np.stack(rows), y=np.array(classes))


def _photographs(file: Path) -> Iterator[tuple[str, bytes, str]]:
    """Give the key, the bytes and the class of each photograph of a file."""
    if file.suffix == ".npz":
        for split in ("train", "test"):
            for number, (data, label) in enumerate(pictures(file, split, jpeg=None)):
                yield f"{split}-{number}", data, str(label)
        return
    with tarfile.open(file) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None and member.name.endswith(".jpg"):
                yield member.name, stream.read(), member.name.split("/")[-2]


def drawn(classes: NDArray[np.str_], count: int, seed: int) -> tuple[Places, Places]:
    """Return the places of the rows of a collection, and of its queries."""
    if len(classes) < count + FEWEST_QUERIES:
        raise SystemExit(f"{count:,} rows and {FEWEST_QUERIES} queries were asked for; there are {len(classes):,} rows")
    rng = np.random.default_rng(seed)
    taken: list[int] = []
    wanted = max(1.3 * count, count + FEWEST_QUERIES)
    for one in rng.permutation(np.unique(classes)):
        taken += rng.permutation(np.flatnonzero(classes == one))[:OF_A_CLASS].tolist()
        if len(taken) >= wanted:
            break
    # Too few classes for so many rows: of all rows, as they come.
    order = rng.permutation(np.array(taken, np.int64) if len(taken) >= wanted else len(classes))
    return order[:count], order[count : count + QUERIES]


def collection(data: Data, count: int, seed: int) -> Collection:
    """Draw a collection, and derive its recipe."""
    known, asked = drawn(data.classes, count, seed)
    classes = data.classes[known], data.classes[asked]
    if len(data.rows):
        return Collection(derived(count, seed), data.rows[known], data.rows[asked], classes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, places in (("known", known), ("asked", asked)):
            (folder / f"{file}.jsonl").write_text("\n".join(data.items[at] for at in places), encoding="utf-8")
        written = tomllib.loads(suggest(str(folder / "known.jsonl"), name="small", folder=folder)[1])
        written["source"].pop("split")
        recipe = recipes.parse(written | {"seed": seed}, folder / "small.toml")
        source = sources.resolve(recipe).fitted(None)
        written["source"]["path"] = "asked.jsonl"
        others = sources.resolve(recipes.parse(written, folder / "small.toml")).under(source.features())
        parts = [_read(one) for one in (source, others.fitted(source.features()))]
    (rows, kept), (others_rows, others_kept) = parts
    return Collection(recipe, rows, others_rows, (classes[0][kept], classes[1][others_kept]))


def _read(source: Source) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the rows of a source, and which of its items have one."""
    found = list(read_all(source))
    rows = [one.features for one in found if one.features is not None]
    return np.stack(rows).astype(np.float32), np.array([one.features is not None for one in found])


def derived(rows: int, seed: int, blocks: Sequence[str] = ()) -> Recipe:
    """Return the recipe that `aepipe run` would write for so many vectors, or one of other layers."""
    head = f'name = "small"\nseed = {seed}\n[source]\nkind = "vectors"\npath = "x.npy"\n'
    return recipes.parse(tomllib.loads("\n\n".join([head, *(blocks or stack(rows))])), Path("small.toml"))


def measured(held: Collection, seed: int) -> tuple[dict[str, dict[str, float]], str]:
    """Return the figures of each system, and whose codes a run would release."""
    trained = encoded(held.recipe, held.rows, held.asked, seed)
    plain = np.nan_to_num(held.rows), np.nan_to_num(held.asked)
    samples = [Sample(code, row, told) for (code, _), row, told in zip(trained, plain, held.classes, strict=True)]
    scores = score(*samples, seed=seed)
    found = {
        row.system: {name: row.metrics[name].value for name in SHOWN if name in row.metrics} for row in scores.rows
    }
    released = _released(scores)
    if released == "itq":
        holes = str(bool(np.isnan(held.rows).any())).lower()
        linear = _LINEAR.format(holes=holes, kept=held.recipe.code.embedding)
        trained = encoded(derived(0, seed, [linear]), held.rows, held.asked, seed)
    wanted = nearest(*plain, k=TOP)
    found["answer"] = _judged(_answers(trained), wanted, held.classes)
    found["float"] |= _judged(wanted, wanted, held.classes)
    return found, released


def _released(scores: Scores) -> str:
    """Return whose codes a run would release."""
    ours, itq = (scores.metric(GATED, system) for system in ("ours", "itq"))
    assert ours is not None
    return "itq" if itq is not None and itq.value > ours.value else "ours"


def _answers(trained: Sequence[tuple[BitCodes, NDArray[np.int8]]]) -> Places:
    """Return the hits of each query by codes, then by embeddings, int64[Q, 10]."""
    (codes, finer), (asked, asked_finer) = trained
    count = TOP * choose((codes, asked), (finer, asked_finer), None, target=RERANKED).factor
    hits = []
    for far, one in zip(asked.distances(codes), asked_finer, strict=True):
        among = np.argsort(far, kind="stable")[:count]
        hits.append(among[np.argsort(-cosines(one, finer[among]), kind="stable")[:TOP]])
    return np.stack(hits)


def _judged(hits: Places, wanted: Places, classes: tuple[NDArray[np.str_], NDArray[np.str_]]) -> dict[str, float]:
    """Return the share of hits that are of the query's class, and that of the nearest rows that are hits."""
    right = (classes[0][hits] == classes[1][:, None]).mean()
    shared = np.mean([np.isin(near, found).mean() for near, found in zip(wanted, hits, strict=True)])
    return {"p_at_10": float(right), "hits_recall": float(shared)}


def main() -> None:
    """Print a line for each number of rows and each system, means over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", default="100,300,1000,3000,10000:1", help="numbers of rows; COUNT:SEEDS")
    parser.add_argument("--seeds", type=int, default=3, help="of the numbers of rows that say none")
    parser.add_argument("--name", help="of the collection in the result; that of the file without it")
    parser.add_argument("--label", type=int, default=0, help="the column of classes of a CSV file")
    parser.add_argument("--features", type=Path)
    add_output(parser, "small")
    args = parser.parse_args()
    print(describe(*PACKAGES))
    if args.features:
        write_features(args.features, args.file)
    data, told = read(args.file, args.label), []
    for count, _, seeds in (text.partition(":") for text in args.rows.split(",")):
        line = _line(data, int(count), int(seeds or args.seeds))
        told.append({"collection": args.name or args.file.name.partition(".")[0], **line})
        # After each line, so that nothing is lost if it is stopped.
        write(args.json, told, PACKAGES, settings={"file": args.file.name, "bits": 64})


def _line(data: Data, count: int, seeds: int) -> dict[str, Any]:
    """Print the figures for one number of rows; return them."""
    runs = [measured(collection(data, count, seed), seed) for seed in range(seeds)]
    line: dict[str, Any] = {"count": count, "seeds": seeds, "released": sum(named == "ours" for _, named in runs)}
    for system in (name for name in (*SYSTEMS, "answer") if name in runs[0][0]):
        names = runs[0][0][system]
        means = {name: float(np.mean([found[system][name] for found, _ in runs])) for name in names}
        line |= {f"{system}_{name}": value for name, value in means.items()}
        shown = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        print(f"{count:6} {system:6} {shown}", flush=True)
    print(f"{count:6} trained codes are released by {line['released']} of {seeds} runs", flush=True)
    return line


if __name__ == "__main__":
    main()

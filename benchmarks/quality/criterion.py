"""Whether figures without labels order recipes as labels do: rank correlations over 20 recipes on each collection.

    python -m benchmarks.quality.criterion DATA_FOLDER CALTECH.npz [--only NAME ...] [--rows 2000] [--queries 800]

``DATA_FOLDER`` holds Fashion-MNIST, 20 Newsgroups and others; ``CALTECH.npz`` is written by
``benchmarks.quality.small --features``. Of each collection some rows are a database and others the queries. The recipes
differ in layers, objective of the bits, fine-tuning, corruption and graph; some are trained too shortly, or wrongly on
purpose; ITQ, random hyperplanes and signs of components are among them where they can be fitted. Spearman's correlation
is between the mAP by labels and each figure. ``fallback`` tells how often the rule of a run without labels chooses what
has the higher mAP, of a recipe and ITQ, and the mAP that is lost in the mean.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr

from aepipe import recipe as recipes
from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import AepipeError
from aepipe.evaluate.baselines import BASELINES
from aepipe.evaluate.bit_health import bit_health
from aepipe.evaluate.exact_search import nearest
from aepipe.evaluate.gate import KEPT
from aepipe.evaluate.retrieval import neighbour_recall, retrieval
from aepipe.evaluate.walks import Walks
from aepipe.index.float_knn import neighbours
from aepipe.learn import batches, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.stack import activations, thresholds, unroll
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import Recipe
from aepipe.sources.audio.decode import decoder
from benchmarks.common import add_output, describe, fashion_mnist, write

PACKAGES = ("torch", "faiss-cpu", "scipy", "scikit-learn")
Matrix = NDArray[np.float32]
Data = tuple[Matrix, NDArray[np.str_]]
Encode = Callable[[Matrix], BitCodes]
BITS = 64
COPIED = 0.3
"""Share of the cells that are lost in a copy of a query."""
FIGURES = ("walk_map", "recall_at_10", "copies_found", "clusters", "entropy", "decorrelation")

COMPONENTS = '[[layers]]\nnet = {{ kind = "dense", width = {width}, activation = "linear" }}\n' + (
    'objective = {{ kind = "components", whiten = {whiten} }}\nfit = {{ epochs = 1, batch = 4096 }}'
)
LAYER = '[[layers]]\nnet = {{ kind = "dense", width = {width} }}\nlikelihood = "gaussian"\n' + (
    'corruption = {{ kind = "mask", rate = 0.2, rescale = true }}\n'
    "fit = {{ epochs = {epochs}, batch = 128, warmup = 50, lr = {lr} }}"
)
CODE = f"[code]\nbits = {BITS}\n" + (
    "normalize = {normalize}\nthreshold = '{threshold}'\nbinarize = {{ kind = 'straight-through', noise = 0.3 }}\n"
    "corruption = {{ kind = 'mask', rate = 0.2, rescale = true }}\n"
    "objective = {{ kind = 'reconstruction', decorrelation = {decorrelation} }}\n"
    "fit = {{ epochs = {epochs}, batch = 128, warmup = 50, lr = {lr} }}"
)
TUNED = "[finetune]\nfrozen = {frozen}\nepochs = {epochs}\nbatch = 128\nlr = {lr}\nwarmup = 50\n{corruption}" + (
    "objective = {{ {objective} }}"
)


def components(width: int = 256, whiten: float = 0.5) -> str:
    """Return a layer of principal components."""
    return COMPONENTS.format(width=width, whiten=whiten)


def layer(width: int = 512, epochs: int = 8, lr: float = 1e-3) -> str:
    """Return a denoising layer."""
    return LAYER.format(width=width, epochs=epochs, lr=lr)


def code(epochs: int = 8, lr: float = 1e-3, decorrelation: float = 0.02, *, crude: bool = False) -> str:
    """Return the layer of bits; a crude one is cut at zero, and its bits may settle on one side."""
    cut = {"normalize": "false", "threshold": "zero"} if crude else {"normalize": "true", "threshold": "median"}
    return CODE.format(epochs=epochs, lr=lr, decorrelation=decorrelation, **cut)


def walks(more: str = ", k = 20", *, frozen: int = 1, epochs: int = 15, lr: float = 2e-3, rate: float = 0.2) -> str:
    """Return fine-tuning by walks."""
    noise = f"corruption = {{ kind = 'mask', rate = {rate}, rescale = true }}\n" if rate else ""
    objective = f"kind = 'neighbourhood'{more if 'whiten' in more else f', whiten = 0.0{more}'}"
    return TUNED.format(frozen=frozen, epochs=epochs, lr=lr, corruption=noise, objective=objective)


def rebuilding(frozen: int = 1) -> str:
    """Return fine-tuning by reconstruction."""
    objective = "kind = 'reconstruction', decorrelation = 0.02"
    return TUNED.format(frozen=frozen, epochs=12, lr=1e-3, corruption="", objective=objective)


UNTUNED = "[finetune]\nepochs = 0"
USUAL = [components(), layer(), code()]
RECIPES = {
    "usual": [*USUAL, walks()],
    "short": [components(), layer(epochs=3), code(epochs=3), walks(epochs=3)],
    "long": [*USUAL, walks(epochs=50)],
    "rebuilding": [*USUAL, rebuilding()],
    "untuned": [*USUAL, UNTUNED],
    "k = 5": [*USUAL, walks(", k = 5")],
    "k = 60": [*USUAL, walks(", k = 60")],
    "no layer": [components(), code(), walks()],
    "no components": [layer(), code(), walks(frozen=0)],
    "no components, rebuilding": [layer(), code(), rebuilding(frozen=0)],
    "deep": [components(), layer(), layer(128), code(), walks()],
    "narrow": [components(32), layer(128), code(), walks()],
    "clean": [*USUAL, walks(rate=0)],
    "corrupted": [*USUAL, walks(rate=0.6)],
    "whitened": [components(whiten=1.0), layer(), code(), walks(", k = 20, whiten = 1.0")],
    "far": [*USUAL, walks(", k = 20, scales = [{resemblance = 0.2, sharpness = 1.3}]")],
    "near": [*USUAL, walks(", k = 20, scales = [{resemblance = 0.95, sharpness = 2.8}]")],
    "correlated": [components(), layer(), code(decorrelation=0.0), walks(", k = 20, decorrelation = 0.0")],
    "hot": [*USUAL, walks(lr=0.05)],
    "crude": [components(whiten=0.0), layer(64, 1), code(1, decorrelation=0.0, crude=True), UNTUNED],
    "untrained": [layer(epochs=1, lr=1e-7), code(1, lr=1e-7), UNTUNED],
    "8 components": [components(8), code(6), UNTUNED],
}
CLOSED = ("itq", "lsh", "pca-sign")


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """A database with queries, and what figures need of them.

    Attributes:
        rows, queries: float32[N, D] and float32[Q, D].
        labels, wanted: of both.
        copies: float32[Q, D], queries that lost some cells.
    """

    rows: Matrix
    queries: Matrix
    labels: NDArray[np.str_]
    wanted: NDArray[np.str_]
    copies: Matrix

    @classmethod
    def of(cls, data: Data, count: int, asked: int) -> Collection:
        """Draw a collection, the same in every run."""
        rows, labels = data
        order = np.random.default_rng(0).permutation(len(rows))
        # A fifth of a small collection are the queries.
        asked = min(asked, len(rows) // 5)
        known, queries = order[asked:][:count], order[:asked]
        kept = np.random.default_rng(1).random((len(queries), rows.shape[1])) >= COPIED
        copies = (rows[queries] * kept / (1 - COPIED)).astype(np.float32)
        return cls(rows[known], rows[queries], labels[known], labels[queries], copies)


def measured(held: Collection, encode: Encode, tools: dict[str, Any]) -> dict[str, float]:
    """Return the mAP by labels of codes, and the figures that need none."""
    known, asked, copies = encode(held.rows), encode(held.queries), encode(held.copies)
    health = bit_health(known)
    clusters = retrieval(known, asked, *tools["clusters"]).map
    return {
        "map": float(retrieval(known, asked, held.labels, held.wanted).map.mean()),
        "walk_map": float(tools["walks"].of_codes(known, asked).mean()),
        "recall_at_10": float(neighbour_recall(known, asked, tools["nearest"]).mean()),
        "copies_found": _found_again(known, asked, copies),
        "clusters": float(clusters.mean()),
        "entropy": health.entropy,
        "decorrelation": -health.mean_correlation,
    }


def _found_again(known: BitCodes, asked: BitCodes, copies: BitCodes) -> float:
    """Return the mean reciprocal rank of the query among all rows, asked with its copy; ties in the middle."""
    signs = [2.0 * one.unpack().astype(np.float32) - 1 for one in (known, asked, copies)]
    own = (signs[1] * signs[2]).sum(axis=1)
    others = signs[2] @ signs[0].T
    above, level = (others > own[:, None]).sum(axis=1), (others == own[:, None]).sum(axis=1)
    return float((1 / (1 + above + level / 2)).mean())


def tools_of(held: Collection) -> dict[str, Any]:
    """Return what the figures of all recipes share, and the seconds that the walks took."""
    from sklearn.cluster import KMeans

    began = time.perf_counter()
    walked = Walks.of(held.rows, held.queries)
    seconds = time.perf_counter() - began
    clusters = KMeans(20, n_init=2, random_state=0).fit(held.rows)
    numbers = clusters.labels_.astype(np.int64), clusters.predict(held.queries).astype(np.int64)
    near = nearest(held.rows, held.queries)
    return {"walks": walked, "nearest": near, "clusters": numbers, "seconds": seconds}


class Trained:
    """Recipes trained on the rows of a collection; lower layers that two of them share are trained once."""

    def __init__(self, rows: Matrix, seed: int) -> None:
        self._rows, self._seed, self._known = rows, seed, dict[str, dict[str, Any]]()

    def encode(self, blocks: list[str]) -> Encode:
        """Train a recipe, and return its encoder."""
        recipe, seed = parsed(blocks, self._seed), self._seed
        where = batches.resolve(recipe.compute)
        specs = [layer_specs.layer_spec(one, f"layers.{k}") for k, one in enumerate(recipe.layers)]
        specs.append(layer_specs.code_spec(recipe.code))
        layers = stack.build(specs, self._rows.shape[1:], seed=seed)
        seen, key = Feed(self._rows, where), ""

        def fit(model: Any, training: layer_specs.Training, feed: Feed, number: int) -> None:
            nothing = Feed(np.zeros((0, *feed.shape), np.float32), where)
            trainer = Trainer(model, training, train=feed, held_out=nothing, seed=seed + number, compute=where)
            with tempfile.TemporaryDirectory() as folder:
                trainer.run(FileCheckpoint(Path(folder)), lambda *_: None, neighbours=neighbours)

        def through(below: list[Any], feed: Feed) -> Feed:
            return stack.codes(below, feed, where, spill=Path("never-written.npy"))

        for number, spec in enumerate(specs):
            key += json.dumps(spec.key(), sort_keys=True)
            if key in self._known:
                layers[number].load_state_dict(self._known[key])
                continue
            fit(layers[number], spec.training, through(layers[:number], seen), number)
            self._known[key] = {name: value.clone() for name, value in layers[number].state_dict().items()}
        below, top = layers[: recipe.finetune.frozen], unroll(layers[recipe.finetune.frozen :])
        fit(top, layer_specs.finetune_training(recipe.finetune, specs), through(below, seen), 1000)
        cut = thresholds(top, through(below, seen), recipe.code.threshold)
        return lambda rows: BitCodes.from_bits((activations(top, through(below, Feed(rows, where))) > cut).numpy())


def parsed(blocks: list[str], seed: int) -> Recipe:
    """Return a recipe of some blocks."""
    head = f'name = "criterion"\nseed = {seed}\n[source]\nkind = "vectors"\npath = "x.npy"'
    return recipes.parse(tomllib.loads("\n\n".join([head, *blocks])), Path("criterion.toml"))


def table(held: Collection, seed: int) -> tuple[dict[str, dict[str, float]], float]:
    """Return the figures of all recipes on a collection, and the seconds that the walks took."""
    tools, trained, found = tools_of(held), Trained(held.rows, seed), dict[str, dict[str, float]]()
    for name, blocks in RECIPES.items():
        found[name] = measured(held, trained.encode(blocks), tools)
    for name in CLOSED:
        try:
            fitted = BASELINES[name](held.rows, BITS, seed)
        except AepipeError:  # more bits than features
            continue
        found[name] = measured(held, fitted.codes, tools)
    return found, float(tools["seconds"])


def correlations(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return Spearman's correlation of each figure with the mAP by labels."""
    truth = [one["map"] for one in found.values()]
    return {name: float(spearmanr(truth, [one[name] for one in found.values()]).statistic) for name in FIGURES}


def fallback(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return how often a run without labels releases the better of a recipe and ITQ, and the mAP lost in the mean."""
    itq = found.get("itq")
    if itq is None:
        return {}
    lost = []
    for name in RECIPES:
        one = found[name]
        simple = one["walk_map"] < itq["walk_map"] or one["recall_at_10"] < KEPT * itq["recall_at_10"]
        lost.append(max(one["map"], itq["map"]) - (itq["map"] if simple else one["map"]))
    return {"right": float(np.mean([one == 0 for one in lost])), "lost": float(np.mean(lost))}


def images(folder: Path) -> Data:
    """Return Fashion-MNIST's training images."""
    pixels: NDArray[np.uint8] = fashion_mnist(folder / "fashion-mnist")[0]
    raw = gzip.decompress((folder / "fashion-mnist" / "train-labels-idx1-ubyte.gz").read_bytes())
    labels = np.frombuffer(raw, np.uint8, offset=8).astype(np.str_)
    return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255), labels


SPLITS = ("tr", "te")  # codespell:ignore te
"""Endings of the arrays of both splits, as the file names them."""


def sentences(folder: Path) -> Data:
    """Return the sentence vectors of 20 Newsgroups."""
    with np.load(folder / "embeddings" / "20ng-minilm.npz", allow_pickle=False) as held:
        parts = [np.concatenate([held[what + split] for split in SPLITS]) for what in "xy"]
    return parts[0].astype(np.float32), parts[1].astype(np.str_)


def words(folder: Path) -> Data:
    """Return weights of 2,000 words in 20 Newsgroups, without the headers of the posts."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    posts = []
    for split in ("train", "test"):
        with gzip.open(folder / "20news-bydate" / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
            posts += [json.loads(line) for line in file]
    posts = [posts[place] for place in np.random.default_rng(0).permutation(len(posts))[:4000]]
    texts = [post["text"].partition("\n\n")[2] for post in posts]
    weights = TfidfVectorizer(max_features=2000, stop_words="english", sublinear_tf=True).fit_transform(texts)
    return weights.toarray().astype(np.float32), np.array([post["label"] for post in posts], np.str_)


def letters(folder: Path) -> Data:
    """Return the letter table, standardised."""
    cells = pd.read_csv(folder / "uci" / "letter-recognition.data", header=None)
    return _standard(cells.iloc[:, 1:].to_numpy(np.float32)), cells.iloc[:, 0].astype(str).to_numpy(np.str_)


def digits(folder: Path) -> Data:
    """Return spoken digits as the rows that a recipe makes of them, without their split by speaker."""
    row = decoder({"rate": 8000, "bands": 32, "frames": 32, "window": "whole"})
    rows, labels = [], []
    with tarfile.open(folder / "fsdd-4-speakers.tar.xz") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.name.endswith(".wav") else None
            if stream is not None:
                rows.append(row(stream.read(), member.name).ravel())
                labels.append(member.name.rpartition("/")[2][0])
    return np.stack(rows).astype(np.float32) / np.float32(255), np.array(labels)


def cifar(folder: Path) -> Data:
    """Return CIFAR-10 at 16 x 16 pixels."""
    with np.load(folder / "cifar10-jpeg.npz", allow_pickle=False) as held:
        data, start, labels = held["train_jpeg"], held["train_offset"], held["train_y"]
    chosen = np.random.default_rng(0).permutation(len(labels))[:4000]
    rows = [Image.open(io.BytesIO(data[start[k] : start[k + 1]].tobytes())).convert("RGB") for k in chosen]
    pixels = np.stack([np.asarray(one.resize((16, 16), Image.Resampling.BILINEAR)).ravel() for one in rows])
    return pixels.astype(np.float32) / np.float32(255), labels[chosen].astype(np.str_)


def adult(folder: Path) -> Data:
    """Return the table adult, numbers standardised and categories as marks; the label is the income."""
    cells = pd.read_csv(folder / "uci" / "adult-train.csv", header=None, na_values=["?"], skipinitialspace=True)
    label, cells = cells.iloc[:, -1].astype(str).to_numpy(np.str_), cells.iloc[:, :-1]
    numbers = cells.select_dtypes("number").to_numpy(np.float32)
    marks = pd.get_dummies(cells.select_dtypes(exclude="number")).to_numpy(np.float32)
    return np.concatenate([_standard(numbers), marks], axis=1), label


def _standard(numbers: Matrix) -> Matrix:
    scaled: Matrix = (numbers - numbers.mean(axis=0)) / np.maximum(numbers.std(axis=0), 1e-9)
    return scaled.astype(np.float32)


READERS: dict[str, Callable[[Path], Data]] = {
    "fashion": images,
    "sentences": sentences,
    "letters": letters,
    "words": words,
    "digits": digits,
    "cifar": cifar,
    "adult": adult,
}


def photos(file: Path) -> Data:
    """Return the features of photographs."""
    with np.load(file, allow_pickle=False) as held:
        return held["x"].astype(np.float32), held["y"].astype(np.str_)


def main() -> None:
    """Print a line for each recipe, and the correlations of each collection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("features", type=Path, nargs="?", help="features of photographs; without, they are left out")
    parser.add_argument("--only", nargs="*", choices=[*READERS, "photos"], default=[*READERS, "photos"])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--queries", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    add_output(parser, "criterion")
    args = parser.parse_args()
    print(describe(*PACKAGES))
    told: list[dict[str, Any]] = []
    for name in args.only:
        if name == "photos" and args.features is None:
            continue
        data = photos(args.features) if name == "photos" else READERS[name](args.folder)
        held = Collection.of(data, args.rows, args.queries)
        found, seconds = table(held, args.seed)
        for recipe, figures in found.items():
            print(f"{name:10} {recipe:26}{''.join(f'{value:9.3f}' for value in figures.values())}", flush=True)
        ranks, choice = correlations(found), fallback(found)
        print(f"{name:10} {len(found)} recipes, walks {seconds:.1f} s: {ranks} {choice}", flush=True)
        counts = {"count": len(held.rows), "queries": len(held.queries), "recipes": len(found)}
        told.append({"collection": name, **counts, **ranks, **choice, "seconds": seconds})
        settings = {"rows": args.rows, "queries": args.queries, "bits": BITS, "seed": args.seed}
        # After each collection, so that nothing is lost.
        write(args.json, told, PACKAGES, settings=settings)


if __name__ == "__main__":
    main()

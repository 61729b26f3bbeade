"""Retrieval of rows of numbers by a recipe made for images, against exact search.

    python -m benchmarks.quality.vectors letter-recognition.data [--recipe fashion-mnist] [--seeds 3] [--bits 64]

The file is a CSV without a header whose first column is the class, which is only used for the figures. Columns are
scaled to 0..1. 1,000 rows, the same in every run, are kept back as queries.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aepipe import recipe as recipes
from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import quantize
from aepipe.evaluate.scores import Sample, score
from aepipe.index.float_knn import neighbours
from aepipe.learn import batches, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import Feed
from aepipe.learn.edited_rows import EditedRows, edited_rows_of
from aepipe.learn.stack import unroll
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import Recipe
from benchmarks.common import add_output, describe, write
from flows.catalog import recipe_file

PACKAGES = ("torch", "faiss-cpu")
QUERIES = 1000
SHOWN = ("map", "map_at_1000", "p_at_100")


def read(file: Path) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Return rows scaled to 0..1, and their classes."""
    table = pd.read_csv(file, header=None)
    numbers = table.iloc[:, 1:].to_numpy(np.float32)
    low, high = numbers.min(0), numbers.max(0)
    return (numbers - low) / np.maximum(high - low, 1e-9), table.iloc[:, 0].astype(str).to_numpy(np.str_)


def train(recipe: Recipe, rows: NDArray[np.generic], others: NDArray[np.generic], seed: int) -> list[BitCodes]:
    """Pretrain and fine-tune a stack on rows; return the codes of these and of others."""
    return [code for code, _ in encoded(recipe, rows, others, seed)]


def encoded(
    recipe: Recipe, rows: NDArray[np.generic], others: NDArray[np.generic], seed: int
) -> list[tuple[BitCodes, NDArray[np.int8]]]:
    """Pretrain and fine-tune a stack on rows; return codes and embeddings of these and of others."""
    where = batches.resolve(recipe.compute)
    specs = [layer_specs.layer_spec(one, f"layers.{k}") for k, one in enumerate(recipe.layers)]
    specs.append(layer_specs.code_spec(recipe.code))
    layers = [one.to(where.device) for one in stack.build(specs, rows.shape[1:], seed=seed)]

    def fit(
        model: Any, training: layer_specs.Training, feed: Feed, number: int, edits: EditedRows | None = None
    ) -> None:
        nothing = Feed(np.zeros((0, *feed.shape), np.float32), where)
        trainer = Trainer(model, training, train=feed, held_out=nothing, seed=seed + number, compute=where, edits=edits)
        with tempfile.TemporaryDirectory() as folder:
            trainer.run(FileCheckpoint(Path(folder)), lambda *_: None, neighbours=neighbours)

    seen = Feed(rows, where)
    for number, spec in enumerate(specs):
        fit(layers[number], spec.training, stack.codes(layers[:number], seen, where, spill=Path("spill.npy")), number)
    frozen = recipe.finetune.frozen
    below, top = layers[:frozen], unroll(layers[frozen:])
    feeds = [stack.codes(below, Feed(one, where), where, spill=Path("spill.npy")) for one in (rows, others)]
    training = layer_specs.finetune_training(recipe.finetune, specs)
    edits = edited_rows_of(training.edits, training.edits_within, rows=seen, below=below, seen=feeds[0], compute=where)
    fit(top, training, feeds[0], 1000, edits)
    top.eval()
    values = [
        np.concatenate([top.net.encoder(block).detach().cpu().numpy() for block in one.blocks()]) for one in feeds
    ]
    middle = np.median(values[0], axis=0)
    finer = [_embeddings(layers, one, recipe, lift=stack.lift(layers[0], seen)) for one in (rows, others)]
    return [(BitCodes.from_bits(one > middle), quantize(two)) for one, two in zip(values, finer, strict=True)]


def _embeddings(
    layers: Sequence[Autoencoder], rows: NDArray[np.generic], recipe: Recipe, *, lift: float
) -> NDArray[np.float32]:
    """Return the embeddings of rows, as the frozen encoder gives them."""
    lowest, where = recipe.code.embedding == "lowest", batches.resolve(recipe.compute)
    below = layers[:1] if lowest else layers[:-1]
    found = stack.codes(below, Feed(rows, where), where, spill=Path("spill.npy"))
    embedding = np.concatenate([block.cpu().numpy() for block in found.blocks()])
    return np.pad(embedding, ((0, 0), (0, 1)), constant_values=lift) if lowest else embedding


def main() -> None:
    """Print a line for each seed, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--recipe", default="fashion-mnist")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bits", type=int, default=64)
    add_output(parser, "vectors")
    args = parser.parse_args()
    print(describe(*PACKAGES))
    rows, classes = read(args.file)
    order = np.random.default_rng(0).permutation(len(rows))
    asked, known = order[:QUERIES], order[QUERIES:]
    recipe = recipes.load(recipe_file(args.recipe))
    recipe = recipe.model_copy(update={"code": recipe.code.model_copy(update={"bits": args.bits})})
    found = []
    for seed in range(args.seeds):
        codes = train(recipe, rows[known], rows[asked], seed)
        samples = [Sample(code, rows[at], classes[at]) for code, at in zip(codes, (known, asked), strict=True)]
        scores = score(*samples, seed=seed)
        table = {row.system: [row.metrics[name].value for name in SHOWN] for row in scores.rows}
        found.append(table["ours"])
        print(
            f"seed {seed}: {scores.health.unique_share:.0%} distinct, entropy {scores.health.entropy:.3f}", flush=True
        )
    print(f"{'':12}{''.join(f'{name:>14}' for name in SHOWN)}")
    lines = {"ours, mean": np.mean(found, axis=0)} | dict(list(table.items())[1:])
    for system, values in lines.items():
        print(f"{system:12}{''.join(f'{value:14.4f}' for value in values)}")
    told = [{"system": name, **dict(zip(SHOWN, map(float, values), strict=True))} for name, values in lines.items()]
    settings = {"rows": len(known), "queries": len(asked), "seeds": args.seeds, "bits": args.bits}
    write(args.json, told, PACKAGES, settings=settings)


if __name__ == "__main__":
    main()

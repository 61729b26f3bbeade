"""Errors of autoencoders on Fashion-MNIST and on tables with holes, with baselines.

    python -m benchmarks.quality.zoo FASHION_MNIST_FOLDER [--only NAME ...] [--seeds 2]
    python -m benchmarks.quality.zoo --table letter.csv [--masks 10] [--mechanism mar] [--no-header]

``deep``        784-1000-500-250-30 trained as one network: squared error summed over the pixels of a test image,
                against PCA with 30 components.
``greedy``      the same widths pretrained layer by layer and fine-tuned for as many epochs.
``bits``        784-1024-64 bits-1024-784, against the same PCA.
``labels``      1,000 labelled images: a classifier on a pretrained stack, and the same network without pretraining.
``vae``         evidence of test images by importance sampling with 200 samples, and the lower bound.

Pixels are 0 to 1. A slice of 5 % of the training images is held out; the test images are looked at once, at the end.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from aepipe.evaluate.probes import pca_errors
from aepipe.learn import batches, generate, impute, stack
from aepipe.learn import corruption as corruptions
from aepipe.learn import spec as layer_specs
from aepipe.learn.autoencoder import Autoencoder
from aepipe.learn.batches import Feed
from aepipe.learn.density import log_likelihood
from aepipe.learn.impute import Layout
from aepipe.learn.spec import LayerSpec
from aepipe.learn.stack import unroll
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import Choice, CodeRecipe, ComputeRecipe, FinetuneRecipe, LayerRecipe, resolve
from benchmarks.common import Row, add_output, describe, fashion_mnist, write

PACKAGES = ("torch", "scikit-learn")
Images = NDArray[np.uint8]
Figures = dict[str, float]
WIDTHS = (1000, 500, 250, 30)
"""Layers of the autoencoder of Hinton and Salakhutdinov, 2006, above its 784 inputs."""
EPOCHS = 4
ROWS = 20_000
"""Of a table, at most: chained trees take minutes for these."""


def device() -> batches.Compute:
    """Return the device, in float32 on every machine."""
    return batches.resolve(ComputeRecipe(precision="float32"))


def train(spec: LayerSpec, model: Autoencoder, rows: Feed, where: batches.Compute, seed: int) -> Autoencoder:
    """Train a model on rows and return it."""
    nothing = Feed(np.zeros((0, *rows.shape), np.float32), where)
    trainer = Trainer(model, spec.training, train=rows, held_out=nothing, seed=seed, compute=where)
    with tempfile.TemporaryDirectory() as folder:
        trainer.run(FileCheckpoint(Path(folder)), lambda *_: None)
    return trainer.model


def error(model: Autoencoder, test: Images, where: batches.Compute) -> float:
    """Return the squared error, summed over a row, mean over the rows."""
    made = generate.reconstruct_rows(model, test, where)
    return float(((made - test.astype(np.float32) / 255) ** 2).reshape(len(test), -1).sum(1).mean())


def spec_of(**row: Any) -> LayerSpec:
    """Return a layer."""
    return layer_specs.layer_spec(LayerRecipe.model_validate(row), "layers.0")


def deep(rows: Images, test: Images, seed: int) -> Figures:
    """Train all layers at once; return the error."""
    where = device()
    net = {
        "kind": "dense",
        "width": WIDTHS[-1],
        "hidden": list(WIDTHS[:-1]),
        "activation": "gelu",
        "code_activation": "linear",
    }
    fit = {"epochs": EPOCHS, "batch": 64, "lr": 1.5e-3, "warmup": 200}
    spec = spec_of(net=net, likelihood="bernoulli", fit=fit)
    model = stack.build([spec], rows.shape[1:], seed=seed)[0]
    return {"error": error(train(spec, model, Feed(rows, where), where, seed), test, where)}


def greedy(rows: Images, test: Images, seed: int) -> Figures:
    """Train layer by layer, then the unrolled whole; return both errors."""
    where = device()
    fit = {"epochs": 1, "batch": 128, "lr": 1e-3, "warmup": 100}
    specs = []
    for depth, width in enumerate(WIDTHS):
        activation = "gelu" if width != WIDTHS[-1] else "linear"
        net = {"kind": "dense", "width": width, "activation": activation}
        specs.append(spec_of(net=net, likelihood="gaussian" if depth else "bernoulli", fit=fit))
    layers = stack.build(specs, rows.shape[1:], seed=seed)
    for depth, spec in enumerate(specs):
        with tempfile.TemporaryDirectory() as folder:
            codes = stack.codes(layers[:depth], Feed(rows, where), where, spill=Path(folder) / "codes.npy")
            train(spec, layers[depth], codes, where, seed + depth)
    pretrained = error(unroll(layers), test, where)
    whole = spec_of(
        net={"kind": "dense", "width": 1},
        likelihood="bernoulli",
        fit={"epochs": EPOCHS, "batch": 64, "lr": 1.5e-3, "warmup": 200},
    )
    tuned = error(train(whole, unroll(layers), Feed(rows, where), where, seed), test, where)
    return {"error": tuned, "error_pretrained": pretrained}


def bits(rows: Images, test: Images, seed: int) -> Figures:
    """Train a stack with a layer of 64 bits, end to end; return the error."""
    where = device()
    code = CodeRecipe.model_validate({"bits": 64, "binarize": {"kind": "straight-through", "noise": 0.3}})
    lower = spec_of(net={"kind": "dense", "width": 1024}, likelihood="bernoulli")
    specs = [lower, layer_specs.code_spec(code)]
    fine = FinetuneRecipe(epochs=8, batch=128, lr=2e-3, warmup=200)
    training = layer_specs.finetune_training(fine, specs)
    model = unroll(stack.build(specs, rows.shape[1:], seed=seed))
    spec = LayerSpec(specs[0].net, specs[1].posterior, specs[0].likelihood, training)
    return {"error": error(train(spec, model, Feed(rows, where), where, seed), test, where)}


def vae(rows: Images, test: Images, seed: int) -> Figures:
    """Train a variational autoencoder on binarised images; return evidence and bound in nats."""
    where = device()
    black = (rows > 127).astype(np.uint8) * 255
    white = (test[:1000] > 127).astype(np.float32)
    spec = spec_of(
        net={"kind": "dense", "width": 32, "hidden": [512, 256], "activation": "gelu"},
        posterior="gaussian",
        likelihood="bernoulli",
        objective="variational",
        fit={"epochs": 8, "batch": 128, "lr": 1e-3, "warmup": 200},
    )
    model = stack.build([spec], rows.shape[1:], seed=seed)[0]
    model = train(spec, model, Feed(black, where), where, seed)
    x = generate.as_tensor(white, where)
    evidence = log_likelihood(model, x, samples=200, generator=where.generator(seed)).mean().item()
    bound = log_likelihood(model, x, samples=1, generator=where.generator(seed)).mean().item()
    return {"evidence": evidence, "bound": bound}


def labels(folder: Path, seeds: int) -> Row:
    """Return the accuracy with 1,000 labelled images, on a pretrained stack and on a random one.

    Learning rates are those that were best for each arm on 1,000 other training images, out of 3e-4, 1e-3, 3e-3, 1e-2.
    """
    (rows, targets), (test, test_targets) = _labelled(folder)
    found = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(rows))
        chosen = np.concatenate([order[targets[order] == label][:100] for label in range(10)])
        given = (rows[chosen], targets[chosen], test, test_targets)
        control = _classify(_stack(rows[:0], seed), *given, lr=3e-3, seed=seed)
        pretrained = _classify(_stack(rows, seed), *given, lr=1e-3, seed=seed)
        found.append((control, pretrained))
        print(f"labels   seed {seed}: random {control:.2%}  pretrained {pretrained:.2%}", flush=True)
    means, differences = np.mean(found, axis=0), np.diff(found)
    print(f"labels   difference {differences.mean():+.2%}, sd {differences.std():.2%}")
    gain = {"difference": float(differences.mean()), "difference_sd": float(differences.std())}
    return {"network": "labels", "seeds": seeds, "random": means[0], "pretrained": means[1], **gain}


def _stack(rows: Images, seed: int) -> Autoencoder:
    """Return a stack of three denoising layers, pretrained greedily where there are rows."""
    where = device()
    fit = {"epochs": 4, "batch": 256, "lr": 1e-3, "warmup": 100}
    specs = []
    for depth, width in enumerate((500, 500, 250)):
        noise = {"kind": "mask", "rate": 0.3} if depth else {"kind": "shift", "pixels": 2}
        specs.append(spec_of(net={"kind": "dense", "width": width, "tied": True}, corruption=noise, fit=fit))
    layers = stack.build(specs, (28, 28, 1), seed=seed)
    for depth, spec in enumerate(specs if len(rows) else []):
        with tempfile.TemporaryDirectory() as folder:
            codes = stack.codes(layers[:depth], Feed(rows, where), where, spill=Path(folder) / "codes.npy")
            train(spec, layers[depth], codes, where, seed + depth)
    return unroll(layers)


def _classify(
    model: Autoencoder, rows: Images, targets: Images, test: Images, test_targets: Images, *, lr: float, seed: int
) -> float:
    """Train an encoder and a softmax on it; return the accuracy on test images."""
    generator, epochs, batch = torch.Generator().manual_seed(seed), 30, 50
    top = torch.nn.Linear(250, 10)
    torch.nn.init.zeros_(top.weight)
    network = torch.nn.Sequential(model.net.encoder, top)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.01)
    steps = epochs * len(rows) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.05)
    x, y = torch.from_numpy(rows) / 255, torch.from_numpy(targets).long()
    for _ in range(epochs):
        for index in torch.split(torch.randperm(len(x), generator=generator), batch):
            optimizer.zero_grad()
            torch.autograd.backward(torch.nn.functional.cross_entropy(network(x[index]), y[index]))
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        found = network(torch.from_numpy(test) / 255).argmax(1).numpy()
    return float((found == test_targets).mean())


def _labelled(folder: Path) -> tuple[tuple[Images, Images], tuple[Images, Images]]:
    """Return the training and the test images, each with its labels."""
    found = []
    for images_of, name in zip(fashion_mnist(folder), ("train", "t10k"), strict=True):
        raw = gzip.decompress((folder / f"{name}-labels-idx1-ubyte.gz").read_bytes())
        found.append((images_of, np.frombuffer(raw, np.uint8, offset=8)))
    return found[0], found[1]


def holes(file: Path, masks: int, mechanism: str, *, header: bool) -> tuple[list[Row], Row]:
    """Hide 20 % of the cells of a table; return the error of each filler, and the settings.

    The protocol is GAIN's (Yoon, Jordon and van der Schaar, ICML 2018): root mean squared error over hidden cells of
    columns of numbers, each scaled by its smallest and largest value in the table as it was; of categories, the share
    that is right. Categories are numbered for the regressions, and what those say is rounded.
    """
    table = pd.read_csv(file, header=0 if header else None, na_values=["?"], skipinitialspace=True)
    table.columns = table.columns.map(str)
    table = table.loc[:, table.notna().any()].head(ROWS)
    words = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    coded = table.assign(**{name: pd.Categorical(table[name]).codes for name in words}).astype(float)
    coded = coded.where(table.notna())
    low, high = coded.min().to_numpy(), coded.max().to_numpy()
    print(f"{file.name}: {len(table):,} x {len(table.columns)}, {table.isna().mean().mean():.1%} missing, {mechanism}")
    found: dict[str, list[Figures]] = {name: [] for name in FILLERS}
    left = []
    for mask in range(masks):
        noise = resolve(corruptions.KINDS, Choice(kind=mechanism, options={"rate": 0.2}), "mechanism")
        _, kept = noise.corrupt(coded.to_numpy(np.float32), np.random.default_rng(mask))
        hidden = ~kept & coded.notna().to_numpy()
        for name, fill in FILLERS.items():
            began = time.process_time()
            values = fill(coded.mask(hidden), table.mask(hidden), mask)
            took = time.process_time() - began
            found[name].append(_errors(values, coded, hidden, words, (low, high)) | {"seconds": took})
        left.append(1 - float(table.mask(hidden).isna().any(axis=1).mean()))
        shown = "   ".join(f"{name} {_shown(runs[-1])}" for name, runs in found.items())
        print(f"mask {mask}: {shown}   rows left by deletion {left[-1]:.1%}", flush=True)
    settings: dict[str, Any] = {
        "rows": len(table),
        "columns": len(table.columns),
        "missing": float(table.isna().mean().mean()),
    }
    settings |= {"hidden": 0.2, "mechanism": mechanism, "masks": masks, "complete_rows_left": float(np.mean(left))}
    return [_summary(NAMES[name], runs) for name, runs in found.items()], settings


def _shown(run: Figures) -> str:
    """Format the figures of one filler and one mask."""
    right = f" / {run['right']:.1%}" if "right" in run else ""
    return f"{run['rmse']:.4f}{right} {run['seconds']:.0f} s"


def _summary(name: str, runs: Sequence[Figures]) -> Row:
    """Return the figures of one filler over all masks."""
    errors = [run["rmse"] for run in runs]
    ends = {"rmse_low": min(errors), "rmse_high": max(errors)}
    right = {"right_mean": float(np.mean([run["right"] for run in runs]))} if "right" in runs[0] else {}
    middle = {"rmse_mean": float(np.mean(errors)), "rmse_median": float(np.median(errors))}
    return {"filler": name, **middle, **ends, **right, "seconds": float(np.mean([run["seconds"] for run in runs]))}


def _errors(
    values: NDArray[np.float64], coded: Any, hidden: NDArray[np.bool_], words: Sequence[str], ends: Any
) -> Figures:
    """Return the error of numbers, and the share of right categories if there are any."""
    low, high = ends
    numbers = ~coded.columns.isin(words)
    scaled = (values - coded.to_numpy()) / np.maximum(high - low, 1e-12)
    error = np.sqrt((scaled[:, numbers][hidden[:, numbers]] ** 2).mean())
    if numbers.all():
        return {"rmse": float(error)}
    right = (np.round(values) == coded.to_numpy())[:, ~numbers][hidden[:, ~numbers]].mean()
    return {"rmse": float(error), "right": float(right)}


def by_autoencoder(coded: Any, table: Any, seed: int) -> NDArray[np.float64]:
    """Fill with the masked autoencoder, which reads categories as they are."""
    layout, where = Layout.of(table), device()
    cells = layout.encode(table)
    recipe = impute.impute_recipe(layout.spans, len(cells))
    with tempfile.TemporaryDirectory() as folder:
        model = impute.fit(cells, recipe, seed=seed, compute=where, work=Path(folder), report=lambda *_: None)
    filled = coded.fillna(coded.mean()).to_numpy()
    for column, shares in layout.parts(impute.predict(model, cells, where)):
        values, _ = column.decode(shares)
        if column.kind == "category":
            known = table[column.name].notna()
            numbers = dict(zip(table[column.name][known], coded[column.name][known], strict=True))
            values = np.array([numbers[value] for value in values])
        filled[:, coded.columns.get_loc(column.name)] = values
    return np.asarray(filled, np.float64)


def by_mean(coded: Any, table: Any, seed: int) -> NDArray[np.float64]:
    """Fill with each column's mean, of categories the most frequent."""
    words = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    usual = coded.mean()
    usual[words] = [coded[name].mode()[0] for name in words]
    return np.asarray(coded.fillna(usual).to_numpy(), np.float64)


def by_regression(coded: Any, table: Any, seed: int) -> NDArray[np.float64]:
    """Fill by chained Bayesian ridge regressions."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return np.asarray(IterativeImputer(max_iter=10, random_state=seed).fit_transform(coded.to_numpy()), np.float64)


def by_trees(coded: Any, table: Any, seed: int) -> NDArray[np.float64]:
    """Fill by chained extremely randomised trees."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    trees = ExtraTreesRegressor(20, min_samples_leaf=3, n_jobs=1, random_state=seed)
    chain = IterativeImputer(trees, max_iter=4, random_state=seed)
    return np.asarray(chain.fit_transform(coded.to_numpy()), np.float64)


FILLERS: dict[str, Callable[[Any, Any, int], NDArray[np.float64]]] = {
    "autoencoder": by_autoencoder,
    "mean": by_mean,
    "ridge": by_regression,
    "trees": by_trees,
}
TITLES = {
    "deep": f"784-{'-'.join(map(str, WIDTHS))}, trained as one, {EPOCHS} epochs",
    "greedy": f"784-{'-'.join(map(str, WIDTHS))}, pretrained layer by layer, then {EPOCHS} epochs",
    "bits": "784-1024-64 bits, 8 epochs",
    "vae": "variational autoencoder 784-512-256-32, 8 epochs",
}
NAMES = {
    "autoencoder": "autoencoder",
    "mean": "mean of the column",
    "ridge": "chained Bayesian ridge regressions",
    "trees": "chained extremely randomised trees",
}
ARMS: dict[str, Callable[[Images, Images, int], Figures]] = {"deep": deep, "greedy": greedy, "bits": bits, "vae": vae}


def images(folder: Path, only: Sequence[str], seeds: int) -> list[Row]:
    """Run the arms on images; return a row for each, with a list of its figures over the seeds."""
    train_rows, test = fashion_mnist(folder)
    rows = train_rows[np.random.default_rng(0).permutation(len(train_rows))[len(train_rows) // 20 :]]
    flat = [part.reshape(len(part), -1).astype(np.float32) / 255 for part in (rows, test)]
    pca = float(pca_errors(flat[0], flat[1], [30], seed=0)[0])
    print(f"PCA with 30 components: {pca:8.2f}")
    told: list[Row] = [labels(folder, max(seeds, 5))] if "labels" in only else []
    for name in (name for name in only if name in ARMS):
        runs = []
        for seed in range(seeds):
            began = time.perf_counter()
            found = ARMS[name](rows, test, seed)
            runs.append(found | {"seconds": time.perf_counter() - began})
            print(f"{name:8} seed {seed}: {', '.join(f'{what} {x:.2f}' for what, x in runs[-1].items())}", flush=True)
        seconds = {"seconds": float(np.mean([run["seconds"] for run in runs]))}
        told.append(
            {"network": TITLES[name], **{what: [run[what] for run in runs] for what in found}, "pca": pca, **seconds}
        )
    return told


def main() -> None:
    """Run the images or the table."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measured = cli.add_mutually_exclusive_group(required=True)
    measured.add_argument("folder", type=Path, nargs="?", help="a folder of gzipped IDX files")
    cli.add_argument("--only", nargs="*", choices=[*ARMS, "labels"], default=[*ARMS, "labels"])
    cli.add_argument("--seeds", type=int, default=2)
    measured.add_argument("--table", type=Path, help="a CSV file")
    cli.add_argument("--header", action=argparse.BooleanOptionalAction, default=True)
    cli.add_argument("--mechanism", choices=["mcar", "mar", "mnar"], default="mcar")
    cli.add_argument("--masks", type=int, default=10)
    add_output(cli, "zoo-members")
    args = cli.parse_args()
    print(describe(*PACKAGES), f"{torch.get_num_threads()} threads\n")
    if args.folder:
        write(args.json, images(args.folder, args.only, args.seeds), PACKAGES, settings={"seeds": args.seeds})
    if args.table:
        rows, settings = holes(args.table, args.masks, args.mechanism, header=args.header)
        write(args.json, rows, PACKAGES, settings=settings)


if __name__ == "__main__":
    main()

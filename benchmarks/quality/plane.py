"""Methods that lay rows on a plane, compared on Fashion-MNIST: neighbours kept, and seconds.

    python -m benchmarks.quality.plane [--rows 2000] [--seeds 5] [--save]

Each method lays out the same rows, evenly spread over the sample: once by 64 bits (ITQ, fitted on all rows), as
``aepipe show --map`` does, and once by their pixels. ``kept`` is the share of the ten neighbours on the plane that are
no farther by the original distance than the tenth nearest row, so that ties between codes cost nothing.
``trustworthiness`` is scikit-learn's, at ten neighbours. ``class`` is the share of rows whose nearest row on the plane
has their label. Every run is a process of its own with one thread; its seconds hold no import and no compilation, and
``import`` stands apart. ``same`` tells whether a second run with the same seed gave the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from aepipe.evaluate.baselines import fit_itq
from benchmarks.common import add_output, describe, write

K, BITS = 10, 64
DATA = Path(__file__).parents[2] / "data" / "fashion-mnist.parquet"
PACKAGES = {"sklearn t-SNE": "scikit-learn", "openTSNE": "opentsne", "UMAP": "umap-learn", "PaCMAP": "pacmap"}
MODULES = {"sklearn t-SNE": "sklearn", "openTSNE": "openTSNE", "UMAP": "umap", "PaCMAP": "pacmap"}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
FIGURES = ("kept", "trustworthiness", "class", "seconds", "import")

Rows = NDArray[np.float32]
Layout = Callable[[Rows, int], Rows]


def layouts() -> dict[str, Callable[[], Layout]]:
    """Return a function for each method that imports it; its defaults but for seed and threads."""

    def sklearn() -> Layout:
        from sklearn.manifold import TSNE

        return lambda rows, seed: TSNE(perplexity=30, init="pca", random_state=seed, n_jobs=1).fit_transform(rows)

    def opentsne() -> Layout:
        from openTSNE import TSNE

        return lambda rows, seed: np.asarray(TSNE(perplexity=30, random_state=seed, n_jobs=1).fit(rows))

    def umap() -> Layout:
        from umap import UMAP

        return lambda rows, seed: UMAP(random_state=seed, n_jobs=1).fit_transform(rows)

    def pacmap() -> Layout:
        from pacmap import PaCMAP

        return lambda rows, seed: PaCMAP(random_state=seed).fit_transform(rows)

    return dict(zip(PACKAGES, (sklearn, opentsne, umap, pacmap), strict=True))


def sample(count: int) -> tuple[dict[str, Rows], NDArray[np.str_]]:
    """Return rows by their bits and by their pixels, and their labels."""
    table = pq.read_table(DATA)
    pictures = [np.asarray(Image.open(io.BytesIO(one["bytes"]))) for one in table["image"].to_pylist()]
    pixels = np.stack(pictures).reshape(len(pictures), -1)
    places = np.linspace(0, len(pixels) - 1, count).astype(np.int64)
    bits = fit_itq(pixels, BITS, 0).codes(pixels[places]).unpack()
    shades = pixels[places].astype(np.float32) / np.float32(255)
    forms: dict[str, Rows] = {"bits": bits.astype(np.float32), "pixels": shades}
    return forms, np.asarray(table["label"].to_pylist(), str)[places]


def quality(rows: Rows, points: Rows, labels: NDArray[np.str_]) -> dict[str, float]:
    """Return how well a plane keeps the neighbourhoods of rows."""
    from sklearn.manifold import trustworthiness

    near, there = distances(rows), distances(points)
    farthest = np.sort(near, axis=1)[:, K - 1]
    chosen = np.argsort(there, axis=1, kind="stable")[:, :K]
    kept = np.take_along_axis(near, chosen, axis=1) <= farthest[:, None] * (1 + 1e-6)
    return {
        "kept": float(kept.mean()),
        "trustworthiness": float(trustworthiness(rows, points, n_neighbors=K)),
        "class": float((labels[chosen[:, 0]] == labels).mean()),
    }


def distances(rows: Rows) -> NDArray[np.float64]:
    """Return squared distances between all rows, [N, N]; a row is infinitely far from itself."""
    wide = rows.astype(np.float64)
    norms = (wide**2).sum(1)
    found: NDArray[np.float64] = norms[:, None] + norms - 2 * wide @ wide.T
    np.fill_diagonal(found, np.inf)
    return found


def run_one(method: str, form: str, rows: int, seed: int) -> dict[str, float]:
    """Lay out the rows twice in this process: the first run may compile, the second is timed."""
    forms, labels = sample(rows)
    began = time.perf_counter()
    layout = layouts()[method]()
    imported = time.perf_counter() - began
    first = layout(forms[form], seed)
    began = time.perf_counter()
    points = np.asarray(layout(forms[form], seed), np.float32)
    took = time.perf_counter() - began
    same = float(np.asarray(first, np.float32).tobytes() == points.tobytes())
    return quality(forms[form], points, labels) | {"seconds": took, "import": imported, "same": same}


def in_process(method: str, form: str, rows: int, seed: int) -> dict[str, float]:
    """Return what a fresh process measured."""
    arguments = ["--one", method, form, str(seed), "--rows", str(rows)]
    command = [sys.executable, "-m", "benchmarks.quality.plane", *arguments]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def line(name: str, runs: list[dict[str, float]]) -> str:
    """Return mean and standard deviation over the seeds, as a line of the table."""
    cells = []
    for figure in FIGURES:
        values = [run[figure] for run in runs]
        spread = f" ±{stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{fmean(values):.3f}{spread}")
    same = "yes" if all(run["same"] for run in runs) else "no"
    return f"{name:24}" + "".join(f"{cell:>18}" for cell in cells) + f"{same:>6}"


def main() -> None:
    """Measure all methods that are installed, and print a table."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rows", type=int, default=2000)
    cli.add_argument("--seeds", type=int, default=5)
    add_output(cli, "plane")
    cli.add_argument("--one", nargs=3, metavar=("METHOD", "FORM", "SEED"), help=argparse.SUPPRESS)
    given = cli.parse_args()
    if given.one:
        print(json.dumps(run_one(given.one[0], given.one[1], given.rows, int(given.one[2]))))
        return
    there = [name for name in PACKAGES if importlib.util.find_spec(MODULES[name])]
    print(f"{describe(*(PACKAGES[name] for name in there))}\n{given.rows:,} rows, {given.seeds} seeds\n")
    print(f"{'':24}" + "".join(f"{figure:>18}" for figure in FIGURES) + f"{'same':>6}")
    told: list[dict[str, Any]] = []
    for form in ("bits", "pixels"):
        for name in there:
            runs = [in_process(name, form, given.rows, seed) for seed in range(given.seeds)]
            means = {figure: fmean(run[figure] for run in runs) for figure in FIGURES}
            seeds = {figure: [run[figure] for run in runs] for figure in FIGURES}
            same = all(run["same"] for run in runs)
            told.append({"form": form, "method": name, **means, "same": same, "seeds": seeds})
            print(line(f"{form}, {name}", runs), flush=True)
    settings = {"rows": given.rows, "seeds": given.seeds}
    write(given.json, told, [PACKAGES[name] for name in there], settings=settings)


if __name__ == "__main__":
    main()

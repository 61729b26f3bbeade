"""Retrieval by the codes of a release and by other quantisers of about as many bytes.

    python -m benchmarks.quality.quantisers --home STORE [--name NAME] [--scorer reference_score.py]

The others are signs, PCA with a random rotation, PQ, RaBitQ and ITQ. Database, queries, labels and metrics are those of
the release's own scores: ties by expectation. All are fitted on the database's features. Codes are compared by Hamming
distance; PQ and RaBitQ as their authors mean it, a float query with quantised rows. Bytes are those of a row, with all
that a method keeps for it. With ``--scorer`` that program scores the release's codes, too, as a second opinion.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.evaluate.baselines import BASELINES, centred, fit_pca_sign
from aepipe.evaluate.retrieval import Retrieval, retrieval, retrieval_by, retrieval_float
from aepipe.evaluate.scores import Sample, first_queries
from aepipe.pipeline.score import samples
from aepipe.recipe import parse
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from benchmarks.common import add_output, describe, write

PACKAGES = ("numpy", "faiss-cpu")
NAMES = ("map", "map_at_1000", "p_at_100")
SEED = 0
Matrix = NDArray[np.float32]
Made = tuple[float, Retrieval]
swig: Any = faiss


class Arms:
    """All methods on the same rows.

    Args:
        database: N rows with labels.
        queries: Q of them.
    """

    def __init__(self, database: Sample, queries: Sample) -> None:
        self.database, self.queries = database, queries
        self.n_bits = database.codes.n_bits
        self.rows, self.asked = (np.ascontiguousarray(one.features, np.float32) for one in (database, queries))

    def ours(self) -> Made:
        """Score the release's codes."""
        return self._codes(self.database.codes, self.queries.codes)

    def float(self) -> Made:
        """Score exact search."""
        found = retrieval_float(self.rows, self.asked, *self._labels())
        return self.rows.shape[1] * self.database.features.dtype.itemsize, found

    def itq(self) -> Made:
        """Score ITQ."""
        fitted = BASELINES["itq"](self.rows, self.n_bits, SEED)
        return self._codes(fitted.codes(self.rows), fitted.codes(self.asked))

    def sign(self) -> Made:
        """Score the signs of the centred features; as many bits as features."""
        mean = self.rows.mean(0)
        return self._codes(*(BitCodes.from_bits(one - mean > 0) for one in (self.rows, self.asked)))

    def pca_random(self) -> Made:
        """Score principal components, rotated at random and cut at zero."""
        fitted = fit_pca_sign(self.rows, self.n_bits, SEED)
        turn = np.linalg.qr(np.random.default_rng(SEED).standard_normal((self.n_bits, self.n_bits)))[0]
        codes = (
            BitCodes.from_bits(np.concatenate([block @ fitted.axes @ turn for block in centred(one, fitted.mean)]) > 0)
            for one in (self.rows, self.asked)
        )
        return self._codes(*codes)

    def pq(self) -> Made:
        """Score product quantisation of principal components, 8 bits a part."""
        parts = self.n_bits // 8
        width = self.rows.shape[1] // parts * parts
        index = swig.IndexPreTransform(
            swig.PCAMatrix(self.rows.shape[1], width, 0, True), swig.IndexPQ(width, parts, 8)
        )
        index.train(self.rows)
        index.add(self.rows)
        return parts, self._distances(index)

    def rabitq(self, width: int) -> Made:
        """Score RaBitQ of principal components; it keeps two floats in addition to the bits."""
        index = swig.IndexPreTransform(swig.PCAMatrix(self.rows.shape[1], width, 0, True), swig.IndexRaBitQ(width))
        index.train(self.rows)
        index.add(self.rows)
        return swig.IndexRaBitQ(width).code_size, self._distances(index)

    def _codes(self, rows: BitCodes, asked: BitCodes) -> Made:
        """Score codes."""
        return rows.packed.shape[1], retrieval(rows, asked, *self._labels())

    def _distances(self, index: Any) -> Retrieval:
        """Score an index of floats."""

        def blocks(size: int = 64) -> Iterator[tuple[int, NDArray[np.float64]]]:
            for start in range(0, len(self.asked), size):
                near, ids = index.search(self.asked[start : start + size], len(self.rows))
                distances = np.empty(near.shape)
                np.put_along_axis(distances, ids, near.astype(np.float64), axis=1)
                yield start, distances

        return retrieval_by(blocks(), *self._labels())

    def _labels(self) -> tuple[Any, Any]:
        """Return the labels of database and queries."""
        return self.database.labels, self.queries.labels


def by_scorer(scorer: Path, database: Sample, queries: Sample) -> dict[str, float]:
    """Return the figures of another program for the release's codes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "codes.npz"
        labels = np.asarray(database.labels), np.asarray(queries.labels)
        np.savez(file, db=database.codes.packed, q=queries.codes.packed, db_label=labels[0], q_label=labels[1])
        command = [sys.executable, str(scorer), str(file)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {"map": found["mAP"], "map_at_1000": found["mAP@1000"], "p_at_100": found["P@100"]}


def main() -> None:
    """Measure all, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--name")
    parser.add_argument("--scorer", type=Path)
    add_output(parser, "quantisers")
    given = parser.parse_args()
    store = Store(given.home)
    release = Release.open(store, given.name)
    recipe = parse(release.recipe, Path("release"))
    codes = [ref for what, ref in release.parts if what == "codes"]
    with tempfile.TemporaryDirectory() as folder:
        database, queries = samples(store, recipe, release.part("rows"), codes, Path(folder))
        queries = first_queries(queries, recipe.evaluate.queries)
        if database.labels is None:
            parser.error(f"{release.name}: has no labels to score by")
        arms = Arms(database, queries)
        called: dict[str, Callable[[], Made]] = {
            "ours": arms.ours,
            "ITQ": arms.itq,
            "PCA, random rotation": arms.pca_random,
            "PQ": arms.pq,
            "RaBitQ, as many bytes": lambda: arms.rabitq(max(8, arms.n_bits - 8 * (swig.IndexRaBitQ(8).code_size - 1))),
            "RaBitQ, as many bits": lambda: arms.rabitq(arms.n_bits),
            "signs of the features": arms.sign,
            "exact search": arms.float,
        }
        print(describe(*PACKAGES))
        print(
            f"{release.name}: {len(queries):,} queries to {len(database):,} rows of {arms.rows.shape[1]:,} features\n"
        )
        print(f"{'':24}{'bytes':>8}" + "".join(f"{name:>14}" for name in NAMES))
        rows = []
        for name, call in called.items():
            n_bytes, found = call()
            means = {key: float(values.mean()) for key, values in found.named().items()}
            print(f"{name:24}{n_bytes:8,.0f}" + "".join(f"{means[key]:14.4f}" for key in NAMES), flush=True)
            rows.append({"method": name, "bytes": n_bytes, **{key: means[key] for key in NAMES}})
        if given.scorer:
            theirs = by_scorer(given.scorer, database, queries)
            print(f"{'ours, by ' + given.scorer.stem:32}" + "".join(f"{theirs[key]:14.4f}" for key in NAMES))
            rows.append({"method": f"ours, by {given.scorer.stem}", "bytes": rows[0]["bytes"], **theirs})
        case = {"collection": release.name, "queries": len(queries), "bits": arms.n_bits}
        write(given.json, rows, PACKAGES, settings=case)


if __name__ == "__main__":
    main()

"""Fashion-MNIST for the evaluator's tests."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.evaluate.baselines import Projection, fit_itq
from aepipe.evaluate.scores import Sample


@pytest.fixture(scope="session")
def fashion(shared: Path) -> tuple[Sample, Sample]:
    """The 60,000 rows and 1,000 of the queries, with empty codes of one bit."""
    folder = shared / "data" / "fashion-mnist"

    def read(name: str, skip: int) -> np.ndarray:
        with gzip.open(folder / name) as file:
            return np.frombuffer(file.read(), np.uint8, offset=skip)

    def sample(split: str, rows: slice | np.ndarray) -> Sample:
        pixels = read(f"{split}-images-idx3-ubyte.gz", 16).reshape(-1, 784)[rows]
        codes = BitCodes(np.zeros((len(pixels), 1), np.uint8), 1)
        return Sample(codes, pixels, read(f"{split}-labels-idx1-ubyte.gz", 8)[rows])

    asked = np.random.default_rng(0).choice(10_000, 1000, replace=False)
    return sample("train", slice(None)), sample("t10k", asked)


@pytest.fixture(scope="session")
def itq_64(fashion: tuple[Sample, Sample]) -> Projection:
    """ITQ at 64 bits, fitted on the 60,000 rows."""
    return fit_itq(fashion[0].features, 64, 0)

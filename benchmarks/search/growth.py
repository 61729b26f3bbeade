"""Make many learned codes: the encoder of a release over real images, shifted and masked.

    aepipe run fashion-mnist --source FASHION_MNIST_FOLDER --home STORE
    python -m benchmarks.search.growth FASHION_MNIST_FOLDER OUT.npy --home STORE --rows 10000000

Each row is a training image, moved by up to 2 pixels and with 15 % of its pixels masked. The codes of the unchanged
test images are written to ``OUT.queries.npy``. Uniform random codes would have no neighbours, and codes of repeated
images none but themselves.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from aepipe.learn.corruption import Mask, Shift
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from benchmarks.common import fashion_mnist

BLOCK = 1 << 15


def main() -> None:
    """Encode them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="a folder of gzipped IDX files")
    parser.add_argument("out", type=Path, help="uint8[rows, bytes of a code]")
    parser.add_argument("--home", type=Path, required=True, help="the store whose only release encodes them")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    release = Release.open(Store(asked.home))
    train, test = fashion_mnist(asked.images)
    queries = release.encode(test, threads=asked.threads)
    np.save(asked.out.with_suffix(".queries.npy"), queries.packed)
    shape = (asked.rows, queries.packed.shape[1])
    out = np.lib.format.open_memmap(asked.out, mode="w+", dtype=np.uint8, shape=shape)
    for number, start in enumerate(range(0, asked.rows, BLOCK)):
        count, rng = min(BLOCK, asked.rows - start), np.random.default_rng((number, 1))
        images = train[rng.integers(0, len(train), count)]
        moved, _ = Shift(pixels=2).corrupt(images, rng)
        masked, _ = Mask(rate=0.15).corrupt(moved, rng)
        out[start : start + count] = release.encode(masked, threads=asked.threads).packed
        print(f"\r{start + count:,} of {asked.rows:,}", end="", flush=True)
    print()


if __name__ == "__main__":
    main()

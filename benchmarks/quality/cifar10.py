"""Write CIFAR-10 as one Parquet file, for ``aepipe run cifar10 --source cifar10.parquet``.

    python -m benchmarks.quality.cifar10 cifar-10-batches-bin cifar10.parquet [--jpeg 75]

The folder is what https://www.cs.toronto.edu/~kriz/cifar.html calls the binary version: files of 3,073 bytes a picture,
its class and then its reds, greens and blues. An ``.npz`` file with pictures that are JPEG already is taken, too:
``train_jpeg``, all bytes in a row; ``train_offset``, where each begins; ``train_y``; and those of ``test``. Rows are
shuffled.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLITS = {"train": "data_batch_*.bin", "test": "test_batch.bin"}
BYTES = 1 + 3 * 32 * 32


def pictures(source: Path, split: str, jpeg: int | None) -> Iterator[tuple[bytes, int]]:
    """Give each picture of a split as a file's bytes, with its class."""
    if source.suffix == ".npz":
        held = np.load(source)
        data, starts = held[f"{split}_jpeg"].tobytes(), held[f"{split}_offset"]
        for start, end, kind in zip(starts[:-1], starts[1:], held[f"{split}_y"], strict=True):
            yield data[start:end], int(kind)
        return
    for file in sorted(source.glob(SPLITS[split])):
        for record in np.fromfile(file, np.uint8).reshape(-1, BYTES):
            image = Image.fromarray(record[1:].reshape(3, 32, 32).transpose(1, 2, 0))
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=jpeg) if jpeg else image.save(stream, "PNG")
            yield stream.getvalue(), int(record[0])


def main() -> None:
    """Convert it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the folder of .bin files, or an .npz file")
    parser.add_argument("out", type=Path, help="the Parquet file")
    parser.add_argument("--jpeg", type=int, metavar="QUALITY", help="write JPEG of this quality, not PNG")
    asked = parser.parse_args()
    rng, tables = np.random.default_rng(0), []
    for split in SPLITS:
        rows = list(pictures(asked.source, split, asked.jpeg))
        if not rows:
            parser.error(f"{asked.source}: no pictures of the split {split} in it")
        order = [rows[i] for i in rng.permutation(len(rows))]
        columns = {
            "image": pa.array([data for data, _ in order], pa.binary()),
            "label": pa.array([NAMES[kind] for _, kind in order]),
            "split": pa.array([split] * len(order)),
        }
        tables.append(pa.table(columns))
    pq.write_table(pa.concat_tables(tables), asked.out)
    print(f"{asked.out}: {sum(map(len, tables)):,} pictures")


if __name__ == "__main__":
    main()

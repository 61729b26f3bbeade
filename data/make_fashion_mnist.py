"""Make the sample ``fashion-mnist.parquet`` from the IDX files of Fashion-MNIST.

The first 1,000 training and the first 200 test images of each class, in the order of the files, as PNG in the columns
that Hugging Face has for images; beside it ``query.png``, one of the test images, to ask with. The same libraries make
the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PARTS = (("train", "train", 1000), ("t10k", "test", 200))  # name in the files, split, images of each class
QUERY = "test/00000.png"
SCHEMA = pa.schema(
    {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "label": pa.string(), "split": pa.string()}
)
HUGGING_FACE = {
    "image": {"_type": "Image"},
    "label": {"dtype": "string", "_type": "Value"},
    "split": {"dtype": "string", "_type": "Value"},
}


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array in a gzipped IDX file of unsigned bytes."""
    data = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(data, ">u4", data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def first_of_each(labels: NDArray[np.uint8], count: int) -> list[int]:
    """Return the positions of the first images of each class, ascending."""
    seen: Counter[int] = Counter()
    chosen = []
    for position, label in enumerate(labels.tolist()):
        seen[label] += 1
        if seen[label] <= count:
            chosen.append(position)
    return chosen


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a grey image, uint8[H, W], as the smallest PNG that Pillow makes."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def make(source: Path, out: Path) -> None:
    """Write the sample, and the picture to ask with."""
    rows: list[dict[str, Any]] = []
    for name, split, count in PARTS:
        images = read_idx(source / f"{name}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"{name}-labels-idx1-ubyte.gz")
        for position in first_of_each(labels, count):
            image = {"bytes": png(images[position]), "path": f"{split}/{position:05d}.png"}
            rows.append({"image": image, "label": CLASSES[labels[position]], "split": split})
    metadata = {"huggingface": json.dumps({"info": {"features": HUGGING_FACE}})}
    table = pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(metadata))
    # PNG does not shrink again, so it is not tried.
    codecs = {"image.bytes": "none", "image.path": "zstd", "label": "zstd", "split": "zstd"}
    asked = next(row["image"] for row in rows if row["image"]["path"] == QUERY)
    out.with_name("query.png").write_bytes(asked["bytes"])
    pq.write_table(table, out, compression=codecs, row_group_size=1000, use_dictionary=["label", "split"])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path, help="folder with the four files *-ubyte.gz")
    parser.add_argument("out", type=Path, nargs="?", default=Path(__file__).with_name("fashion-mnist.parquet"))
    arguments = parser.parse_args()
    make(arguments.source, arguments.out)


if __name__ == "__main__":
    main()

"""Small collections of real pictures and quick recipes, for tests of whole pipelines."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

SAMPLE = Path(__file__).parents[2] / "data" / "fashion-mnist.parquet"

TINY = """name = "tiny"
seed = 7

[source]
kind = "images"
path = "photos"
label = "parent"
split = {{ test = 0.2 }}

[features]
size = [28, 28]
color = "gray"

[[layers]]
net = {{ kind = "dense", width = 64 }}
likelihood = "bernoulli"
fit = {{ epochs = {epochs}, batch = 32 }}

[code]
bits = 32
threshold = "median"
fit = {{ epochs = {epochs}, batch = 32 }}

[finetune]
epochs = {epochs}
batch = 32
"""


def write_photos(folder: Path, *, start: int = 0, count: int = 300) -> None:
    """Write pictures of the sample as ``<label>/<number>.png``.

    Args:
        folder: made where it is missing.
        start: number of the first picture.
        count: number of pictures.
    """
    rows = pq.read_table(SAMPLE).slice(start, count).to_pylist()
    for number, row in enumerate(rows, start):
        place = folder / row["label"].lower().replace("/", "-") / f"{number:05d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(row["image"]["bytes"])


def write_tiny(folder: Path, *, epochs: int = 1, count: int = 300) -> Path:
    """Write ``tiny.toml`` and its pictures into a folder, and return the recipe."""
    write_photos(folder / "photos", count=count)
    file = folder / "tiny.toml"
    file.write_text(TINY.format(epochs=epochs))
    return file


def pixels(count: int, *, start: int = 0, side: int = 28) -> NDArray[np.uint8]:
    """Return pictures of the sample as rows, uint8[count, side, side, 1].

    Args:
        count: number of pictures.
        start: number of the first picture.
        side: 28; or 14 or 7, where a pixel is the mean of four or sixteen.
    """
    rows = pq.read_table(SAMPLE, columns=["image"]).slice(start, count).to_pylist()
    images = np.stack([np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows])
    cells = 28 // side
    means = images.reshape(count, side, cells, side, cells).mean((2, 4))
    rounded: NDArray[np.uint8] = np.round(means).astype(np.uint8)[..., None]
    return rounded

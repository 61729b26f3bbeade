"""Write the little collection of the golden store: grey pictures of four patterns, made with a seed.

python make_collection.py FOLDER
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIDE = 12


def picture(number: int, seed: int) -> tuple[str, bytes]:
    """Return the pattern's name and a PNG file."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    at, phase = rng.uniform(3, 9, 2), rng.uniform(0, 6)
    patterns = {
        "bars": np.sin(x * 1.3 + phase),
        "beams": np.sin(y * 1.3 + phase),
        "discs": np.where(np.hypot(x - at[0], y - at[1]) < 3.5, 1.0, -1.0),
        "slopes": (x * np.cos(phase) + y * np.sin(phase)) / SIDE,
    }
    name = list(patterns)[number % 4]
    pixels = 127 + 90 * patterns[name] + rng.normal(0, 12, (SIDE, SIDE))
    file = io.BytesIO()
    # Eight greys, so that the files stay small.
    Image.fromarray((pixels.clip(0, 255) // 32 * 36).astype(np.uint8)).save(file, "PNG", optimize=True)
    return name, file.getvalue()


def write(file: Path, numbers: dict[int, int]) -> None:
    """Write a Parquet file of pictures, each from a number and a seed."""
    rows = [
        {"id": f"{number:04d}", "label": name, "year": 2000 + number % 7, "image": data}
        for number, (name, data) in ((number, picture(number, seed)) for number, seed in numbers.items())
    ]
    pq.write_table(pa.Table.from_pylist(rows), file, compression="zstd")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    write(folder / "pictures.parquet", {number: number for number in range(160)})
    # Twelve that are new, and two in place of others.
    write(folder / "more.parquet", {number: number for number in range(160, 172)} | {8: 1008, 21: 1021})
    (folder / "query.png").write_bytes(picture(2, 5000)[1])

"""Images per second of ingestion, against the loop that one writes first.

    python -m benchmarks.training.ingest [--count 1500] [--size 64] [--rounds 5]

The peer is ``np.asarray(Image.open(path).convert("RGB").resize((size, size)))`` in one thread, as in a torchvision
dataset without workers. All arms read the same JPEG files (512 x 384, quality 85) and take turns, round by round, so
that a busy machine slows all of them; a ratio is the median of the rounds' ratios. The second ratio is over processor
time, which others on the machine hardly change: times the number of processors, it is what a quiet machine could do at
best. It leaves out what other processes do.

The files are made from the photos in ``../shared/data/caltech101`` where that folder is there, else from the
Fashion-MNIST sample; both are enlarged, so they are smoother than photographs and quicker to decode for everyone.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from aepipe.pipeline.ingest import ingest
from aepipe.recipe import parse
from aepipe.sources import resolve
from aepipe.sources.images.decode import decode
from aepipe.sources.item import Source
from aepipe.store.artifacts import Store
from benchmarks.common import ROOT, Row, add_output, describe, write

PACKAGES = ("pillow", "numpy", "pyarrow")
PHOTOS = ROOT.parent / "shared" / "data" / "caltech101" / "photos-160px.tar"
SAMPLE = ROOT / "data" / "fashion-mnist.parquet"
CHUNK = 16
PART = 500
"""Items of a part; that of large collections is 20 times as large, so that a part costs less there."""
WIDTH, HEIGHT = 512, 384


def photos(count: int) -> Iterator[Image.Image]:
    """Give real photos, 512 x 384."""
    with tarfile.open(PHOTOS) as archive:
        members = [member for member in archive if member.isreg()]
        for member in members[:: max(1, len(members) // count)][:count]:
            stream = archive.extractfile(member)
            if stream is not None:
                yield Image.open(stream).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def tiles(count: int) -> Iterator[Image.Image]:
    """Give sheets of 4 x 3 articles of the sample, 512 x 384."""
    cells = pq.read_table(SAMPLE, columns=["image"]).column("image").to_pylist()
    side = WIDTH // 4
    for number in range(count):
        sheet = Image.new("RGB", (WIDTH, HEIGHT))
        for place in range(12):
            cell = Image.open(io.BytesIO(cells[(12 * number + place) % len(cells)]["bytes"]))
            sheet.paste(cell.resize((side, side), Image.Resampling.BICUBIC), (place % 4 * side, place // 4 * side))
        yield sheet


def make_files(folder: Path, count: int) -> list[Path]:
    """Write the JPEG files."""
    paths = []
    for number, image in enumerate(photos(count) if PHOTOS.exists() else tiles(count)):
        paths.append(folder / f"{number:05d}.jpg")
        image.save(paths[-1], quality=85)
    return paths


def plain(path: Path, size: int) -> NDArray[np.uint8]:
    """Decode in the plainest way."""
    return np.asarray(Image.open(path).convert("RGB").resize((size, size)))


def ours(paths: list[Path], size: int) -> list[tuple[bytes, NDArray[np.uint8]]]:
    """Read, hash and decode."""
    datas = [path.read_bytes() for path in paths]
    return [(hashlib.sha256(data).digest(), decode(data, key="", size=(size, size))) for data in datas]


def pooled(pool: Executor, paths: list[Path], size: int) -> None:
    """Do ours in a pool."""
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    for _ in pool.map(partial(ours, size=size), chunks):
        pass


def photos_in(folder: Path, size: int, part: int = 0) -> Source:
    """Return a folder of images as a source; ``part`` is the number of items of a part of the rows."""
    table = {
        "name": "benchmark",
        "source": {"kind": "images", "path": str(folder), "part": part},
        "features": {"size": [size, size]},
        "layers": [{"net": "dense"}],
    }
    return resolve(parse(table, folder / "recipe.toml"))


def ingested(folder: Path, size: int, part: int = 0) -> Callable[[], None]:
    """Return ingestion into a new store."""
    source = photos_in(folder, size, part)

    def run() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            ingest(Store(Path(scratch)), source)

    return run


def unchanged(folder: Path, scratch: Path, size: int) -> Callable[[], None]:
    """Return ingestion of a source that the store has already."""
    source, store = photos_in(folder, size), Store(scratch)
    rows = ingest(store, source)

    def run() -> None:
        if ingest(store, source, previous=rows) != rows:
            raise RuntimeError("an unchanged source gave other rows")

    return run


def rounds(arms: dict[str, Callable[[], object]], number: int) -> dict[str, NDArray[np.float64]]:
    """Run the arms in turn; return wall and processor seconds, float64[rounds, 2]."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for _ in range(number):
        for name, arm in arms.items():
            wall, cpu = time.perf_counter(), time.process_time()
            arm()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: np.array(found) for name, found in seconds.items()}


def figures(seconds: dict[str, NDArray[np.float64]], count: int) -> Iterator[dict[str, Any]]:
    """Give speed and ratio of each arm; with processes, this one's CPU time says nothing."""
    peer = next(iter(seconds.values()))
    for name, found in seconds.items():
        (wall, cpu), (speed, lean) = np.median(peer / found, axis=0), count / np.median(found, axis=0)
        own = (None, None) if "processes" in name else (lean, cpu)
        yield {"arm": name, "images_per_s": speed, "ratio": wall, "images_per_cpu_s": own[0], "cpu_ratio": own[1]}


def report(rows: Sequence[Row]) -> Iterator[str]:
    """Give one line for each arm."""
    yield f"{'':36}{'images/s':>10}{'ratio':>8}{'images/CPU s':>15}{'ratio':>8}"
    for row in rows:
        lean = row["images_per_cpu_s"]
        own = f"{'':23}" if lean is None else f"{lean:15.0f}{row['cpu_ratio']:8.2f}"
        yield f"{row['arm']:36}{row['images_per_s']:10.0f}{row['ratio']:8.2f}{own}"


def main() -> None:
    """Make the files, run, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    add_output(parser, "ingest")
    arguments = parser.parse_args()
    size, workers = arguments.size, len(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as scratch,
        ThreadPoolExecutor(workers) as threads,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as processes,
    ):
        paths = make_files(Path(folder), arguments.count)
        pooled(processes, paths[: CHUNK * workers], size)  # start them
        arms: dict[str, Callable[[], object]] = {
            "Image.open, convert, resize": lambda: [plain(path, size) for path in paths],
            "sha256 and decode, 1 thread": lambda: ours(paths, size),
            f"sha256 and decode, {workers} threads": lambda: pooled(threads, paths, size),
            f"sha256 and decode, {workers} processes": lambda: pooled(processes, paths, size),
            "ingest": ingested(Path(folder), size),
            f"ingest, parts of {PART}": ingested(Path(folder), size, PART),
            "ingest, nothing changed": unchanged(Path(folder), Path(scratch), size),
        }
        seconds = rounds(arms, arguments.rounds)
        mean = sum(path.stat().st_size for path in paths) / len(paths)
    print(describe(*PACKAGES), f"load {os.getloadavg()[0]:.1f}", sep=", ")
    what = "photos" if PHOTOS.exists() else "sheets of the sample"
    print(f"{len(paths)} {what}, {WIDTH} x {HEIGHT}, {mean / 1000:.0f} kB on average, to {size} x {size} RGB")
    rows = list(figures(seconds, len(paths)))
    print(*report(rows), sep="\n")
    write(arguments.json, rows, PACKAGES, settings={"pictures": len(paths), "size": size, "kb": round(mean / 1000)})


if __name__ == "__main__":
    main()

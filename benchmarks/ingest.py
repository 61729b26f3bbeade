"""Images per second of ingestion, against the loop that one writes first.

    python -m benchmarks.ingest [--count 1500] [--size 64] [--rounds 5]

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
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

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
from benchmarks.machine import describe

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT.parent / "shared" / "data" / "caltech101" / "photos-160px.tar"
SAMPLE = ROOT / "data" / "fashion-mnist.parquet"
CHUNK = 16
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
    """Decode as one does without further thought."""
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


def photos_in(folder: Path, size: int) -> Source:
    """Return a folder of images as a source."""
    table = {
        "name": "benchmark",
        "source": {"kind": "images", "path": str(folder)},
        "features": {"size": [size, size]},
        "layers": [{"net": "dense"}],
    }
    return resolve(parse(table, folder / "recipe.toml"))


def ingested(folder: Path, size: int) -> Callable[[], None]:
    """Return ingestion onto a new shelf."""
    source = photos_in(folder, size)

    def run() -> None:
        with tempfile.TemporaryDirectory() as shelf:
            ingest(Store(Path(shelf)), source)

    return run


def unchanged(folder: Path, shelf: Path, size: int) -> Callable[[], None]:
    """Return ingestion of what is on the shelf already."""
    source, store = photos_in(folder, size), Store(shelf)
    rows = ingest(store, source)

    def run() -> None:
        if ingest(store, source, previous=rows) != rows:
            raise RuntimeError("an unchanged source gave other rows")

    return run


def rounds(arms: dict[str, Callable[[], object]], number: int) -> dict[str, NDArray[np.float64]]:
    """Run the arms in turn; return seconds on the clock and of the processor, float64[rounds, 2]."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for _ in range(number):
        for name, arm in arms.items():
            wall, cpu = time.perf_counter(), time.process_time()
            arm()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: np.array(found) for name, found in seconds.items()}


def report(seconds: dict[str, NDArray[np.float64]], count: int) -> Iterator[str]:
    """Give one line for each arm."""
    peer = next(iter(seconds.values()))
    yield f"{'':36}{'images/s':>10}{'ratio':>8}{'images/CPU s':>15}{'ratio':>8}"
    for name, found in seconds.items():
        (wall, cpu), (speed, lean) = np.median(peer / found, axis=0), count / np.median(found, axis=0)
        own = f"{'':23}" if "processes" in name else f"{lean:15.0f}{cpu:8.2f}"
        yield f"{name:36}{speed:10.0f}{wall:8.2f}{own}"


def main() -> None:
    """Make the files, run, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    size, workers = arguments.size, len(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as shelf,
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
            "ingest, nothing changed": unchanged(Path(folder), Path(shelf), size),
        }
        seconds = rounds(arms, arguments.rounds)
        mean = sum(path.stat().st_size for path in paths) / len(paths)
    print(describe("pillow", "numpy", "pyarrow"), f"load {os.getloadavg()[0]:.1f}", sep=", ")
    what = "photos" if PHOTOS.exists() else "sheets of the sample"
    print(f"{len(paths)} {what}, {WIDTH} x {HEIGHT}, {mean / 1000:.0f} kB on average, to {size} x {size} RGB")
    for line in report(seconds, len(paths)):
        print(line)


if __name__ == "__main__":
    main()

"""Processor seconds of a cold query of a release whose codes and items are in several segments, as those of parts are.

    python -m benchmarks.scale.segments [--rows 300000] [--segments 1 16 64 256] [--runs 15]

Codes, embeddings and keys are made up; the encoder is real. Releases of the same rows differ only in the segments of
their codes and of their items. ``aepipe query picture.png -k 10`` runs in processes of its own, which take turns; it
opens every segment, and reads the embeddings of 500 hits, which lie in all of them, and the keys and labels of ten.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from aepipe.release.manifest import ReleaseManifest
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from benchmarks.common import Row, add_output, describe, write
from benchmarks.made_up import make_items, make_release

PACKAGES = ("numpy", "onnxruntime", "faiss-cpu")
FILES = ("ids.npy", "codes.npy", "embedding.npy")


def main() -> None:
    """Make the releases, ask each in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--segments", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--runs", type=int, default=15)
    add_output(parser, "segments")
    asked = parser.parse_args()
    print(describe(*PACKAGES), f"load {os.getloadavg()[0]:.1f}", sep=", ", flush=True)
    with TemporaryDirectory(prefix="aepipe-benchmark-") as folder:
        store = Store(Path(folder) / "store")
        make_release(store, asked.rows)
        pixels = np.random.default_rng(1).integers(0, 256, (28, 28), dtype=np.uint8)
        Image.fromarray(pixels).save(Path(folder) / "picture.png")
        names = [cut(store, count) for count in asked.segments]
        found = in_turn([command(Path(folder), name) for name in names], asked.runs)
    rows: list[Row] = []
    for count, seconds in zip(asked.segments, found, strict=True):
        figures = {"cpu_s": median(seconds), "least_s": min(seconds)}
        rows.append({"segments": count, **figures, "of_one": figures["cpu_s"] / median(found[0])})
        print(rows[-1])
    write(asked.json, rows, PACKAGES, settings={"rows": asked.rows, "runs": asked.runs})


def cut(store: Store, count: int) -> str:
    """Put a release into service whose codes and items are in some segments, and return its name."""
    before = registry.current(store, "benchmark")
    assert before is not None
    body = json.loads((store.path(before) / "release.json").read_bytes())
    whole = Ref.parse(body["codes"][0])
    arrays, facts = [np.load(store.path(whole) / name, mmap_mode="r") for name in FILES], store.manifest(whole).facts
    bounds = np.linspace(0, len(arrays[0]), count + 1).astype(int).tolist()
    codes, items = list[Ref](), list[Ref]()
    for number, (start, stop) in enumerate(pairwise(bounds)):
        items.append(make_items(store, np.arange(start, stop)))
        with store.draft("segment") as draft:
            for name, array in zip(FILES, arrays, strict=True):
                np.save(draft.path / name, array[start:stop])
            codes.append(draft.finish({"segment": number, "of": count}, facts | {"rows": stop - start}))
    name = f"in-{count}"
    manifest = replace(ReleaseManifest.parse(body), name=name, codes=tuple(codes), items=tuple(items))
    with store.draft("release") as draft:
        manifest.write(draft.path)
        registry.promote(store, name, draft.finish({"benchmark": name}), why="benchmark")
    return name


def command(folder: Path, name: str) -> Sequence[str]:
    """Return a cold query of a release."""
    words = ("query", f"{folder}/picture.png", "-k", "10", "--name", name, "--home", f"{folder}/store")
    return (sys.executable, "-m", "aepipe", *words)


def in_turn(commands: Sequence[Sequence[str]], runs: int) -> list[list[float]]:
    """Return the processor seconds of each command in each round, after one that does not count."""
    found: list[list[float]] = [[] for _ in commands]
    for number in range(runs + 1):
        for own, words in zip(found, commands, strict=True):
            with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"{' '.join(words)}: status {process.returncode}")
            if number:
                own.append(usage.ru_utime + usage.ru_stime)
    return found


if __name__ == "__main__":
    main()

"""Disk and processor of a collection in parts that keeps all features, and of one that keeps those of a sample.

    python -m benchmarks.scale.kept [--items 100000] [--sample 0.05] [--save]

Made-up JPEG files of 32 x 32 pixels in one archive are read into parts, and encoded by a real encoder, 3,072 to 64 to
64 bits. Where only a sample is kept, all other rows are decoded once when they are read, and again, in one pass with
the encoding, afterwards. Then a second archive brings 1 % more, and both steps are done again, as in a night. The arms
take turns; seconds are those of the processor of this process. Training is left out: both learn from the same rows.
"""

from __future__ import annotations

import argparse
import io
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from aepipe import recipe, sources
from aepipe.engines.local import Local
from aepipe.pipeline.encode import encode_all
from aepipe.pipeline.ingest import ingest
from aepipe.sources import listing
from aepipe.store.artifacts import Ref, Store
from benchmarks.common import Row, add_output, describe, write
from tests.support.encoders import write_encoder

PACKAGES = ("numpy", "pillow", "pyarrow", "onnxruntime")
SIDE, BITS, WIDTH, NEW = 32, 64, 64, 0.01


def main() -> None:
    """Run both arms, and print what each has taken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--sample", type=float, default=0.05, help="share of the rows whose features are kept")
    add_output(parser, "kept")
    asked = parser.parse_args()
    print(describe(*PACKAGES), f"load {os.getloadavg()[0]:.1f}", sep=", ", flush=True)
    listing.FRESH = -1.0  # the archives are new
    with TemporaryDirectory(prefix="aepipe-benchmark-") as folder:
        pictures = Path(folder) / "pictures"
        write_archive(pictures / "a.tar", asked.items, 0)
        arms = {keep: Arm(Path(folder), pictures, keep, asked.sample) for keep in ("all", "sample")}
        rows = [row for arm in arms.values() for row in arm.night("first night")]
        write_archive(pictures / "b.tar", int(asked.items * NEW), 1)
        rows += [row for arm in arms.values() for row in arm.night(f"{NEW:.0%} more")]
        codes = [[arm.store.manifest(one).outputs for one in arm.codes] for arm in arms.values()]
    if codes[0] != codes[1]:
        raise SystemExit("the codes differ")
    write(asked.json, rows, PACKAGES, settings={"items": asked.items, "sample": asked.sample, "side": SIDE})


def write_archive(file: Path, count: int, seed: int) -> None:
    """Write an archive of pictures, each with a colour and some noise of its own."""
    file.parent.mkdir(exist_ok=True)
    drawn = np.random.default_rng(seed)
    with tarfile.open(file, "w") as archive:
        for number in range(count):
            pixels = drawn.integers(0, 200, (8, 8, 3)).astype(np.uint8)
            data = io.BytesIO()
            Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(data, "jpeg")
            member = tarfile.TarInfo(f"{seed}/{number:07d}.jpg")
            member.size = data.tell()
            data.seek(0)
            archive.addfile(member, data)


class Arm:
    """One way to keep features: its store, and the rows and codes of the night before."""

    def __init__(self, folder: Path, pictures: Path, keep: str, share: float) -> None:
        self.store, self._keep = Store(folder / keep), keep
        table: dict[str, Any] = {
            "name": "kept",
            "source": {"kind": "images", "path": str(pictures), "part": 10_000, "keep": keep},
            "features": {"size": [SIDE, SIDE]},
            "layers": [{"net": "dense"}],
            "views": {"sample": share},
        }
        self._recipe = recipe.parse(table, folder / "kept.toml")
        self._rows: Ref | None = None
        self.codes: list[Ref] = []
        features = sources.resolve(self._recipe).features()
        with self.store.draft("model") as draft:
            write_encoder(draft.path, shape=(SIDE, SIDE, 3), hidden=(WIDTH,), n_bits=BITS, features=features)
            self._model = draft.finish({"benchmark": "kept"})

    def night(self, name: str) -> Iterator[Row]:
        """Read and encode the source, and give the figures of each step."""
        source, before = sources.resolve(self._recipe), self._rows
        bytes_before = self._bytes()
        rows, read = timed(lambda: ingest(self.store, source, previous=before, engine=Local(1)))
        known, given = self.codes, (source, self._recipe)
        self.codes, encode = timed(
            lambda: encode_all(self.store, self._model, rows, known=known, before=before, engine=Local(1), source=given)
        )
        self._rows = rows
        sizes = {kind: self._bytes()[kind] - bytes_before[kind] for kind in bytes_before}
        about = {"kept": self._keep, "night": name, "parts": len(self.store.parts(rows))}
        figures = {"read_s": read, "encode_s": encode, **{f"{kind}_mb": size / 1e6 for kind, size in sizes.items()}}
        print(about | figures, flush=True)
        yield about | figures

    def _bytes(self) -> dict[str, int]:
        return {kind: sum(map(self.store.size, self.store.refs(kind))) for kind in ("listing", "rows", "segment")}


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function returns, and the seconds of the processor that it took."""
    began = time.process_time()
    return call(), time.process_time() - began


if __name__ == "__main__":
    main()

"""Small files that are made to fill the memory, or to take for ever, are refused before that work begins.

``python -m benchmarks.operations.bombs`` measures more of them, one process for each.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.operations.bomb_files import BOMBS

MOST_MB, ADDRESSES = 1200, 4 << 30
"""Peak of all of these together above that of the imports, helpers included; and the limit of the process, which a bomb
would break."""
TOO_LARGE, GROWS = "more than 200 megapixels", "unpacks to more than is plausible"
REFUSED = {
    "huge.png": TOO_LARGE,
    "allowed.png": "which is not plausible; a max_megapixels above",
    "deep.png": "which is not plausible",
    "comment.png": "damaged",
    "comments.png": "damaged",
    "huge.tiff": TOO_LARGE,
    "rgba.tiff": r"made to take more than 1\.8 GB of memory",
    "strips.tiff": "which is not plausible",
    "floats.tiff": "which is not plausible",
    "huge.gif": TOO_LARGE,
    "huge.jpg": TOO_LARGE,
    "progressive.jpg": "which is not plausible",
    "huge.ppm": TOO_LARGE,
    "huge.tga": TOO_LARGE,
    "huge.pcx": TOO_LARGE,
    "huge.sgi": TOO_LARGE,
    "huge.dds": TOO_LARGE,
    "huge.ico": "not plausible|damaged|more than",
    "huge.jp2": f"{TOO_LARGE}|damaged|truncated",
    "huge.avif": f"{TOO_LARGE}|damaged|not plausible",
    "huge.heic": f"{TOO_LARGE}|damaged|not plausible",
    "ratio.zip": "grows more than 1,000 times",
    "nested.zip": "not a picture",
    "line.csv.gz": GROWS,
    "quote.csv.gz": GROWS,
    "columns.csv": "500,000 columns, and 100,000 are allowed",
    "nested.jsonl": "",
    "digits.jsonl": "",
    "runs.parquet": r"134,217,728 rows in .* MB are not plausible",
    "cell.parquet": f"a row group {GROWS}",
    "packed.arrow": f"a batch {GROWS}",
    "far.xlsx": "its reader crashed or ran out of memory",
    "strings.xlsx": GROWS,
    "repeated.ods": "not a readable workbook",
    "blobs.sqlite": "string or blob too big",
    "shape.npy": "not a readable array",
    "stream.pdf": GROWS,
    "nested.html": "",
    "nested.eml": "",
    "ratio.tar.gz": GROWS,
    "array.jsonl.gz": GROWS,
    "zeros.npz": GROWS,
    "train-images-idx3-ubyte.gz": "at most 8192 a side",
    "frames.gif": "more than 34,360 megapixels in all its frames",
    "header.wav": "not a recording|nothing recorded|cut off|damaged",
}
"""What is said of each, as an expression; empty where its items are read, or refused one by one."""


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float | str]]:
    """Return what is said of all of them in one process, and its peak after each."""
    folder = tmp_path_factory.mktemp("bombs")
    names = [name for name in REFUSED if not BOMBS[name].needs or find_spec(BOMBS[name].needs)]
    for name in names:
        (folder / name).mkdir()
        BOMBS[name].write(folder / name / name)
    order = [sys.executable, "-m", "benchmarks.operations.bombs", "--child", str(folder), str(ADDRESSES), *names]
    done = subprocess.run(order, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:]
    return {one["file"]: one for one in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bomb_is_refused_by_its_head(name: str, read: dict[str, dict[str, float | str]]) -> None:
    if name not in read:
        pytest.skip(f"needs {BOMBS[name].needs}")
    assert re.search(REFUSED[name], str(read[name]["said"])), read[name]["said"]


def test_together_they_take_little_memory(read: dict[str, dict[str, float | str]]) -> None:
    assert max(float(one["peak_mb"]) for one in read.values()) < MOST_MB

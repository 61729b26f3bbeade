"""Peak of memory and seconds over small files that are made to take much of both.

    python -m benchmarks.operations.bombs [NAME ...] [--limit-gb 6] [--seconds 400]

Each file of :mod:`benchmarks.operations.bomb_files` is read as a run reads it, in a process of its own with a limit on
memory. The peak is that of the process above its imports, or of the one that it has started; the seconds are those of
the processor, for both. What was said of the file is printed next to it: a reason, or the number of items that were
read.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import Row, add_output, describe, write
from benchmarks.operations.bomb_files import BOMBS, Bomb

PACKAGES = ("numpy", "pillow", "pyarrow", "kreuzberg", "python-calamine", "soundfile", "av", "duckdb")
ITEMS = 2000
"""Items that are read of one file; a file may have any number."""
SECONDS = 400.0
"""More than any limit of aepipe allows for a document on a machine that has other work, too."""


def main() -> None:
    """Measure the named bombs, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="files, or parts of their names")
    parser.add_argument("--limit-gb", type=float, default=6, help="of the address space of the process")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which the process is ended")
    add_output(parser, "bombs")
    asked = parser.parse_args()
    chosen = [bomb for name, bomb in BOMBS.items() if not asked.names or any(one in name for one in asked.names)]
    print(describe(*PACKAGES))
    print(f"{'file':26} {'size':>9} {'peak':>9} {'time':>8}  said")
    rows = list[Row]()
    for bomb in chosen:
        if bomb.needs and find_spec(bomb.needs) is None:
            continue
        found = measured(bomb, limit=int(asked.limit_gb * (1 << 30)), seconds=asked.seconds)
        size, peak, took = found["size_mb"], found["peak_mb"] or 0, found["seconds"] or 0
        print(f"{bomb.name:26} {size:6.2f} MB {peak:6,.0f} MB {took:6.1f} s  {found['said']}", flush=True)
        rows.append({"file": bomb.name, **found})
    write(asked.json, rows if not asked.names else among(asked.json, rows), PACKAGES)


def among(file: Path | None, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of an earlier measurement with these in place of their own, in the order of all bombs."""
    kept = json.loads(file.read_text(encoding="utf-8"))["rows"] if file is not None and file.exists() else []
    found = {row["file"]: row for row in [*kept, *rows]}
    return [found[name] for name in BOMBS if name in found]


def measured(bomb: Bomb, *, limit: int, seconds: float) -> dict[str, Any]:
    """Return the size of a bomb, the peak of memory and the seconds of reading it, and what was said of it.

    Args:
        bomb: written to a temporary folder.
        limit: bytes of address space that the process may have.
        seconds: after which it is ended.
    """
    with TemporaryDirectory(prefix="aepipe-bomb-") as folder:
        path = Path(folder, bomb.name, bomb.name)
        path.parent.mkdir()
        bomb.write(path)
        size = path.stat().st_size
        order = [sys.executable, "-m", "benchmarks.operations.bombs", "--child", folder, str(limit), bomb.name]
        try:
            done = subprocess.run(order, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return {"size_mb": size / 1e6, "peak_mb": None, "seconds": seconds, "said": "NOT ENDED"}
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [""])[-1]
        found = {"peak_mb": None, "seconds": None, "said": f"STATUS {done.returncode} {last[:200]}"}
    return {**found, "size_mb": size / 1e6}


def child(folder: str, limit: int, names: Sequence[str]) -> None:
    """Read bombs in this process; print what each took, a line of JSON for each."""
    from aepipe import sources

    os.environ["OMP_NUM_THREADS"] = "1"
    sources.kinds()  # so that their imports are not counted
    before = _peak()
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name in names:
        began = _seconds()
        said = _read(BOMBS[name], Path(folder, name))
        peak = max(_peak() - before, _peak(resource.RUSAGE_CHILDREN))
        took = _seconds() - began
        print(json.dumps({"file": name, "peak_mb": peak, "seconds": took, "said": said}), flush=True)


def _read(bomb: Bomb, folder: Path) -> str:
    """Read the items of a bomb; return what was said."""
    from aepipe import recipe, sources
    from aepipe.errors import AepipeError
    from aepipe.sources.loader import read_all

    options = {"kind": bomb.kind, "path": str(folder), "workers": 1, "max_bad_share": 1.0, **bomb.options}
    table = {"name": "bomb", "source": options, "features": dict(bomb.features), "layers": [{"net": "dense"}]}
    reasons, count = set[str](), 0
    try:
        how = recipe.parse(table, folder / "bomb.toml")
        for outcome in islice(read_all(sources.resolve(how).fitted(None)), ITEMS):
            count += outcome.reason is None
            reasons |= {outcome.reason} if outcome.reason else set()
    except AepipeError as error:
        reasons.add(str(error).removeprefix(str(folder)).lstrip("/: "))
    return "; ".join([*([f"{count:,} items"] if count else []), *sorted(reasons)])[:200]


def _seconds() -> float:
    """Return the seconds of processors that this process and those that it has started have taken."""
    took = sum(os.times()[:4])
    for file in Path("/proc/self/task").glob("*/children"):
        for child in file.read_text().split():
            with suppress(OSError):  # it has ended meanwhile
                fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                took += sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return took


def _peak(who: int = resource.RUSAGE_SELF) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
    else:
        main()

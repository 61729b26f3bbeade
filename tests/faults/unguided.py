"""Fuzzing without a guide: sound files, changed by chance; no input costs more than its reading.

    python -m tests.faults.unguided [TARGET...] --seconds 20

:mod:`tests.faults.guided` finds more with the same inputs, and takes a tenth of a second to a second for each of a
decoder's. Here a child takes each target for some seconds of the processor, and one line is printed for it. An input
that is neither read nor refused by one of our errors in one line is kept in the folder for temporary files, and named.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from aepipe import sources
from aepipe.errors import AepipeError
from tests.faults import test_fuzz, trials
from tests.faults.targets import TARGETS, corpus

HOWS = ("bit", "byte", "word", "cut", "drop", "twice")
MEMORY = 8 << 30
"""Bytes of addresses that a child may have."""
MOST = 20
"""Faults after which a target is left."""


def changed(data: bytes, draw: random.Random) -> bytes:
    """Return some bytes after up to six changes."""
    changes: list[tuple[str, float, Any]] = []
    for _ in range(draw.randint(1, 6)):
        how = draw.choice(HOWS)
        what = {"bit": draw.randrange(8), "byte": draw.randrange(256), "word": draw.choice(test_fuzz.WORDS)}
        changes.append((how, draw.random(), what.get(how, draw.randint(1, 64))))
    return test_fuzz.mangled(data, changes)


def tried(name: str, seconds: float, seed: int) -> list[Any]:
    """Try a target for some seconds of the processor; return the number of inputs, and what is wrong."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    draw, count, wrong = random.Random(f"{name} {seed}"), 0, list[str]()
    last = Path(tempfile.gettempdir(), f"aepipe-{name}-{seed}")
    with tempfile.TemporaryDirectory(prefix="aepipe-fuzz-") as folder:
        read, seeds = TARGETS[name](Path(folder))
        begin = [*seeds, *corpus(name)]
        until = time.process_time() + seconds
        while time.process_time() < until and len(wrong) < MOST:
            data = changed(draw.choice(begin), draw)
            last.write_bytes(data)  # it is there if the process dies
            try:
                read(data)
            except AepipeError as error:
                test_fuzz.check(error)
            except Exception:
                kept = last.with_name(f"{last.name}-{count}")
                kept.write_bytes(data)
                wrong.append(f"{kept}: {traceback.format_exc()[-1500:]}")
            count += 1
    last.unlink()
    return [count, wrong]


def main(names: Sequence[str], seconds: float, seed: int) -> int:
    """Try targets; return how many inputs were faults."""
    total, faults = 0, 0
    sources.kinds()  # imported once, and not by each child
    for name in names:
        found = trials.in_child(partial(tried, name, seconds, seed))
        count, wrong = found if len(found) == 2 else (0, found)
        total, faults = total + count, faults + len(wrong)
        said = "nothing found" if not wrong else "FAULTS\n" + "\n".join(wrong)
        print(f"{name:24} {count:9,} inputs: {said}", flush=True)  # noqa: T201  the output
    print(f"{total:,} inputs in all, {faults} faults")  # noqa: T201
    return faults


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all by default")
    parser.add_argument("--seconds", type=float, default=20, help="of the processor, for each target")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    sys.exit(bool(main(asked.targets or [*TARGETS], asked.seconds, asked.seed)))

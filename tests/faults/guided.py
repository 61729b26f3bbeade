"""Fuzzing guided by the lines of aepipe that an input reaches.

``make fuzz`` tries all targets; this tries one:

    python -m tests.faults.guided a.png --inputs 60000

Inputs start as the real files of :mod:`tests.faults.test_fuzz`, and libFuzzer changes them by way of atheris. An input
that is neither read nor refused by one of our errors in one line ends the run with its trace, and its path is printed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["aepipe"]):
    from aepipe.errors import AepipeError
    from tests.faults import test_fuzz
    from tests.faults.targets import FAST, TARGETS, corpus

MOST = 512
"""Bytes that an input has at most, or twice as many as those to begin with: longer ones say no more."""


def fuzz(name: str, inputs: int, seconds: int, seed: int) -> None:
    """Try one target, so many inputs or so long; the process ends in here."""
    with tempfile.TemporaryDirectory(prefix="aepipe-fuzz-") as text:
        folder = Path(text)
        with atheris.instrument_imports(include=["aepipe"]):
            read, seeds = TARGETS[name](folder)
            read(seeds[0])  # late imports are instrumented too
        begin = folder / "corpus"
        begin.mkdir()
        for number, one in enumerate([*seeds, *corpus(name)]):
            (begin / str(number)).write_bytes(one)

        def tried(data: bytes) -> None:
            try:
                read(data)
            except AepipeError as error:
                test_fuzz.check(error)

        most = max(MOST, 2 * max(map(len, seeds)))
        limits = [f"-atheris_runs={inputs}", f"-max_len={most}", f"-seed={seed}", "-timeout=60", "-rss_limit_mb=4096"]
        limits += [f"-max_total_time={seconds}", "-print_final_stats=1"] if seconds else ["-print_final_stats=1"]
        limits += ["-verbosity=0", f"-artifact_prefix={tempfile.gettempdir()}/aepipe-{name}-"]
        atheris.Setup([sys.argv[0], *limits, str(begin)], tried)
        atheris.Fuzz()


def main() -> None:
    """Try one target in this process, or each of all in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=["all", "fast", *TARGETS])
    parser.add_argument("--inputs", type=int, default=20_000, help="for each target")
    parser.add_argument("--seconds", type=int, default=0, help="for each target, at most; 0 is without a limit")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if asked.target in TARGETS:
        fuzz(asked.target, asked.inputs, asked.seconds, asked.seed)
    failed, total = [], 0
    for name in FAST if asked.target == "fast" else TARGETS:
        began = time.monotonic()
        order = [name, *(f"--{one}={getattr(asked, one)}" for one in ("inputs", "seconds", "seed"))]
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.guided", *order], check=False, stderr=subprocess.PIPE, text=True
        )
        counts = re.findall(r"(?:^Done |number_of_executed_units: *)(\d+)", done.stderr, re.MULTILINE)
        count = int(counts[-1]) if counts else 0
        total += count
        said = "nothing found" if not done.returncode else f"FAILED\n{done.stderr[-3000:]}"
        print(f"{name:24} {count:11,} inputs in {time.monotonic() - began:,.0f} s: {said}", flush=True)
        failed += [name] if done.returncode else []
    print(f"{total:,} inputs in all")
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()

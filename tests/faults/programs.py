"""Programs of this folder, which try thousands of things: their command line, their results, and how tests start them.

A program prints a line of JSON for each thing it tries, or appends it to a file, and leaves out what stands there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).parents[2]


def tried(program: str, folder: Path, *words: str, **variables: str) -> list[dict[str, Any]]:
    """Run a program in an empty folder, and return its lines; each has ``wrong``, what is not as it should be."""
    command = [sys.executable, "-m", f"tests.faults.{program}", str(folder), *words]
    given = environment() | variables
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, check=False)
    return lines_of(done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace"))


def environment() -> dict[str, str]:
    """Return the variables of programs: those of this process, but for settings of Prefect and of aepipe."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "AEPIPE"))}
    return inherited | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def lines_of(status: int, out: str, err: str) -> list[dict[str, Any]]:
    """Return the lines of a program that has ended well."""
    assert status == 0, err[-2000:]
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def asked(about: str | None) -> argparse.Namespace:
    """Read the command line of a program: ``folder``, ``verbs``, ``every`` and ``results``."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty folder; one in memory is fastest")
    parser.add_argument("verbs", nargs="*", help="all by default")
    parser.add_argument("--every", type=int, default=1, help="try one of so many")
    parser.add_argument("--results", type=Path, help="append to this file, and leave out what stands there")
    return parser.parse_intermixed_args()


@contextmanager
def results(file: Path | None, *keys: str) -> Iterator[tuple[TextIO, set[tuple[Any, ...]]]]:
    """Give what results are written to, and those that are there: the values of some keys of each."""
    if file is None:
        yield sys.stdout, set()
        return
    with file.open("a+", encoding="utf-8") as stream:
        stream.seek(0)
        there = [json.loads(line) for line in stream]
        yield stream, {tuple(one[key] for key in keys) for one in there}


def wrongs(found: list[dict[str, Any]]) -> list[str]:
    """Return a line for each trial after which something is wrong."""
    return [json.dumps(one) for one in found if one["wrong"]]

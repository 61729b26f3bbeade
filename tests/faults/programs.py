"""Start the programs of this folder, which try thousands of things, and read what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def tried(program: str, folder: Path, *words: str, **environment: str) -> list[dict[str, Any]]:
    """Run a program in an empty folder, and return its lines; each has ``wrong``, what is not as it should be."""
    command = [sys.executable, "-m", f"tests.faults.{program}", str(folder), *words]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "AEPIPE"))}
    given = {**inherited, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]


def wrongs(found: list[dict[str, Any]]) -> list[str]:
    """Return a line for each trial after which something is wrong."""
    return [json.dumps(one) for one in found if one["wrong"]]

"""Programs in processes and a network of their own, for what listens on all addresses."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALONE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
INSIDE = ("sh", "-c", 'ip link set lo up && exec "$0" "$@"')


def run_alone(*words: str, timeout: float = 600, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that sees only itself; all that it has started ends with it.

    Args:
        words: of the command.
        timeout: seconds.
        environment: variables besides those of this process.

    Raises:
        FileNotFoundError: util-linux is not installed.
    """
    given = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        [*ALONE, *INSIDE, *words], cwd=ROOT, capture_output=True, text=True, timeout=timeout, env=given, check=False
    )


def run_with_ray(script: Path, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script that starts a Ray cluster; the test is skipped where a network of its own is refused."""
    try:
        tried = run_alone("true")
    except FileNotFoundError:
        pytest.skip("needs unshare of util-linux")
    if tried.returncode:
        pytest.skip(f"needs a network of its own, which is refused: {tried.stderr.strip()}")
    # Its sockets have paths of up to 107 letters, and a folder of pytest has half of them.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as short:
        # A token of its own: else Ray takes one that the user's home happens to have, or none.
        own = {"RAY_TMPDIR": short, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        return run_alone(sys.executable, str(script), *arguments, timeout=240, **environment, **own)

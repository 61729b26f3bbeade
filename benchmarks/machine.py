"""What a benchmark says about where it ran."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path


def describe(*packages: str) -> str:
    """Return date, processor, cores, Python and the versions of some packages, as one line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    cores = os.cpu_count()
    return f"{datetime.now(UTC):%Y-%m-%d}, {cpu}, {cores} cores, Python {platform.python_version()}, {versions}"

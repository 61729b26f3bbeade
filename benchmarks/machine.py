"""What a benchmark says about where it ran."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path


@contextmanager
def meanwhile(call: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call something in a thread, once at least and again after so many seconds, as long as the block runs."""
    done = threading.Event()

    def run() -> None:
        call()
        while not done.wait(seconds):
            call()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


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

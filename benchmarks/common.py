"""Shared parts of the benchmarks: machine and versions, results as JSON, Fashion-MNIST.

Only NumPy is imported here: the benchmark of other systems runs in environments that have nothing else of aepipe.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SCHEMA = 1
FIELDS = {
    "schema": int,
    "name": str,
    "command": (str, type(None)),
    "date": str,
    "commit": (str, type(None)),
    "machine": dict,
    "versions": dict,
    "settings": dict,
    "rows": list,
}
"""Fields of a result and their types; command and commit are null where nobody noted them."""
MACHINE = {"cpu", "cores", "memory_gib", "gpu", "load", "note"}
"""What a result may say of a machine; null where nobody noted it."""

Row = Mapping[str, Any]


@contextmanager
def meanwhile(call: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call a function in a thread, at least once and then every few seconds during the block."""
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
    """Return date, processor, cores, Python and the versions of packages as one line."""
    here = machine()
    named = ", ".join(f"{name} {version}" for name, version in versions(*packages).items() if name != "python")
    python = platform.python_version()
    return f"{datetime.now(UTC):%Y-%m-%d}, {here['cpu']}, {here['cores']} cores, Python {python}, {named}"


def machine() -> dict[str, Any]:
    """Return processor, cores, memory in GiB, GPU and load of this machine."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = round(os.getloadavg()[0], 1)
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory), "gpu": _gpu(), "load": load}


def _gpu() -> str | None:
    # Only a benchmark that has imported torch can use a GPU, and an import here would slow all others.
    torch: Any = sys.modules.get("torch")
    return str(torch.cuda.get_device_name()) if torch and torch.cuda.is_available() else None


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of packages."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def commit() -> str | None:
    """Return the commit of the clone, marked if files differ from it; None outside a clone."""
    command = ("git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None


def add_output(parser: argparse.ArgumentParser, name: str) -> None:
    """Add ``--json FILE`` and ``--save [NAME]``, which name the file that :func:`write` writes."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON, too")
    told = f"write them to benchmarks/results/NAME.json, from which the pages are made; {name} without NAME"
    parser.add_argument("--save", dest="json", type=_saved, nargs="?", const=_saved(name), metavar="NAME", help=told)


def _saved(name: str) -> Path:
    return RESULTS / f"{name}.json"


def write(
    file: Path | None, rows: Sequence[Row], packages: Sequence[str], *, settings: Row | None = None, load: bool = True
) -> None:
    """Write one measurement as JSON.

    Args:
        file: where to; None writes nothing. Its stem is the name of the measurement.
        rows: one mapping for each line of its table, with numbers as they were measured.
        packages: those whose versions matter.
        settings: what holds for all rows.
        load: whether the load of the machine is said.
    """
    if file is None:
        return
    here = machine()
    result = {
        "schema": SCHEMA,
        "name": file.stem,
        "command": command_line(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "machine": here if load else here | {"load": None},
        "versions": versions(*packages),
        "settings": dict(settings or {}),
        "rows": [dict(row) for row in rows],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(as_json(check(result)), encoding="utf-8")


def as_json(result: Row) -> str:
    """Return a measurement as JSON with one line for each row, so that a diff shows what changed."""
    rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False, default=_plain) for row in result["rows"])
    head = json.dumps({**result, "rows": []}, indent=1, ensure_ascii=False, default=_plain)
    return head.removesuffix("[]\n}") + f"[\n{rows}\n ]\n}}\n"


def read(file: Path) -> dict[str, Any]:
    """Return a measurement that :func:`write` wrote.

    Raises:
        ValueError: It is none; the message names the file and the field.
    """
    try:
        return check(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def check(result: dict[str, Any]) -> dict[str, Any]:
    """Return a measurement whose fields are complete and of the right type.

    Raises:
        ValueError: They are not.
    """
    if set(result) != set(FIELDS):
        raise ValueError(f"fields missing or unknown: {', '.join(sorted(set(result) ^ set(FIELDS)))}")
    for name, kind in FIELDS.items():
        if not isinstance(result[name], kind):  # type: ignore[arg-type]
            raise ValueError(f"{name} is {result[name]!r}")
    datetime.strptime(result["date"], "%Y-%m-%d")
    if result["schema"] != SCHEMA or not result["rows"] or not all(isinstance(row, dict) for row in result["rows"]):
        raise ValueError(f"schema must be {SCHEMA}, and rows a list of one mapping at least")
    if unknown := set(result["machine"]) - MACHINE:
        raise ValueError(f"unknown of a machine: {', '.join(sorted(unknown))}")
    return result


def command_line() -> str:
    """Return the command of this process, without folders of this machine."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).name
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    return shlex.join(["python", "-m", program, *words])


def _plain(value: Any) -> Any:
    return value.item()


def fashion_mnist(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the training and test images of a folder of gzipped IDX files, uint8[N, 28, 28, 1]."""
    parts = []
    for name in ("train", "t10k"):
        raw = gzip.decompress((folder / f"{name}-images-idx3-ubyte.gz").read_bytes())
        parts.append(np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28, 1))
    return parts[0], parts[1]

"""Share a training out over a cluster; :mod:`aepipe.pipeline.launch` starts it.

    python -m aepipe.pipeline.cluster ORDER STORE

The engine that the environment names runs :func:`aepipe.pipeline.worker.seated` in several processes. What the first of
them tells is written as torchrun's would write it, to the standard output; who they are goes to the standard error.
This is a process of its own, as drivers of clusters answer Ctrl-C, fork, and write to the terminal as they like.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from aepipe import engines, errors
from aepipe.engines import Gathers, Together
from aepipe.errors import AepipeError
from aepipe.pipeline import worker
from aepipe.pipeline.launch import Launch


def share_out(order: Mapping[str, Any], store: str) -> None:
    """Do the stage of an order on the machines of the cluster.

    Args:
        order: written by :mod:`aepipe.pipeline.launch`.
        store: its address.
    """
    launch, engine = Launch(**order["launch"]), cast(Gathers, engines.resolve())
    gpus = float(order["recipe"]["compute"]["device"].startswith("cuda"))
    work = Together(worker.seated, {"order": dict(order), "store": store}, gpus, launch.limit)
    try:
        engine.together(work, launch.processes, _heard)
    except AepipeError as error:
        _heard(worker.line("error", **errors.told(error)))


def _heard(line: str) -> None:
    """Write a line; where nobody reads any more, end what was started for the reader."""
    told = json.loads(line)
    if told["what"] == "seat":
        sys.stderr.write(f"{told['text']}\n")
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        signal.raise_signal(signal.SIGTERM)


def _interrupt(_signal: int, _frame: object) -> None:
    """Answer SIGTERM as Ctrl-C, by which an engine frees what it has taken."""
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    file, address = sys.argv[1:]
    share_out(json.loads(Path(file).read_text(encoding="utf-8")), address)

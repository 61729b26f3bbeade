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

from aepipe import engines
from aepipe.engines import Gathers
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
    arguments = {"order": dict(order), "store": store}
    try:
        for line in engine.together(worker.seated, arguments, launch.processes, gpus=gpus, silent=launch.limit):
            told = json.loads(line)
            if told["what"] == "seat":
                sys.stderr.write(f"{told['text']}\n")
            _say(line)
    except AepipeError as error:
        _say(worker.line("error", kind=type(error).__name__, text=str(error)))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _end(_signal: int, _frame: object) -> None:
    sys.exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    file, address = sys.argv[1:]
    share_out(json.loads(Path(file).read_text(encoding="utf-8")), address)

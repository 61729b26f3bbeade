"""One of the processes that share out a training; torchrun starts it.

    python -m aepipe.pipeline.worker ORDER STORE FOLDER

:mod:`aepipe.pipeline.launch` has written the order. The first one tells its progress, and how it ended, as JSON lines
on its standard output. An error that a user can mend ends all processes as if they were done: to start them again would
not mend it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aepipe import errors
from aepipe import recipe as recipes
from aepipe.errors import AepipeError, StoreError, TrainingError
from aepipe.learn.world import device_of, joined
from aepipe.log import Progress
from aepipe.pipeline.finetune import finetune
from aepipe.pipeline.launch import Launch
from aepipe.pipeline.pretrain import pretrain
from aepipe.pipeline.resolve import ResolvedStack, resolve_stack
from aepipe.store.artifacts import Ref, Store


class Telling(logging.Handler):
    """Writes each step of a stage as a JSON line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; where nobody reads any more, end what was started for the reader."""
        found = Progress.of(record)
        if found is None:
            return
        try:
            tell("step", stage=found.stage, done=found.done, total=found.total, note=found.note)
        except BrokenPipeError:
            os.kill(os.getppid(), signal.SIGTERM)


def tell(what: str, **about: object) -> None:
    """Write a JSON line."""
    sys.stdout.write(json.dumps({"what": what, **about}) + "\n")
    sys.stdout.flush()


def work(order: Mapping[str, Any], store: Store, folder: Path) -> int:
    """Take part in a training; return the exit status.

    Args:
        order: written by :mod:`aepipe.pipeline.launch`.
        store: where artifacts are read and written.
        folder: on this machine, for the files of this run.
    """
    first = os.environ["RANK"] == "0"
    if first:
        progress = logging.getLogger("aepipe.progress")
        progress.setLevel(logging.INFO)
        progress.addHandler(Telling())
        progress.propagate = False
    try:
        train(order, store, folder)
    except AepipeError as error:
        if first:
            tell("error", **errors.told(error))
        elif not isinstance(error, TrainingError):  # all have that one
            raise
    return 0


def train(order: Mapping[str, Any], store: Store, folder: Path) -> Ref:
    """Do the stage of an order.

    Raises:
        StoreError: this machine would make something else, since it has another version or another device.
    """
    launch, ref = Launch(**order["launch"]), Ref.parse(order["ref"])
    stack = resolve_stack(recipes.parse(order["recipe"], Path(order["file"])))
    device = device_of(stack.compute.device)
    meet = None if launch.meet else folder / f"meet-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    with joined(device, limit=launch.limit, meet=meet) as world:
        sys.stderr.write(f"process {world.rank + 1} of {world.size}, pid {os.getpid()}\n")
        if world.tell(store.has(ref)):  # as the first sees it: others may see it late
            return ref
        stack = replace(stack, compute=replace(stack.compute, device=device, world=world))
        made = STAGES[order["stage"]](store, stack, order["given"], launch.save_every)
    if made != ref:
        raise StoreError(f"{made.short} was made in place of {order['ref']}: machines need one version of aepipe")
    return made


def _pretrain(store: Store, stack: ResolvedStack, given: Mapping[str, Any], save_every: float) -> Ref:
    below = [Ref.parse(one) for one in given["below"]]
    return pretrain(store, stack, Ref.parse(given["views"]), below, save_every=save_every)


def _finetune(store: Store, stack: ResolvedStack, given: Mapping[str, Any], save_every: float) -> Ref:
    layers = [Ref.parse(one) for one in given["layers"]]
    after = Ref.parse(given["after"]) if given["after"] else None
    views, warm = Ref.parse(given["views"]), given["warm"]
    return finetune(store, stack, views, layers, after=after, warm=warm, save_every=save_every)


STAGES = {"pretrain": _pretrain, "finetune": _finetune}


if __name__ == "__main__":
    file, address, folder = sys.argv[1:]
    sys.exit(work(json.loads(Path(file).read_text(encoding="utf-8")), Store(address), Path(folder)))

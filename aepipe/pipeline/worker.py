"""One of the processes that share out a training; torchrun or a cluster starts it.

    python -m aepipe.pipeline.worker ORDER STORE FOLDER

This is how torchrun starts it; a cluster calls :func:`seated`. :mod:`aepipe.pipeline.launch` has written the order. The
first one tells its progress, and how it ended, as JSON lines. An error that a user can mend ends all processes as if
they were done: to start them again would not mend it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aepipe import errors
from aepipe import recipe as recipes
from aepipe.engines import Seat
from aepipe.errors import AepipeError, StoreError, TrainingError
from aepipe.learn.world import device_of, joined
from aepipe.log import Progress
from aepipe.pipeline.finetune import finetune
from aepipe.pipeline.launch import Launch, interface_of
from aepipe.pipeline.pretrain import pretrain
from aepipe.pipeline.resolve import ResolvedStack
from aepipe.store.artifacts import Ref, Store

Tell = Callable[[str], None]
"""Takes a JSON line about what a training does, or how it ended."""


class Telling(logging.Handler):
    """Tells each step of a stage."""

    def __init__(self, to: Tell) -> None:
        super().__init__()
        self._to = to

    def emit(self, record: logging.LogRecord) -> None:
        """Tell what a record says."""
        found = Progress.of(record)
        if found is not None:
            self._to(line("step", stage=found.stage, done=found.done, total=found.total, note=found.note))


def line(what: str, **about: object) -> str:
    """Return a JSON line."""
    return json.dumps({"what": what, **about})


def write(text: str) -> None:
    """Write a line; where nobody reads any more, end what was started for the reader."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.kill(os.getppid(), signal.SIGTERM)


def seated(seat: Seat, tell: Tell, *, order: Mapping[str, Any], store: str) -> None:
    """Take part in a training as one of the processes of a cluster.

    Args:
        seat: among them.
        tell: takes lines, from any machine.
        order: written by :mod:`aepipe.pipeline.launch`.
        store: its address.
    """
    host, _, port = seat.meet.rpartition(":")
    os.environ |= {"RANK": str(seat.rank), "WORLD_SIZE": str(seat.size), "MASTER_ADDR": host, "MASTER_PORT": port}
    # A cluster shows each process the devices that are its own.
    os.environ |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    if interface := interface_of(seat.here):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    tell(line("seat", text=f"process {seat.rank + 1} of {seat.size}, pid {os.getpid()}, on {seat.here}"))
    work(order, Store(store), None, tell)


def work(order: Mapping[str, Any], store: Store, meet: Path | None, tell: Tell) -> None:
    """Take part in a training.

    Args:
        order: written by :mod:`aepipe.pipeline.launch`.
        store: where artifacts are read and written.
        meet: a file by which the processes of one machine find each other; None where they have an address.
        tell: takes what the first process does.
    """
    first = os.environ["RANK"] == "0"
    if first:
        progress = logging.getLogger("aepipe.progress")
        progress.setLevel(logging.INFO)
        progress.addHandler(Telling(tell))
        progress.propagate = False
    try:
        train(order, store, meet)
    except AepipeError as error:
        if first:
            tell(line("error", **errors.told(error)))
        elif not isinstance(error, TrainingError):  # all have that one
            raise


def train(order: Mapping[str, Any], store: Store, meet: Path | None) -> Ref:
    """Do the stage of an order.

    Raises:
        StoreError: this machine would make something else, since it has another version or another device.
    """
    launch, ref = Launch(**order["launch"]), Ref.parse(order["ref"])
    stack = ResolvedStack(recipe=recipes.parse(order["recipe"], Path(order["file"])))
    device = device_of(stack.compute.device)
    with joined(device, limit=launch.limit, meet=meet) as world:
        if world.tell(store.has(ref)):  # as the first sees it: others may see it late
            return ref
        stack = replace(stack, own=replace(stack.compute, device=device, world=world))
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


def _started(file: Path, address: str, folder: Path) -> None:
    """Take part as a process that torchrun has started."""
    order = json.loads(file.read_text(encoding="utf-8"))
    sys.stderr.write(f"process {int(os.environ['RANK']) + 1} of {os.environ['WORLD_SIZE']}, pid {os.getpid()}\n")
    meet = folder / f"meet-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    work(order, Store(address), None if order["launch"]["meet"] else meet, write)


if __name__ == "__main__":
    _started(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))

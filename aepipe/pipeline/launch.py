"""A training shared out over several processes, by torchrun or on a cluster.

The stage writes an order, starts :mod:`aepipe.pipeline.worker` that many times, and reads what the first one says: its
progress, and at the end the reference of what was made. A process that dies is started again, with all others, and they
go on from the last checkpoint. How many there are changes no number of the result, so it is in no digest.

Where the engine is a cluster that runs processes together (:class:`aepipe.engines.Gathers`), these are placed there by
:mod:`aepipe.pipeline.cluster`, at most that many in all. Else torchrun starts them. On one machine they meet by files
and talk on 127.0.0.1; several machines meet at an address of the first, and :func:`join` adds processes there.

Machines have one store between them, in a folder that all of them see. Whoever reaches the addresses where they meet
can run programs there, as torchrun has no passwords: they belong into a private network.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aepipe import engines, errors
from aepipe.engines import environment
from aepipe.errors import RecipeError, StoreError, TrainingError
from aepipe.learn.sharing import EVERY, LIMIT, few
from aepipe.log import step
from aepipe.pipeline.resolve import ResolvedStack
from aepipe.store import layout
from aepipe.store.artifacts import Ref, Store
from aepipe.store.io import write_durably

VARIABLE = "AEPIPE_WORLD"
RESTARTS = 10
"""Times that dead processes of one machine are started again."""
ORDER, LOG = "order.json", f"processes-{socket.gethostname()}.log"
"""Files beside the checkpoints: what is to be trained, and what the processes of this machine wrote."""
WORKER, CLUSTER = "aepipe.pipeline.worker", "aepipe.pipeline.cluster"
SETTLING = "last_call_timeout=5,keep_alive_interval=2,keep_alive_max_attempt=3"
"""How machines wait for each other: seconds for others to join; lost are those that are silent for three times two."""
LOOK_EVERY = 1.0
"""Seconds between two looks for a training to join."""
LAST = 300
"""Letters of the log that an error shows."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Processes that are to share out a training.

    Attributes:
        processes: on each machine; on a cluster, in all.
        meet: ``HOST:PORT``, an address of this machine, where other machines join; empty for this one alone.
        limit: seconds to wait for a step of another process, before it counts as lost.
        save_every: seconds between two checkpoints.
    """

    processes: int
    meet: str = ""
    limit: float = LIMIT
    save_every: float = EVERY

    @classmethod
    def of(cls, text: str | None = None) -> Launch | None:
        """Read how many there are, ``2`` or ``2@10.0.0.1:29500``; None for ``1``, which is this one.

        Args:
            text: in place of that of ``$AEPIPE_WORLD``.

        Raises:
            RecipeError: it is no such text.
        """
        told = text or os.environ.get(VARIABLE, "") or "1"
        count, at, meet = told.partition("@")
        host, _, port = meet.rpartition(":")
        if not _is_number(count) or (at and not (host and _is_number(port, 65_535))):
            raise RecipeError(
                f"{told!r} is no number of processes; allowed: 2, or 2@10.0.0.1:29500, where that is an address of "
                f"this machine, at which others join"
            )
        return cls(int(count), meet) if count != "1" or meet else None

    def check(self, shards: int) -> None:
        """Check that there is a slice of a batch for each process of this machine.

        Raises:
            RecipeError: there are fewer.
        """
        if self.processes > shards:
            raise RecipeError(few(self.processes, shards))

    def run(self, store: Store, stack: ResolvedStack, ref: Ref, stage: str, given: Mapping[str, Any]) -> Ref:
        """Train, and return what was made.

        Args:
            store: where artifacts are read and written.
            stack: what is trained.
            ref: of what is to be made.
            stage: a name of :mod:`aepipe.pipeline.worker`.
            given: the other arguments of the stage, JSON-able.

        Raises:
            AepipeError: what the stage has raised.
            TrainingError: processes died again and again.
        """
        self.check(stack.compute.shards)
        cluster = not self.meet and hasattr(engines.resolve(), "together")
        if self.meet or cluster:
            _check_shared(store)
        work = store.work(ref)
        table = stack.recipe.model_dump(mode="json")
        # As they were resolved here: another machine might choose another precision.
        table["compute"] |= {"device": str(stack.compute.device), "precision": stack.compute.key()["precision"]}
        run, file = secrets.token_hex(8), work / ORDER
        order: dict[str, Any] = {"stage": stage, "ref": str(ref), "given": dict(given)}
        order |= {"recipe": table, "file": str(stack.recipe.file), "launch": asdict(self), "run": run}
        write_durably(file, json.dumps(order))
        try:
            with self.started(store, file, run, stack.compute.shards, cluster=cluster) as process:
                for line in process.stdout or ():
                    _heard(line)
        finally:
            file.unlink(missing_ok=True)
        if not store.has(ref):
            raise TrainingError(f"the processes that trained have ended ({process.returncode}): {_last(work / LOG)}")
        return ref

    @contextmanager
    def started(
        self, store: Store, order: Path, run: str, shards: int, *, host: bool = True, cluster: bool = False
    ) -> Iterator[subprocess.Popen[str]]:
        """Start what starts the processes; it has ended when the block is left.

        Args:
            store: as this machine sees it.
            order: the file.
            run: a name that all machines of it know.
            shards: slices of a batch.
            host: machines meet here.
            cluster: the engine runs them.
        """
        with tempfile.TemporaryDirectory() as folder, (order.parent / LOG).open("a", encoding="utf-8") as log:
            command = [*self._torchrun(run, shards, host=host), "-m", WORKER, str(order), store.address, folder]
            if cluster:
                command = [sys.executable, "-m", CLUSTER, str(order), store.address]
            env = dict(os.environ) if cluster else self._environment()
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=env, start_new_session=True
            )
            try:
                yield process
                process.wait()
            finally:
                _end(process)

    def _torchrun(self, run: str, shards: int, *, host: bool) -> Sequence[str]:
        command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={self.processes}"]
        command += [f"--max-restarts={RESTARTS}", "--rdzv-backend=c10d", f"--rdzv-id={run}", "--monitor-interval=0.5"]
        if not self.meet:
            return [*command, "--nnodes=1", "--rdzv-conf=store_type=file", "--local-addr=127.0.0.1"]
        most = max(1, shards // self.processes)
        conf = f"--rdzv-conf=is_host={int(host)},{SETTLING}"
        return [*command, f"--nnodes=1:{most}", f"--rdzv-endpoint={self.meet}", conf, f"--local-addr={self.address}"]

    def _environment(self) -> dict[str, str]:
        """Return the variables of the processes; those that are set already stay."""
        # Without the first, processes that are started again read the addresses of the dead ones.
        own = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        own["OMP_NUM_THREADS"] = str(max(1, cores // self.processes))
        if interface := interface_of(self.address):
            own["GLOO_SOCKET_IFNAME"] = interface
        return own | dict(os.environ) | {"PYTHONUNBUFFERED": "1"}

    @property
    def address(self) -> str:
        """This machine's address in the network where it meets others."""
        if not self.meet:
            return "127.0.0.1"
        host, _, port = self.meet.rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
            towards.connect((host, int(port)))  # sends nothing: it only finds the way
            return str(towards.getsockname()[0])


@contextmanager
def asked(text: str | None) -> Iterator[None]:
    """Let the trainings of the block be shared out as a text says; see :class:`Launch`."""
    with environment(VARIABLE, text) if text else nullcontext():
        yield


def join(store: Store, said: Callable[[str], None], seconds: float = math.inf) -> None:
    """Take part in the trainings of a run on another machine, with as many processes as there.

    Args:
        store: of the run, in a folder that both machines see.
        said: called with a sentence about each.
        seconds: after which nothing is joined any more; by default that goes on until this process is ended.

    Raises:
        StoreError: the store is in no folder.
    """
    _check_shared(store)
    until, done = time.monotonic() + seconds, ""
    while time.monotonic() < until:
        order, told = _newest(store)
        if not told or told["run"] == done:
            time.sleep(LOOK_EVERY)
            continue
        launch = Launch(**told["launch"])
        shards = told["recipe"]["compute"].get("shards", 1)
        said(f"{Path(told['file']).stem}: {told['stage']} at {launch.meet}, {launch.processes} more processes")
        with launch.started(store, order, told["run"], shards, host=False) as process:
            done = told["run"] if process.wait() == 0 else ""
        if not done:
            time.sleep(LOOK_EVERY)  # whoever began it may be gone


def _check_shared(store: Store) -> None:
    """Check that other machines can see the checkpoints beside the store.

    Raises:
        StoreError: they cannot.
    """
    if store.address != str(store.root):
        raise StoreError(f"{store.address}: machines train together in a store that is a folder which all of them see")


def _newest(store: Store) -> tuple[Path, dict[str, Any]]:
    """Return the order that came last of those open to other machines, and its file; nothing where there is none."""
    last, found = -math.inf, (store.root, dict[str, Any]())
    for path in (store.root / layout.Root.WORK).glob(f"*/{ORDER}"):
        with suppress(FileNotFoundError):
            told, at = json.loads(path.read_text(encoding="utf-8")), path.stat().st_mtime
            if told["launch"]["meet"] and at > last:
                last, found = at, (path, told)
    return found


def interface_of(address: str) -> str:
    """Return the network interface that has an IPv4 address; the empty text where none has."""
    import fcntl
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                # SIOCGIFADDR of Linux.
                told = fcntl.ioctl(asked.fileno(), 0x8915, struct.pack("256s", name.encode()))
            except OSError:
                continue
            if socket.inet_ntoa(told[20:24]) == address:
                return name
    return ""


def _heard(line: str) -> None:
    """Pass on what the first process says.

    Raises:
        AepipeError: it has failed.
    """
    try:
        told = json.loads(line)
        name = told["what"]
    except (ValueError, KeyError, TypeError):
        return  # not from us
    if name == "step":
        step(told["stage"], told["done"], told["total"], told["note"])
    elif name == "error":
        raise errors.heard(told)


def _end(process: subprocess.Popen[str]) -> None:
    """End torchrun, which ends its processes."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _last(log: Path) -> str:
    """Return the last line of a log that says something."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = [line for line in lines if "Error" in line] or lines or ["they wrote nothing"]
    return f"{said[-1][:LAST]}; {log} has all"


def _is_number(text: str, most: int = 65_536) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text[:9]) <= most and len(text) < 9

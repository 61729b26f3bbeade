"""Two machines that share out a training: one dies, one falls silent, one comes back. For ``make soak``.

They are network namespaces with a cable between them, and see one store. A machine dies by ``kill -9`` of all that runs
on it, and falls silent when the cable is pulled: nobody is told. The weights have to be those of one process.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.launch import WORKER, Launch, join
from aepipe.pipeline.pretrain import pretrain
from aepipe.pipeline.views import views
from aepipe.store.artifacts import Ref, Store
from tests.pipeline.test_launch import planned

ROOT = Path(__file__).parents[2]
HERE, THERE = "10.77.26.1", "10.77.26.2"
LIMIT = 20.0
"""Seconds until a silent process counts as lost, here."""
SECONDS = 120
"""In which the other machine has to go on."""
pytestmark = pytest.mark.skipif("AEPIPE_SOAK" not in os.environ, reason="takes minutes: make soak")


@dataclass
class Nodes:
    """Two namespaces, and what runs in them."""

    names: tuple[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, node: int, folder: Path, role: str) -> subprocess.Popen[bytes]:
        """Run this module in a namespace."""
        command = ["ip", "netns", "exec", self.names[node], sys.executable, "-m", "tests.faults.test_nodes"]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with (folder / f"{role}.log").open("ab") as log:
            one = subprocess.Popen([*command, role, str(folder)], cwd=ROOT, env=env, stdout=log, stderr=log)
        self.started.append(one)
        return one

    def kill(self, node: int) -> None:
        """Let a machine die."""
        for pid in _run("ip", "netns", "pids", self.names[node]).split():
            os.kill(int(pid), signal.SIGKILL)

    def pause(self, node: int) -> None:
        """Hold the processes that train on a machine; torchrun there goes on, and replaces them when it has to."""
        for pid in map(int, _run("ip", "netns", "pids", self.names[node]).split()):
            command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
            if WORKER in command and "torch.distributed.run" not in command:
                os.kill(pid, signal.SIGSTOP)

    def cable(self, there: str) -> None:
        """Pull the cable, ``down``, or put it back, ``up``."""
        _run("ip", "-n", self.names[1], "link", "set", "eth", there)

    def end(self) -> None:
        """End what runs, and take the namespaces away."""
        for node in range(2):
            self.kill(node)
        for one in self.started:
            one.wait()
        for name in self.names:
            _run("ip", "netns", "del", name)


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Two machines with a cable."""
    names = f"aepipe-a{os.getpid()}", f"aepipe-b{os.getpid()}"
    try:
        _run("ip", "netns", "add", names[0])
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces are refused here: {error}")
    _run("ip", "netns", "add", names[1])
    _run("ip", "-n", names[0], "link", "add", "eth", "type", "veth", "peer", "name", "eth", "netns", names[1])
    for name, address in zip(names, (HERE, THERE), strict=True):
        _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth")
        _run("ip", "-n", name, "link", "set", "eth", "up")
        _run("ip", "-n", name, "link", "set", "lo", "up")
    made = Nodes(names)
    yield made
    made.end()


@pytest.mark.parametrize("fault", ["none", "dies", "dies and comes back", "falls silent"])
def test_the_weights_are_those_of_one_process(fault: str, nodes: Nodes, tmp_path: Path) -> None:
    alone, store = Store(tmp_path / "alone"), Store(tmp_path / "store")
    expected = pretrain(alone, *_stage(tmp_path, alone))
    _stage(tmp_path, store)
    nodes.start(0, tmp_path, "run")
    _wait_for(lambda: _sizes(store)[-1:] == [1])
    nodes.pause(0)  # else it might be done before the other machine is there
    nodes.start(1, tmp_path, "join")
    _wait_for(lambda: _sizes(store)[-1:] == [2])
    saved = _saved(store)
    _wait_for(lambda: _saved(store) > saved)
    if fault == "falls silent":
        nodes.cable("down")
    elif fault != "none":
        nodes.kill(1)
    if fault != "none":
        _wait_for(lambda: _sizes(store)[-1:] == [1], SECONDS)
    if fault == "dies and comes back":
        nodes.pause(0)
        nodes.start(1, tmp_path, "join")
        _wait_for(lambda: _sizes(store)[-1:] == [2])
    assert nodes.started[0].wait(600) == 0, (tmp_path / "run.log").read_text()[-2000:]
    assert store.manifest(expected).outputs == alone.manifest(expected).outputs


def _stage(folder: Path, store: Store) -> tuple[Any, Ref, list[Ref]]:
    """Return the arguments of the training, whose rows are made where they are missing."""
    resolved = planned(folder, epochs=1000)
    return resolved, views(store, resolved, ingest(store, resolved.source)), []


def _sizes(store: Store) -> list[int]:
    """Return the number of processes of each time that the first one began."""
    said = [path.read_text(errors="replace") for path in store.root.glob("work/*/processes-*.log")]
    return [int(size) for size in re.findall(r"process 1 of (\d+)", "".join(said))]


def _saved(store: Store) -> float:
    return max((path.stat().st_mtime for path in store.root.glob("work/*/checkpoint.safetensors")), default=0.0)


def _wait_for(found: Callable[[], Any], seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.2)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _as_node(role: str, folder: Path) -> None:
    """Run a training that others can join, or join it."""
    store = Store(folder / "store")
    if role == "join":
        join(store, lambda text: print(text, flush=True))  # noqa: T201
    else:
        launch = Launch(1, f"{HERE}:29700", limit=LIMIT, save_every=0.5)
        pretrain(store, *_stage(folder, store), processes=launch)


if __name__ == "__main__":
    _as_node(sys.argv[1], Path(sys.argv[2]))

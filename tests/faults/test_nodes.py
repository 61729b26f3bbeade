"""Two machines that share out a training: one dies, one falls silent, one comes back. For ``make soak``.

They see one store, and have a cable between them; torchrun starts the processes, or a Ray cluster. The weights have to
be those of one process.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from aepipe.engines.ray import KEEPALIVE
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.launch import WORKER, Launch, join
from aepipe.pipeline.pretrain import pretrain
from aepipe.pipeline.views import views
from aepipe.store.artifacts import Ref, Store
from tests.pipeline.test_launch import planned
from tests.support.nodes import HERE, THERE, Nodes, two_nodes

LIMIT = 20.0
"""Seconds until a silent process counts as lost, here."""
SECONDS = 120
"""In which the other machine has to go on."""
SHORTER = 200
"""Epochs where processes need not be held for each other."""
RAY = str(Path(sys.executable).with_name("ray"))
PORT = "6399"
pytestmark = pytest.mark.skipif("AEPIPE_SOAK" not in os.environ, reason="takes minutes: make soak")


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Two machines with a cable."""
    try:
        with two_nodes() as made:
            yield made
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces are refused here: {error}")


@pytest.fixture
def cluster(nodes: Nodes, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Ray cluster of these machines, one processor each; the variables of those who join it."""
    pytest.importorskip("ray", reason="needs the extra ray")
    # Its sockets have paths of up to 107 letters, and a folder of pytest has half of them.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as short:
        own = {"RAY_TMPDIR": short, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        own |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_period_ms": "1000"} | KEEPALIVE
        head = ("--head", f"--node-ip-address={HERE}", f"--port={PORT}", "--include-dashboard=false")
        for node, where in enumerate((head, (f"--address={HERE}:{PORT}", f"--node-ip-address={THERE}"))):
            size = ("--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats")
            assert nodes.start(node, tmp_path / "ray.log", RAY, "start", *where, *size, **own).wait(120) == 0
        yield own | {"AEPIPE_ENGINE": f"ray://{HERE}:{PORT}"}


@pytest.mark.parametrize("fault", ["none", "dies", "dies and comes back", "falls silent"])
def test_the_weights_are_those_of_one_process(fault: str, nodes: Nodes, tmp_path: Path) -> None:
    alone, store = Store(tmp_path / "alone"), Store(tmp_path / "store")
    expected = pretrain(alone, *_stage(tmp_path, alone))
    _stage(tmp_path, store)
    _start(nodes, 0, tmp_path, "run")
    _wait_for(lambda: _sizes(store)[-1:] == [1])
    _pause(nodes, 0)  # else it might be done before the other machine is there
    _start(nodes, 1, tmp_path, "join")
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
        _pause(nodes, 0)
        _start(nodes, 1, tmp_path, "join")
        _wait_for(lambda: _sizes(store)[-1:] == [2])
    assert nodes.started[0].wait(600) == 0, (tmp_path / "run.log").read_text()[-2000:]
    assert store.manifest(expected).outputs == alone.manifest(expected).outputs


@pytest.mark.parametrize("fault", ["a process dies", "dies", "falls silent"])
def test_a_cluster_makes_the_weights_of_one_process(
    fault: str, nodes: Nodes, cluster: dict[str, str], tmp_path: Path
) -> None:
    alone, store = Store(tmp_path / "alone"), Store(tmp_path / "store")
    expected = pretrain(alone, *_stage(tmp_path, alone, SHORTER))
    _stage(tmp_path, store, SHORTER)
    run = _start(nodes, 0, tmp_path, "run on a cluster", **cluster)
    _wait_for(lambda: _sizes(store) == [2] and _saved(store))
    if fault == "a process dies":
        os.kill(next(pid for rank, _, pid in _seats(store) if rank == 2), signal.SIGKILL)
        _wait_for(lambda: _sizes(store) == [2, 2], SECONDS)
    elif fault == "dies":
        nodes.kill(1)
        _wait_for(lambda: _sizes(store) == [2, 1], SECONDS)
    else:
        nodes.cable("down")
        _wait_for(lambda: _sizes(store) == [2, 1], SECONDS)
    assert run.wait(600) == 0, (tmp_path / "run on a cluster.log").read_text()[-2000:]
    assert store.manifest(expected).outputs == alone.manifest(expected).outputs
    assert not list((store.root / "work").iterdir())


def _stage(folder: Path, store: Store, epochs: int = 1000) -> tuple[Any, Ref, list[Ref]]:
    """Return the arguments of the training, whose rows are made where they are missing."""
    resolved = planned(folder, epochs=epochs)
    return resolved, views(store, resolved, ingest(store, resolved.source)), []


def _start(nodes: Nodes, node: int, folder: Path, role: str, **environment: str) -> subprocess.Popen[bytes]:
    """Run this module on a machine."""
    words = (sys.executable, "-m", "tests.faults.test_nodes", role, str(folder))
    return nodes.start(node, folder / f"{role}.log", *words, **environment)


def _pause(nodes: Nodes, node: int) -> None:
    """Hold the processes that train on a machine; torchrun there goes on, and replaces them when it has to."""
    for pid, command in nodes.pids(node).items():
        if WORKER in command and "torch.distributed.run" not in command:
            os.kill(pid, signal.SIGSTOP)


def _seats(store: Store) -> list[tuple[int, int, int]]:
    """Return rank from 1, number and process id of all that have taken part, in their order."""
    said = [path.read_text(errors="replace") for path in store.root.glob("work/*/processes-*.log")]
    found = re.findall(r"process (\d) of (\d), pid (\d+)", "".join(said))
    return [(int(rank), int(size), int(pid)) for rank, size, pid in found]


def _sizes(store: Store) -> list[int]:
    """Return the number of processes of each time that the first one began."""
    return [size for rank, size, _ in _seats(store) if rank == 1]


def _saved(store: Store) -> float:
    return max((path.stat().st_mtime for path in store.root.glob("work/*/checkpoint.safetensors")), default=0.0)


def _wait_for(found: Callable[[], Any], seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.2)


def _as_node(role: str, folder: Path) -> None:
    """Run a training that others can join, or join it."""
    store = Store(folder / "store")
    if role == "join":
        join(store, lambda text: print(text, flush=True))  # noqa: T201
    else:
        solo = role == "run"
        launch = Launch(1, f"{HERE}:29700", LIMIT, 0.5) if solo else Launch(2, limit=LIMIT, save_every=0.5)
        pretrain(store, *_stage(folder, store, 1000 if solo else SHORTER), processes=launch)


if __name__ == "__main__":
    _as_node(sys.argv[1], Path(sys.argv[2]))

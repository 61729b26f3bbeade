"""Two machines for tests: network namespaces with a cable between them, and one disk.

A machine dies by ``kill -9`` of all that runs on it, and falls silent when the cable is pulled: nobody is told.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE, THERE = "10.77.26.1", "10.77.26.2"
"""Their addresses."""


@dataclass
class Nodes:
    """Two namespaces, and what runs in them."""

    names: tuple[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, node: int, log: Path, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """Run a command in a namespace."""
        command = ["ip", "netns", "exec", self.names[node], *words]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
        with log.open("ab") as said:
            one = subprocess.Popen(command, cwd=ROOT, env=env, stdout=said, stderr=said)
        self.started.append(one)
        return one

    def kill(self, node: int) -> None:
        """Let a machine die."""
        for pid in self.pids(node):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def pids(self, node: int) -> Mapping[int, str]:
        """Return what runs on a machine: commands by process id."""
        found = {}
        for pid in map(int, run("ip", "netns", "pids", self.names[node]).split()):
            with suppress(OSError):  # it has ended by itself
                found[pid] = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
        return found

    def cable(self, there: str) -> None:
        """Pull the cable, ``down``, or put it back, ``up``."""
        run("ip", "-n", self.names[1], "link", "set", "eth", there)

    def end(self) -> None:
        """End what runs, and take the namespaces away."""
        for node in range(2):
            self.kill(node)
        for one in self.started:
            one.wait()
        for name in self.names:
            run("ip", "netns", "del", name)


@contextmanager
def two_nodes() -> Iterator[Nodes]:
    """Two machines with a cable.

    Raises:
        OSError, subprocess.CalledProcessError: namespaces are refused here.
    """
    names = f"aepipe-a{os.getpid()}", f"aepipe-b{os.getpid()}"
    for name in names:
        run("ip", "netns", "add", name)
    run("ip", "-n", names[0], "link", "add", "eth", "type", "veth", "peer", "name", "eth", "netns", names[1])
    for name, address in zip(names, (HERE, THERE), strict=True):
        run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth")
        run("ip", "-n", name, "link", "set", "eth", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
    made = Nodes(names)
    try:
        yield made
    finally:
        made.end()


def run(*command: str) -> str:
    """Run a command, and return what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout

"""A service in a process of its own, and the quickest way to ask it."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CLOCK = 100
"""Ticks of a second in ``/proc``."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that answers on a port of 127.0.0.1.

    Attributes:
        port: that it listens on.
        pid: of the process.
        seconds: from the start until it was ready.
    """

    port: int
    pid: int
    seconds: float

    def memory(self) -> tuple[float, float]:
        """Return the megabytes that the process holds: all, and those that are no mapped files."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = dict(re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB$", text, re.MULTILINE))
        return int(found["VmRSS"]) / 1000, int(found["RssAnon"]) / 1000

    def processor(self) -> float:
        """Return the seconds of the processor that the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK

    def maps(self, text: str) -> bool:
        """Return whether the process has a file mapped whose path holds a text."""
        return text in Path(f"/proc/{self.pid}/maps").read_text(encoding="utf-8", errors="replace")


class Line:
    """One connection that is kept; HTTP is read by hand, because a client of Python's takes as long as an answer.

    Args:
        port: of 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = self._connected()

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, bytes]:
        """Send a request; return the status and the body of the answer."""
        head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if body is not None:
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        data = self._sent(head.encode() + b"\r\n" + (body or b""))
        while b"\r\n\r\n" not in data:
            data += self._more()
        head_, _, found = data.partition(b"\r\n\r\n")
        size = re.search(rb"(?i)content-length: (\d+)", head_)
        while size and len(found) < int(size[1]):
            found += self._more()
        return int(head_[9:12]), found

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _connected(self) -> socket.socket:
        found = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found

    def _sent(self, request: bytes) -> bytes:
        """Send a request, and return the beginning of its answer; a service closes what was idle for 5 seconds."""
        for _ in range(2):
            with contextlib.suppress(ConnectionError):
                self._socket.sendall(request)
                if data := self._socket.recv(1 << 16):
                    return data
            self._socket.close()
            self._socket = self._connected()
        raise ConnectionError("the connection has ended")

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the connection has ended")
        return data


@contextlib.contextmanager
def service(store: Path, *flags: str) -> Iterator[Running]:
    """Run ``aepipe serve`` over a store until the block ends."""
    with process("-m", "aepipe", "serve", "--port", "0", "--home", str(store), *flags, ready="/readyz") as found:
        yield found


@contextlib.contextmanager
def process(*command: str, ready: str) -> Iterator[Running]:
    """Run a program of Python's that prints an address with its port; give it once a path answers with 200."""
    began = time.perf_counter()
    with subprocess.Popen((sys.executable, "-u", *command), stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout
            found = re.search(r":(\d+)", run.stdout.readline())
            assert found, command
            while True:
                with contextlib.suppress(OSError):
                    line = Line(int(found[1]))
                    status = line.ask(ready)[0]
                    line.close()
                    if status == 200:
                        break
                time.sleep(0.005)
            yield Running(int(found[1]), run.pid, time.perf_counter() - began)
        finally:
            run.terminate()
            run.wait(20)

"""Helpers: processes that read files for this one, and may hang or crash.

A compiled library may end its process over a file, or fill its memory; here that is the helper's. One that hangs is
stopped, and another is started. A request is a line of JSON, and bytes; the answer is a line of JSON.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 5
"""How many times longer a request may take on a machine where the helper waits for a processor."""
_all: weakref.WeakSet[Helper] = weakref.WeakSet()


class Helper:
    """One process, which answers one request after the other.

    Attributes:
        late: it was stopped, for it took too long.

    Args:
        command: that starts it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        import subprocess  # here, because a cold query must not wait for it

        self.late = False
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
        )
        _all.add(self)

    def ask(self, request: dict[str, Any], data: bytes = b"", *, seconds: float) -> dict[str, Any] | None:
        """Return the answer; None where the process was too late, or has ended.

        Args:
            request: as JSON can have it.
            data: its bytes.
            seconds: that the answer may take; those in which the process waits for a processor that others use do not
                count, up to :data:`PATIENCE` times as many in all.
        """
        done = threading.Event()
        threading.Thread(target=self._watch, args=(seconds, done), daemon=True).start()
        stdin, stdout = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        try:
            stdin.write(json.dumps({**request, "size": len(data)}).encode() + b"\n" + data)
            stdin.flush()
            line = stdout.readline()
            found: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        except (OSError, ValueError):
            found = None
        finally:
            done.set()
        if found is None:
            self.end()
        return found

    def end(self) -> None:
        """Stop the process, and wait until it is gone."""
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                cast(IO[bytes], stream).close()
        self.process.wait()

    def _watch(self, seconds: float, done: threading.Event) -> None:
        """Stop the process where it is not done in time."""
        began, waited = time.monotonic(), _waited(self.process.pid)
        left = seconds
        while not done.wait(max(left, 0.05)):
            took = time.monotonic() - began
            left = min(seconds - took + _waited(self.process.pid) - waited, PATIENCE * seconds - took)
            if left <= 0:
                self.late = True
                self.process.kill()
                return


def _waited(process: int) -> float:
    """Return the seconds that a thread of a process has waited for a processor, at most; 0 where nobody counts them."""
    found = [0.0]
    for file in Path(f"/proc/{process}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            found.append(int(file.read_text().split()[1]) / 1e9)
    return max(found)


@atexit.register
def _end_all() -> None:
    for helper in list(_all):
        helper.end()


def _environment() -> dict[str, str]:
    # The process finds the same packages, wherever this one found them.
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

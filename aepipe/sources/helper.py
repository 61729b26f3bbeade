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
import weakref
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        """Return the answer; None where the process was too late, or has ended."""
        timer = threading.Timer(seconds, self._stop)
        timer.daemon = True
        timer.start()
        stdin, stdout = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        try:
            stdin.write(json.dumps({**request, "size": len(data)}).encode() + b"\n" + data)
            stdin.flush()
            line = stdout.readline()
            found: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        except (OSError, ValueError):
            found = None
        finally:
            timer.cancel()
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

    def _stop(self) -> None:
        self.late = True
        self.process.kill()


@atexit.register
def _end_all() -> None:
    for helper in list(_all):
        helper.end()


def _environment() -> dict[str, str]:
    # The process finds the same packages, wherever this one found them.
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

"""Work on parts for tests of engines; processes of a cluster import it by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from aepipe.engines import Done, Part
from aepipe.errors import ItemError, SourceError

ERRORS: dict[str, Callable[[], Exception]] = {
    "source": lambda: SourceError("torn"),
    "item": lambda: ItemError("a.png", "torn"),
    "system": lambda: OSError(5, "torn"),
    "value": lambda: ValueError("torn"),
}


def doubled(part: Part, folder: str = "") -> Done:
    """Write the part's output, as a stage does, and count that it was begun."""
    if folder:
        with (Path(folder) / f"begun-{part.number}").open("a") as file:
            file.write("x")
        (Path(folder) / f"out-{part.number}").write_text(part.ref * 2)
    return Done(part.number, part.ref, rows=2 * part.number)


def failed(part: Part, kind: str, at: int = 7) -> Done:
    """Raise an error in one part."""
    if part.number == at:
        raise ERRORS[kind]()
    return Done(part.number, part.ref)


def killed(part: Part, folder: str, at: int = 3, times: int = 1) -> Done:
    """Let one part end the process that it is done in, the first times."""
    mark = Path(folder) / "kills"
    kills = len(mark.read_bytes()) if mark.exists() else 0
    if part.number == at and kills < times:
        with mark.open("ab") as file:
            file.write(b"x")
        os.kill(os.getpid(), signal.SIGKILL)
    return doubled(part, folder)


def slow(part: Part, folder: str, seconds: float) -> Done:
    """Take a while."""
    time.sleep(seconds)
    return doubled(part, folder)


def held(part: Part, folder: str) -> Done:
    """Do the first part at once, and wait with the others until there is a file ``go``, for a minute at most."""
    until = time.monotonic() + 60
    while part.number and not (Path(folder) / "go").exists() and time.monotonic() < until:
        time.sleep(0.01)
    return doubled(part, folder)

"""Work on parts that the benchmarks of engines do; processes of a cluster import it by name."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from aepipe.engines import Done, Part

BLOCK = bytes(1 << 20)


def empty(part: Part) -> Done:
    """Do nothing."""
    return Done(part.number, part.ref)


def burnt(part: Part, blocks: int, folder: str, seconds: float = 0.0) -> Done:
    """Hash so many MB, and write the digest as a stage writes its output: once, and as a whole.

    Args:
        part: its number names the files.
        blocks: MB.
        folder: of the files ``begun-N`` and ``work-N``, with a letter for each time that the part was begun, and that
            it was not there yet; and of ``made-N``.
        seconds: to wait before the end.
    """
    place = Path(folder)
    with (place / f"begun-{part.number}").open("a") as file:
        file.write("x")
    made = place / f"made-{part.number}"
    if not made.exists():
        with (place / f"work-{part.number}").open("a") as file:
            file.write("x")
        digest = hashlib.sha256()
        for _ in range(blocks):
            digest.update(BLOCK)
        time.sleep(seconds)
        draft = place / f".{part.number}-{os.getpid()}"
        draft.write_text(digest.hexdigest())
        draft.replace(made)
    return Done(part.number, part.ref, rows=1)

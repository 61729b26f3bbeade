"""How a training is shared out and saved: what others have to know of it before it starts.

It imports no torch, which a run that trains nothing does without.
"""

from __future__ import annotations

EVERY = 10.0
"""Seconds between two checkpoints, at least."""
LIMIT = 120.0
"""Seconds that a step of another process may take longer than one's own."""


def few(processes: int, shards: int) -> str:
    """Return what to say where processes are more than slices of a batch."""
    return (
        f"compute.shards: {shards}, and {processes} processes share out the slices of a batch; allowed: at least "
        f"{processes}, as with --set compute.shards={processes}; another number of slices gives other weights, another "
        f"number of processes does not"
    )

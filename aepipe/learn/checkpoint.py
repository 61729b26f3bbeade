"""Checkpoints of training: one safetensors file, replaced by rename, with the position in its header."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


class FileCheckpoint:
    """Keeps the last state of one training in a folder.

    Args:
        folder: outlives the process.
        seconds: how often a state is due.
    """

    def __init__(self, folder: Path, *, seconds: float = 10.0) -> None:
        self._file = folder / "checkpoint.safetensors"
        self._seconds = seconds
        self._saved_at = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what was saved last, None where there is nothing or it cannot be read."""
        try:
            with safe_open(self._file, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return tensors, json.loads(file.metadata()["position"])
        except (OSError, SafetensorError, KeyError, ValueError):
            return None  # training starts over, which costs time and nothing else

    def due(self) -> bool:
        """Say whether it is time to save."""
        return time.monotonic() - self._saved_at >= self._seconds

    def save(self, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
        """Replace what was saved; a crash leaves the old state or the new one."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_suffix(".new")
        on_cpu = {name: value.contiguous().cpu() for name, value in tensors.items()}
        save_file(on_cpu, beside, {"position": json.dumps(position)})
        with beside.open("rb") as stream:
            os.fsync(stream.fileno())
        beside.replace(self._file)
        self._saved_at = time.monotonic()

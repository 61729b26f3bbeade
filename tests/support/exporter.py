"""The exporter of torch takes most of the time of a small network: what it reads and makes is kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def read_operators_once() -> None:
    """Let this process, and those that it forks, read that table once; no export changes it."""
    registry: Any = import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
    if not hasattr(registry.from_torchlib.__func__, "cache_info"):
        read: Any = cache(registry.from_torchlib.__func__)
        registry.from_torchlib = classmethod(read)


def kept_exports(folder: Path, export: Callable[..., bytes]) -> Callable[..., bytes]:
    """Return an exporter that makes each network once, and keeps it in a folder, which processes can share."""

    def exported(module: Any, example: Any, names: Any, **options: Any) -> bytes:
        about = hashlib.sha256(repr((module, example.shape, names, options)).encode())
        for name, tensor in module.state_dict().items():
            about.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
        file = folder / about.hexdigest()
        if not file.exists():
            folder.mkdir(exist_ok=True)
            beside = file.with_suffix(f".{os.getpid()}")
            beside.write_bytes(export(module, example, names, **options))
            beside.replace(file)
        return file.read_bytes()

    return exported

"""The exporter of torch reads its table of operators for each network, which takes most of the time of a small one."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any


def read_operators_once() -> None:
    """Let this process, and those that it forks, read that table once; no export changes it."""
    registry: Any = import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
    if not hasattr(registry.from_torchlib.__func__, "cache_info"):
        read: Any = cache(registry.from_torchlib.__func__)
        registry.from_torchlib = classmethod(read)

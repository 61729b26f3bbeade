"""The exporter of torch reads its table of operators for each network: most of the time of an export as small as ours."""

from __future__ import annotations

from functools import cache
from importlib import import_module


def read_operators_once() -> None:
    """Let this process, and those that it forks, read that table once; no export changes it."""
    registry = import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
    if not hasattr(registry.from_torchlib.__func__, "cache_info"):
        registry.from_torchlib = classmethod(cache(registry.from_torchlib.__func__))

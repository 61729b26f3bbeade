"""Graphs of networks that differ in their weights only: one is exported, others filled.

An export takes seconds of the processor, more than a small network takes to train, and the second of two equal networks
would give the same graph. So the first is kept without its weights, by the process and in a folder, and the bytes of
the second are made from it: they are the bytes that an export would give. The names of files in the folder cover the
versions of the packages that make a graph.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aepipe.errors import StoreError
from aepipe.store.io import replacing

VERSION = 1
"""Of the files in a folder: to be raised with what an export is told, such as the opset."""
MAKERS = ("aepipe", "torch", "onnx", "onnxscript", "onnx-ir")
"""Packages whose versions a graph depends on."""
DIGEST, LENGTH = 32, 8
"""Bytes of a file's sha256, which it begins with, and of the length of what stands before the graph."""
ADDRESS = " at 0x"
"""Part of the text of an object that has none of its own."""
MOST = 16
"""Graphs that are kept in a process."""
CLOSE = 1e-3
"""Difference of two outputs that rounding may bring, for outputs of about 1."""
SEED = 20097

Weights = Mapping[str, NDArray[Any]]
Names = Mapping[str, list[str]]
"""The name of the input, and those of the outputs."""
Open = Callable[[bytes], Any]
"""Opens a graph; what it returns has the method ``run`` of onnxruntime."""


@dataclass(frozen=True, slots=True)
class Template:
    """A graph without its weights.

    Attributes:
        model: an onnx.ModelProto.
        weights: names of what belongs into it, by the names of the initializers.
    """

    model: Any
    weights: Mapping[str, str]

    def filled(self, weights: Weights) -> bytes:
        """Return the graph with weights."""
        model = type(self.model)()
        model.CopyFrom(self.model)
        for one in model.graph.initializer:
            if one.name in self.weights:
                one.raw_data = weights[self.weights[one.name]].tobytes()
        graph: bytes = model.SerializeToString(deterministic=True)
        return graph

    def write(self, file: Path) -> None:
        """Write it into a file; where none can be written, the next process exports again."""
        weights = json.dumps(dict(self.weights)).encode()
        body = len(weights).to_bytes(LENGTH, "big") + weights + self.model.SerializeToString(deterministic=True)
        with suppress(OSError, StoreError):
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as target:
                target.write_bytes(hashlib.sha256(body).digest() + body)

    @classmethod
    def read(cls, file: Path) -> Template | None:
        """Read what :meth:`write` wrote; None where there is no file, or a damaged one."""
        import onnx

        try:
            held = file.read_bytes()
        except OSError:
            return None
        digest, body = held[:DIGEST], held[DIGEST:]
        if hashlib.sha256(body).digest() != digest:
            return None
        end = LENGTH + int.from_bytes(body[:LENGTH], "big")
        return cls(onnx.load_from_string(body[end:]), json.loads(body[LENGTH:end]))


_KEPT: dict[object, Template] = {}
"""By what networks and their weights have in common."""


def graph_of(
    module: nn.Module,
    example: Tensor,
    names: Names,
    export: Callable[[], bytes],
    opened: Open,
    *,
    folder: Path | None = None,
) -> bytes:
    """Return the ONNX graph of a network, filled in where one like it is known, else exported.

    Args:
        module: of one input; its text says everything that its graph depends on but weights.
        example: an input.
        names: of the input, and under it those of the outputs.
        export: makes the graph.
        opened: opens a graph, which is compared with the network.
        folder: of graphs without weights that earlier processes have left; None for none.
    """
    weights = _weights(module)
    key = _key(module, weights, example)
    if key is None:
        return export()
    file = _file(folder, key, names)
    known = _KEPT.get(key) or (file and Template.read(file))
    if known:
        found = known.filled(weights)
        if _agrees(opened(found), module, example, names):
            _keep(key, known)
            return found
    exported = export()
    if template := _template(exported, weights):
        _keep(key, template)
        if file:
            template.write(file)
    return exported


def _keep(key: object, template: Template) -> None:
    """Remember a graph in this process."""
    _KEPT.pop(key, None)
    for oldest in list(_KEPT)[: max(0, len(_KEPT) - MOST + 1)]:
        del _KEPT[oldest]
    _KEPT[key] = template


def _file(folder: Path | None, key: object, names: Names) -> Path | None:
    """Return the file of a graph; None where its name would not be the same in another process."""
    text = repr((VERSION, key, names, [(one, version(one)) for one in MAKERS]))
    if folder is None or ADDRESS in text:
        return None
    return folder / hashlib.sha256(text.encode()).hexdigest()


def _weights(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Return parameters and buffers by name, and those that an exporter makes of an affine map and moments."""
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    found = {name: one.detach().numpy() for name, one in named.items() if one.is_floating_point()}
    for at, one in module.named_modules():
        for (number, affine), (_, moments) in pairwise(one.named_children()) if isinstance(one, nn.Sequential) else ():
            if isinstance(affine, nn.Linear) and isinstance(moments, nn.BatchNorm1d) and not moments.affine:
                found |= _standardized(found, f"{at}.{number}", affine, moments)
    return found


def _standardized(known: Weights, name: str, affine: nn.Linear, moments: nn.BatchNorm1d) -> dict[str, NDArray[Any]]:
    """Return the weights of an affine map whose output is standardised, under names of their own."""
    assert moments.running_var is not None
    assert moments.running_mean is not None
    scale = np.float32(1) / np.sqrt(moments.running_var.numpy() + np.float32(moments.eps))
    found = {f"{name}.weight standardised": known[f"{name}.weight"] * scale[:, None]}
    if affine.bias is not None:
        found[f"{name}.bias standardised"] = (known[f"{name}.bias"] - moments.running_mean.numpy()) * scale
    return found


def _key(module: nn.Module, weights: Weights, example: Tensor) -> object:
    """Return what a graph depends on; None where it may depend on more.

    An exporter drops what adds zero or multiplies by one, and writes equal weights once. So a weight of a single value
    is part of the key, and networks with two equal weights have none.
    """
    plain = tuple((name, one.shape, float(one.flat[0]) if _is_plain(one) else None) for name, one in weights.items())
    distinct = {(one.shape, one.tobytes()) for one in weights.values()}
    if len(distinct) < len(weights):
        return None
    return repr(module), plain, tuple(example.shape), example.dtype


def _is_plain(weight: NDArray[Any]) -> bool:
    return bool(weight.size) and bool((weight == weight.flat[0]).all())


def _template(graph: bytes, weights: Weights) -> Template | None:
    """Return a graph without weights; None where it holds other numbers that may come from them."""
    import onnx

    model, places = onnx.load_from_string(graph), dict[str, str]()
    for one in model.graph.initializer:
        names = (one.name, f"{one.name} standardised")
        place = next((name for name in names if name in weights and weights[name].tobytes() == one.raw_data), None)
        if place is not None:
            places[one.name], one.raw_data = place, b""
        elif one.data_type == onnx.TensorProto.FLOAT and np.prod(one.dims) > 1:
            return None
    return Template(model, places)


def _agrees(graph: Any, module: nn.Module, example: Tensor, names: Names) -> bool:  # noqa: ANN401
    """Whether a graph gives the output of the network for rows drawn at random."""
    (given, found), *_ = names.items()
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.rand(example.shape, generator=generator)
    rows = (drawn * 2).to(torch.uint8) if example.dtype == torch.uint8 else drawn
    with torch.no_grad():
        wanted = module.eval()(rows)
    outputs = graph.run(found, {given: rows.numpy()})
    return all(_near(one, other.numpy()) for one, other in zip(outputs, _listed(wanted), strict=True))


def _near(one: NDArray[Any], other: NDArray[Any]) -> bool:
    # A bit whose number is near its threshold may differ by rounding.
    return one.dtype == np.uint8 or np.allclose(one, other, rtol=CLOSE, atol=CLOSE)


def _listed(found: Tensor | tuple[Tensor, ...]) -> Iterator[Tensor]:
    yield from (found,) if isinstance(found, Tensor) else found

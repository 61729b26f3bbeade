"""Graphs of networks that differ in their weights only: one is exported, others filled.

An export takes seconds of the processor, more than a small network takes to train, and the second of two equal networks
would give the same graph. So the first is kept without its weights, and the bytes of the second are made from it: they
are the bytes that an export would give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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


_KEPT: dict[object, Template] = {}
"""By what networks and their weights have in common."""


def graph_of(module: nn.Module, example: Tensor, names: Names, export: Callable[[], bytes], opened: Open) -> bytes:
    """Return the ONNX graph of a network, filled in where one like it is known, else exported.

    Args:
        module: of one input; its text says everything that its graph depends on but weights.
        example: an input.
        names: of the input, and under it those of the outputs.
        export: makes the graph.
        opened: opens a graph, which is compared with the network.
    """
    weights = _weights(module)
    key = _key(module, weights, example)
    if key is None:
        return export()
    if key in _KEPT:
        found = _KEPT[key].filled(weights)
        if _agrees(opened(found), module, example, names):
            return found
    exported = export()
    if template := _template(exported, weights):
        for oldest in list(_KEPT)[: max(0, len(_KEPT) - MOST + 1)]:
            del _KEPT[oldest]
        _KEPT[key] = template
    return exported


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

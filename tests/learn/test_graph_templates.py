"""Graphs that are filled in: the bytes of an export, and an export where there is any doubt."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from aepipe.codes.encoder import session
from aepipe.learn import graph_templates, onnx_export, stack
from aepipe.learn import spec as layer_specs
from aepipe.recipe import Choice, CodeRecipe, LayerRecipe


@pytest.fixture(autouse=True)
def _none_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_templates, "_KEPT", {})


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Counts exports."""
    counted = Mock(side_effect=onnx_export.exported)
    monkeypatch.setattr(onnx_export, "exported", counted)
    return counted


def encoder(seed: int, bits: int = 8) -> bytes:
    """Return the encoder of a stack with random weights and thresholds."""
    lowest = layer_specs.layer_spec(LayerRecipe(net=Choice(kind="dense", options={"width": 20})), "layers.0")
    stacked = stack.build([lowest, layer_specs.code_spec(CodeRecipe(bits=bits))], (8, 8, 1), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in [*nn.ModuleList(stacked).parameters(), *nn.ModuleList(stacked).buffers()]:
            if weight.is_floating_point():
                weight.add_(torch.rand(weight.shape, generator=generator) * 0.1)
    threshold = torch.rand(bits, generator=generator)
    return onnx_export.freeze([one.eval() for one in stacked], threshold, (8, 8, 1), opened=session)


def test_it_has_the_bytes_of_an_export(exports: Mock) -> None:
    encoder(0)
    filled = encoder(1)
    assert exports.call_count == 1
    graph_templates._KEPT.clear()
    assert filled == encoder(1), "with the moments that the exporter folds into an affine map"
    assert encoder(1, bits=12) != filled
    assert exports.call_count == 3


class Times(nn.Module):
    """Multiplies by a number that its text does not mention."""

    def __init__(self, factor: float, weight: Any) -> None:
        super().__init__()
        self.factor, self.weight = factor, nn.Parameter(weight)

    def forward(self, rows: Any) -> Any:
        """Return the products."""
        return rows * self.weight * self.factor


def test_a_graph_with_another_output_is_exported(exports: Mock) -> None:
    names, rows = {"items": ["found"]}, torch.ones(2, 3)
    made = [onnx_export._again(Times(factor, torch.rand(3)), rows, names, session) for factor in (2.0, 2.0, 3.0)]
    assert exports.call_count == 2
    assert made[2] != made[1]


def test_weights_of_one_value_and_equal_weights_are_exported(exports: Mock) -> None:
    names, rows, drawn = {"items": ["found"]}, torch.ones(2, 3), torch.rand(3)
    onnx_export._again(Times(2.0, drawn), rows, names, session)
    onnx_export._again(Times(2.0, torch.ones(3)), rows, names, session)
    onnx_export._again(nn.Sequential(Times(2.0, drawn), Times(2.0, drawn.clone())), rows, names, session)
    assert exports.call_count == 3
    assert len(graph_templates._KEPT) == 2


def test_a_later_process_fills_the_graph_of_an_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, rows = {"items": ["found"]}, torch.ones(2, 3)
    first, second = (Times(2.0, torch.rand(3)) for _ in range(2))
    exports = {id(one): onnx_export.exported(one, rows, names) for one in (first, second)}
    called: list[int] = []

    def made(module: Times, folder: Path | None = tmp_path / "graphs") -> bytes:
        def export() -> bytes:
            called.append(id(module))
            return exports[id(module)]

        graph_templates._KEPT.clear()
        return graph_templates.graph_of(module, rows, names, export, session, folder=folder)

    made(first)
    assert made(second) == exports[id(second)]
    assert called == [id(first)]
    (file,) = (tmp_path / "graphs").iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert made(second) == exports[id(second)], "a damaged file is written again"
    assert made(first) == exports[id(first)]
    assert called == [id(first), id(second)]
    made(second, tmp_path / "graphs" / file.name)  # where no folder can be made
    monkeypatch.setattr(graph_templates, "MAKERS", ("torch",))
    made(first)
    assert called == [id(first), id(second), id(second), id(first)], "other versions may make another graph"


def test_a_network_whose_text_says_where_it_lies_has_no_file(tmp_path: Path) -> None:
    assert graph_templates._file(tmp_path, "<Net object at 0x7f>", {}) is None
    assert graph_templates._file(None, "Net", {}) is None
    assert graph_templates._file(tmp_path, "Net", {}) != graph_templates._file(tmp_path, "Net", {"items": []})

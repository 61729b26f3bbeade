"""Graphs that are filled in: the bytes of an export, and an export where there is any doubt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

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


NAMES = {"items": ["found"]}


def drawn(*shape: int, seed: int = 0) -> Any:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def written(module: Times, *more: Any) -> bytes:
    """Return a graph of a module as an exporter would write it, with further numbers in it."""
    weight = numpy_helper.from_array(module.weight.detach().numpy(), "weight")
    value = onnx.helper.make_tensor_value_info
    places = [value(name, onnx.TensorProto.FLOAT, [2, len(module.weight)]) for name in ("items", "found")]
    node = onnx.helper.make_node("Mul", ["items", "weight"], ["found"])
    others = [numpy_helper.from_array(one, f"more {place}") for place, one in enumerate(more)]
    graph = onnx.helper.make_graph([node], "g", places[:1], places[1:], [weight, *others])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString(deterministic=True))


def asked(module: Times, *more: Any, rows: Any = None) -> tuple[bytes, int]:
    """Return the graph of a module, and how often it was exported."""
    export = Mock(side_effect=lambda: written(module, *more))
    example = torch.ones(2, len(module.weight)) if rows is None else rows
    return graph_templates.graph_of(module, example, NAMES, export, session), export.call_count


def test_a_graph_without_weights_is_filled_with_those_of_another() -> None:
    first, second = Times(1.0, drawn(3)), Times(1.0, drawn(3, seed=1))
    assert asked(first) == (written(first), 1)
    assert asked(second) == (written(second), 0)
    assert asked(first) == (written(first), 0)
    plain = Times(1.0, torch.tensor([2.0, 2.0, 2.0]))
    assert asked(plain) == (written(plain), 1), "an exporter may drop it"
    assert asked(plain) == (written(plain), 0)
    other = Times(1.0, torch.tensor([3.0, 3.0, 3.0]))
    assert asked(other) == (written(other), 1)
    assert asked(first, rows=torch.ones(1, 3))[1] == 1, "for other rows there is another graph"
    assert asked(first, rows=torch.ones((1, 3), dtype=torch.float64))[1] == 1


def test_graphs_with_further_numbers_are_not_kept() -> None:
    """They may come from weights; a single number, or whole ones, do not."""
    numbers, one, whole = np.ones(2, np.float32), np.ones((1, 1), np.float32), np.arange(5)
    for more, exports in (((numbers,), 1), ((whole, one), 0), ((one, np.ones((2, 1), np.float32)), 1)):
        graph_templates._KEPT.clear()
        module = Times(1.0, drawn(3))
        assert asked(module, *more) == (written(module, *more), 1)
        assert asked(module, *more) == (written(module, *more), exports)


def test_the_graphs_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_templates, "MOST", 2)
    exports = [asked(Times(1.0, drawn(width)))[1] for width in (3, 4, 3, 5, 4, 5, 3)]
    assert exports == [1, 1, 0, 1, 1, 0, 1]
    assert len(graph_templates._KEPT) == 2
    assert asked(Times(1.0, drawn(5)))[1] == 0, "that of 4 gave way, which was not used for longest"


def test_outputs_are_compared_for_drawn_rows() -> None:
    said: list[Any] = []
    module = nn.Sequential(nn.Flatten(), nn.ReLU())

    def told(off: float, like: type) -> Any:
        def run(names: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
            said.append((names, given["items"]))
            return [given["items"].astype(like) + like(off)]

        return SimpleNamespace(run=run)

    rows = torch.zeros(4, 5)
    assert graph_templates._agrees(told(0.0009, np.float32), module, rows, NAMES)
    assert not graph_templates._agrees(told(0.0025, np.float32), module, rows, NAMES)
    expected = drawn(4, 5, seed=graph_templates.SEED).numpy()
    assert all(names == ["found"] and np.array_equal(given, expected) for names, given in said)
    assert graph_templates._agrees(told(7, np.uint8), nn.Flatten(), rows.to(torch.uint8), NAMES), "bits may differ"
    assert said[-1][1].dtype == np.uint8
    assert said[-1][1].tolist() == (expected >= 0.5).astype(int).tolist()


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [(0.0009, 0.0, True), (0.0011, 0.0, False), (100.1009, 100.0, True), (100.102, 100.0, False)],
)
def test_outputs_may_differ_by_a_thousandth(one: float, other: float, near: bool) -> None:
    assert graph_templates._near(np.array([1.0, one]), np.array([1.0, other])) is near
    assert graph_templates._near(np.array([1.0, other]), np.array([1.0, other]))


def test_weights_of_a_standardised_map_have_names_of_their_own() -> None:
    first, second = nn.BatchNorm1d(3, affine=False, eps=0.25), nn.BatchNorm1d(3, affine=False, eps=0.25)
    moments: Any
    for moments in (first, second):
        moments.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
        moments.running_var.copy_(torch.tensor([0.75, 3.75, 8.75]))
    up, plain, usual = nn.Linear(2, 3), nn.Linear(3, 3, bias=False), nn.Linear(3, 3)
    parts = nn.Sequential(up, first, plain, second, usual, nn.BatchNorm1d(3))
    found = graph_templates._weights(nn.ModuleDict({"up": parts}))
    scale = np.array([1, 1 / 2, 1 / 3], np.float32)
    weight, bias = up.weight.detach().numpy(), up.bias.detach().numpy()
    standardised = [name for name in found if "standardised" in name]
    assert standardised == [f"up.{name} standardised" for name in ("0.weight", "0.bias", "2.weight")]
    np.testing.assert_allclose(found["up.0.weight standardised"], weight * scale[:, None])
    np.testing.assert_allclose(found["up.0.bias standardised"], (bias - [1, 2, 3]) * scale, rtol=1e-5)
    np.testing.assert_allclose(found["up.2.weight standardised"], plain.weight.detach().numpy() * scale[:, None])
    assert {"up.0.weight", "up.0.bias", "up.1.running_mean", "up.3.running_var", "up.5.weight"} < found.keys()
    assert not any("num_batches_tracked" in name for name in found), "a count is no weight"
    assert not graph_templates._is_plain(np.zeros(0))
    assert graph_templates._is_plain(np.array([[2.0, 2.0]]))
    assert not graph_templates._is_plain(np.array([[2.0, 3.0]]))

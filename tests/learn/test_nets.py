"""Networks: a battery for every kind, found by its file; and each against a loop by hand."""

from __future__ import annotations

import copy
import sys
from itertools import product
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError
from aepipe.learn import autoencoder, batches, likelihood, nets, posterior, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.nets import Head, conv, dense, gru, residual
from aepipe.learn.onnx_export import BATCH, freeze
from aepipe.learn.trainer import FileCheckpoint, Trainer
from aepipe.recipe import CodeRecipe, ComputeRecipe, FitRecipe, LayerRecipe

CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
IMAGE = (9, 8, 2)
EXAMPLES: dict[str, Any] = {
    "dense": dense.Options(width=6, hidden=(7,)),
    "conv": conv.Options(channels=6, kernel=3, pool=2),
    "residual": residual.Options(width=6, hidden=10, blocks=2),
    "gru": gru.Options(width=6, hidden=5),
}
MORE = [
    dense.Options(width=6, tied=True, normalize=True),
    dense.Options(width=6, hidden=(7, 5), tied=True, holes=True, activation="prelu"),
    conv.Options(channels=4, kernel=5, stride=2),
    conv.Options(channels=4, kernel=3, stride=2, pool=3, tied=True),
    residual.Options(width=6, hidden=10, blocks=1, holes=True),
]


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Any:
    return torch.randn(shape, generator=generator(seed))


A_NEW_NET = """
from typing import ClassVar

from torch import nn

from aepipe import recipe
from aepipe.learn.nets import PLAIN, Net, affine


class Options(recipe.Options):
    digest_name: ClassVar[str] = "plain.Options"
    width: int
    holes: ClassVar[bool] = False

    def code_shape(self, shape, head=PLAIN):
        return (self.width,)

    def build(self, shape, generator, head=PLAIN):
        up, down = affine(shape[0], self.width * head.heads, generator), affine(self.width, shape[0], generator)
        return Net(nn.Sequential(up), nn.Sequential(down), shape_in=shape, shape_out=(self.width,))
"""


def test_a_file_in_the_folder_is_a_kind(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain.py").write_text(A_NEW_NET)
    monkeypatch.setattr(nets, "__path__", [*nets.__path__, str(tmp_path)])
    nets.kinds.cache_clear()
    try:
        choices = {"net": {"kind": "plain", "width": 3}, "fit": {"epochs": 3, "batch": 32, "lr": 0.01}}
        spec = layer_specs.layer_spec(LayerRecipe.model_validate(choices), "layers.0")
    finally:
        nets.kinds.cache_clear()
        sys.modules.pop("aepipe.learn.nets.plain", None)
    assert spec.key()["net"] == {"kind": "plain.Options", "width": 3}
    rows = Feed(np.random.default_rng(0).random((100, 5), np.float32), CPU)
    model = stack.build([spec], (5,), seed=0)[0]
    trainer = Trainer(model, spec.training, train=rows, held_out=rows, seed=0, compute=CPU)
    curve = trainer.run(FileCheckpoint(tmp_path), lambda *_: None)
    assert curve[-1]["loss"] < curve[0]["loss"]


def test_every_kind_has_an_example() -> None:
    assert EXAMPLES.keys() == nets.kinds().keys()


@pytest.mark.parametrize("options", [*EXAMPLES.values(), *MORE], ids=str)
def test_shapes_weights_and_gradients(options: Any) -> None:
    torch.manual_seed(1)
    net: Any = options.build(IMAGE, generator())
    torch.manual_seed(2)
    again = options.build(IMAGE, generator())
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    x = draw(5, *IMAGE)
    code, switches = net.encode(x)
    assert tuple(code.shape[1:]) == net.shape_out == options.code_shape(IMAGE)
    torch.testing.assert_close(code, net.encoder(x))
    params = net.decode(code, switches)
    assert params.shape == x.shape
    assert net.decode(code).shape == x.shape
    ((params - x) ** 2).sum().backward()
    reached = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    # The last map of a block starts at zero, so the maps before it get a gradient from the second step on.
    unreached = {name for name, _ in net.named_parameters()} - reached
    assert not {name for name in unreached if "correction" not in name}


@pytest.mark.parametrize("options", [*EXAMPLES.values(), *MORE], ids=str)
def test_parameters_have_one_owner_and_survive_a_copy(options: Any) -> None:
    net: Any = options.build(IMAGE, generator())
    save(net.state_dict())  # refuses tensors that share memory
    twin = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert twin.decode(torch.ones(2, *net.shape_out)).abs().sum() == 0, "a tied decoder follows its own encoder"
    assert net.decode(torch.ones(2, *net.shape_out)).abs().sum() > 0


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_two_heads_double_the_last_axis(kind: str) -> None:
    options = EXAMPLES[kind] if kind != "conv" else conv.Options(channels=6, kernel=3)
    head = Head(heads=2, linear=True)
    net: Any = options.build(IMAGE, generator(), head)
    shape = options.code_shape(IMAGE, head)
    activation, _ = net.encode(draw(3, *IMAGE))
    assert tuple(activation.shape[1:]) == (*shape[:-1], 2 * shape[-1])
    assert net.decode(torch.zeros(3, *shape)).shape == (3, *IMAGE)
    assert activation.min() < 0, "a posterior with a link of its own gets linear activations"


def test_a_tied_decoder_is_the_transpose() -> None:
    net: Any = dense.Options(width=4, hidden=(6,), tied=True, activation="tanh").build((5,), generator())
    first, second = net.encoder[1], net.encoder[3]
    code = draw(3, 4)
    expected = torch.tanh(code @ second.weight) @ first.weight
    torch.testing.assert_close(net.decode(code), expected)
    assert {name for name, _ in net.decoder.named_parameters()} == {"0.bias", "2.bias"}


@pytest.mark.parametrize("options", [dense.Options(width=4, holes=True), residual.Options(width=4, holes=True)])
def test_missing_cells_are_zero_and_marked(options: Any) -> None:
    net: Any = options.build((5,), generator())
    x = draw(3, 5)
    holed = x.clone()
    holed[0, 1] = torch.nan
    code = net.encoder(holed)
    assert code.isfinite().all()
    torch.testing.assert_close(code[1:], net.encoder(x)[1:])
    zeroed = x.clone()
    zeroed[0, 1] = 0
    assert not torch.allclose(code[0], net.encoder(zeroed)[0]), "a hole is not a zero"


def test_convolution_pooling_and_switches_by_hand() -> None:
    net: Any = conv.Options(channels=3, kernel=3, pool=2).build((5, 4, 2), generator())
    x = draw(2, 5, 4, 2)
    weight, bias = net.encoder.convolution.weight, net.encoder.convolution.bias
    padded = torch.zeros(2, 7, 6, 2)
    padded[:, 1:6, 1:5] = x
    maps = torch.zeros(2, 5, 4, 3)
    for b, i, j, c in product(range(2), range(5), range(4), range(3)):
        window = padded[b, i : i + 3, j : j + 3].permute(2, 0, 1)
        maps[b, i, j, c] = torch.relu((window * weight[c]).sum() + bias[c])
    code, switches = net.encode(x)
    assert code.shape == (2, 2, 2, 3)
    back = torch.zeros(2, 5, 4, 3)
    for b, i, j, c in product(range(2), range(2), range(2), range(3)):
        window = maps[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        torch.testing.assert_close(code[b, i, j, c], window.max())
        m, n = divmod(int(window.argmax()), 2)
        back[b, 2 * i + m, 2 * j + n, c] = window.max()
    unpooled = net.decoder._unpooled(code.permute(0, 3, 1, 2), switches).permute(0, 2, 3, 1)
    torch.testing.assert_close(unpooled, back)


def test_without_switches_a_value_is_spread_over_its_window() -> None:
    decoder: Any = conv.Options(channels=1, kernel=3, pool=2).build((4, 4, 1), generator()).decoder
    code = draw(1, 1, 2, 2)
    total = torch.zeros(1, 1, 4, 4)
    for m, n in product(range(2), range(2)):
        places = torch.tensor([[[[4 * (2 * i + m) + 2 * j + n for j in range(2)] for i in range(2)]]])
        total += decoder._unpooled(code, nets.Switches(places))
    torch.testing.assert_close(decoder._unpooled(code, None), total / 4)


@pytest.mark.parametrize(("stride", "shape"), [(1, (7, 6, 2)), (2, (7, 6, 2)), (2, (8, 5, 2)), (3, (9, 10, 2))])
def test_a_tied_transposed_convolution_is_the_adjoint(stride: int, shape: tuple[int, int, int]) -> None:
    options = conv.Options(channels=4, kernel=5, stride=stride, tied=True, activation="linear")
    net: Any = options.build(shape, generator())
    with torch.no_grad():
        net.encoder.convolution.bias.zero_()
    x, y = draw(1, *shape), draw(1, *net.shape_out, seed=1)
    torch.testing.assert_close((net.encoder(x) * y).sum(), (x * net.decode(y)).sum())


def test_a_residual_block_by_hand() -> None:
    block: Any = residual.Block(6, torch.nn.Tanh(), generator())
    x = draw(4, 6)
    torch.testing.assert_close(block(x), x, msg="a block starts as the identity")
    with torch.no_grad():
        block.correction[4].weight.copy_(draw(6, 6, seed=1))
    normed = (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    first, last = block.correction[2], block.correction[4]
    inner = torch.tanh(torch.tanh(normed) @ first.weight.T + first.bias)
    torch.testing.assert_close(block(x), x + inner @ last.weight.T + last.bias)


def test_gated_units_step_by_step() -> None:
    net: Any = gru.Options(width=3, hidden=4).build((6, 2, 1), generator())
    x = draw(5, 6, 2, 1)

    def stepped(unit: Any, inputs: Any, state: Any) -> list[Any]:
        cell = torch.nn.GRUCell(unit.input_size, unit.hidden_size)
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in unit.state_dict().items()})
        states = [state]
        for step in inputs:
            states.append(cell(step, states[-1]))
        return states[1:]

    up = net.encoder[1].unit
    last = stepped(up, x.flatten(2).unbind(1), torch.zeros(5, 4))[-1]
    code = net.encoder[2](last)
    torch.testing.assert_close(net.encoder(x), code)
    unfold, out = net.decoder[0], net.decoder[1]
    states = stepped(unfold.unit, [code] * 6, torch.tanh(unfold.start(code)))
    expected = torch.stack([out(state) for state in states], 1)
    torch.testing.assert_close(net.decode(code).flatten(2), expected)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [{"kind": "dense", "width": 500}, {"kind": "conv", "channels": 3}],
            "layers.1.net: a convolution reads images, [height, width, channels], not the 500 values that come from "
            "below; allowed above a dense layer: dense, residual",
        ),
        ([{"kind": "dense", "width": 5}, {"kind": "gru", "width": 3}], "layers.1.net: a recurrent network reads"),
        ([{"kind": "conv", "channels": 3, "pool": 20}], "layers.0.net: pool = 20 leaves nothing of 9 x 8 pixels"),
        (
            [{"kind": "conv", "channels": 3, "kernel": 4}],
            "layers.0.net.kernel: value error, a kernel has an odd number",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        checked(layers)
    assert message in str(caught.value)


def checked(layers: list[dict[str, Any]]) -> None:
    recipes = [LayerRecipe.model_validate({"net": net}) for net in layers]
    specs = [layer_specs.layer_spec(one, f"layers.{k}") for k, one in enumerate(recipes)]
    layer_specs.check_stack([*specs, layer_specs.code_spec(CodeRecipe(bits=4))], IMAGE)


STACKS: dict[str, list[dict[str, Any]]] = {
    "conv": [
        {"net": {"kind": "conv", "channels": 4, "kernel": 3, "pool": 2}},
        {"net": {"kind": "conv", "channels": 6, "kernel": 3, "tied": True, "activation": "elu"}},
        {"net": {"kind": "dense", "width": 20, "tied": True}},
    ],
    "gru": [{"net": {"kind": "gru", "width": 12, "hidden": 16}}],
    "residual": [{"net": {"kind": "residual", "width": 12, "hidden": 24, "blocks": 1}}],
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", sorted(STACKS))
def test_stacks_train_greedily_unroll_and_freeze(name: str, precision: Any, tmp_path: Any) -> None:
    where = batches.resolve(ComputeRecipe(device="cpu", precision=precision))
    tight = batches.Compute(where.device, where.dtype, memory=1000)
    fit = FitRecipe(epochs=3, batch=32, lr=0.01)
    recipes = [LayerRecipe.model_validate({**one, "fit": fit}) for one in STACKS[name]]
    specs = [layer_specs.layer_spec(one, f"layers.{k}") for k, one in enumerate(recipes)]
    specs.append(layer_specs.code_spec(CodeRecipe(bits=12, fit=fit)))
    items = np.random.default_rng(0).integers(0, 256, (128, *IMAGE), np.uint8) // 128 * 255
    layers, rows = stack.build(specs, IMAGE, seed=0), Feed(items, where)
    for depth, spec in enumerate(specs):
        codes = stack.codes(layers[:depth], rows, tight, spill=tmp_path / f"{depth}.npy")
        assert depth == 0 or not codes.resident
        one = Trainer(layers[depth], spec.training, train=codes, held_out=codes, seed=depth, compute=where)
        curve = one.run(FileCheckpoint(tmp_path / str(depth)), lambda *_: None)
        assert curve[-1]["loss"] < curve[0]["loss"]
    whole = Trainer(stack.unroll(layers), specs[-1].training, train=rows, held_out=rows, seed=9, compute=where)
    curve = whole.run(FileCheckpoint(tmp_path / "whole"), lambda *_: None)
    assert curve[-1]["loss"] < curve[0]["loss"]
    if precision == "float32":
        check_frozen(layers, items)


def check_frozen(layers: Any, items: Any) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(freeze(layers, torch.zeros(12), IMAGE))
    parts = [session.run(None, {"items": items[i : i + BATCH]}) for i in range(0, 128, BATCH)]
    embedding, logits, bits = (np.concatenate(part) for part in zip(*parts, strict=True))
    with torch.no_grad():
        x = Feed(items, CPU).batch(torch.arange(128))
        below = stack.unroll(layers[:-1]).encode(x).mean
        expected = layers[-1].net.encoder(below)
    np.testing.assert_allclose(embedding, below.flatten(1).numpy(), atol=1e-4)
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4)
    np.testing.assert_array_equal(bits, logits > 0)
    order = np.random.default_rng(1).permutation(BATCH)
    np.testing.assert_array_equal(session.run(None, {"items": items[order]})[1], logits[order])


def test_an_unrolled_stack_passes_no_switches_down() -> None:
    specs = [layer_specs.layer_spec(LayerRecipe.model_validate(one), "x") for one in STACKS["conv"]]
    layers = stack.build(specs, IMAGE, seed=0)
    whole = stack.unroll(layers)
    x = draw(4, *IMAGE)
    encoding = whole.encode(x)
    assert encoding.switches is None
    torch.testing.assert_close(whole.decode(encoding.mean), whole.decode(encoding.mean.clone()))
    single = autoencoder.Autoencoder(layers[0].net, posterior.Delta(), likelihood.Gaussian())
    assert single.encode(x).switches is not None


@pytest.mark.parametrize(
    ("options", "rectified"),
    [
        (dense.Options(width=6), True),
        (dense.Options(width=6, activation="tanh"), False),
        (dense.Options(width=6, code_activation="linear"), False),
        (dense.Options(width=6, activation="tanh", code_activation="relu"), True),
        (conv.Options(channels=6, kernel=3), True),
        (conv.Options(channels=6, kernel=3, activation="gelu"), False),
        (residual.Options(width=6, hidden=10, blocks=1, code_activation="relu"), True),
        (residual.Options(width=6, hidden=10, blocks=1), False),
        (gru.Options(width=6, hidden=5, activation="relu"), True),
        (gru.Options(width=6, hidden=5), False),
    ],
)
def test_a_network_says_whether_its_codes_are_never_negative(options: Any, rectified: bool) -> None:
    net = options.build(IMAGE, generator())
    assert net.rectified is rectified
    assert bool((net.encoder(draw(50, *IMAGE)) >= 0).all()) is rectified
    assert not options.build(IMAGE, generator(), Head(linear=True)).rectified
    assert net.shape_in == IMAGE


def bounds(net: Any) -> dict[str, float]:
    """Return the largest absolute value of each parameter, by name."""
    named = {f"encoder.{name}": one for name, one in net.encoder.named_parameters()}
    named |= {f"decoder.{name}": one for name, one in net.decoder.named_parameters()}
    return {name: one.detach().abs().max().item() for name, one in named.items()}


@pytest.mark.parametrize(
    ("options", "fans"),
    [
        (conv.Options(channels=40, kernel=3), {"encoder.convolution": 2 * 9, "decoder": 40 * 9}),
        (conv.Options(channels=40, kernel=5, stride=2), {"encoder.convolution": 2 * 25, "decoder": 40 * 25}),
        (dense.Options(width=40), {"encoder.1": 144, "decoder.0": 40}),
        (dense.Options(width=40, holes=True), {"encoder.2": 288, "decoder.0": 40}),
        (
            gru.Options(width=40, hidden=30),
            {"encoder.1.unit": 30, "encoder.2": 30, "decoder.0.start": 40, "decoder.0.unit": 30, "decoder.1": 30},
        ),
        (
            residual.Options(width=40, hidden=30, blocks=1),
            {"encoder.1": 144, "encoder.5": 30, "decoder.0": 40, "decoder.4": 30, "decoder.1.correction.2": 30},
        ),
    ],
    ids=str,
)
def test_weights_are_within_one_over_the_root_of_their_fan_in(options: Any, fans: dict[str, int]) -> None:
    found = bounds(options.build(IMAGE, generator()))
    for at, fan_in in fans.items():
        own = {name: most for name, most in found.items() if name.rpartition(".")[0] == at}
        assert max(own.values()) == pytest.approx(fan_in**-0.5, rel=0.01), at
        assert all(0 < most <= fan_in**-0.5 for most in own.values()), at


@pytest.mark.parametrize(("activation", "inner"), [("relu", 2**0.5), ("tanh", 1.0)])
def test_weights_of_a_deep_network_keep_the_size_of_signals(activation: Any, inner: float) -> None:
    """A map before a rectifier makes up for the half that is lost there; the uppermost maps are before others."""
    one = dense.Options(width=40, hidden=(30,), activation=activation, code_activation="linear")
    found = bounds(one.build(IMAGE, generator()))
    gains = {"encoder.1": (144, inner), "encoder.3": (30, 1.0), "decoder.0": (40, inner), "decoder.2": (30, 1.0)}
    for at, (fan_in, gain) in gains.items():
        assert found[f"{at}.weight"] == pytest.approx(gain * (3 / fan_in) ** 0.5, rel=0.01), at
        assert found[f"{at}.bias"] == 0

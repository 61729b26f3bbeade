"""The frozen encoder: the network's output, equal bytes, and equal bits in any batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import DECODER, GRAPH, Card, Decoder, Encoder, cosines, write_card
from aepipe.errors import CorruptError
from aepipe.learn import batches, stack
from aepipe.learn import spec as layer_specs
from aepipe.learn.batches import Feed
from aepipe.learn.onnx_export import BATCH, freeze, freeze_decoder
from aepipe.recipe import Choice, CodeRecipe, ComputeRecipe, LayerRecipe

SHAPE = (12, 12, 3)
CPU = batches.resolve(ComputeRecipe(device="cpu", precision="float32"))
ITEMS = np.random.default_rng(0).integers(0, 256, (10_000, *SHAPE), np.uint8)


@pytest.fixture(scope="module")
def layers() -> Any:
    dense = LayerRecipe(net=Choice(kind="dense", options={"width": 100}))
    specs = [
        layer_specs.layer_spec(dense, "layers.0"),
        layer_specs.layer_spec(dense, "layers.1"),
        layer_specs.code_spec(CodeRecipe(bits=20)),
    ]
    return [one.eval() for one in stack.build(specs, SHAPE, seed=0)]


@pytest.fixture(scope="module")
def threshold(layers: Any) -> Any:
    return stack.thresholds(stack.unroll(layers), Feed(ITEMS, CPU), "median")


@pytest.fixture(scope="module")
def encoder(layers: Any, threshold: Any, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder: Path = tmp_path_factory.mktemp("model")
    (folder / GRAPH).write_bytes(freeze(layers, threshold, SHAPE))
    write_card(folder, Card("images", {"size": [12, 12]}, SHAPE, 20, BATCH))
    return Encoder.open(folder)


def test_it_gives_the_output_of_the_network(encoder: Encoder, layers: Any, threshold: Any) -> None:
    found = encoder.encode(ITEMS[:500])
    with torch.no_grad():
        x = Feed(ITEMS[:500], CPU).batch(torch.arange(500))
        below = layers[1].encode(layers[0].encode(x).mean).mean
        logits = layers[2].net.encoder(below) - threshold
    np.testing.assert_allclose(found.embedding, below.numpy(), atol=1e-4)
    np.testing.assert_allclose(found.logits, logits.numpy(), atol=1e-4)
    np.testing.assert_array_equal(found.codes.unpack(), found.logits > 0)
    assert found.codes.fingerprint == encoder.fingerprint


def test_bits_do_not_depend_on_batch_size_position_or_threads(encoder: Encoder) -> None:
    whole = encoder.encode(ITEMS)
    order = np.random.default_rng(1).permutation(len(ITEMS))
    shuffled = encoder.encode(ITEMS[order], threads=2)
    np.testing.assert_array_equal(shuffled.logits, whole.logits[order])
    for size in (1, 7, 32, 33, 1000):
        parts = [encoder.encode(ITEMS[i : i + size]).codes.packed for i in range(0, 10_000 if size > 1 else 500, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole.codes.packed[: 10_000 if size > 1 else 500])


def test_equal_weights_give_equal_bytes_without_traces_of_the_machine(layers: Any, threshold: Any) -> None:
    graph = freeze(layers, threshold, SHAPE)
    assert graph == freeze(layers, threshold, SHAPE)
    assert str(Path.cwd()).encode() not in graph
    assert b".py" not in graph


def test_no_rows_give_no_codes(encoder: Encoder) -> None:
    none = encoder.encode(ITEMS[:0])
    assert len(none.codes) == 0
    assert none.embedding.shape == (0, 100)


def test_items_of_another_shape_are_refused(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match=r"items of shape \(12, 12, 1\): this encoder takes \(12, 12, 3\)"):
        encoder.encode(ITEMS[:2, :, :, :1])


def test_cosines_of_lifted_embeddings_are_in_the_order_of_distances(
    layers: Any, threshold: Any, encoder: Encoder, tmp_path: Path
) -> None:
    feed = Feed(ITEMS[:400], CPU)
    (tmp_path / GRAPH).write_bytes(freeze(layers, threshold, SHAPE, lift=stack.lift(layers[0], feed)))
    write_card(tmp_path, encoder.card)
    found = Encoder.open(tmp_path).encode(ITEMS[:400])
    np.testing.assert_array_equal(found.logits, encoder.encode(ITEMS[:400]).logits)
    with torch.no_grad():
        code = torch.cat([layers[0].encode(block).mean.flatten(1) for block in feed.blocks()]).numpy()
    np.testing.assert_allclose(found.embedding[:, :-1], code, atol=1e-4)
    far = np.square(code[:1] - code).sum(1)
    angle = -cosines(found.embedding[0], found.embedding)
    assert len(np.intersect1d(np.argsort(far)[:20], np.argsort(angle)[:20])) >= 18


NETS = {"dense": {"width": 100}, "conv": {"channels": 4, "pool": 2}, "gru": {"width": 9}}


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("kind", NETS)
def test_the_decoder_gives_the_rows_of_the_network(kind: str, likelihood: str, tmp_path: Path) -> None:
    lowest = LayerRecipe(net=Choice(kind=kind, options=NETS[kind]), likelihood=Choice(kind=likelihood))
    shape = (12, 36) if kind == "gru" else SHAPE
    stacked = stack.build(
        [layer_specs.layer_spec(lowest, "layers.0"), layer_specs.code_spec(CodeRecipe(bits=20))], shape, seed=0
    )
    model = stack.unroll([one.eval() for one in stacked])
    (tmp_path / DECODER).write_bytes(freeze_decoder(model))
    decoder = Decoder.open(tmp_path)
    assert decoder is not None
    items = ITEMS[:600].reshape(600, *shape)
    bits = np.random.default_rng(0).integers(0, 2, (600, 20), np.uint8)
    with torch.no_grad():
        rebuilt = model.likelihood.mean(model.decode(2 * torch.from_numpy(bits).float() - 1)).numpy()
    expected = np.sqrt(((rebuilt - items / 255) ** 2).reshape(600, -1).mean(1))
    np.testing.assert_allclose(decoder.errors(items, BitCodes.from_bits(bits)), expected, rtol=1e-4)
    assert decoder.errors(items[:0], BitCodes.from_bits(bits[:0])).shape == (0,)


def test_a_model_without_a_decoder_and_one_with_a_torn_one(tmp_path: Path) -> None:
    assert Decoder.open(tmp_path) is None
    (tmp_path / DECODER).write_bytes(b"torn")
    with pytest.raises(CorruptError, match=r"decoder\.onnx: corrupt"):
        Decoder.open(tmp_path)

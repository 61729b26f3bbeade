"""Networks that hear raw sound: rates and loudness as their folders say, and the same for a query."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

audio = pytest.importorskip("soundfile", reason="needs the extra audio")
pytest.importorskip("soxr", reason="needs the extra audio")

from aepipe import recipe as recipes
from aepipe.errors import CorruptError, EmptyItemError, RecipeError, SourceError
from aepipe.sources import decoder, drawing
from aepipe.sources.audio.source import Audio, Features, Options
from tests.support.networks import attached, heard, sound, vision, write

RATE = 4000
WAV2VEC2 = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": RATE, "do_normalize": True}


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    stream = io.BytesIO()
    audio.write(stream, samples, rate, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def tone(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate) + 0.1).astype(np.float32)


def source(folder: Path, backbone: Path | str, **features: object) -> Audio:
    (folder / "sounds").mkdir(exist_ok=True)
    (folder / "sounds" / "a.wav").write_bytes(wav(tone(2.5)))
    chosen = recipes.options(Features, {"backbone": str(backbone), **features}, "features")
    return Audio(Options(path="sounds"), chosen, base=folder, name="a")


@pytest.mark.parametrize("normalize", [True, False])
def test_a_window_is_heard_as_the_folder_says(tmp_path: Path, normalize: bool) -> None:
    net = write(tmp_path / "net", preprocessor_config={**WAV2VEC2, "do_normalize": normalize})
    sound(net / "model.onnx", "last_hidden_state")
    found = attached(source(tmp_path, net), tmp_path / "store")
    assert (found.shape, found.dtype, found.features()["rate"]) == ((6,), "float16", RATE)
    hear = decoder("audio", found.features(), tmp_path / "store")
    items = list(found.items())
    assert [item.key for item in items] == ["a.wav@0", "a.wav@1", "a.wav@2"]
    samples = tone(2.5).astype(np.float64)
    for start, item in enumerate(items):
        part = samples[start * RATE : (start + 1) * RATE]
        part = (part - part.mean()) / np.sqrt(part.var() + 1e-7) if normalize else part
        np.testing.assert_allclose(found.row(item.read(), "k").astype(np.float64), heard(part), atol=2e-3)
        np.testing.assert_array_equal(hear(item.read(), "q"), found.row(item.read(), "k"))
    with pytest.raises(EmptyItemError):
        hear(wav(np.zeros(RATE, np.float32)), "q")
    draw = drawing("audio")
    assert draw is not None
    assert draw(items[0].read(), "k", 96, found.features).size == (32, 32)


def test_the_recipe_comes_before_the_files(tmp_path: Path) -> None:
    net = write(tmp_path / "net", preprocessor_config=WAV2VEC2)
    sound(net / "onnx" / "model.onnx", "last_hidden_state", "embeddings", masked=True)
    found = attached(source(tmp_path, net), tmp_path / "store")
    assert "output embeddings (not last_hidden_state)" in found.network_said[0]
    other = attached(source(tmp_path, net, rate=8000, normalize=False, pooling="mean"), tmp_path / "other")
    assert other.network_said[1:] == (
        "recordings: 8,000 samples in a second",
        "from the recipe: normalize, pooling, rate",
    )
    whole = wav(tone(1.0, 8000), 8000)
    np.testing.assert_allclose(other.row(whole, "k").astype(np.float64), heard(tone(1.0, 8000)), atol=2e-3)


def test_what_cannot_be_heard_is_said_in_one_line(tmp_path: Path) -> None:
    net = write(tmp_path / "net", config={})
    sound(net / "model.onnx", "last_hidden_state", length=2000)
    with pytest.raises(SourceError, match=r"no sampling_rate in preprocessor_config\.json; say rate = 16000"):
        source(tmp_path, net)
    write(net, preprocessor_config=WAV2VEC2)
    with pytest.raises(SourceError, match=r"takes 2,000 samples; say window = 0\.5 under \[features\], or less"):
        source(tmp_path, net)
    assert source(tmp_path, net, window=0.5).backbone is not None
    vision(net / "model.onnx", "pooler_output")
    with pytest.raises(
        CorruptError, match=r"takes pixel_values .* raw sound, input_values \[1, N\], or a spectrogram as of"
    ):
        source(tmp_path, net)
    with pytest.raises(SourceError, match="no such backbone; allowed: a folder with a network, or an ONNX file"):
        source(tmp_path, "wav2vec2")
    with pytest.raises(RecipeError, match="normalize is an option of a backbone"):
        recipes.options(Features, {"normalize": True}, "features")


def test_nothing_read_makes_the_features_of_a_recipe_what_they_were(tmp_path: Path) -> None:
    plain = (
        Audio(Options(path="."), Features(), base=tmp_path, name="a")
        if (tmp_path / "x.wav").write_bytes(wav(tone()))
        else None
    )
    assert plain is not None
    options = {"rate": 16000, "window": 1.0, "hop": None, "bands": 32, "frames": 32}
    assert plain.features() == {"kind": "audio", "decoder": 1, **options}

"""Spectrograms as AST, Whisper and CLAP want them, their networks, and words to sound by two towers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from onnx import TensorProto, helper

pytest.importorskip("soundfile", reason="needs the extra audio")
pytest.importorskip("tokenizers", reason="needs the extra text")

from aepipe import words
from aepipe.errors import CorruptError, SourceError
from aepipe.sources import decoder
from aepipe.sources.networks.folder import Folder
from aepipe.sources.networks.hearing import Hearing, SoundEncoder, read
from aepipe.sources.networks.spectra import Spectra
from tests.sources.networks.test_hearing import source, wav
from tests.support.networks import attached, save, spectral, unit, write

RATE = 16_000
AST = {"feature_extractor_type": "ASTFeatureExtractor", "sampling_rate": RATE, "max_length": 64, "num_mel_bins": 32}
WHISPER = {"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": RATE, "chunk_length": 1}
CLAP = {
    "feature_extractor_type": "ClapFeatureExtractor",
    "sampling_rate": RATE,
    "max_length_s": 1,
    "hop_length": 160,
    "fft_window_size": 512,
    "feature_size": 32,
    "frequency_max": 8000,
}
CELLS = ((5, 3), (20, 10), (45, 20), (60, 5))


def sweep(seconds: float = 0.5) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * (200 + 1500 * times) * times)).astype(np.float32)


def spectra(given: dict[str, Any], **more: Any) -> Spectra:
    found = Spectra.read(given, RATE, **more)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("given", "shape", "cells"),
    [
        (AST, (64, 32), (0.3846, 0.8007, -1.2239, 0.467)),
        (WHISPER, (80, 100), (0.0573, -0.6524, -0.664, -0.664)),
        (CLAP, (4, 101, 32), (17.6827, 21.9223, -64.4276, 21.74)),
        (CLAP | {"truncation": "rand_trunc"}, (1, 101, 32), (12.5655, -34.1102, -83.9648, 10.5433)),
    ],
)
def test_cells_are_those_of_transformers(
    given: dict[str, Any], shape: tuple[int, ...], cells: tuple[float, ...]
) -> None:
    how = spectra(given)
    found = how(sweep().astype(np.float64))
    assert found.shape == how.shape == shape
    plain = found.T if found.shape == (80, 100) else found.reshape(-1, *found.shape[-2:])[0]
    np.testing.assert_allclose([plain[cell] for cell in CELLS], cells, atol=1e-3)
    assert Spectra.of(json.loads(json.dumps(how.to_json()))) == how


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("audio_spectrogram_transformer.ASTFeatureExtractor", {}),
        ("whisper.WhisperFeatureExtractor", {"feature_size": 128}),
        ("clap.ClapFeatureExtractor", {"frequency_min": 50}),
        ("clap.ClapFeatureExtractor", {"padding": "repeat", "truncation": "rand_trunc"}),
    ],
)
def test_any_recording_gives_what_transformers_gives(kind: str, options: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers", reason="compares with transformers, which nothing here needs")
    theirs = getattr(transformers, kind.rpartition(".")[2])(**options)
    rate = theirs.sampling_rate
    ours = Spectra.read(json.loads(theirs.to_json_string()), rate)
    assert ours is not None
    rng = np.random.default_rng(0)
    for seconds in (0.2, 1.0, 4.3):
        samples = rng.normal(0, 0.1, round(seconds * rate)).astype(np.float32)
        found = theirs(samples, sampling_rate=rate, return_tensors="np")
        expected = next(found[name] for name in ("input_features", "input_values") if name in found)[0]
        np.testing.assert_allclose(ours(samples.astype(np.float64)), expected, atol=1e-4)


def test_a_recipe_may_leave_cells_as_they_are() -> None:
    plain, scaled = spectra(AST, normalize=False), spectra(AST)
    samples = sweep().astype(np.float64)
    np.testing.assert_allclose((plain(samples) - scaled.mean) / scaled.scale, scaled(samples))
    assert Spectra.read({"feature_extractor_type": "Wav2Vec2FeatureExtractor"}, RATE) is None
    with pytest.raises(SourceError, match="num_mel_bins"):
        spectra(AST | {"num_mel_bins": 0})


def test_a_window_goes_through_a_network_for_spectrograms(tmp_path: Path) -> None:
    net = write(tmp_path / "net", preprocessor_config=AST)
    spectral(net / "onnx" / "model.onnx", "input_values", [64, 32], "audio_embeds")
    found = attached(source(tmp_path, net, window=0.5), tmp_path / "store")
    assert found.network_said[1] == (
        "recordings: 16,000 samples in a second, a spectrogram of 32 mel bands and 64 steps, as of AST"
    )
    np.testing.assert_allclose(
        found.row(wav(sweep(), RATE), "k").astype(np.float64),
        unit(spectra(AST)(sweep().astype(np.float64)).mean(axis=0)),
        atol=2e-3,
    )
    hear = decoder("audio", json.loads(json.dumps(found.features())), tmp_path / "store")
    np.testing.assert_array_equal(hear(wav(sweep(), RATE), "q"), found.row(wav(sweep(), RATE), "k"))
    with pytest.raises(SourceError, match=r"takes 10,480 samples; say window = 0\.655 under \[features\], or less"):
        source(tmp_path, net, window=1.0)


def test_silence_after_a_short_recording_is_not_heard(tmp_path: Path) -> None:
    net = write(tmp_path / "net", preprocessor_config=WHISPER)
    spectral(net / "onnx" / "encoder_model.onnx", "input_features", [80, 100], "last_hidden_state")
    (net / "onnx" / "decoder_model.onnx").write_bytes(b"x")
    folder = Folder.at(net, "audio")
    hearing, _ = read(folder, {})
    assert Hearing.of(hearing.to_json()) == hearing
    hears = SoundEncoder(folder.graph, hearing)
    own = spectra(WHISPER)(sweep().astype(np.float64))[:, :50].mean(axis=1)
    np.testing.assert_allclose(hears(sweep()).astype(np.float64), unit(own), atol=2e-3)


def test_a_spectrogram_of_another_shape_is_refused(tmp_path: Path) -> None:
    net = write(tmp_path / "net", preprocessor_config=CLAP)
    spectral(net / "model.onnx", "input_features", [1, "steps", 32], "audio_embeds")
    with pytest.raises(
        CorruptError, match=r"a spectrogram of 32 mel bands and 101 steps, as of CLAP, \[1, 4, 101, 32\],"
    ):
        source(tmp_path, net, window=1.0)
    write(net, preprocessor_config={"sampling_rate": RATE})
    with pytest.raises(CorruptError, match="or a spectrogram as of ASTFeatureExtractor, WhisperFeatureExtractor"):
        source(tmp_path, net, window=1.0)


PITCHES = {"low": 300, "middle": 1000, "high": 3500}


def tone(hertz: float, rng: np.random.Generator) -> np.ndarray:
    times = np.arange(RATE // 2) / RATE
    return (0.3 * np.sin(2 * np.pi * hertz * times) + rng.normal(0, 0.01, len(times))).astype(np.float32)


def test_words_find_sound_by_the_towers_of_clap(tmp_path: Path) -> None:
    import tokenizers

    net, rng = (
        write(tmp_path / "clap", preprocessor_config=CLAP, config={"model_type": "clap"}),
        np.random.default_rng(0),
    )
    spectral(net / "onnx" / "audio_model.onnx", "input_features", [4, 101, 32], "audio_embeds", longer=True)
    means = [spectra(CLAP)(tone(hertz, rng).astype(np.float64)).mean(axis=(0, 1)) for hertz in PITCHES.values()]
    gap = 60 * rng.normal(size=32)
    table = np.array([np.mean(means, axis=0), *means], np.float32) + gap.astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"]),
        helper.make_node("ReduceMean", ["each"], ["text_embeds"], axes=[1], keepdims=0),
    ]
    ids = {"input_ids": (TensorProto.INT64, ["n", "tokens"])}
    save(net / "onnx" / "text_model.onnx", nodes, ids, ["text_embeds"], {"table": table})
    model = tokenizers.models.WordLevel({"[UNK]": 0, **{one: n for n, one in enumerate(PITCHES, 1)}}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(net / "tokenizer.json"))

    found = attached(source(tmp_path, net, window=0.5), tmp_path / "store")
    rows = {one: [found.row(wav(tone(hertz, rng), RATE), one) for _ in range(8)] for one, hertz in PITCHES.items()}
    learned = np.concatenate([np.stack(several) for several in rows.values()])
    (tmp_path / "words").mkdir()
    words.resolve(str(net), base=tmp_path, width=32).make(tmp_path / "words", cast("Any", None), learned)
    opened = words.opened(tmp_path / "words")
    for place, name in enumerate(PITCHES):
        near = learned.astype(np.float64) @ opened(name).features
        assert set(np.argsort(-near)[:8] // 8) == {place}

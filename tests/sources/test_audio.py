"""Recordings as mel spectrograms: known tones, windows, queries, and refused files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sound = pytest.importorskip("soundfile", reason="needs the extra audio")
pytest.importorskip("soxr", reason="needs the extra audio")

from aepipe import sources
from aepipe.errors import ItemError, QueryError, SourceError
from aepipe.sources import preview
from aepipe.sources.audio.source import Audio, Features, Options
from aepipe.sources.loader import read_all

RATE = 8000


def tone(hertz: float, seconds: float = 1.0, rate: int = RATE, loud: float = 0.5) -> np.ndarray:
    return loud * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def wav(samples: np.ndarray, rate: int = RATE, form: str = "WAV") -> bytes:
    stream = io.BytesIO()
    sound.write(stream, samples, rate, format=form)
    return stream.getvalue()


def decode(data: bytes, **options: object) -> np.ndarray:
    return sources.decoder("audio", Features(**{"rate": RATE, **options}).model_dump())(data, "q")  # type: ignore[arg-type]


def audio(folder: Path, path: str = ".", features: dict[str, object] | None = None, **options: object) -> Audio:
    chosen = Features(**{"rate": RATE, **(features or {})})  # type: ignore[arg-type]
    return Audio(Options(path=path, **options), chosen, base=folder, name="a")  # type: ignore[arg-type]


def test_a_tone_is_loudest_in_its_band_at_every_time() -> None:
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), 34) / 2595) - 1)
    for band in (8, 16, 28):
        row = decode(wav(tone(edges[band + 1])))[:, 2:-2, 0]
        assert set(row.argmax(axis=0)) == {band}
        assert row.max() == 255


def test_a_tenth_of_the_amplitude_is_20_decibels_less() -> None:
    both = np.concatenate([tone(1000, 0.5), tone(1000, 0.5, loud=0.05)])
    row = decode(wav(both))[:, :, 0].astype(float)
    band = row[:, 8].argmax()
    assert row[band, 8] - row[band, 24] == pytest.approx(20 / 80 * 255, abs=2)


def test_a_row_depends_neither_on_loudness_nor_on_the_rate_of_the_file() -> None:
    quiet, loud = (decode(wav(tone(440, loud=level))) for level in (0.05, 0.9))
    assert np.abs(quiet.astype(int) - loud).mean() < 4
    other = decode(wav(tone(440, rate=22050), rate=22050))
    near = decode(wav(tone(440)))
    assert np.abs(other[:20].astype(int) - near[:20]).mean() < 12


def test_a_recording_is_drawn_with_high_frequencies_at_the_top() -> None:
    draw = sources.drawing("audio")
    assert draw is not None
    features = Features(rate=RATE).model_dump()
    low, high = (np.asarray(draw(wav(tone(hertz)), "a", 224, lambda: features)) for hertz in (200, 3000))
    assert low.shape == (32, 32)
    assert high[:, 8].argmax() < 8
    assert low[:, 8].argmax() > 24


def test_flac_and_wav_give_the_same_row() -> None:
    samples = 0.9 * (tone(440) + tone(1234))
    one, other = decode(wav(samples)), decode(wav(samples, form="FLAC"))
    assert np.abs(one.astype(int) - other).max() <= 2


def test_a_whole_recording_of_any_length_fills_the_row() -> None:
    short, long = (
        decode(wav(np.concatenate([tone(300, seconds), tone(2000, seconds)])), window="whole") for seconds in (0.2, 3.0)
    )
    for row in (short, long):
        loudest = row[:, :, 0].argmax(axis=0)
        assert len(set(loudest[2:14])) == 1
        assert len(set(loudest[18:30])) == 1
        assert loudest[5] < loudest[25]


def test_a_file_is_cut_into_windows_that_can_be_read_again(tmp_path: Path) -> None:
    (tmp_path / "long.wav").write_bytes(wav(np.concatenate([tone(300, 1.0), tone(1000, 1.0), tone(2000, 0.6)])))
    (tmp_path / "short.flac").write_bytes(wav(tone(500, 0.2), form="FLAC"))
    (tmp_path / "notes.txt").write_text("x")
    source = audio(tmp_path)
    found = list(read_all(source))
    assert [one.item.key for one in found] == ["long.wav@0", "long.wav@1", "long.wav@2", "short.flac@0"]
    assert source.passed_over.total == 1
    peaks = [one.features[:, 8, 0].argmax() for one in found[:3] if one.features is not None]
    assert peaks == sorted(set(peaks))
    for one in found:
        again = source.row(preview(source.location, one.item.place), "again")
        assert one.features is not None
        np.testing.assert_array_equal(again, one.features)
    halves = list(audio(tmp_path, "long.wav", {"hop": 0.5}).items())
    assert [item.key for item in halves] == ["long.wav@0", "long.wav@0.5", "long.wav@1", "long.wav@1.5", "long.wav@2"]


def test_windows_of_a_recording_are_in_one_split(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.wav").write_bytes(wav(np.concatenate([tone(200 + 10 * number + n) for n in range(4)])))
    (tmp_path / "short.wav").write_bytes(wav(tone(990)))
    source, found = audio(tmp_path, split={"test": 0.5}), dict[str, set[str]]()
    for one in read_all(source):
        found.setdefault(one.item.key.partition("@")[0], set()).add(source.split(one.item, one.sha256))
    assert {len(splits) for splits in found.values()} == {1}
    assert set.union(*found.values()) == {"train", "test"}
    (one,) = [one for one in read_all(source) if one.item.key == "short.wav@0"]
    assert one.item.whole == b""
    alone = audio(tmp_path, "0.wav", split={"test": 0.5})
    assert [one.item.whole for one in read_all(alone)] == [b""] * 4


def test_windows_have_the_label_of_their_file_in_a_list(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(tone(300, 2.0)))
    (tmp_path / "list.csv").write_text("audio,digit\na.wav,7\nb.wav,8\n")
    found = list(read_all(audio(tmp_path, "list.csv", label="digit")))
    assert [(one.item.label, one.reason) for one in found] == [
        ("7", None),
        ("7", None),
        ("8", "cannot be read: No such file or directory"),
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"RIFF nonsense", "not a recording that can be read"),
        (b"", "empty file"),
        (wav(np.zeros(RATE)), "silence"),
        (wav(np.zeros(0)), "nothing recorded there"),
        (wav(tone(440))[:5000], "cut off"),
    ],
)
def test_bad_recordings_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(ItemError, match=says):
        decode(data)


def test_a_query_is_a_file_or_a_slice_of_it(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(wav(np.concatenate([tone(300, 1.0), tone(2000, 1.0)])))
    peaks = []
    for text in (str(file), f"{file}@1", f"{file}@1.0-1.5"):
        (item,) = sources.query_items("audio", text)
        peaks.append(int(decode(item.read())[:, 4, 0].argmax()))
    assert peaks[0] < peaks[1] == peaks[2]
    with pytest.raises(QueryError, match="ends before it starts"):
        list(sources.query_items("audio", f"{file}@2-1"))
    (item,) = sources.query_items("audio", f"{file}@9")
    with pytest.raises(ItemError, match="nothing recorded there"):
        item.read()


def test_recordings_lie_in_the_cells_of_a_table(tmp_path: Path) -> None:
    """As Hugging Face stores them; a window is found again by its place."""
    held = pa.table(
        {
            "audio": [{"bytes": wav(tone(200.0 * one, 2)), "path": f"{one}.wav"} for one in (1, 2)] + [None],
            "cover": [b"x"] * 3,
            "label": [1, 0, 1],
        }
    )
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "audio": {"_type": "Audio"}}
    held = held.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(held, tmp_path / "a.parquet")
    source = audio(tmp_path, label="label")
    found = list(source.items())
    assert [(item.key, item.label) for item in found] == [
        ("1.wav@0", "dog"),
        ("1.wav@1", "dog"),
        ("2.wav@0", "cat"),
        ("2.wav@1", "cat"),
        ("a.parquet#2", "dog"),
    ]
    rows = [one.features for one in read_all(source)]
    assert rows[4] is None
    np.testing.assert_array_equal(decode(preview(source.location, found[3].place)), rows[3])
    assert "cover" in source.left_out
    with pytest.raises(SourceError, match=r'no column .sound.; .*Say audio = "..." under'):
        audio(tmp_path, audio="sound")


def test_lists_of_recordings_say_what_was_guessed_and_keep_types(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(tone(200)))
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/l.csv").write_text(f"audio;n\n{tmp_path / 'a.wav'};1\n")
    source = audio(tmp_path, "lists")
    source.keep_types(pa.schema([("n", pa.float64())]))
    assert source.schema() == pa.schema([("n", pa.float64())])
    assert len(list(source.items())) == 1
    assert source.notes == ["l.csv: cells are parted by ';'"]

"""Recordings as programs and devices write them: chunks, open lengths, many formats, silence, samples of any size."""

from __future__ import annotations

import io
import platform
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

sound = pytest.importorskip("soundfile", reason="needs the extra audio")
pytest.importorskip("soxr", reason="needs the extra audio")
av = pytest.importorskip("av", reason="needs the extra video")

from aepipe import sources
from aepipe.errors import EmptyItemError, ExtraError, ItemError, SourceError
from aepipe.pipeline.ingest import ingest
from aepipe.sources import preview
from aepipe.sources.audio import chunks, reading
from aepipe.sources.audio.decode import slice_of
from aepipe.sources.audio.source import SUFFIXES, Audio, Features, Options
from aepipe.sources.item import Item
from aepipe.sources.loader import read_all
from aepipe.store.artifacts import Store
from aepipe.store.rows import Rows

RATE = 16_000
FEATURES = Features(rate=RATE)
ROW = sources.decoder("audio", FEATURES.model_dump())
SWEEP = 0.3 * np.sin(2 * np.pi * np.cumsum(np.linspace(200, 3000, 3 * RATE)) / RATE)
PCM = (SWEEP[:RATE] * 32767).astype("<i2").tobytes()
PLAIN = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)


def chunk(name: bytes, data: bytes, *, even: bool = True) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2 if even else 0)


def wav(pcm: bytes = PCM, *, fmt: bytes = PLAIN, before: bytes = b"", after: bytes = b"", says: int = -1) -> bytes:
    size = len(pcm) if says < 0 else says
    body = b"WAVE" + chunk(b"fmt ", fmt) + before + b"data" + struct.pack("<I", size) + pcm + after
    return b"RIFF" + struct.pack("<I", len(body) if says < 0 else says) + body


def extensible(code: int, bits: int, valid: int) -> bytes:
    block = bits // 8
    head = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, RATE, RATE * block, block, bits, 22, valid, 4, code)
    return head + bytes.fromhex("000000001000800000aa00389b71")


def written(samples: np.ndarray, form: str = "WAV", subtype: str | None = None, rate: int = RATE) -> bytes:
    stream = io.BytesIO()
    sound.write(stream, samples, rate, format=form, subtype=subtype)
    return stream.getvalue()


def encoded(form: str, codec: str, rate: int = 48_000, *, begin: int = 0) -> bytes:
    """Return a file of three seconds that FFmpeg writes; ``begin`` is the second of its first sample."""
    stream = io.BytesIO()
    samples = np.interp(np.arange(3 * rate) / rate, np.arange(3 * RATE) / RATE, SWEEP).astype(np.float32)
    with av.open(stream, "w", format=form) as out:
        track = out.add_stream(codec, rate=rate, layout="mono")
        track.bit_rate = 64_000
        cut = av.AudioResampler(
            format=track.format.name if track.format else "fltp",
            rate=rate,
            layout="mono",
            frame_size=track.codec_context.frame_size or 1024,
        )
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.rate, frame.pts, frame.time_base = rate, begin * rate, Fraction(1, rate)
        for part in (*cut.resample(frame), *cut.resample(None)):
            out.mux(track.encode(part))
        out.mux(track.encode(None))
    return stream.getvalue()


def audio(folder: Path, path: str = ".", features: dict[str, object] | None = None) -> Audio:
    chosen = Features(**{"rate": RATE, **(features or {})})  # type: ignore[arg-type]
    return Audio(Options(path=path), chosen, base=folder, name="a")


def differs(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("level", [1e-4, 1e-3, 0.3, 0.9, 4.0, 20.0, 1e4])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_a_window_and_its_file_give_the_same_row_at_any_level(level: float, subtype: str) -> None:
    data = written(SWEEP * level, subtype=subtype)
    np.testing.assert_array_equal(ROW(slice_of(data, "k", 0, 1.0), "k"), ROW(data, "k"))
    assert differs(ROW(data, "k"), ROW(written(SWEEP, subtype="DOUBLE"), "k")) < 0.2


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (11_025, 2), (44_100, 6), (192_000, 1)])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_window_and_its_file_give_the_same_row_at_any_rate(rate: int, channels: int, subtype: str) -> None:
    samples = np.random.default_rng(0).normal(scale=0.3, size=(2 * rate, channels))
    data = written(samples, subtype=subtype, rate=rate)
    np.testing.assert_array_equal(ROW(slice_of(data, "k", 0, 1.0), "k"), ROW(data, "k"))


def test_the_same_window_is_the_same_bytes_at_any_time() -> None:
    data = written(SWEEP * 3, subtype="FLOAT")
    first = slice_of(data, "k", 0, 1.0)
    assert first == slice_of(data, "k", 0, 1.0)
    assert len(first) == 44 + 4 * RATE
    assert sound.info(io.BytesIO(first)).subtype == "FLOAT"


def test_a_window_of_16_bits_stays_16_bits() -> None:
    assert slice_of(wav(), "k", 0.25, 0.5) == written(np.frombuffer(PCM, "<i2")[4000:12000])
    np.testing.assert_array_equal(
        sound.read(io.BytesIO(slice_of(wav(), "k", 0.25, 0.5)), dtype="int16")[0],
        np.frombuffer(PCM, "<i2")[RATE // 4 : RATE * 3 // 4],
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_a_number_is_refused(value: float, tmp_path: Path) -> None:
    samples = SWEEP.copy()
    samples[RATE + 5] = value
    (tmp_path / "a.wav").write_bytes(written(samples, subtype="FLOAT"))
    found = {one.item.key: one.reason for one in read_all(audio(tmp_path))}
    assert found == {"a.wav@0": None, "a.wav@1": "a sample is not a number", "a.wav@2": None}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(wav(before=chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"field data 2024\0"))), id="comment"),
        pytest.param(wav(before=chunk(b"iXML", b"<metadata>data1234</metadata>")), id="odd length"),
        pytest.param(wav(before=chunk(b"iXML", b"<metadata>data1234</metadata>", even=False)), id="not padded"),
        pytest.param(wav(before=chunk(b"bext", b"raw data of site 7".ljust(602, b"\0"))), id="bext"),
        pytest.param(wav(before=chunk(b"JUNK", bytes(28))), id="junk"),
        pytest.param(wav(after=chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"more data\0"))), id="comment after"),
        *(pytest.param(wav(says=size), id=hex(size)) for size in (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)),
        pytest.param(wav(fmt=extensible(1, 16, 16)), id="extensible"),
        pytest.param(wav(fmt=extensible(1, 16, 12)), id="12 valid bits"),
        pytest.param(wav(fmt=PLAIN[:14] + struct.pack("<H", 10)), id="10 bits"),
        pytest.param(wav(fmt=PLAIN[:8] + bytes(4) + PLAIN[12:]), id="no byte rate"),
        pytest.param(wav(np.frombuffer(PCM, "<i2").astype("<f4").tobytes(), fmt=extensible(3, 32, 32)), id="floats"),
        pytest.param(encoded("wav", "pcm_s64le", RATE), id="64 bits"),
    ],
)
def test_wav_files_as_recorders_write_them(data: bytes) -> None:
    assert differs(ROW(data, "k"), ROW(wav(), "k")) < 3


def test_a_long_file_has_a_header_of_64_bits() -> None:
    class Long(io.BytesIO):
        def seek(self, offset: int, whence: int = 0) -> int:
            return 6 << 30 if whence == io.SEEK_END else super().seek(offset, whence)

    found = chunks.find_wave(Long(wav(says=0)))
    assert found is not None
    assert (found.header[:4], found.cut_off) == (b"RF64", False)
    assert found.size == (6 << 30) - len(wav()) + len(PCM)
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, len(PCM), 0, 0))
    body = b"WAVE" + sizes + chunk(b"fmt ", PLAIN) + b"data" + b"\xff" * 4 + PCM
    np.testing.assert_array_equal(ROW(b"RF64" + b"\xff" * 4 + body, "k"), ROW(wav(), "k"))
    with pytest.raises(ItemError, match="cut off"):
        reading.samples_of((b"RF64" + b"\xff" * 4 + body)[:-2000], "k")


@pytest.mark.parametrize(
    "data",
    [
        *(pytest.param(written(SWEEP, form), id=form) for form in ("FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64")),
        *(pytest.param(written(SWEEP, subtype=s), id=s) for s in ("PCM_U8", "PCM_32", "ALAW", "MS_ADPCM", "GSM610")),
        pytest.param(encoded("ogg", "libopus"), id="opus"),
        pytest.param(encoded("ipod", "aac", 44_100), id="m4a"),
        pytest.param(encoded("ipod", "aac", begin=60), id="m4a that starts late"),
        pytest.param(encoded("ipod", "alac"), id="alac"),
        pytest.param(encoded("adts", "aac"), id="aac"),
        pytest.param(encoded("asf", "wmav2", 44_100), id="wma"),
        pytest.param(encoded("matroska", "libopus", begin=60), id="mka that starts late"),
        pytest.param(encoded("webm", "libopus"), id="weba"),
        pytest.param(encoded("mp3", "libmp3lame", 22_050), id="mp3 of FFmpeg"),
        pytest.param(bytes(2000) + encoded("mp3", "libmp3lame", 44_100), id="mp3 after zeros"),
        pytest.param(encoded("wv", "wavpack"), id="wavpack"),
    ],
)
def test_windows_of_every_format_can_be_read_again(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(data)
    source = audio(tmp_path, "a.m4a", {"hop": 0.7})
    found = list(read_all(source))
    assert [one.item.key for one in found] == [f"a.m4a@{second}" for second in ("0", "0.7", "1.4", "2.1")]
    for one in found:
        assert one.features is not None
        again = source.row(preview(source.location, one.item.place), "again")
        np.testing.assert_array_equal(again, one.features)
    (asked,) = sources.query_items("audio", str(tmp_path / "a.m4a"))
    np.testing.assert_array_equal(ROW(asked.read(), "q"), found[0].features)
    assert reading.is_recording(data[:8192].lstrip(b"\0") if data[:1000] == bytes(1000) else data[:8192], "a.m4a")


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "CAF", "W64", "MP3"])
def test_a_recording_that_is_cut_off_keeps_its_windows_and_says_so(form: str, tmp_path: Path) -> None:
    whole = written(SWEEP, form)
    (tmp_path / "a.wav").write_bytes(whole[: len(whole) * 6 // 10])
    found = list(read_all(audio(tmp_path)))
    assert [one.item.key for one in found][:1] == ["a.wav@0"]
    assert found[-1].reason == "cut off"
    assert found[-1].item.key == "a.wav"


def test_a_flac_without_a_length_is_read_to_its_end() -> None:
    data = bytearray(written(SWEEP, "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    np.testing.assert_array_equal(ROW(bytes(data), "k"), ROW(written(SWEEP, "FLAC"), "k"))


def test_sound_of_many_channels_in_a_codec_that_only_ffmpeg_knows() -> None:
    many = np.repeat(np.frombuffer(PCM, "<i2").astype("<i8")[:, None] << 48, 25, axis=1).tobytes()
    form = struct.pack("<HHIIHH", 1, 25, RATE, RATE * 200, 200, 64)
    assert differs(ROW(wav(many, fmt=form), "k"), ROW(wav(), "k")) < 3


def test_headers_that_cannot_be_true_are_refused(tmp_path: Path) -> None:
    for rate in (0, 1, 0xFFFFFFFF):
        with pytest.raises(ItemError):
            ROW(wav(fmt=PLAIN[:4] + struct.pack("<I", rate) + PLAIN[8:]), "k")
    data = bytearray(written(SWEEP, "FLAC"))
    data[22:26] = b"\xff" * 4  # as many samples as a header can promise
    (tmp_path / "a.flac").write_bytes(data)
    found = list(read_all(audio(tmp_path)))
    assert [(one.item.key, one.reason) for one in found] == [
        *((f"a.flac@{second}", None) for second in range(3)),
        ("a.flac", "cut off"),
    ]


def test_an_empty_recording_with_a_comment_after_it_has_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(b"", after=chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"none"))))
    (one,) = read_all(audio(tmp_path))
    assert one.reason == "nothing recorded in it"


def test_silence_is_passed_over_and_is_no_bad_item(tmp_path: Path) -> None:
    quiet = np.zeros(3 * RATE)
    (tmp_path / "a.wav").write_bytes(written(np.concatenate([SWEEP, quiet])))
    (tmp_path / "b.flac").write_bytes(written(np.concatenate([SWEEP, quiet]), "FLAC"))
    (tmp_path / "c.wav").write_bytes(written(quiet + 1e-6, subtype="FLOAT"))
    with pytest.raises(EmptyItemError, match="silence"):
        ROW((tmp_path / "c.wav").read_bytes(), "c")
    store = Store(tmp_path / "store")
    ref = ingest(store, audio(tmp_path))
    facts = Rows(store.path(ref)).facts
    assert (facts["rows"], facts["quarantined"]) == (6, 0)
    (silent,) = [one for one in store.manifest(ref).facts["passed_over"] if one["reason"] == "silence"]
    assert (silent["count"], silent["first"][0]) == (9, "a.wav@3")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "c.wav").write_bytes((tmp_path / "c.wav").read_bytes())
    with pytest.raises(SourceError, match="all are passed over: silence"):
        ingest(Store(tmp_path / "other"), audio(tmp_path / "d"))


def test_what_is_a_recording_is_told_by_content() -> None:
    film = io.BytesIO()
    with av.open(film, "w", format="matroska") as out:
        track = out.add_stream("mpeg4", rate=5)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        out.mux(track.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        out.mux(track.encode(None))
    assert not reading.is_recording(film.getvalue()[:8192])
    for head in (b"\xff\xd8\xff\xe0", b"\xff\xfe\x61\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x18ftypmp42", b"PK\3\4"):
        assert not reading.is_recording(head.ljust(64, b"\0"))
    assert ".mp3" in SUFFIXES


def test_a_long_window_of_a_file_without_an_index_is_read_by_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aepipe.sources.audio.source.SHORT", 10)
    (tmp_path / "a.mp3").write_bytes(written(SWEEP, "MP3"))
    placed: list[Item] = list(audio(tmp_path).items())
    monkeypatch.undo()
    passed = list(audio(tmp_path).items())
    assert [one.place for one in placed] == [one.place for one in passed]
    for one, other in zip(placed, passed, strict=True):
        assert one.read() == other.read()


def test_a_recording_larger_than_an_item_may_be_is_read_by_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").write_bytes(written(SWEEP, subtype="PCM_24"))
    (tmp_path / "b.wav").write_bytes(written(SWEEP))
    monkeypatch.setattr("aepipe.sources.files.MAX_BYTES", 50_000)
    assert [one.reason for one in read_all(audio(tmp_path))] == [None] * 6


def test_wav_files_of_the_other_byte_order_are_read() -> None:
    stream = io.BytesIO()
    sound.write(stream, SWEEP, RATE, format="WAV", endian="BIG", subtype="PCM_16")
    assert stream.getvalue().startswith(b"RIFX")
    np.testing.assert_array_equal(ROW(stream.getvalue(), "k"), ROW(written(SWEEP), "k"))
    with pytest.raises(ItemError, match="cut off"):
        reading.samples_of(stream.getvalue()[:-100], "k")


def test_without_pyav_a_recording_for_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from aepipe.sources.packages import missing_extra

    data = encoded("ipod", "aac")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ModuleNotFoundError) as raised:
        ROW(data, "k")
    assert "aepipe[video]" in str(missing_extra(raised.value))


def test_without_pyav_a_recording_for_it_is_found_when_the_recipe_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aepipe.sources.audio.source.find_spec", lambda name: None)
    (tmp_path / "a.wav").write_bytes(written(SWEEP))
    audio(tmp_path)
    (tmp_path / "b.M4A").write_bytes(b"")
    with pytest.raises(ExtraError, match=r"aepipe\[video\]"):
        audio(tmp_path)


def test_empty_files_and_sound_in_files_of_films_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(written(SWEEP))
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "b.mp4").write_bytes(encoded("mp4", "aac"))
    source = audio(tmp_path)
    assert {one.item.key: one.reason for one in read_all(source)}["empty.wav"] == "empty file"
    ((reason, names),) = source.passed_over.first.items()
    assert names == ["b.mp4"]
    assert reason.startswith("a film, or sound in a file of that sort: give it a name in .m4a")
    (tmp_path / "b.mp4").rename(tmp_path / "b.m4a")
    assert {one.item.key: one.reason for one in read_all(audio(tmp_path))}["b.m4a@0"] is None


NOISY = """
import io, os, sys, threading
from aepipe.sources.audio.reading import samples_of
from aepipe.sources.audio.quiet import quiet
import ctypes

def tried():
    try:
        samples_of(open(sys.argv[1], "rb").read(), "k")
    except Exception as error:
        print("refused", error)

threads = [threading.Thread(target=tried) for _ in range(4)]
[one.start() for one in threads]
with quiet():
    print("our own line", file=sys.stderr, flush=True)
    os.system("echo a child >&2")
[one.join() for one in threads]
libc = ctypes.CDLL(None)
libc.perror(b"C again")
"""


def test_damaged_mp3_files_write_nothing_to_the_terminal(tmp_path: Path) -> None:
    data = bytearray(written(SWEEP, "MP3"))
    data[2000:3500] = np.random.default_rng(0).bytes(1500)
    (tmp_path / "bad.mp3").write_bytes(data)
    script = [sys.executable, "-c", NOISY, str(tmp_path / "bad.mp3")]
    done = subprocess.run(script, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    said = done.stderr.splitlines()
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        assert said[:2] == ["our own line", "a child"]
        assert [line.partition(":")[0] for line in said[2:]] == ["C again"]
    assert done.stdout.count("refused") in (0, 4)

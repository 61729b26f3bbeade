"""Videos become their frames: clips made from a real picture, and refused files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

av = pytest.importorskip("av", reason="needs the extra video")

from aepipe import sources
from aepipe.errors import ItemError, QueryError
from aepipe.pipeline import suggest
from aepipe.sources import preview
from aepipe.sources.images import decode
from aepipe.sources.loader import read_all
from aepipe.sources.video import decode as films
from aepipe.sources.video.source import Features, Options, Video

PICTURE = Path(__file__).parents[2] / "data" / "query.png"
SIZE = (48, 64)


def scenes(count: int) -> list[np.ndarray]:
    """Return different pictures: the one of data/, turned and darkened."""
    real = np.asarray(Image.open(PICTURE).convert("L").resize((48, 48)))
    return [
        np.repeat(np.pad(np.rot90(real, n) // (1 + n // 4), ((0, 0), (8, 8)))[..., None], 3, axis=2)
        for n in range(count)
    ]


def render(file: Path, pictures: list[np.ndarray], *, codec: str = "mpeg4", each: int = 10, rate: int = 10) -> Path:
    """Write a video that shows each picture for ``each`` frames."""
    with av.open(str(file), "w") as out:
        stream = out.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = *SIZE, "yuv420p", 4_000_000
        for picture in pictures:
            for _ in range(each):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return file


def source(folder: Path, path: str = ".", features: dict[str, object] | None = None, **options: object) -> Video:
    chosen = Features(**{"size": SIZE, **(features or {})})  # type: ignore[arg-type]
    return Video(Options(path=path, **options), chosen, base=folder, name="v")  # type: ignore[arg-type]


def off(row: np.ndarray | None, picture: np.ndarray) -> float:
    """Return the mean difference of a row and a picture."""
    assert row is not None
    return float(np.abs(row.astype(int) - picture).mean())


@pytest.mark.parametrize(
    ("ending", "codec"), [("mp4", "mpeg4"), ("mkv", "libx264"), ("avi", "mpeg4"), ("mov", "mpeg4")]
)
def test_a_frame_of_every_second_is_an_item_that_can_be_read_again(tmp_path: Path, ending: str, codec: str) -> None:
    shown = scenes(4)
    render(tmp_path / f"clip.{ending}", shown, codec=codec)
    (tmp_path / "notes.txt").write_text("x")
    one = source(tmp_path)
    found = list(read_all(one))
    assert [each.item.key for each in found] == [f"clip.{ending}@{second}" for second in range(4)]
    assert one.passed_over.total == 1
    for each, picture in zip(found, shown, strict=True):
        assert off(each.features, picture) < 12
        again = one.row(preview(one.location, each.item.place), "again")
        assert each.features is not None
        np.testing.assert_array_equal(again, each.features)


def test_steps_may_be_shorter_or_longer_and_a_short_clip_has_a_frame(tmp_path: Path) -> None:
    render(tmp_path / "clip.mp4", scenes(3))
    render(tmp_path / "short.mp4", scenes(1), each=2)
    keys = [item.key for item in source(tmp_path, features={"step": 0.5}).items()]
    assert keys == [*(f"clip.mp4@{second:g}" for second in np.arange(0, 3, 0.5)), "short.mp4@0"]
    assert [item.key for item in source(tmp_path, features={"step": 60}).items()] == ["clip.mp4@0", "short.mp4@0"]


def test_a_query_is_a_picture_or_a_second_of_a_video(tmp_path: Path) -> None:
    shown = scenes(4)
    file = render(tmp_path / "clip.mkv", shown, codec="libx264")
    row = sources.decoder("video", source(tmp_path).features())
    for text, expected in ((f"{file}@1.5", 1), (f"{file}@3", 3), (str(file), 2)):
        (item,) = sources.query_items("video", text)
        assert off(row(item.read(), "q"), shown[expected]) < 12
    (still,) = sources.query_items("video", str(PICTURE))
    assert row(still.read(), "q").shape == (*SIZE, 3)
    (late,) = sources.query_items("video", f"{file}@99")
    with pytest.raises(ItemError, match="no frame at 99 seconds"):
        late.read()
    with pytest.raises(QueryError, match="Is a directory"):
        films._head(str(tmp_path))


def test_a_frame_rate_that_changes_does_no_harm(tmp_path: Path) -> None:
    shown = scenes(3)
    with av.open(str(tmp_path / "clip.mkv"), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for number, second in enumerate((0.0, 0.1, 0.2, 5.0, 9.5)):
            frame = av.VideoFrame.from_ndarray(shown[number // 2], format="rgb24")
            frame.pts, frame.time_base = round(second * 10), Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert [item.key for item in source(tmp_path).items()] == ["clip.mkv@0", "clip.mkv@5", "clip.mkv@9.5"]


def test_a_video_on_its_side_is_turned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = av.VideoFrame.from_ndarray(scenes(1)[0], format="rgb24")

    class Turned:
        rotation = 90

        def to_image(self) -> Image.Image:
            image: Image.Image = frame.to_image()
            return image

    upright = Image.fromarray(decode.decode(films._picture(Turned()), key="q", size=(64, 48)))  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.asarray(upright), np.rot90(scenes(1)[0]))


def test_large_frames_are_made_smaller(tmp_path: Path) -> None:
    wide = av.VideoFrame.from_ndarray(np.zeros((100, 4000, 3), np.uint8), format="rgb24")
    assert decode.thumbnail(films._picture(wide), "q", 5000).size == (1024, 26)


def test_frames_before_a_break_are_kept_and_the_break_is_reported(tmp_path: Path) -> None:
    whole = render(tmp_path / "clip.mkv", scenes(8), codec="libx264", each=30).read_bytes()
    (tmp_path / "clip.mkv").write_bytes(whole[: len(whole) * 6 // 10])
    found = list(read_all(source(tmp_path)))
    keys = [one.item.key for one in found]
    assert keys[:3] == ["clip.mkv@0", "clip.mkv@1", "clip.mkv@2"]
    assert keys[-1] == "clip.mkv"
    assert "cut off" in str(found[-1].reason)
    assert len(found) < 20


def test_frames_of_a_film_are_in_one_split(tmp_path: Path) -> None:
    for number in range(3):
        render(tmp_path / f"{number}.mp4", scenes(number + 3)[number:], rate=5, each=5)
    wholes = {item.key.partition("@")[0]: set[bytes]() for item in source(tmp_path).items()}
    for item in source(tmp_path).items():
        wholes[item.key.partition("@")[0]].add(item.whole)
    assert sorted(map(len, wholes.values())) == [1, 1, 1]
    assert len(set.union(*wholes.values()) - {b""}) == 3
    assert {item.whole for item in source(tmp_path, "0.mp4").items()} == {b""}


def test_frames_have_the_label_of_their_file_in_a_list(tmp_path: Path) -> None:
    render(tmp_path / "a.mp4", scenes(2))
    (tmp_path / "list.csv").write_text("video,label\na.mp4,dog\nb.mp4,cat\n")
    found = list(read_all(source(tmp_path, "list.csv", label="label")))
    assert [(one.item.label, one.reason) for one in found] == [
        ("dog", None),
        ("dog", None),
        ("cat", "cannot be read: No such file or directory"),
    ]


def sound_only(file: Path) -> None:
    """Write a file with a tone, and no pictures."""
    with av.open(str(file), "w") as out:
        stream = out.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def test_bad_videos_are_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render(tmp_path / "cut.mp4", scenes(2))
    cut = (tmp_path / "cut.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(cut[: len(cut) // 2])  # the table of its frames is at its end
    (tmp_path / "text.mp4").write_text("a recipe for cake\n" * 99)
    (tmp_path / "empty.mkv").write_bytes(b"")
    sound_only(tmp_path / "tone.mp4")
    reasons = {one.item.key: one.reason for one in read_all(source(tmp_path))}
    assert set(reasons) == {"cut.mp4", "text.mp4", "empty.mkv", "tone.mp4"}
    assert reasons["empty.mkv"] == "empty file"
    for key in ("cut.mp4", "text.mp4"):
        assert "not a video that can be read" in str(reasons[key])
    assert reasons["tone.mp4"] == "sound only, no film"
    render(tmp_path / "huge.mp4", scenes(1))
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    (huge,) = source(tmp_path, "huge.mp4").items()
    with pytest.raises(ItemError, match="more than 1,000 pixels"):
        huge.read()


def test_a_playlist_is_not_followed(tmp_path: Path) -> None:
    """FFmpeg takes a playlist for a video, and would open the files that it names."""
    secret = render(tmp_path / "secret.mp4", scenes(1))
    (tmp_path / "list.mkv").write_text(f"ffconcat version 1.0\nfile {secret}\n")
    (item,) = source(tmp_path, "list.mkv").items()
    with pytest.raises(ItemError, match="not a video that can be read"):
        item.read()


def test_a_folder_of_videos_is_recognised_by_content(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("a.mp4", "b.mkv"):
        render(folder / name, scenes(3))
    render(folder / "c.mp4", scenes(3)).rename(folder / "c.bin")
    held = suggest.look(str(folder))
    assert (held.kind, held.kinds["video"]) == ("video", 3)
    _, text, _ = suggest.suggest(str(folder), folder=tmp_path)
    assert 'kind = "video"' in text
    assert "9 frames" in text


def film(file: Path, form: str, codec: str, *, begin: float = 0, still: bool = False) -> Path:
    """Write four seconds whose first frame is at a second; with a picture of one frame before it, if asked for."""
    with av.open(str(file), "w", format=form) as out:
        if still:
            cover = out.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        stream = out.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        if still:
            out.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
            out.mux(cover.encode(None))
        for number in range(100):
            frame = av.VideoFrame.from_ndarray(np.full((*SIZE, 3), number * 2, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(begin * 1000) + number * 40, Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file


@pytest.mark.parametrize(
    ("form", "codec"),
    [
        *(("matroska", "mpeg4"), ("webm", "libvpx"), ("mp4", "libx264"), ("mpegts", "mpeg2video")),
        *(("flv", "flv"), ("asf", "mpeg4"), ("mpeg", "mpeg2video")),
    ],
)
@pytest.mark.parametrize("begin", [0, 60])
def test_a_film_that_starts_late_is_whole(form: str, codec: str, begin: float, tmp_path: Path) -> None:
    file = film(tmp_path / "a.mkv", form, codec, begin=begin)
    one = source(tmp_path)
    found = list(read_all(one))
    assert [each.item.key for each in found] == [f"a.mkv@{second}" for second in range(4)]
    for each in found:
        np.testing.assert_array_equal(one.row(preview(one.location, each.item.place), "again"), each.features)
    assert films.is_video(file.read_bytes()[:8192])
    (middle,) = sources.query_items("video", str(file))
    assert 60 < np.asarray(decode.thumbnail(middle.read(), "q", 64)).mean() < 140


def test_a_film_that_starts_late_and_is_cut_off_says_so(tmp_path: Path) -> None:
    file = film(tmp_path / "a.mkv", "matroska", "mpeg4", begin=60)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 3])
    *_, last = read_all(source(tmp_path))
    assert "cut off" in str(last.reason)


def test_frames_before_0_are_read_and_a_cover_is_no_film(tmp_path: Path) -> None:
    assert len(list(films.frames(film(tmp_path / "a.mp4", "mp4", "libx264", begin=-1), "a", 1.0))) >= 3
    assert len(list(films.frames(film(tmp_path / "b.mkv", "matroska", "mpeg4", still=True), "b", 1.0))) == 4


def test_the_middle_of_a_film_without_a_length_is_found_by_its_packets(tmp_path: Path) -> None:
    file = film(tmp_path / "a.flv", "flv", "flv")
    data = file.read_bytes()
    file.write_bytes(data.replace(b"duration\0", b"durasion\0", 1))
    assert films._length(file, "a") == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"hevc", b"crx ", b"avif", b"M4A "])
def test_pictures_and_sound_in_the_container_of_films_are_no_films(brand: bytes) -> None:
    assert not films.is_video(b"\0\0\0\x18ftyp" + brand)
    assert films.is_video(b"\0\0\0\x18ftypisom")


def test_videos_lie_in_the_cells_of_a_table(tmp_path: Path) -> None:
    film = render(tmp_path / "a.mp4", scenes(2)).read_bytes()
    (tmp_path / "t").mkdir()
    pq.write_table(pa.table({"video": [{"bytes": film, "path": "a.mp4"}], "n": [1]}), tmp_path / "t/a.parquet")
    found = source(tmp_path / "t")
    items = list(found.items())
    assert [(item.key, dict(item.columns)) for item in items] == [("a.mp4@0", {"n": 1}), ("a.mp4@1", {"n": 1})]
    assert preview(found.location, items[1].place) == items[1].read()

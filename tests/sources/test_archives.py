"""Archives: zip and tar of pictures, documents, recordings and films; texts beside pictures; refused members."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from aepipe import recipe, sources
from aepipe.errors import ItemError, SourceError
from aepipe.pipeline import suggest
from aepipe.pipeline.ingest import ingest
from aepipe.sources import preview
from aepipe.sources.files import Found
from aepipe.sources.formats import archives, zip
from aepipe.sources.item import Source
from aepipe.sources.loader import read_all
from aepipe.store.artifacts import Store
from aepipe.store.rows import Rows

ENDINGS = (".zip", ".tar", ".tar.gz", ".tar.xz")
Members = Iterable[tuple[str, bytes]]


def png(value: int, size: int = 8) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(value).integers(0, 255, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def pack(path: Path, members: Members, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write an archive; the name tells the format."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", method) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a name twice
            for name, data in members:
                archive.writestr(name, data)
        return path
    with tarfile.open(path, f"w:{path.suffix[1:] if path.suffix != '.tar' else ''}") as archive:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def open_source(path: Path, kind: str = "images", features: dict[str, Any] | None = None, **options: object) -> Source:
    features = {"size": [8, 8]} if kind == "images" and features is None else features or {}
    made = {
        "name": "a",
        "source": {"kind": kind, "path": str(path), **options},
        "features": features,
        "layers": [{"net": {"kind": "dense", "width": 8}}],
    }
    return sources.resolve(recipe.parse(made, path.parent / "a.toml"))


def check_read(source: Source) -> list[str]:
    """Read all items, each also by its place; return their keys."""
    keys = []
    for one in read_all(source):
        assert one.reason is None, (one.item.key, one.reason)
        keys.append(one.item.key)
        np.testing.assert_array_equal(source.row(preview(source.location, one.item.place), "again"), one.features)
    return keys


def reasons(source: Source) -> dict[str, str | None]:
    return {one.item.key: one.reason for one in read_all(source)}


@pytest.mark.parametrize("ending", ENDINGS)
def test_pictures_in_an_archive(ending: str, tmp_path: Path) -> None:
    pictures = [(f"cats/{n:02}.png", png(n)) for n in range(10)] + [
        (f"dogs/{n:02}.png", png(20 + n)) for n in range(10)
    ]
    extra = [("notes.md", b"# about"), ("cats/.hidden.png", png(1)), ("__MACOSX/cats/01.png", b"x"), ("dogs/x", png(9))]
    source = open_source(pack(tmp_path / f"photos{ending}", pictures + extra), label="parent")
    assert sorted(check_read(source)) == sorted([*(name for name, _ in pictures), "dogs/x"])
    assert {item.label for item in source.items()} == {"cats", "dogs"}
    assert source.passed_over.counts == {"not a picture": 1, "hidden": 1, "left out by exclude": 1}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_no_picture_is_named_as_in_a_folder(ending: str, tmp_path: Path) -> None:
    others = {"a.svg": b'<svg xmlns="x"/>', "b.pdf": b"%PDF-1.7\n", "c.mp4": b"\0\0\0\x18ftypmp42".ljust(40, b"\0")}
    members = [*((f"{n}.png", png(n)) for n in range(3)), *others.items(), ("empty", b"")]
    packed = open_source(pack(tmp_path / f"photos{ending}", members))
    (tmp_path / "folder").mkdir()
    for name, data in members:
        (tmp_path / "folder" / name).write_bytes(data)
    whole = open_source(tmp_path / "folder")
    assert sorted(check_read(packed)) == sorted(check_read(whole)) == ["0.png", "1.png", "2.png"]
    assert packed.passed_over.counts == whole.passed_over.counts
    assert {reason.partition(",")[0] for reason in packed.passed_over.counts} >= {
        "SVG",
        "PDF",
        "a film and not a picture",
    }


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_an_archive_are_passed_over(kind: bytes, tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", [("0.png", png(0)), ("1.png", png(1))])
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("again.png")
        link.type, link.linkname = kind, "0.png"
        archive.addfile(link)
    source = open_source(path)
    assert check_read(source) == ["0.png", "1.png"]
    assert source.passed_over.counts == {"a link in an archive, which is not followed": 1}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_are_read_however_they_are_packed(method: int, tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", [(f"{n}.bmp", png(n)) for n in range(5)], method)
    assert check_read(open_source(path)) == [f"{n}.bmp" for n in range(5)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_documents_in_an_archive(ending: str, tmp_path: Path) -> None:
    words = ["apple pear plum", "engine wheel brake"]
    texts = [(f"d/{n:02}.txt", f"{words[n % 2]} number{n % 3}".encode()) for n in range(20)]
    path = pack(tmp_path / f"letters{ending}", [*texts, ("d/photo.jpg", b"\xff\xd8\xff\xe0")])
    source = open_source(path, "text", {"least": 2, "words": 20, "most": 1.0}).fitted(None)
    assert check_read(source) == [name for name, _ in texts]
    assert source.passed_over.counts == {"not a document": 1}
    assert next(iter(source.items())).columns["snippet"] == "apple pear plum number0"


def mailbox(*texts: str, begins: str = "From a@b.org Mon Jan  5 10:00:00 2026\n") -> bytes:
    """Return a mailbox of mails with these texts."""
    return "".join(f"{begins}Subject: {n}\nTo: c@d.org\n\n{text}\n\n" for n, text in enumerate(texts)).encode()


def test_mails_of_a_mailbox_are_documents(tmp_path: Path) -> None:
    # A line of a mail may begin with the same word.
    told = ("ships in the harbour", "bread\n\nFrom here on, flour", "tide")
    (tmp_path / "in.mbox").write_bytes(mailbox(*told))
    (tmp_path / "out.MBOX").write_bytes(mailbox("one more").replace(b"\n", b"\r\n"))
    few = {"least": 1, "most": 1.0}
    found = list(read_all(open_source(tmp_path, "text", few).fitted(None)))
    assert [one.item.key for one in found] == ["in.mbox/1.eml", "in.mbox/2.eml", "in.mbox/3.eml", "out.MBOX/1.eml"]
    assert [one.reason for one in found] == [None] * 4
    again = [preview(tmp_path, one.item.place).decode() for one in found]
    for number, text in enumerate(told):
        assert f"Subject: {number}" in again[number]
        assert text in again[number]
    assert not any("From a@b.org" in mail for mail in again)
    single = [item.key for item in open_source(tmp_path / "in.mbox", "text").items()]
    assert single == ["1.eml", "2.eml", "3.eml"]


@pytest.mark.parametrize("data", [b"no mails here\n", b"\nFrom a@b.org Mon\nSubject: late\n\nx\n", b"From nothing\n"])
def test_a_file_that_is_no_mailbox_says_so(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.mbox").write_bytes(data)
    with pytest.raises(SourceError, match=r"in\.mbox: not a mailbox"):
        list(open_source(tmp_path, "text").items())


@pytest.mark.parametrize("ending", ENDINGS)
def test_recordings_in_an_archive(ending: str, tmp_path: Path) -> None:
    sound = pytest.importorskip("soundfile", reason="needs the extra audio")
    pytest.importorskip("soxr", reason="needs the extra audio")
    members = []
    for number, form in enumerate(("WAV", "FLAC", "MP3")):
        stream = io.BytesIO()
        sound.write(stream, 0.3 * np.sin(np.arange(16_000 * 2) * (0.1 + number / 10)), 16_000, format=form)
        members.append((f"{number}.{form.lower()}", stream.getvalue()))
    source = open_source(pack(tmp_path / f"calls{ending}", [*members, ("read me", b"x")]), "audio")
    assert check_read(source) == ["0.wav@0", "0.wav@1", "1.flac@0", "1.flac@1", "2.mp3@0", "2.mp3@1"]
    assert source.passed_over.counts == {"not a recording": 1}


@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_films_in_an_archive(ending: str, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="needs the extra video")
    stream = io.BytesIO()
    with av.open(stream, "w", format="matroska") as out:
        track = out.add_stream("mpeg4", rate=5)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for number in range(15):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 10, np.uint8), format="rgb24")
            out.mux(track.encode(frame))
        out.mux(track.encode(None))
    path = pack(tmp_path / f"films{ending}", [("a/b.mkv", stream.getvalue())])
    assert check_read(open_source(path, "video", {"size": [8, 8]})) == ["a/b.mkv@0", "a/b.mkv@1", "a/b.mkv@2"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("images", [(f"{n}.{end}", png(n) if end == "png" else b"{}") for n in range(9) for end in ("png", "json")]),
        ("text", [(f"{n}.txt", b"one two three four five six") for n in range(9)]),
    ],
)
def test_the_kind_of_an_archive_is_told_by_its_members(
    ending: str, kind: str, members: list[tuple[str, bytes]], tmp_path: Path
) -> None:
    path = pack(tmp_path / f"a{ending}", members)
    held = suggest.look(str(path))
    assert held.kind == kind


def test_many_archives_of_both_formats_are_one_collection(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    pack(folder / "a.zip", [("1.png", png(1))])
    pack(folder / "b.tar", [("1.png", png(2))])
    (folder / "index.html").write_text("x")
    source = open_source(folder)
    assert check_read(source) == ["a.zip/1.png", "b.tar/1.png"]
    assert source.passed_over.counts == {"not an archive": 1}


def webdataset(path: Path, count: int = 20, **more: object) -> Path:
    """Write a shard as img2dataset does."""
    members = []
    for n in range(count):
        told = {"caption": f"cat {n}", "url": f"http://a/{n}", "width": 8 + n, "score": n / 4, "exif": {"a": 1}, **more}
        members += [
            (f"{n:09}.jpg", png(n)),
            (f"{n:09}.json", json.dumps(told | {"key": f"{n:09}"}).encode()),
            (f"{n:09}.txt", f"cat {n}\n".encode()),
        ]
    return pack(path, members)


@pytest.mark.parametrize("ending", ENDINGS)
def test_texts_beside_pictures_are_columns(ending: str, tmp_path: Path) -> None:
    source = open_source(webdataset(tmp_path / f"00000{ending}"))
    assert check_read(source) == [f"{n:09}.jpg" for n in range(20)]
    item = list(source.items())[3]
    assert item.columns == {
        **{"txt": "cat 3", "caption": "cat 3", "url": "http://a/3", "width": 11, "score": 0.75, "exif": '{"a": 1}'},
        "key": "000000003",
    }
    types = {field.name: str(field.type) for field in source.schema()}
    assert (types["width"], types["score"], types["caption"]) == ("int64", "double", "string")
    assert source.passed_over.total == 0
    store = Store(tmp_path / "store")
    rows = Rows(store.path(ingest(store, source)))
    assert rows.facts["rows"] == 20
    keyed = open_source(tmp_path / f"00000{ending}", key="url")
    assert next(iter(keyed.items())).key == "http://a/0"
    with pytest.raises(SourceError, match="no column 'nothing'; it has: txt, caption"):
        open_source(tmp_path / f"00000{ending}", key="nothing")


def test_a_caption_alone_and_a_class_beside_pictures(tmp_path: Path) -> None:
    members = []
    for n in range(6):
        members += [(f"a/{n}.cls", b"%d\n" % (n % 2)), (f"a/{n}.png", png(n)), (f"a/{n}.txt", b" one\n")]
    source = open_source(pack(tmp_path / "a.tar", [*members, ("a/9.txt", b"alone")]))
    assert [(item.label, dict(item.columns)) for item in source.items()] == [
        (str(n % 2), {"caption": "one"}) for n in range(6)
    ]
    assert source.passed_over.counts == {"a text about no item": 1}


def test_texts_that_do_not_fit_are_named(tmp_path: Path) -> None:
    values: list[object] = [1, 2.5, None, "x", {"b": 2}, 2**70]
    one = open_source(
        pack(
            tmp_path / "a.tar",
            [
                pair
                for n, value in enumerate(values)
                for pair in ((f"{n}.png", png(n)), (f"{n}.json", json.dumps({"v": value}).encode()))
            ],
        )
    )
    assert [item.columns["v"] for item in one.items()] == ["1", "2.5", None, "x", '{"b": 2}', str(2**70)]
    members = [
        pair
        for n in range(archives.LOOKED_AT * 2 + 2)
        for pair in ((f"{n:04}.png", png(n % 7)), (f"{n:04}.json", json.dumps({"v": n}).encode()))
    ]
    members[-1] = (members[-1][0], b'{"v": 1.5, "late": 1}')
    members[-3] = (members[-3][0], b"[]")
    other = open_source(pack(tmp_path / "b.tar", members), max_bad_share=0.1)
    found = [reason for reason in reasons(other).values() if reason]
    assert found == ["the .json beside it is no JSON object", "column 'v' is float here, and int in the items before"]
    assert other.notes == ("column 'late' is in none of the first 200 items, and is left out",)


def test_members_that_must_not_be_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(
        tmp_path / "a.zip",
        [("../out.png", png(1)), ("/root.png", png(2)), ("C:/x.png", png(3)), ("ok.png", png(4))],
    )
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("bomb.png", bytes(3 << 20), zipfile.ZIP_DEFLATED)
    assert reasons(open_source(path)) == {
        "../out.png": "path leaves the archive",
        "/root.png": "path leaves the archive",
        "C:/x.png": "path leaves the archive",
        "bomb.png": "grows more than 1,000 times when it is unpacked",
        "ok.png": None,
    }
    source = open_source(path)
    list(source.items())
    assert source.passed_over.first == {"a link in an archive, which is not followed": ["link.png"]}
    monkeypatch.setattr(zip, "MAX_BYTES", 100)
    assert reasons(open_source(path))["ok.png"] == "more than 0 MB"
    monkeypatch.setattr(zip, "MOST", 3)
    with pytest.raises(SourceError, match="6 members, and 3 are allowed"):
        list(open_source(path).items())


def test_a_text_that_must_not_be_read_is_named_with_its_reason(tmp_path: Path) -> None:
    members = [("a.png", png(1)), ("a.cls", b"3"), ("../b.png", png(2)), ("../b.cls", b"1")]
    assert reasons(open_source(pack(tmp_path / "a.tar", members))) == {
        "a.png": None,
        "../b.png": "the .cls beside it: path leaves the archive",
    }


def patched(path: Path, name: str, **fields: int) -> None:
    """Change fields of a member, in its own header and in the directory at the end."""
    data = bytearray(path.read_bytes())
    places = {"flags": (6, 8, "<H"), "method": (8, 10, "<H"), "crc": (14, 16, "<I")}
    for field, value in fields.items():
        for mark, at, size in ((b"PK\3\4", places[field][0], 30), (b"PK\1\2", places[field][1], 46)):
            start = next(
                n for n in range(len(data)) if data[n : n + 4] == mark and data[n + size :].startswith(name.encode())
            )
            struct.pack_into(places[field][2], data, start + at, value)
    path.write_bytes(data)


def test_encrypted_damaged_and_unknown_members_are_named(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", [(f"{n}.png", png(n)) for n in range(5)])
    patched(path, "0.png", flags=1)
    patched(path, "1.png", method=99)
    patched(path, "2.png", crc=1)
    found = reasons(open_source(path))
    assert found["0.png"] == "encrypted"
    assert "method that is not known here: 99" in str(found["1.png"])
    assert "damaged in the archive" in str(found["2.png"])
    assert found["3.png"] is None
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=r"cut\.zip: not a whole zip archive"):
        list(open_source(tmp_path / "cut.zip").items())


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", [("a.png", png(1)), ("b.png", png(2))])
    data = bytearray(path.read_bytes())
    second = data.rfind(b"PK\1\2")
    struct.pack_into("<I", data, second + 42, 10)  # the second begins within the first
    path.write_bytes(data)
    assert reasons(open_source(path))["b.png"] == "shares its bytes with another member"


@pytest.mark.parametrize(
    ("stored", "flags", "extra", "expected"),
    [
        ("é.png".encode("cp437"), 0, b"", "é.png"),
        ("写真.png".encode(), 0, b"", "写真.png"),
        ("写真.png".encode(), 0x800, b"", "写真.png"),
        (b"x?.png", 0, "фото.png".encode(), "фото.png"),
    ],
)
def test_names_of_members_are_read_as_they_were_meant(
    stored: bytes, flags: int, extra: bytes, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("n" * len(stored))
        if extra:
            field = b"\1" + struct.pack("<I", zlib.crc32(stored)) + extra
            info.extra = struct.pack("<HH", 0x7075, len(field)) + field
        archive.writestr(info, png(1))
    data = path.read_bytes().replace(b"n" * len(stored), stored)
    path.write_bytes(data)
    if flags:
        raw = bytearray(data)
        struct.pack_into("<H", raw, 6, flags)
        struct.pack_into("<H", raw, raw.find(b"PK\1\2") + 8, flags)
        path.write_bytes(raw)
    assert check_read(open_source(path)) == [expected]


def test_paths_of_windows_have_folders(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("cats/1.png")
        info.create_system = 0
        archive.writestr(info, png(1))
    path.write_bytes(path.read_bytes().replace(b"cats/1.png", b"cats\\1.png"))
    (item,) = open_source(path, label="parent").items()
    assert (item.key, item.label) == ("cats/1.png", "cats")


def test_a_compressed_archive_that_grows_without_measure_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "a.tar.gz", [("a.png", png(1)), ("b.png", bytes(4 << 20))])
    monkeypatch.setattr("aepipe.sources.formats.plausible.PLAUSIBLE", 1000)
    monkeypatch.setattr("aepipe.sources.formats.plausible.RATIO", 10)
    with pytest.raises(SourceError, match="unpacks to more than is plausible"):
        list(open_source(path).items())


def test_a_place_that_is_no_longer_there_says_so(tmp_path: Path) -> None:
    pack(tmp_path / "a.zip", [("a.png", png(1))])
    for place in ("a.zip#5+3d", "a.zip#0+9999999", "a.zip#x", "a.zip#0+4#t1+1", "b.zip#0+1"):
        with pytest.raises(ItemError):
            preview(tmp_path, place)
    found = Found("a.zip", str(tmp_path / "a.zip"))
    assert [(member.name, head[:4]) for member, head in archives.heads(found, 5)] == [("a.png", b"\x89PNG")]


def test_the_output_of_img2dataset_is_a_collection_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "laion"
    folder.mkdir()
    for shard in ("00000", "00001"):
        webdataset(folder / f"{shard}.tar", 10)
        pq.write_table(pa.table({"url": ["http://a"] * 10, "caption": ["cat"] * 10}), folder / f"{shard}.parquet")
        (folder / f"{shard}_stats.json").write_text('{"count": 10, "successes": 10}')
    held = suggest.look(str(folder))
    assert (held.kind, held.kinds["images"]) == ("images", 2)
    source = open_source(folder)
    assert len(check_read(source)) == 20
    assert source.passed_over.counts == {"not an archive": 4}
    _, text, _ = suggest.suggest(str(folder), folder=tmp_path)
    assert "20 images" in text


def test_texts_about_recordings_are_columns(tmp_path: Path) -> None:
    sound = pytest.importorskip("soundfile", reason="needs the extra audio")
    pytest.importorskip("soxr", reason="needs the extra audio")
    stream = io.BytesIO()
    sound.write(stream, 0.3 * np.sin(np.arange(32_000) / 5), 16_000, format="FLAC")
    members = [
        pair
        for n in range(4)
        for pair in ((f"{n}.flac", stream.getvalue()), (f"{n}.json", b'{"n": %d}' % n), (f"{n}.txt", b"word"))
    ]
    path = pack(tmp_path / "0.tar", members)
    assert suggest.look(str(path)).kind == "audio"
    found = [(item.key, dict(item.columns)) for item in open_source(path, "audio").items()]
    assert found == [(f"{n}.flac@{second}", {"caption": "word", "n": n}) for n in range(4) for second in range(2)]

"""What is fuzzed: everything that reads bytes from outside, each as a function and inputs to start with.

A function returns, or raises one of our errors in one line; anything else is a fault. Inputs that were faults once, and
sound ones that are hard to come by, lie in ``corpus/<target>/``.
"""

from __future__ import annotations

import io
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from aepipe import recipe, sources
from aepipe.codes.bitcodes import BitCodes
from aepipe.release import canaries, filter
from aepipe.release.release import Release
from aepipe.sources import dates, encoding, files, notation, pictures, remote
from aepipe.sources.confinement import Bounds, path_in
from aepipe.sources.exclude import Exclude
from aepipe.sources.formats import dialect
from aepipe.sources.loader import read_all
from aepipe.sources.text import recognise
from aepipe.store.artifacts import Store
from tests.faults import test_fuzz
from tests.support import documents
from tests.support.samples import TINY

Target = tuple[Callable[[bytes], object], list[bytes]]
"""A function that reads an input, and inputs to start with; the first one is sound."""
CORPUS = Path(__file__).with_name("corpus")
ITEMS = 20
"""Items read from each input, at most: a file of pictures of one pixel has thousands."""
WORDS = ["So it was, and so it is.", "Whales & seals live in the sea."]


def _saved(form: str) -> bytes:
    if form in ("HEIF", "AVIF"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    image.save(found := io.BytesIO(), form)
    return found.getvalue()


def _jpeg_xl() -> bytes:
    import pylibjxl

    return bytes(pylibjxl.encode(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)))


def _frames(form: str) -> bytes:
    frames = [Image.new("L", (8, 8), shade) for shade in (10, 99, 200)]
    frames[0].save(found := io.BytesIO(), form, save_all=True, append_images=frames[1:])
    return found.getvalue()


def _zip() -> bytes:
    with zipfile.ZipFile(found := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", test_fuzz.picture("png"))
        archive.writestr("a/1.json", '{"caption": "so", "n": 1}')
        archive.writestr("metadata.csv", "file_name,note\na/1.png,x\n")
    return found.getvalue()


def _tar_gz() -> bytes:
    with tarfile.open(fileobj=(found := io.BytesIO()), mode="w:gz") as archive:
        for name, data in (("1.png", test_fuzz.picture("png")), ("1.cls", b"3")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return found.getvalue()


def _sound(form: str, subtype: str) -> bytes:
    import soundfile

    wave = np.sin(np.arange(4000) / 9).astype(np.float32)
    found = io.BytesIO()
    found.name = f"a.{form.lower()}"
    soundfile.write(found, wave, 8000, subtype, format=form)
    return found.getvalue()


def _film(form: str, codec: str) -> bytes:
    import av

    with av.open(found := io.BytesIO(), "w", format=form) as box:
        stream: Any = box.add_stream(codec, 5)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for shade in (0, 90, 200):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), shade, np.uint8))
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    return found.getvalue()


def _arrow(*, packed: bool) -> bytes:
    table = test_fuzz.numbers()
    options = pa.ipc.IpcWriteOptions(compression="zstd" if packed else None)
    with pa.ipc.new_file(found := io.BytesIO(), table.schema, options=options) as writer:
        writer.write_table(table)
    return found.getvalue()


def _npz() -> bytes:
    np.savez(found := io.BytesIO(), vectors=np.arange(24, dtype="f4").reshape(6, 4), label=np.arange(6))
    return found.getvalue()


def _sqlite() -> bytes:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (a REAL, b TEXT, c INTEGER)")
    database.executemany("INSERT INTO t VALUES (?, ?, ?)", [(1.5, "x", 1), (None, "y", 2), (2.5, "x", 3)])
    database.commit()
    return database.serialize()


_TEXT: dict[str, Any] = {"least": 1, "most": 1.0}
_PICTURES = test_fuzz.PICTURES
MORE: dict[str, test_fuzz.Made] = {
    "a.heic": ("images", partial(_saved, "HEIF"), _PICTURES),
    "a.avif": ("images", partial(_saved, "AVIF"), _PICTURES),
    "a.jxl": ("images", _jpeg_xl, _PICTURES),
    "a.jp2": ("images", partial(_saved, "JPEG2000"), _PICTURES),
    "a.tga": ("images", partial(_saved, "TGA"), _PICTURES),
    "a.ico": ("images", partial(_saved, "ICO"), _PICTURES),
    "a.pcx": ("images", partial(_saved, "PCX"), _PICTURES),
    "a.ppm": ("images", partial(_saved, "PPM"), _PICTURES),
    "a.sgi": ("images", partial(_saved, "SGI"), _PICTURES),
    "a.dds": ("images", partial(_saved, "DDS"), _PICTURES),
    "frames.gif": ("images", partial(_frames, "GIF"), _PICTURES),
    "pages.tiff": ("images", partial(_frames, "TIFF"), _PICTURES),
    "a.zip": ("images", _zip, _PICTURES),
    "a.tar.gz": ("images", _tar_gz, _PICTURES),
    "a.wav": ("audio", partial(_sound, "WAV", "PCM_16"), {}),
    "a.flac": ("audio", partial(_sound, "FLAC", "PCM_16"), {}),
    "a.ogg": ("audio", partial(_sound, "OGG", "VORBIS"), {}),
    "a.mp3": ("audio", partial(_sound, "MP3", "MPEG_LAYER_III"), {}),
    "a.aiff": ("audio", partial(_sound, "AIFF", "PCM_16"), {}),
    "a.mp4": ("video", partial(_film, "mp4", "mpeg4"), _PICTURES),
    "a.mkv": ("video", partial(_film, "matroska", "mpeg4"), _PICTURES),
    "a.avi": ("video", partial(_film, "avi", "mpeg4"), _PICTURES),
    "t.pdf": ("text", lambda: documents.pdf(WORDS), _TEXT),
    "t.docx": ("text", lambda: documents.docx(WORDS), _TEXT),
    "t.html": ("text", lambda: documents.html(WORDS), _TEXT),
    "t.rtf": ("text", lambda: documents.rtf(WORDS), _TEXT),
    "t.eml": ("text", lambda: documents.eml(WORDS), _TEXT),
    "table.xlsx": ("table", lambda: documents.xlsx([["a", "b"], ["1", "x"], ["2", "y"]]), {}),
    "table.json": ("table", lambda: b'[{"a": 1, "b": "x"}, {"a": 2.5, "b": null}, {"a": 3, "b": "y"}]', {}),
    "table.jsonl": ("table", lambda: b'{"a": 1, "b": "x"}\n{"a": 2.5, "b": "y"}\n{"a": [1, {"c": 2}]}\n', {}),
    "table.tsv": ("table", lambda: b'a\tb\n"1,5"\tx\n2,5\t"y\nz"\n', {}),
    "table.csv.gz": ("table", lambda: _gzipped(b"a;b\n1;x\n2;y\n3;z\n"), {}),
    "table.arrow": ("table", partial(_arrow, packed=False), {}),
    "packed.arrow": ("table", partial(_arrow, packed=True), {}),
    "table.sqlite": ("table", _sqlite, {}),
    "v.npz": ("vectors", _npz, {}),
}
"""Further files, as :data:`tests.faults.test_fuzz.FILES` has them."""


def _gzipped(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, mtime=0)


def source(name: str, folder: Path) -> Target:
    """Return a function that reads all items of a source, and the sound bytes of its file."""
    made = {**test_fuzz.FILES, **MORE}[name]
    file, whole, how = test_fuzz.prepared(name, folder, made)

    def read(data: bytes) -> None:
        file.write_bytes(data)
        opened = sources.resolve(how).fitted(None)
        for outcome in islice(read_all(opened), ITEMS):
            assert ".." not in Path(outcome.item.place).parts or outcome.reason, outcome.item.place

    return read, [whole]


def toml(folder: Path) -> Target:
    """Return a function that resolves a recipe, and sound recipes."""
    file = folder / "tiny.toml"
    (folder / "photos").mkdir()
    (folder / "photos" / "b.png").write_bytes(test_fuzz.picture("png"))

    def read(data: bytes) -> None:
        file.write_bytes(data)
        sources.resolve(recipe.load(file))

    packaged = (Path(__file__).parents[2] / "flows" / "recipes").glob("*.toml")
    return read, [TINY.format(epochs=1).encode(), *(one.read_bytes() for one in sorted(packaged))]


def options(folder: Path) -> Target:
    """Return a function that checks a recipe without looking for its files, and sound recipes."""
    file = folder / "x.toml"

    def read(data: bytes) -> None:
        file.write_bytes(data)
        recipe.load(file)

    return read, [TINY.format(epochs=1).encode()]


def codes(_: Path) -> Target:
    """Return a function that reads codes in hex, and a sound code."""
    return lambda data: BitCodes.from_hex([_text(data)], 64), [b"0123456789abcdef"]


def store(folder: Path) -> Target:
    """Return a function that queries a release with one file replaced, and its sound files.

    The first byte of an input chooses the file.
    """
    whole_store, asked, files = test_fuzz.released(folder)

    def read(data: bytes) -> None:
        file = files[(data[0] if data else 0) % len(files)]
        whole = file.read_bytes()
        file.write_bytes(data[1:])
        try:
            release = Release.open(Store(whole_store.root))
            release.query(asked, 3)
            release.describe([0])
        finally:
            file.write_bytes(whole)

    return read, [bytes([place]) + file.read_bytes() for place, file in enumerate(files)]


def condition(folder: Path) -> Target:
    """Return a function that takes a text as a condition of SQL, and sound conditions."""
    kept, _, _ = test_fuzz.released(folder)
    release = Release.open(kept)

    def read(data: bytes) -> None:
        filter.ids_where(release, _text(data))

    return read, [b"id < 3", b"label = 'a' AND key LIKE '%1' OR split IN ('train')", b"id IN (SELECT 1)"]


def canary(folder: Path) -> Target:
    """Return a function that reads a file of canaries, and a sound one."""
    file = folder / "canaries.toml"

    def read(data: bytes) -> None:
        file.write_bytes(data)
        canaries.read(file)

    return read, [b'[[canary]]\nkey = "a"\nlabel = "x"\nwithin = 5\n']


def address(folder: Path) -> Target:
    """Return a function that takes a text as an address or as the path of a source, and some of both."""
    (folder / "a.png").write_bytes(test_fuzz.picture("png"))

    def read(data: bytes) -> None:
        text = _text(data)
        if remote.is_address(text):
            remote._check_scheme(text)
        elif ".." not in text:  # a person may ask for the whole disk
            list(islice(files.Files.at(f"{folder}/{text}", folder), ITEMS))

    return read, [b"a.png", b"*.png", b"s3://bucket/x", b"http://h/p?q#f", b"file:///a", b"zip::s3://a/b", b"./././a.*"]


def confined(folder: Path) -> Target:
    """Return a function that holds a path from a list against a plain rule, and paths of all sorts.

    What is allowed has its real path below the folder of the source.
    """
    home = folder / "home"
    (home / "p").mkdir(parents=True)
    (home / "p" / "a.png").write_bytes(b"a")
    (folder / "b.png").write_bytes(b"b")
    (home / "out").symlink_to(folder)
    (home / "in").symlink_to("p")
    bounds = Bounds(home)

    def read(data: bytes) -> None:
        path, reason = path_in(_text(data))
        assert (path is None) == bool(reason)
        if path is None:
            return
        full = Path(home, path)
        inside = full.resolve().is_relative_to(home.resolve())
        assert bounds.holds(str(full)) == inside, path
        assert (sources.file_at(home, path) is None) or inside, path
        if not inside:
            assert 'root = "' in bounds.remedy(str(full), home)

    return read, [
        b"p/a.png",
        b"../b.png",
        b"out/b.png",
        b"in/a.png",
        b"in/../../b.png",
        b"/etc/passwd",
        b"file:///a%2e",
    ]


def patterns(_: Path) -> Target:
    """Return a function that matches a place with patterns, and sound ones; the last line is the place."""

    def read(data: bytes) -> None:
        *rules, place = _text(data).split("\n")
        Exclude(rules).below(place)

    return read, [b"*.png\n!a/**/b.png\na/c/b.png", b"[!a-c]?\n/x/\nx/y"]


def cells(_: Path) -> Target:
    """Return a function that takes a text as number, date, missing value and labels; and some of each."""

    def read(data: bytes) -> None:
        text = _text(data)
        notation.is_missing(text)
        notation.evidence(text)
        found = notation.written(text)
        if found is not None:
            for decimal in (".", ","):
                if notation._is_number(text, decimal):
                    notation.read_number(text, decimal)
        dates.readings(text)

    return read, [b"1.234,5", b"-1e-3", b"2024-02-30T12:00:00+01:00", b"31.12.99", b"n/a", b"1 234", b"12/31/2024 1 PM"]


def tables(_: Path) -> Target:
    """Return a function that tells encoding and dialect of the first lines of a table, and some of them."""

    def read(data: bytes) -> None:
        with suppress(ValueError):
            text, _ = encoding.decode(data)
            lines = text.splitlines(keepends=True)[:100]
            dialect.dialect_of(lines, delimiter=None, header=None, usual=",", aligned=False)

    return read, [b"a;b\n1;2\n", b'x\t"y\tz"\n1\t2\n', "ä,ö\n1,2\n".encode("cp1252"), b"\xff\xfea\0,\0b\0\n\0"]


def heads(_: Path) -> Target:
    """Return a function that recognises a file by its first bytes, and heads of all sorts."""

    def read(data: bytes) -> None:
        pictures.format_of(data)
        pictures.not_read(data)
        recognise.format_of(data, "a.txt")
        for name in sources.names():
            sniffer = sources.kinds()[name].SNIFFER
            sniffer.file(sources_glimpse(data))

    return read, [
        b"a word\n",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBP",
        b"\0\0\0\x18ftypheic",
        b"%PDF-1.4",
        b"PK\3\4",
    ]


def sources_glimpse(data: bytes) -> Any:
    """Return the first bytes of a file as sniffers see them."""
    from aepipe.sources.base import Glimpse

    return Glimpse("a/b.bin", data)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


FAST: Mapping[str, Callable[[Path], Target]] = {
    "hex": codes,
    "options": options,
    "address": address,
    "confined": confined,
    "patterns": patterns,
    "cells": cells,
    "tables": tables,
    "heads": heads,
    "canaries": canary,
}
"""Targets of pure Python, which take a million inputs in minutes."""
TARGETS: Mapping[str, Callable[[Path], Target]] = {
    **FAST,
    **{name: partial(source, name) for name in (*test_fuzz.FILES, *MORE)},
    "recipe": toml,
    "where": condition,
    "store": store,
}


def corpus(name: str) -> Iterator[bytes]:
    """Yield the inputs that are kept for a target."""
    for file in sorted((CORPUS / name).glob("*")):
        yield file.read_bytes()

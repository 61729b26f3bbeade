"""A folder as people have them: files of many formats, and everything else that lies among files."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

LOCKED = "locked"
"""A folder without permission, for tests that play it; root may read everything."""
SENTENCE = "Seven old boats came home over the grey sea, and the wind sang all night long."
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{7:064x}\nsize 1000\n"


def write_mixed(folder: Path, *, each: int) -> dict[str, int]:
    """Write a folder with files of more than 40 formats.

    Args:
        folder: is made.
        each: files of each format.

    Returns:
        The number of files by format. Folders, links to folders and the files in :data:`LOCKED` are not counted.
    """
    made = {}
    for number, (ending, data) in enumerate(sorted(_contents().items())):
        at = folder / f"part{number % 7}"
        at.mkdir(parents=True, exist_ok=True)
        for count in range(each):
            name = f"{number:020x}{count:020x}" if ending.startswith("hash-") else f"{number:02d}-{count:03d}{ending}"
            (at / name).write_bytes(data)
        made[ending] = each
    return made | _oddities(folder, each)


def _contents() -> dict[str, bytes]:
    """Return the bytes of one file of each format, by its ending."""
    text = {
        ".txt": SENTENCE.encode(),
        ".md": f"# Boats\n\n{SENTENCE}".encode(),
        ".latin.txt": f"{SENTENCE} Grüße aus Köln".encode("latin-1"),
        ".utf16.txt": SENTENCE.encode("utf-16"),
        ".html": f"<html><body><p>{SENTENCE}</p></body></html>".encode(),
        ".eml": f"From: a@example.com\nSubject: boats\n\n{SENTENCE}".encode(),
        ".svg": b"<svg xmlns='http://www.w3.org/2000/svg'><circle r='9'/></svg>",
        ".json": json.dumps({"title": SENTENCE}, indent=1).encode(),
        ".rtf": rb"{\rtf1 boats}",
        ".pdf": b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n",
        ".bin": bytes(range(256)),
    }
    return text | _pictures() | _sounds() | _films() | _tables() | _archives()


def _pictures() -> dict[str, bytes]:
    picture = Image.linear_gradient("L").convert("RGB").resize((24, 20))
    formats = {
        ".jpg": "JPEG", ".JPEG": "JPEG", ".jfif": "JPEG", ".jpe": "JPEG", ".jpg.orig": "JPEG", "hash-jpg": "JPEG",
        ".png": "PNG", "hash-png": "PNG", ".wrong.txt": "PNG", ".gif": "GIF", ".bmp": "BMP", ".tif": "TIFF",
        ".tiff": "TIFF", ".webp": "WEBP", ".ppm": "PPM", ".tga": "TGA", ".ico": "ICO", ".pcx": "PCX", ".sgi": "SGI",
        ".im": "IM", ".jp2": "JPEG2000",
    }  # fmt: skip
    found = {ending: _saved(picture, kind) for ending, kind in formats.items()}
    return found | {".heic": struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(90)}


def _saved(picture: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


def _sounds() -> dict[str, bytes]:
    import soundfile

    wave = 0.3 * np.sin(np.arange(4000) / 9)
    formats = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
    formats |= {".mp3": ("MP3", "MPEG_LAYER_III"), ".aiff": ("AIFF", "PCM_16"), ".sound": ("WAV", "FLOAT")}
    found = {}
    for ending, (kind, coding) in formats.items():
        stream = io.BytesIO()
        soundfile.write(stream, wave, 16_000, format=kind, subtype=coding)
        found[ending] = stream.getvalue()
    return found


def _films() -> dict[str, bytes]:
    import av

    found = {}
    for ending, kind in ((".mp4", "mp4"), (".mkv", "matroska"), (".film", "mp4")):
        stream = io.BytesIO()
        with av.open(stream, "w", format=kind) as out:
            film = out.add_stream("mpeg4", rate=10)
            film.width, film.height, film.pix_fmt = 32, 24, "yuv420p"
            for shade in (10, 90, 200):
                frame = av.VideoFrame.from_ndarray(np.full((24, 32, 3), shade, np.uint8), format="rgb24")
                out.mux(film.encode(frame))
            out.mux(film.encode(None))
        found[ending] = stream.getvalue()
    return found


def _tables() -> dict[str, bytes]:
    lines = [{"price": 1.5 * number, "colour": ("red", "blue")[number % 2]} for number in range(4)]
    rows = [["price", "colour"], *([str(value) for value in line.values()] for line in lines)]
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    return {
        ".csv": "\n".join(",".join(row) for row in rows).encode(),
        ".tsv": "\n".join("\t".join(row) for row in rows).encode(),
        ".jsonl": "\n".join(map(json.dumps, lines)).encode(),
        ".parquet": _written(lambda stream: pq.write_table(pa.Table.from_pylist(lines), stream)),
        ".npy": _written(lambda stream: np.save(stream, vectors)),
        ".npz": _written(lambda stream: np.savez(stream, embedding=vectors)),
    }


def _archives() -> dict[str, bytes]:
    def packed(stream: io.BytesIO, mode: str) -> None:
        with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
            archive.addfile(tarfile.TarInfo("empty.txt"))

    def zipped(stream: io.BytesIO) -> None:
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("word/document.xml", f"<w:t>{SENTENCE}</w:t>")

    found = {".tar": _written(lambda stream: packed(stream, "w")), ".tar.gz": _written(lambda at: packed(at, "w:gz"))}
    return found | dict.fromkeys((".zip", ".docx"), _written(zipped))


def _written(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def _oddities(folder: Path, each: int) -> dict[str, int]:
    """Write what is no file of any format; return how many files of each sort there are."""
    for name in ("odd/@eaDir", "odd/.cache/deep", f"odd/{LOCKED}", "odd/real"):
        (folder / name).mkdir(parents=True)
    (folder.parent / "outside.txt").write_text(SENTENCE)
    picture = _saved(Image.linear_gradient("L"), "PNG")
    (folder / "odd" / "real" / "picture.png").write_bytes(picture)
    (folder / "odd" / LOCKED / "secret.png").write_bytes(picture)
    for count in range(each):
        odd = folder / "odd"
        (odd / f"{count}.empty").write_bytes(b"")
        (odd / f"{count}.empty.jpg").write_bytes(b"")
        (odd / f"{count}.pointer.jpg").write_text(POINTER)
        (odd / f"{count}.pointer").write_text(POINTER)
        (odd / f".hidden{count}.jpg").write_bytes(picture)
        (odd / ".cache" / "deep" / f"{count}.jpg").write_bytes(picture)
        (odd / "@eaDir" / f"{count}.jpg").write_bytes(picture)
        (odd / f"link{count}.png").symlink_to("real/picture.png")
        os.link(odd / "real" / "picture.png", odd / f"hard{count}.png")
        (odd / f"gone{count}.png").symlink_to("nothing.png")
        (odd / f"out{count}.txt").symlink_to(folder.parent / "outside.txt")
        os.mkfifo(odd / f"pipe{count}.wav")
    (folder / "odd" / ".DS_Store").write_bytes(bytes(9))
    (folder / "odd" / "Thumbs.db").write_bytes(bytes(9))
    (folder / "odd" / "loop").symlink_to(folder)
    names = ("empty", "empty.jpg", "pointer.jpg", "pointer", "hidden", "cache", "eadir", "link", "hard", "gone", "out")
    return dict.fromkeys((*names, "pipe"), each) | {"real": 1, "junk": 2}

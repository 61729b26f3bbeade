"""Small files that are made to fill the memory or to take for ever, one for each way that a format has.

Each is written by hand where a library would need the memory itself. A bomb is a kind of source, the file, and the
options that read all of it.
"""

from __future__ import annotations

import gzip
import io
import sqlite3
import struct
import tarfile
import wave
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MB = 1 << 20
SIDE = 13_000
"""Of a picture that is as large as is allowed, or nearly."""
WIDE = 60_000
"""Of a picture that is larger than is allowed."""


@dataclass(frozen=True, slots=True)
class Bomb:
    """A file that costs much more than its size says.

    Attributes:
        name: of the file; also names the bomb.
        kind: of the source that reads it.
        write: writes the file at a path.
        options: under ``[source]``.
        features: under ``[features]``.
        needs: the package that is needed to write or to read it.
    """

    name: str
    kind: str
    write: Callable[[Path], object]
    options: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""


def packed(size: int, piece: bytes = b"\0") -> bytes:
    """Return that many bytes as a zlib stream; a block is packed once, and repeated as it is."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = piece * (MB // len(piece))
    one = pack.compress(block) + pack.flush(zlib.Z_FULL_FLUSH)
    rest = pack.compress(block[: size % MB]) + pack.flush()
    whole, check = size // MB, 1
    for _ in range(whole):
        check = zlib.adler32(block, check)
    check = zlib.adler32(block[: size % MB], check)
    return b"\x78\xda" + one * whole + rest + struct.pack(">I", check)


def png(width: int, height: int, colour: int = 0, depth: int = 8, extra: bytes = b"") -> bytes:
    """Return a black PNG; ``extra`` are chunks between its header and its pixels."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = 1 + -(-width * samples * depth // 8)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [_chunk(b"IHDR", header), extra, _chunk(b"IDAT", packed(row * height)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def text_chunk(size: int) -> bytes:
    """Return a chunk of packed text."""
    return _chunk(b"zTXt", b"Comment\0\0" + packed(size, b"A"))


def tiff(width: int, height: int, *, samples: int = 1, bits: int = 8, rows: int = 0) -> bytes:
    """Return a black TIFF of strips that are all the same packed bytes."""
    rows = rows or height
    strips = -(-height // rows)
    data = packed(-(-width * samples * bits // 8) * rows)
    alpha = [(338, 3, 1, 2)] if samples == 4 else []
    offset = 8 + len(data) + (len(data) & 1)
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, 8),
        (262, 3, 1, 2 if samples > 2 else 1),
        (273, 4, strips, 8),
        (277, 3, 1, samples),
        (278, 4, 1, rows),
        (279, 4, strips, len(data)),
        *alpha,
    ]
    lists = b""
    end = offset + 2 + 12 * len(tags) + 4
    out = struct.pack("<H", len(tags))
    for tag, form, count, value in tags:
        if count > 1:
            out += struct.pack("<HHII", tag, form, count, end + len(lists))
            lists += struct.pack(f"<{count}I", *[value] * count)
        elif tag == 258 and samples > 2:
            out += struct.pack("<HHII", tag, form, samples, end + len(lists))
            lists += struct.pack(f"<{samples}H", *[bits] * samples)
        else:
            out += struct.pack("<HHII", tag, form, count, value)
    return b"II*\0" + struct.pack("<I", offset) + data + bytes(len(data) & 1) + out + bytes(4) + lists


def gif(width: int, height: int, frames: int = 1) -> bytes:
    """Return a GIF of frames of one pixel on a large canvas."""
    frame = b"!\xf9\x04\x08\0\0\0\0" + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02D\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + frame * frames + b";"


def jpeg(width: int, height: int, *, progressive: bool = False) -> bytes:
    """Return a JPEG of one grey block whose header says another size."""
    Image.new("L", (8, 8)).save(stream := io.BytesIO(), "JPEG", progressive=progressive)
    data = bytearray(stream.getvalue())
    at = data.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def saved(form: str, size: tuple[int, int], mode: str = "L", **options: Any) -> Callable[[Path], object]:
    """Return what writes an empty picture by Pillow."""
    return lambda path: Image.new(mode, size).save(path, form, **options)


def ppm(path: Path) -> None:
    """Write a header without pixels."""
    path.write_bytes(b"P5 60000 60000 255\n" + bytes(100))


def bmp_rle(path: Path) -> None:
    """Write a bitmap of one run-length command."""
    side = SIDE
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 8, 0, 0, 256, 0)
    path.write_bytes(b"BM" + struct.pack("<IHHI", 1090, 0, 0, 1078) + header + bytes(1024) + b"\0\2\1\1\0\1")


def header_changed(form: str, mark: bytes, at: int, new: bytes) -> Callable[[Path], object]:
    """Return what writes a small picture with other bytes in its header, so many after a mark."""

    def write(path: Path) -> None:
        if form in ("HEIF", "AVIF"):
            from pillow_heif import register_heif_opener

            register_heif_opener()
        Image.new("RGB", (64, 64)).save(stream := io.BytesIO(), form)
        data = bytearray(stream.getvalue())
        place = data.index(mark) + at
        data[place : place + len(new)] = new
        path.write_bytes(bytes(data))

    return write


def zipped(members: int, size: int, *, name: str = "{}.png") -> Callable[[Path], object]:
    """Return what writes an archive of members that each grow to a size."""
    return lambda path: path.write_bytes(zeros_in([name.format(number) for number in range(members)], size))


def zeros_in(names: Sequence[str], size: int, head: bytes = b"") -> bytes:
    """Return a zip whose members are all the same: some bytes, and then zeros."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = pack.compress(head) + pack.flush(zlib.Z_FULL_FLUSH) + packed(size)[2:-4]
    crc = zlib.crc32(head)
    for _ in range(size // MB):
        crc = zlib.crc32(bytes(MB), crc)
    sizes = struct.pack("<III", crc, len(body), len(head) + size)
    parts, places, at = list[bytes](), list[bytes](), 0
    for named in map(str.encode, names):
        local = b"PK\3\4" + struct.pack("<HHHHH", 20, 0, 8, 0, 33) + sizes + struct.pack("<HH", len(named), 0)
        parts += [local + named + body]
        central = b"PK\1\2" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 33) + sizes
        places += [central + struct.pack("<HHHHHII", len(named), 0, 0, 0, 0, 0, at) + named]
        at += len(parts[-1])
    listed = b"".join(places)
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, len(names), len(names), len(listed), at, 0)
    return b"".join(parts) + listed + end


def nested_zip(path: Path) -> None:
    """Write a zip in a zip, and so on, ten deep."""
    data = b"\0" * MB
    for depth in range(10):
        with zipfile.ZipFile(stream := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{depth}.zip" if depth else "a.png", data)
            archive.writestr(f"{depth}-too.zip", data)
        data = stream.getvalue()
    path.write_bytes(data)


def tarred(members: int, size: int) -> Callable[[Path], object]:
    """Return what writes a gzipped archive of members of zeros."""

    def write(path: Path) -> None:
        with path.open("wb") as out:
            for number in range(members):
                info = tarfile.TarInfo(f"{number}.png")
                info.size = size
                out.write(gzip.compress(info.tobuf()) + gzip.compress(bytes(MB)) * (size // MB))
            out.write(gzip.compress(bytes(1024)))

    return write


def gzipped(head: bytes, piece: bytes, size: int, tail: bytes = b"") -> Callable[[Path], object]:
    """Return what writes a gzipped file of one piece again and again."""

    def write(path: Path) -> None:
        block = piece * max(1, MB // len(piece))
        parts = (gzip.compress(head), gzip.compress(block) * (size // len(block)), gzip.compress(tail))
        path.write_bytes(b"".join(parts))

    return write


def parquet(path: Path, rows: int, text: str) -> None:
    """Write a table of equal cells, which are runs of one number, and a text that the dictionary holds once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    some = min(rows, MB)
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(some, np.int32)), pa.array([text], pa.large_string()))
    table = pa.table({"text": texts, "x": pa.array(np.ones(some, np.int8))})
    with pq.ParquetWriter(path, table.schema, compression="zstd", write_statistics=False) as out:
        for _ in range(rows // some):
            out.write_table(table)


def arrow(path: Path) -> None:
    """Write a text of 300 MB as a packed buffer."""
    import pyarrow as pa

    options = pa.ipc.IpcWriteOptions(compression="zstd")
    table = pa.table({"text": pa.array([" " * (300 * MB)], pa.large_string())})
    with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
        writer.write_table(table)


def sheet(cells: str, *, strings: int = 0, dimension: str = "A1") -> Callable[[Path], object]:
    """Return what writes a workbook with some cells."""

    def write(path: Path) -> None:
        main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
        package = "http://schemas.openxmlformats.org/package/2006"
        kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
            book.writestr(
                "[Content_Types].xml",
                f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType="application/vnd.'
                f'openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="{kind}.'
                f'sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/>'
                "</Types>",
            )
            book.writestr(
                "_rels/.rels",
                f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/officeDocument" '
                'Target="xl/workbook.xml"/></Relationships>',
            )
            book.writestr(
                "xl/workbook.xml",
                f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets>'
                "</workbook>",
            )
            book.writestr(
                "xl/_rels/workbook.xml.rels",
                f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/worksheet" '
                f'Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{office}/sharedStrings" '
                'Target="sharedStrings.xml"/></Relationships>',
            )
            book.writestr(
                "xl/worksheets/sheet1.xml",
                f'<worksheet xmlns="{main}"><dimension ref="{dimension}"/><sheetData>{cells}</sheetData></worksheet>',
            )
            with book.open("xl/sharedStrings.xml", "w") as stream:
                stream.write(f'<sst xmlns="{main}"><si><t>'.encode())
                for _ in range(strings):
                    stream.write(b"A" * MB)
                stream.write(b"</t></si></sst>")

    return write


FAR = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'


def ods(path: Path) -> None:
    """Write one cell that is repeated over a whole sheet."""
    office, table = (f"urn:oasis:names:tc:opendocument:xmlns:{name}:1.0" for name in ("office", "table"))
    cell = '<table:table-cell office:value-type="float" office:value="1" table:number-columns-repeated="16384"/>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        book.writestr(
            "content.xml",
            f'<office:document-content xmlns:office="{office}" xmlns:table="{table}"><office:body><office:spreadsheet>'
            f'<table:table table:name="S"><table:table-row table:number-rows-repeated="1048576">{cell}'
            "</table:table-row></table:table></office:spreadsheet></office:body></office:document-content>",
        )
        book.writestr("META-INF/manifest.xml", "<manifest/>")


def npy(path: Path, rows: int = 1 << 50) -> None:
    """Write an array whose header says more than the file has."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 1024), }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode() + bytes(4096))


def npz(path: Path) -> None:
    """Write an archive of one array of zeros."""
    rows = 1 << 20
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 512), }}".ljust(117) + "\n"
    head = b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode()
    path.write_bytes(zeros_in(["x.npy"], rows * 512 * 4, head))


def sqlite(sql: str) -> Callable[[Path], object]:
    """Return what writes a database of one view."""

    def write(path: Path) -> None:
        database = sqlite3.connect(path)
        database.execute(f"CREATE VIEW t AS {sql}")
        database.commit()
        database.close()

    return write


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, x % 7 AS y FROM n"
BLOBS = "SELECT 1 AS x, hex(zeroblob(400000000)) AS t"


def duck(path: Path) -> None:
    """Write a view of more rows than anybody has."""
    import duckdb

    with duckdb.connect(str(path)) as database:
        database.execute("CREATE VIEW t AS SELECT range AS x, range % 7 AS y FROM range(1000000000000)")


def docx(document: str, *, size: int = 0) -> Callable[[Path], object]:
    """Return what writes a document with some XML, or with that many letters."""

    def write(path: Path) -> None:
        package = "http://schemas.openxmlformats.org/package/2006"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
            book.writestr("[Content_Types].xml", f'<Types xmlns="{package}/content-types"/>')
            with book.open("word/document.xml", "w") as stream:
                head, _, tail = document.partition("{}")
                stream.write(head.encode())
                for _ in range(size // MB):
                    stream.write(b"word " * (MB // 5))
                stream.write(tail.encode())

    return write


WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
ENTITIES = (
    "<?xml version='1.0'?><!DOCTYPE d ["
    + "<!ENTITY a0 'lol lol lol lol lol lol'>"
    + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))
    + "]>"
)
LAUGHS = f"{ENTITIES}<w:document xmlns:w='{WORD}'><w:body><w:p><w:r><w:t>&a11;</w:t></w:r></w:p></w:body></w:document>"
PAGE = f"<w:document xmlns:w='{WORD}'><w:body><w:p><w:r><w:t>{{}}</w:t></w:r></w:p></w:body></w:document>"


def pdf(size: int, pages: int = 1) -> Callable[[Path], object]:
    """Return what writes a PDF whose content grows to a size, and whose tree has a number of pages."""

    def write(path: Path) -> None:
        body = packed(size, b"BT (word word) Tj ET\n")
        kids = " ".join(["3 0 R"] * pages)
        objects = [
            b"<</Type/Catalog/Pages 2 0 R>>",
            f"<</Type/Pages/Kids[{kids}]/Count {pages}>>".encode(),
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
            b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(body), body),
            b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        ]
        out, places = b"%PDF-1.4\n", list[int]()
        for number, one in enumerate(objects, 1):
            places.append(len(out))
            out += b"%d 0 obj" % number + one + b"endobj\n"
        table = b"".join(b"%010d 00000 n \n" % place for place in places)
        end = b"xref\n0 6\n0000000000 65535 f \n" + table + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
        path.write_bytes(out + end % len(out))

    return write


def text(data: bytes) -> Callable[[Path], object]:
    """Return what writes some bytes."""
    return lambda path: path.write_bytes(data)


def mail(depth: int) -> bytes:
    """Return a mail in a mail, and so on."""
    head = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(depth))
    return f"From: a@b\nSubject: x\n{head}Content-Type: text/plain\n\nword\n".encode()


def wav(path: Path, *, frames: int = 0xFFFFFFF0, channels: int = 65_535) -> None:
    """Write a header that says more than the file has."""
    form = struct.pack("<HHIIHH", 1, channels, 48_000, 0, 2 * channels & 0xFFFF, 16)
    path.write_bytes(
        b"RIFF"
        + struct.pack("<I", 0xFFFFFFFF)
        + b"WAVEfmt \x10\0\0\0"
        + form
        + b"data"
        + struct.pack("<I", frames)
        + bytes(4096)
    )


def silence(form: str, subtype: str, seconds: int, rate: int = 8000, channels: int = 1) -> Callable[[Path], object]:
    """Return what writes a long silence."""

    def write(path: Path) -> None:
        import soundfile

        with soundfile.SoundFile(path, "w", rate, channels, subtype, format=form) as file:
            block = np.zeros((rate * 600, channels), np.int16)
            for _ in range(seconds // 600):
                file.write(block)

    return write


def film(width: int, height: int, seconds: int, rate: int = 1, codec: str = "mpeg4") -> Callable[[Path], object]:
    """Return what writes a black film of frames far apart."""

    def write(path: Path) -> None:
        import av

        with av.open(str(path), "w") as box:
            stream: Any = box.add_stream(codec, rate)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            for number in range(seconds * rate):
                frame.pts = number
                box.mux(stream.encode(frame))
            box.mux(stream.encode(None))

    return write


def wave_of(path: Path) -> None:
    """Write a sound that is whole."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16_000))


_ALL = {"pages": "all"}
_WORDS = {"least": 1, "most": 1.0}
IMAGES = [
    Bomb("huge.png", "images", lambda path: path.write_bytes(png(WIDE, WIDE, depth=1))),
    Bomb("allowed.png", "images", lambda path: path.write_bytes(png(SIDE, SIDE, 6))),
    Bomb("deep.png", "images", lambda path: path.write_bytes(png(SIDE, SIDE, 6, 16))),
    Bomb("comment.png", "images", lambda path: path.write_bytes(png(9, 9, extra=text_chunk(512 * MB)))),
    Bomb("comments.png", "images", lambda path: path.write_bytes(png(9, 9, extra=text_chunk(MB - 1) * 2000))),
    Bomb("huge.tiff", "images", lambda path: path.write_bytes(tiff(WIDE, WIDE, bits=1))),
    Bomb("rgba.tiff", "images", lambda path: path.write_bytes(tiff(SIDE, SIDE, samples=4))),
    Bomb("strips.tiff", "images", lambda path: path.write_bytes(tiff(SIDE, SIDE, samples=4, rows=16))),
    Bomb("floats.tiff", "images", lambda path: path.write_bytes(tiff(SIDE, SIDE, bits=32, rows=16))),
    Bomb("strip.tiff", "images", lambda path: path.write_bytes(tiff(16, 16, rows=1 << 24))),
    Bomb("huge.gif", "images", lambda path: path.write_bytes(gif(65_535, 65_535))),
    Bomb("allowed.gif", "images", lambda path: path.write_bytes(gif(SIDE, SIDE))),
    Bomb("frames.gif", "images", lambda path: path.write_bytes(gif(4000, 4000, 5000)), _ALL),
    Bomb("huge.jpg", "images", lambda path: path.write_bytes(jpeg(65_500, 65_500))),
    Bomb("allowed.jpg", "images", lambda path: path.write_bytes(jpeg(SIDE, SIDE))),
    Bomb("progressive.jpg", "images", lambda path: path.write_bytes(jpeg(SIDE, SIDE, progressive=True))),
    Bomb("allowed.webp", "images", saved("WEBP", (SIDE, SIDE), "RGBA", lossless=True)),
    Bomb("huge.ppm", "images", ppm),
    Bomb("runs.bmp", "images", bmp_rle),
    Bomb("runs.psd", "images", header_changed("BMP", b"BM", 18, struct.pack("<ii", SIDE, SIDE))),
    Bomb("huge.tga", "images", header_changed("TGA", b"", 12, struct.pack("<HH", 65_535, 65_535))),
    Bomb("huge.pcx", "images", header_changed("PCX", b"\x0a", 8, struct.pack("<HH", 65_534, 65_534))),
    Bomb("huge.sgi", "images", header_changed("SGI", b"\x01\xda", 6, struct.pack(">HH", 65_534, 65_534))),
    Bomb("huge.dds", "images", header_changed("DDS", b"DDS ", 12, struct.pack("<II", 65_534, 65_534))),
    Bomb(
        "huge.ico",
        "images",
        lambda path: path.write_bytes(
            b"\0\0\1\0\1\0\0\0\0\0\1\0\x20\0" + struct.pack("<II", len(png(SIDE, SIDE, 6)), 22) + png(SIDE, SIDE, 6)
        ),
    ),
    Bomb("huge.jp2", "images", header_changed("JPEG2000", b"ihdr", 4, struct.pack(">II", WIDE, WIDE))),
    Bomb("allowed.jp2", "images", saved("JPEG2000", (8000, 8000))),
    Bomb("huge.avif", "images", header_changed("AVIF", b"ispe", 8, struct.pack(">II", 30_000, 30_000))),
    Bomb(
        "huge.heic",
        "images",
        header_changed("HEIF", b"ispe", 8, struct.pack(">II", 60_000, 60_000)),
        needs="pillow_heif",
    ),
]
ARCHIVES = [
    Bomb("ratio.zip", "images", zipped(200, 255 * MB)),
    Bomb("many.zip", "images", zipped(20_000, 0)),
    Bomb("nested.zip", "images", nested_zip),
    Bomb("ratio.tar.gz", "images", tarred(12, 255 * MB)),
]
TABLES = [
    Bomb("line.csv.gz", "table", gzipped(b"a,b\n1,2\n", b"x", 1024 * MB)),
    Bomb("cells.csv.gz", "table", gzipped(b"a,b\n1,2\n", b",", 256 * MB)),
    Bomb("rows.csv.gz", "table", gzipped(b"a,b\n", b"1,2\n2,3\n", 1024 * MB)),
    Bomb("quote.csv.gz", "table", gzipped(b'a,b\n1,"', b"x\n", 512 * MB)),
    Bomb("columns.csv", "table", text(b"a," * 500_000 + b"\n" + b"1," * 500_000 + b"\n")),
    Bomb("nested.jsonl", "table", text(b'{"a": ' + b"[" * MB + b"]" * MB + b', "b": 1}\n{"b": 2}\n')),
    Bomb("array.jsonl.gz", "table", gzipped(b'[{"a": 1}', b', {"a": 1}', 512 * MB, b"]")),
    Bomb("keys.jsonl", "table", text(b"".join(b'{"k%d": 1}\n' % n for n in range(20_000)))),
    Bomb("digits.jsonl", "table", text(b'{"a": 1' + b"0" * MB + b"}\n" + b'{"a": 2}\n')),
    Bomb("runs.parquet", "table", lambda path: parquet(path, 1 << 27, "")),
    Bomb("cell.parquet", "text", lambda path: parquet(path, 64, "a" * (300 * MB)), {"text": "text"}, _WORDS),
    Bomb("packed.arrow", "text", arrow, {"text": "text"}, _WORDS),
    Bomb("far.xlsx", "table", sheet(FAR, dimension="A1:XFD1048576"), needs="python_calamine"),
    Bomb(
        "strings.xlsx",
        "table",
        sheet('<row r="1"><c r="A1" t="s"><v>0</v></c></row>', strings=300),
        needs="python_calamine",
    ),
    Bomb("repeated.ods", "table", ods, needs="python_calamine"),
    Bomb("endless.sqlite", "table", sqlite(ENDLESS)),
    Bomb("blobs.sqlite", "table", sqlite(BLOBS)),
    Bomb("endless.duckdb", "table", duck, needs="duckdb"),
    Bomb("shape.npy", "vectors", npy),
    Bomb("zeros.npz", "vectors", npz),
    Bomb(
        "train-images-idx3-ubyte.gz",
        "images",
        gzipped(b"\0\0\x08\x03" + struct.pack(">III", 1 << 31, 16_384, 16_384), b"\0", 1024 * MB),
    ),
]
DOCUMENTS = [
    Bomb("laughs.docx", "text", docx(LAUGHS), {}, _WORDS, "kreuzberg"),
    Bomb("words.docx", "text", docx(PAGE, size=400 * MB), {}, _WORDS, "kreuzberg"),
    Bomb("stream.pdf", "text", pdf(1024 * MB), {}, _WORDS, "kreuzberg"),
    Bomb("pages.pdf", "text", pdf(MB, 50_000), {}, _WORDS, "kreuzberg"),
    Bomb("nested.html", "text", text(b"<html><body>" + b"<div>" * 200_000 + b"word"), {}, _WORDS, "kreuzberg"),
    Bomb("nested.rtf", "text", text(b"{\\rtf1 " + b"{" * 500_000 + b"word"), {}, _WORDS, "kreuzberg"),
    Bomb("nested.eml", "text", text(mail(5000)), {}, _WORDS, "kreuzberg"),
    Bomb(
        "entities.html", "text", text(ENTITIES.encode() + b"<html><body>&a11;</body></html>"), {}, _WORDS, "kreuzberg"
    ),
    Bomb("long.txt", "text", text(b"word " * (40 * MB // 5)), {}, _WORDS),
    Bomb("letters.txt", "text", text(b"x" * (40 * MB)), {}, _WORDS),
]
SOUNDS = [
    Bomb("header.wav", "audio", wav),
    Bomb("silence.flac", "audio", silence("FLAC", "PCM_16", 100 * 3600), needs="soundfile"),
    Bomb("whole.flac", "audio", silence("FLAC", "PCM_16", 30 * 3600), {}, {"window": "whole"}, "soundfile"),
    Bomb(
        "channels.flac", "audio", silence("FLAC", "PCM_16", 10 * 3600, 44_100, 8), {}, {"window": "whole"}, "soundfile"
    ),
    Bomb("silence.ogg", "audio", silence("OGG", "VORBIS", 100 * 3600), needs="soundfile"),
    Bomb("wide.mp4", "video", film(8176, 8176, 30), needs="av"),
    Bomb("long.mp4", "video", film(16, 16, 20_000), needs="av"),
]
BOMBS = {bomb.name: bomb for bomb in (*IMAGES, *ARCHIVES, *TABLES, *DOCUMENTS, *SOUNDS)}

"""Any bytes of a file are read, or refused by one of our errors; nothing else happens.

Real files are torn and mangled: a hundred of each in the suite, always the same ones; 2,000 in ``make soak``, always
different ones, or the number in ``$AEPIPE_FUZZ``.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from aepipe import recipe, sources
from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import AepipeError, CodeError
from aepipe.pipeline.ingest import ingest
from aepipe.recipe import Recipe
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from aepipe.store.layout import MANIFEST
from aepipe.store.rows import Rows
from tests.support.releases import make_release
from tests.support.samples import SAMPLE, TINY

FUZZ = int(os.environ.get("AEPIPE_FUZZ", "2000" if "AEPIPE_SOAK" in os.environ else "100"))
fuzz = settings(
    max_examples=FUZZ,
    derandomize="AEPIPE_SOAK" not in os.environ,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

WORDS = [
    b"",
    b"\0",
    b"\xff" * 8,
    b"-1",
    b"../../etc/passwd",
    b"../secret.png",
    b"1e999",
    b"[[",
    b'{"',
    b"\n",
    b"\xed\xa0\x80",
    b"null",
    b"\\ud800",
]
PLACES = st.floats(0, 1, exclude_max=True)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("bit"), PLACES, st.integers(0, 7)),
        st.tuples(st.just("byte"), PLACES, st.integers(0, 255)),
        st.tuples(st.just("word"), PLACES, st.sampled_from(WORDS)),
        st.tuples(st.just("cut"), PLACES, st.just(0)),
        st.tuples(st.just("drop"), PLACES, st.integers(1, 64)),
        st.tuples(st.just("twice"), PLACES, st.integers(1, 64)),
    ),
    min_size=1,
    max_size=6,
)


def mangled(data: bytes, changes: list[tuple[str, float, Any]]) -> bytes:
    """Apply some changes to bytes, each at a place from 0, the beginning, to 1, the end."""
    for how, share, what in changes:
        at = int(share * len(data))
        if how == "cut":
            data = data[:at]
        elif how == "drop":
            data = data[:at] + data[at + what :]
        elif how == "twice":
            data = data[: at + what] + data[at:]
        elif how == "word":
            data = data[:at] + what + data[at + len(what) :]
        elif data:
            byte = what if how == "byte" else data[at] ^ 1 << what
            data = data[:at] + bytes([byte]) + data[at + 1 :]
    return data


def check(error: AepipeError) -> None:
    """Check that an error is one line."""
    assert len(str(error).splitlines()) == 1


def pictures() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(SAMPLE).slice(0, 6).to_pylist()
    return rows


def picture(form: str) -> bytes:
    """Return a real picture in a format."""
    with Image.open(io.BytesIO(pictures()[0]["image"]["bytes"])) as image:
        image.convert("RGB").save(found := io.BytesIO(), form)
    return found.getvalue()


def archive() -> bytes:
    """Return pictures in a tar file."""
    with tarfile.open(fileobj=(found := io.BytesIO()), mode="w") as tar:
        for number, row in enumerate(pictures()):
            info = tarfile.TarInfo(f"coat/{number}.png")
            info.size = len(row["image"]["bytes"])
            tar.addfile(info, io.BytesIO(row["image"]["bytes"]))
    return found.getvalue()


def parquet(table: pa.Table) -> bytes:
    pq.write_table(table, found := io.BytesIO())
    return found.getvalue()


def numbers() -> pa.Table:
    """Return a table with numbers, words and missing cells."""
    return pa.table({"a": [1.0, None, 3.5, 4.0], "b": ["x", "y", None, "x"], "c": [1, 2, 3, 4]})


def csv(table: pa.Table) -> bytes:
    pc.write_csv(table, found := io.BytesIO())
    return found.getvalue()


def array() -> bytes:
    np.save(found := io.BytesIO(), np.arange(24, dtype="f4").reshape(6, 4))
    return found.getvalue()


def idx() -> bytes:
    return b"\0\0\x08\x03" + np.array([3, 4, 4], ">i4").tobytes() + bytes(range(48))


PICTURES = {"size": [28, 28], "color": "gray"}
Made = tuple[str, Callable[[], bytes], dict[str, Any]]
"""The kind of a source, what makes its file, and its features."""
FILES: dict[str, Made] = {
    **{
        f"a.{form}": ("images", partial(picture, form), PICTURES)
        for form in ("png", "jpeg", "gif", "webp", "tiff", "bmp")
    },
    "a.tar": ("images", archive, PICTURES),
    "train-images-idx3-ubyte": ("images", idx, PICTURES),
    "a.parquet": ("images", lambda: parquet(pq.read_table(SAMPLE).slice(0, 6)), PICTURES),
    "list.csv": ("images", lambda: b"image,label\npictures/b.png,coat\npictures/c.png,bag\n", PICTURES),
    "table.csv": ("table", lambda: csv(numbers()), {}),
    "table.parquet": ("table", lambda: parquet(numbers()), {}),
    "v.npy": ("vectors", array, {}),
    "t.txt": ("text", lambda: b"So it was, and so it is. " * 9, {"least": 1, "most": 1.0}),
    "t.jsonl": ("text", lambda: b'{"text": "so it was"}\n{"text": "so it is"}\n' * 3, {"least": 1, "most": 1.0}),
}


def prepared(name: str, folder: Path, made: Made | None = None) -> tuple[Path, bytes, Recipe]:
    """Return a source's file, not written yet, with its sound bytes and a recipe for it."""
    kind, whole, features = made or FILES[name]
    file = folder / "source" / name
    file.parent.mkdir()
    if name == "list.csv":
        for place in ("source/pictures/b.png", "source/pictures/c.png", "secret.png"):
            (folder / place).parent.mkdir(exist_ok=True)
            (folder / place).write_bytes(picture("png"))
    options = {"kind": kind, "path": str(file.parent), "workers": 1, "max_bad_share": 1.0}
    options |= {"pages": "all"} if name in ("frames.gif", "pages.tiff") else {}
    table = {"name": "fuzz", "source": options, "features": features, "layers": [{"net": "dense"}]}
    return file, whole(), recipe.parse(table, folder / "fuzz.toml")


def released(folder: Path) -> tuple[Store, BitCodes, list[Path]]:
    """Return a store with a release, codes for a query, and all files of the store."""
    store = Store(folder / "store")
    make_release(store, n=30)
    files = [file for file in sorted(store.root.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    return store, Release.open(store).codes_of([0]), files


@pytest.mark.parametrize("name", FILES)
def test_sources(name: str, tmp_path: Path) -> None:
    file, data, how = prepared(name, tmp_path)

    def read() -> int:
        source = sources.resolve(how)
        store = Store(tmp_path / "store")
        rows = Rows(store.verified(ingest(store, source)))
        assert not any(".." in Path(place).parts for place in rows.places())
        shutil.rmtree(store.root)
        return len(rows)

    file.write_bytes(data)
    assert read(), "the file as it was can be read"

    @fuzz
    @given(CHANGES)
    def tried(changes: list[tuple[str, float, Any]]) -> None:
        file.write_bytes(mangled(data, changes))
        try:
            read()
        except AepipeError as error:
            check(error)

    tried()


@fuzz
@given(changes=CHANGES)
def test_recipes(changes: list[tuple[str, float, Any]], tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    file.write_bytes(mangled(TINY.format(epochs=1).encode(), changes))
    try:
        sources.resolve(recipe.load(file))
    except AepipeError as error:
        check(error)


@given(st.one_of(st.text(), st.text("0123456789abcdefABCDEF \n-", max_size=40)), st.sampled_from([1, 7, 32, 64]))
@fuzz
def test_codes_in_hex(text: str, n_bits: int) -> None:
    try:
        found = BitCodes.from_hex([text], n_bits)
    except CodeError:
        return
    assert bytes.fromhex(found.hex()[0]) == bytes.fromhex(text)


@pytest.mark.parametrize("what", ["manifests", "digests", "parts"])
def test_files_of_a_store(what: str, tmp_path: Path) -> None:
    """A release with a mangled file answers, or an error names the file; digests seal its bytes."""
    store, codes, files = released(tmp_path)
    chosen = {
        "manifests": [file for file in files if file.name == MANIFEST],
        "digests": [file for file in files if file.suffix == ".json" and file.name != MANIFEST],
        "parts": [file for file in files if file.suffix not in {".json", ".tag"}],
    }[what]
    assert chosen
    whole = {file: file.read_bytes() for file in chosen}

    @settings(fuzz, max_examples=max(FUZZ // 10, 50))
    @given(st.sampled_from(chosen), CHANGES)
    def tried(file: Path, changes: list[tuple[str, float, Any]]) -> None:
        file.write_bytes(mangled(whole[file], changes))
        try:
            release = Release.open(Store(store.root))
            release.query(codes, 3)
            release.describe([0, 5])
            json.dumps(release.scores, default=str)
            release.encode(np.zeros((1, 28, 28, 1), np.uint8))
        except AepipeError as error:
            check(error)
        finally:
            file.write_bytes(whole[file])

    tried()

"""Kinds of sources, formats, labels and splits, places of items."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from aepipe import recipe as recipes
from aepipe.errors import ItemError, QueryError, RecipeError, SourceError
from aepipe.sources import drawing, files, has_pictures, has_text, kinds, names, preview, query_items, resolve
from aepipe.sources.images.decode import decode
from aepipe.sources.item import Item, Source
from aepipe.sources.loader import read_all

SIZE = 6


def open_source(path: Path | str, features: dict[str, Any] | None = None, **options: Any) -> Source:
    table = {
        "name": "test",
        "source": {"kind": "images", "path": str(path), **options},
        "features": {"size": [SIZE, SIZE], **(features or {})},
        "layers": [{"net": "dense"}],
    }
    return resolve(recipes.parse(table, Path("/nowhere/recipe.toml")))


def png(shade: int, size: int = SIZE) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size, size), (shade, 255 - shade, 7)).save(stream, "PNG")
    return stream.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def keys(source: Source) -> list[str]:
    return [item.key for item in source.items()]


def shade(source: Source, item: Item) -> int:
    return int(source.row(item.read(), item.key)[0, 0, 0])


def refusals(source: Source) -> dict[str, str]:
    found = {}
    for item in source.items():
        try:
            item.read()
        except ItemError as error:
            found[item.key] = error.reason
    return found


def check_places(source: Source) -> None:
    """Every item's bytes are found again at its place."""
    for item in source.items():
        assert preview(source.location, item.place) == item.read()


def test_kinds_are_folders_and_an_unknown_one_lists_them() -> None:
    assert "images" in kinds()
    assert "decode" not in kinds()
    table = {"name": "x", "source": {"kind": "films"}, "layers": [{"net": "dense"}]}
    with pytest.raises(RecipeError, match=r"unknown kind 'films'.*images"):
        resolve(recipes.parse(table, Path("r.toml")))


def test_kinds_tell_how_their_items_are_shown() -> None:
    assert {kind for kind in names() if has_pictures(kind)} == {"images", "video"}
    assert {kind for kind in names() if has_text(kind)} == {"text"}
    assert {kind for kind in names() if drawing(kind)} == {"images", "video", "audio"}


def test_decoders_need_no_heavy_library() -> None:
    """A query imports the decoder of its kind, and must not wait for what only a run needs."""
    script = (
        "import sys; from aepipe import sources; print(*map(sources.version, sources.names())); sources.extras(); "
        "print(sorted({'pydantic', 'pyarrow', 'pandas', 'torch', 'sklearn', 'soundfile', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1 1 1 1 1 1\n[]\n"


@pytest.mark.parametrize(
    ("options", "features", "match"),
    [
        ({"labels": "x"}, {}, r"source\.labels: unknown key; allowed: path, root, label"),
        ({"max_bad_share": 2}, {}, r"source\.max_bad_share"),
        ({"split": {"test": 1.5}}, {}, r"source\.split"),
        ({}, {"size": [0, 4]}, r"features\.size\.0"),
        ({}, {"size": 4}, r"features\.size"),
        ({}, {"color": "grey"}, r"features\.color.*'gray'"),
        ({}, {"fit": "squeeze"}, r"features\.fit"),
    ],
)
def test_wrong_options_are_recipe_errors(
    tmp_path: Path, options: dict[str, Any], features: dict[str, Any], match: str
) -> None:
    put(tmp_path / "a.png", png(1))
    with pytest.raises(RecipeError, match=match):
        open_source(tmp_path, features, **options)


def test_a_path_is_relative_to_the_recipe(tmp_path: Path) -> None:
    put(tmp_path / "photos" / "a.png", png(1))
    table = {"name": "x", "source": {"kind": "images", "path": "../photos"}, "layers": [{"net": "dense"}]}
    source = resolve(recipes.parse(table, tmp_path / "recipes" / "r.toml"))
    assert keys(source) == ["a.png"]
    assert source.location == tmp_path / "photos"


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / "photos" / "a.png", png(1))
    assert keys(open_source("~/photos")) == ["a.png"]


def test_a_folder(tmp_path: Path) -> None:
    for number, name in enumerate(["b/2.png", "a/1.PNG", "a/x/0.png", "a.b/3.png", "Zürich/é 猫.png"]):
        put(tmp_path / name, png(number))
    for name in (".hidden.png", ".git/4.png", "a/._1.png", "notes.txt", "a/labels.csv"):
        put(tmp_path / name, b"?")
    source = open_source(tmp_path, label="parent", split="top")
    assert source.total() == 5
    items = list(source.items())
    assert [item.key for item in items] == sorted(item.key for item in items)
    assert {item.key: item.label for item in items} == {
        "a/1.PNG": "a",
        "a/x/0.png": "x",
        "a.b/3.png": "a.b",
        "b/2.png": "b",
        "Zürich/é 猫.png": "Zürich",
    }
    assert {item.split for item in items} == {"a", "b", "a.b", "Zürich"}
    assert source.passed_over.counts == {"hidden": 3, "not a picture": 2}
    assert {item.key: shade(source, item) for item in items}["b/2.png"] == 0
    assert source.schema().names == []
    check_places(source)


def remedy(root: Path) -> str:
    """Return what a refusal says of the folder that would allow it."""
    return f'root = "{root}" under [source] (--set source.root={root}) allows it'


def test_links_are_not_followed_out_of_the_root(tmp_path: Path) -> None:
    put(tmp_path / "outside" / "secret.png", png(9))
    inside = put(tmp_path / "root" / "a.png", png(1))
    (tmp_path / "root" / "out.png").symlink_to(tmp_path / "outside" / "secret.png")
    (tmp_path / "root" / "in.png").symlink_to(inside)
    (tmp_path / "root" / "gone.png").symlink_to(tmp_path / "root" / "missing.png")
    (tmp_path / "root" / "folder").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root")
    source = open_source(tmp_path / "root")
    assert keys(source) == ["a.png"]
    assert source.passed_over.first == {
        "a link to a folder, which is not followed": ["folder/", "loop/"],
        "a link to nothing": ["gone.png"],
        "the same file as another": ["in.png"],
        f'a link out of the source; root = "{tmp_path}" under [source] (--set source.root={tmp_path}) allows it': [
            "out.png"
        ],
    }
    assert source.passed_over.total == 3  # folders are no files


def test_names_of_files_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        with open(name, "wb") as stream:
            stream.write(png(5))
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    source = open_source(tmp_path)
    assert keys(source) == ["caf\\xe9.png"]
    check_places(source)


def test_a_pipe_among_the_files_does_not_block(tmp_path: Path) -> None:
    put(tmp_path / "a.png", png(1))
    os.mkfifo(tmp_path / "pipe.png")
    source = open_source(tmp_path)
    assert keys(source) == ["a.png"]
    assert source.passed_over.first == {"a named pipe": ["pipe.png"]}


def test_globs(tmp_path: Path) -> None:
    for name in ("2023/a.png", "2024/b.png", "2024/x/c.png", "[1]/e.png"):
        put(tmp_path / name, png(1))
    put(tmp_path / "2024" / "d.txt", b"?")
    assert keys(open_source(tmp_path / "*" / "*.png")) == ["2023/a.png", "2024/b.png", "[1]/e.png"]
    assert keys(open_source(tmp_path / "202*")) == ["2023/a.png", "2024/b.png", "2024/x/c.png"]
    recursive = open_source(tmp_path / "**" / "*.png", label="parent")
    assert keys(recursive) == ["2023/a.png", "2024/b.png", "2024/x/c.png", "[1]/e.png"]
    assert recursive.location == tmp_path
    assert keys(open_source(tmp_path / "[1]")) == ["e.png"]
    check_places(recursive)


def test_a_query_with_a_folder_takes_its_pictures_only(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/1.PNG", "picture", "notes.txt", "a/labels.csv"):
        put(tmp_path / "x" / name, b"?" if "." in name[-4:-3] and "png" not in name.lower() else png(1))
    found = list(query_items("images", str(tmp_path / "x")))
    assert [item.key for item in found] == [str(tmp_path / "x" / name) for name in ("a/1.PNG", "b/2.png", "picture")]
    put(tmp_path / "y" / "notes.txt", b"?")
    with pytest.raises(QueryError, match="no images in this folder"):
        list(query_items("images", str(tmp_path / "y")))


def test_one_file(tmp_path: Path) -> None:
    source = open_source(put(tmp_path / "a#1.png", png(1)), label="parent")
    assert keys(source) == ["a#1.png"]
    check_places(source)


@pytest.mark.parametrize("name", ["missing", "missing.parquet", "*.jpg", "empty", "texts"])
def test_a_path_without_pictures(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path / "texts" / "a.txt", b"a")
    with pytest.raises(SourceError, match=name.replace("*", r"\*")) as caught:
        open_source(tmp_path / name)
    assert "\n" not in str(caught.value)


def hugging_face(path: Path, rows: list[dict[str, Any]], **metadata: Any) -> Path:
    schema = pa.schema(
        {
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "label": pa.int64(),
            "split": pa.string(),
            "taken": pa.timestamp("ms"),
        }
    )
    table = pa.Table.from_pylist(rows, schema=schema).replace_schema_metadata(metadata or None)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=3)
    return path


def test_parquet_of_hugging_face(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"image": {"bytes": png(n), "path": f"{n}.png"}, "label": n % 2, "split": "test" if n > 5 else "train"}
        for n in range(8)
    ]
    rows[3]["image"]["path"] = "2.png"
    rows[4]["image"]["path"] = None
    rows[5]["image"] = None
    rows[7]["label"] = -1
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    path = hugging_face(tmp_path / "train.parquet", rows, huggingface=json.dumps(features))
    source = open_source(path, label="label", split="split")
    items = list(source.items())
    assert [item.key for item in items] == [
        *("0.png", "1.png", "2.png", "train.parquet#3", "train.parquet#4", "train.parquet#5", "6.png", "7.png")
    ]
    assert [item.place for item in items] == [f"train.parquet#{n}" for n in range(8)]
    assert [item.label for item in items] == ["cat", "dog", "cat", "dog", "cat", "dog", "cat", None]
    assert [item.split for item in items] == ["train"] * 6 + ["test"] * 2
    assert source.schema() == pa.schema({"taken": pa.timestamp("ms")})
    assert items[0].columns == {"taken": None}
    assert refusals(source) == {"train.parquet#5": "no image"}
    assert source.total() == 8
    for number, item in enumerate(items):
        if number != 5:
            assert shade(source, item) == number
            assert preview(source.location, item.place) == png(number)


def test_parquet_files_with_plain_bytes_and_their_own_ids(tmp_path: Path) -> None:
    for part in range(3):
        table = pa.table({"photo": [png(10 * part + n) for n in range(4)], "sku": [f"p{part}-{n}" for n in range(4)]})
        put(tmp_path / "parts" / f"{part}.parquet", b"")
        pq.write_table(table.append_column("mask", [[b"x"] * 4]), tmp_path / "parts" / f"{part}.parquet")
    put(tmp_path / "parts" / "README.md", b"?")
    for path in (tmp_path / "parts", tmp_path / "parts" / "*.parquet"):
        source = open_source(path, image="photo", key="sku")
        assert keys(source) == [f"p{part}-{n}" for part in range(3) for n in range(4)]
        assert [shade(source, item) for item in source.items()] == [10 * p + n for p in range(3) for n in range(4)]
        assert source.schema().names == ["sku"]
        check_places(source)
    assert open_source(tmp_path / "parts", image="photo").total() == 12


def test_the_second_of_two_columns_of_pictures(tmp_path: Path) -> None:
    table = pa.table({"mask": [png(1), png(2)], "image": [png(3), png(4)]})
    pq.write_table(table, tmp_path / "two.parquet")
    source = open_source(tmp_path / "two.parquet")
    assert [shade(source, item) for item in source.items()] == [3, 4]
    check_places(source)


def test_parquet_list_of_paths(tmp_path: Path) -> None:
    put(tmp_path / "x" / "a.png", png(3))
    pq.write_table(pa.table({"image": ["x/a.png", None], "price": [1.5, 2.5]}), put(tmp_path / "l.parquet", b""))
    source = open_source(tmp_path / "l.parquet")
    items = list(source.items())
    assert [(item.key, item.place) for item in items] == [("x/a.png", "x/a.png"), ("l.parquet#1", "l.parquet#1")]
    assert items[0].columns == {"price": 1.5}
    assert refusals(source) == {"l.parquet#1": "no image"}


def test_csv_list_of_paths(tmp_path: Path) -> None:
    put(tmp_path / "lists" / "x" / "a.png", png(1))
    put(tmp_path / "lists" / "b.png", png(2))
    elsewhere = put(tmp_path / "c.png", png(3))
    rows = [
        ("path", "class", "note"),
        ("x/a.png", "cat", "says “hi”, twice"),
        ("./x/../b.png", "dog", ""),
        (str(elsewhere), "", "absolute"),
        ("../c.png", "cat", "climbs"),
        ("x/../../c.png", "cat", "climbs"),
        ("", "cat", "no path"),
        ("x/missing.png", "cat", ""),
    ]
    with open(tmp_path / "lists" / "list.csv", "w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream).writerows(rows)
    source = open_source(tmp_path / "lists" / "list.csv", image="path", label="class")
    items = list(source.items())
    assert [item.key for item in items] == [
        *("x/a.png", "b.png", str(elsewhere), "../c.png", "../c.png", "list.csv#5", "x/missing.png")
    ]
    assert [item.label for item in items] == ["cat", "dog", None, "cat", "cat", "cat", "cat"]
    assert items[0].columns == {"note": "says “hi”, twice"}
    assert refusals(source) == {
        **dict.fromkeys(
            ("../c.png", str(elsewhere)),
            f"its path leads out of the source; {remedy(tmp_path)}",
        ),
        "list.csv#5": "no path",
        "x/missing.png": f"no such file; paths are relative to {tmp_path / 'lists'}",
    }
    assert [preview(source.location, item.place) for item in items[:2]] == [png(1), png(2)]


def test_a_list_of_another_dialect(tmp_path: Path) -> None:
    for name in ("ä.png", "b.png", "c.png"):
        put(tmp_path / name, png(1))
    rows = "image;year;class\nä.png;2001;rot\nb.png;2002;grün\nc.png;x;blau\nb.png;1\ngone.png;2003;rot\n"
    put(tmp_path / "l.csv", rows.encode("cp1252"))
    source = open_source(tmp_path / "l.csv", label="class", types={"year": "number"})
    assert [str(field.type) for field in source.schema()] == ["int64"]
    assert [item.columns["year"] for item in source.items()] == [2001, 2002, None, None, 2003]
    assert [item.label for item in source.items()][:2] == ["rot", "grün"]
    assert refusals(source) == {
        "l.csv#3": "2 cells, the header has 3 names (line 5)",
        "gone.png": f"no such file; paths are relative to {tmp_path}",
    }
    assert source.notes == [
        "l.csv: cells are parted by ';'",
        "1 file read as windows-1252; if that is wrong, say encoding = ... under [source]",
        "column 'year': 1 value not of its type left out, such as 'x'",
    ]


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", b"image,class\na.png,cat\n")
    with pytest.raises(SourceError, match=r"no column 'photo'; it has: image, class.*image = "):
        open_source(tmp_path / "a.csv", image="photo")
    with pytest.raises(SourceError, match=r"no column 'kind' for label; it has: image, class|class"):
        open_source(tmp_path / "a.csv", label="kind")
    put(tmp_path / "f" / "a.png", png(1))
    with pytest.raises(SourceError, match=r"no column 'class' for label; it has: none.*'parent'"):
        open_source(tmp_path / "f", label="class")


def idx(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def digits(tmp_path: Path) -> tuple[Path, NDArray[np.uint8]]:
    """A folder of IDX pairs of odd width, and its pictures, uint8[12, 7, 5]."""
    images = np.random.default_rng(0).integers(0, 256, (12, 7, 5), np.uint8)
    labels = np.arange(12, dtype=np.uint8) % 3
    for name, part in (("train", slice(0, 8)), ("t10k", slice(8, 12))):
        put(tmp_path / "idx" / f"{name}-images-idx3-ubyte.gz", gzip.compress(idx(images[part])))
        put(tmp_path / "idx" / f"{name}-labels-idx1-ubyte.gz", gzip.compress(idx(labels[part])))
    return tmp_path / "idx", images


@pytest.mark.parametrize("options", [{}, {"label": "label", "split": "split"}])
def test_idx(digits: tuple[Path, NDArray[np.uint8]], options: dict[str, str]) -> None:
    folder, images = digits
    source = open_source(folder, {"size": [7, 5], "color": "gray"}, **options)
    items = list(source.items())
    assert [item.key for item in items] == [f"t10k/{n}" for n in range(4)] + [f"train/{n}" for n in range(8)]
    assert [item.split for item in items] == ["test"] * 4 + ["train"] * 8
    assert [item.label for item in items] == [str(n % 3) for n in (*range(8, 12), *range(8))]
    assert (source.total(), source.passed_over.total, source.schema().names) == (12, 0, [])
    found = np.stack([source.row(item.read(), item.key) for item in items])
    np.testing.assert_array_equal(found[..., 0], np.concatenate([images[8:], images[:8]]))
    check_places(source)
    single = open_source(folder / "train-images-idx3-ubyte.gz")
    assert keys(single) == [f"train/{n}" for n in range(8)]


def test_idx_pixels_are_those_of_a_png(digits: tuple[Path, NDArray[np.uint8]]) -> None:
    folder, images = digits
    source = open_source(folder / "train-images-idx3-ubyte.gz", {"size": [4, 9]})
    for item, pixels in zip(source.items(), images[:8], strict=True):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        expected = decode(stream.getvalue(), key="k", size=(4, 9))
        np.testing.assert_array_equal(source.row(item.read(), item.key), expected)


def test_idx_files_that_are_incomplete(digits: tuple[Path, NDArray[np.uint8]]) -> None:
    folder, images = digits
    path = folder / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for damage in (whole[: len(whole) // 2], gzip.compress(idx(images[:8])[:-3]), gzip.compress(b"something else")):
        path.write_bytes(damage)
        with pytest.raises(SourceError, match="train-images"):
            list(open_source(path).items())
    path.write_bytes(gzip.compress(idx(images[:7])))
    with pytest.raises(SourceError, match="7 images, but 8 labels"):
        list(open_source(path).items())


def make_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    mode = {".gz": "w:gz", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz"])
def test_tar(tmp_path: Path, suffix: str) -> None:
    members = [(f"./{n % 2}/{n}.png", png(n, 30 + n)) for n in range(6)]
    members += [("é" * 120 + "/x.png", png(7)), ("notes.txt", b"?"), ("a/.b.png", b"?"), ("../up.png", png(8))]
    members += [("/etc/x.png", png(9)), ("0/hash0123", png(5)), ("0/5.jfif", png(6)), ("empty", b"")]
    source = open_source(make_tar(tmp_path / f"photos{suffix}", members), label="parent")
    items = list(source.items())
    expected = [f"{n % 2}/{n}.png" for n in range(6)] + ["é" * 120 + "/x.png", "../up.png", "/etc/x.png"]
    expected += ["0/hash0123", "0/5.jfif"]
    assert [item.key for item in items] == expected
    assert [item.label for item in items[:3]] == ["0", "1", "0"]
    assert source.passed_over.first == {
        "not a picture": ["notes.txt"],
        "hidden": ["a/.b.png"],
        "empty file": ["empty"],
        "a link in an archive, which is not followed": ["link.png"],
    }
    assert refusals(source) == {
        "../up.png": "path leaves the archive",
        "/etc/x.png": "path leaves the archive",
    }
    for item in (*items[:7], *items[9:11]):
        assert preview(source.location, item.place) == item.read()
    assert shade(source, items[3]) == 3


def test_many_tars_and_one_that_is_cut_off(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_tar(tmp_path / f"{name}.tar", [("1.png", png(1))])
    assert keys(open_source(tmp_path)) == ["a.tar/1.png", "b.tar/1.png"]
    make_tar(tmp_path / "cut.tar.gz", [(f"{n}.png", os.urandom(3000)) for n in range(9)])
    whole = (tmp_path / "cut.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"cut\.tar\.gz"):
        list(open_source(tmp_path / "cut.tar.gz").items())


@pytest.mark.parametrize("name", ["a.parquet", "a.tar", "a.tar.gz", "a.csv", "t-images-idx3-ubyte"])
def test_files_with_the_name_of_another_format(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, b"\xff\xfe\0 this is none of them" * 50)
    with pytest.raises(SourceError, match=name) as caught:
        list(open_source(tmp_path / name).items())
    assert "\n" not in str(caught.value)


def test_a_share_of_the_test_split_follows_the_bytes(tmp_path: Path) -> None:
    put(tmp_path / "a.png", png(1))
    source = open_source(tmp_path, split={"test": 0.25})
    rng = np.random.default_rng(0)
    digests = [rng.bytes(32) for _ in range(4000)]
    item, other = Item("a", "a", files.InMemory(b"")), Item("b", "b", files.InMemory(b""), split="train")
    tests = [source.split(item, digest) == "test" for digest in digests]
    assert abs(np.mean(tests) - 0.25) < 0.03
    assert tests == [source.split(other, digest) == "test" for digest in digests]
    plain = open_source(tmp_path)
    assert plain.split(item, digests[0]) == "train"


def test_items_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.png", png(1))
    make_tar(tmp_path / "a.tar", [("b.png", png(1))])
    monkeypatch.setattr(files, "MAX_FILE", 1 << 4)
    assert refusals(open_source(tmp_path / "a.png")) == {"a.png": "more than 0 MB"}
    assert refusals(open_source(tmp_path / "a.tar"))["b.png"] == "more than 0 MB"


def test_large_items_are_read_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        put(tmp_path / f"{number}.png", png(number))
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 4)
    source, under_way, most, lock = open_source(tmp_path), 0, 0, threading.Lock()

    def row(data: bytes, key: str) -> np.ndarray:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.001)  # long enough for threads to be of use
        with lock:
            under_way -= 1
        return source.row(data, key)

    assert [one.reason for one in read_all(source, row=row)] == [None] * 40
    assert most == 1
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    assert len(list(read_all(source, row=row))) == 40
    assert most > 1


def test_previews_of_items_that_are_gone(tmp_path: Path) -> None:
    for place in ("a.png", "b.parquet#3", "c.tar#0+4", "d.txt#1", "#", ""):
        with pytest.raises(ItemError):
            preview(tmp_path, place)
    make_tar(tmp_path / "c.tar", [("1.png", png(1))])
    for name in ("d.tar.gz", "d.parquet", "t-images-idx3-ubyte.gz", "d.csv"):
        put(tmp_path / name, b"nothing of the kind")
        with pytest.raises(ItemError):
            preview(tmp_path, f"{name}#1")
    for place in ("c.tar#nonsense", "c.tar#0", "c.tar#99999999+10"):
        with pytest.raises(ItemError):
            preview(tmp_path, place)


def test_features_have_everything_that_decides_a_row(tmp_path: Path) -> None:
    put(tmp_path / "a.png", png(1))
    source = open_source(tmp_path, {"size": [3, 4], "color": "gray", "fit": "pad"})
    assert source.features() == {"kind": "images", "decoder": 1, "size": [3, 4], "color": "gray", "fit": "pad"}
    assert json.loads(json.dumps(source.features())) == source.features()
    assert source.shape == (3, 4, 1) == source.row(png(1), "k").shape


def test_pictures_without_names_of_pictures_are_shown_and_read(tmp_path: Path) -> None:
    for number, name in enumerate(["a.jfif", "b.jpe", "c", "d.mpo", "e.txt", "f.x#1", "Zürich/é"]):
        put(tmp_path / name, png(number))
    put(tmp_path / "notes", b"no picture")
    put(tmp_path / "empty", b"")
    source = open_source(tmp_path)
    assert source.total() == 7
    assert [shade(source, item) for item in source.items()] == [6, 0, 1, 2, 3, 4, 5]
    assert source.passed_over.first == {"empty file": ["empty"], "not a picture": ["notes"]}
    check_places(source)


def test_archives_with_a_picture_next_to_them_are_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_tar(tmp_path / f"{name}.tar", [("1.png", png(1))])
    put(tmp_path / "cover.png", png(2))
    source = open_source(tmp_path)
    assert keys(source) == ["a.tar/1.png", "b.tar/1.png"]
    assert source.passed_over.first == {
        "not an archive": ["cover.png"],
        "a link in an archive, which is not followed": ["a.tar/link.png", "b.tar/link.png"],
    }


def test_a_source_may_leave_files_out(tmp_path: Path) -> None:
    for name in ("a.png", "raw/b.png", "@eaDir/c.png"):
        put(tmp_path / name, png(1))
    assert keys(open_source(tmp_path, exclude=["raw/"])) == ["a.png"]
    assert keys(open_source(tmp_path, exclude=["!*"])) == ["@eaDir/c.png", "a.png", "raw/b.png"]
    with pytest.raises(SourceError, match=r"no images there; .*passed over: 1 x left out by exclude \(a\.png\)"):
        list(open_source(put(tmp_path / "x" / "a.png", png(1)).parent / ".." / "x", exclude=["*"]).items())

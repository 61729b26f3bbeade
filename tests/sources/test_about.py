"""Tables about the files next to them: Hugging Face's metadata.csv, metadata.jsonl and metadata.parquet."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aepipe.errors import SourceError
from aepipe.pipeline import suggest
from aepipe.pipeline.ingest import ingest
from aepipe.sources.loader import read_all
from aepipe.store.artifacts import Store
from aepipe.store.rows import Rows
from tests.sources.test_archives import check_read, open_source, pack, png, reasons


def pictures(folder: Path, count: int = 20, start: int = 0) -> list[str]:
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    names = [f"sub/{n:02}.png" if n % 2 else f"{n:02}.png" for n in range(start, start + count)]
    for number, name in enumerate(names, start):
        (folder / name).write_bytes(png(number))
    return names


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_pictures_have_the_columns_of_the_table_next_to_them(ending: str, tmp_path: Path) -> None:
    names = pictures(tmp_path / "photos")
    rows = [{"file_name": name, "label": "ab"[n % 2], "text": f"picture {n}"} for n, name in enumerate(names)]
    write_table(tmp_path / "photos" / f"metadata.{ending}", rows)  # type: ignore[arg-type]
    source = open_source(tmp_path / "photos", label="label")
    found = {item.key: (item.label, dict(item.columns)) for item in source.items()}
    assert found == {name: ("ab"[n % 2], {"text": f"picture {n}"}) for n, name in enumerate(names)}
    assert source.passed_over.counts == {"a table about the other files, whose columns it gives": 1}
    assert source.passed_over.read == 20
    assert source.notes == []
    store = Store(tmp_path / "store")
    assert Rows(store.path(ingest(store, source))).facts["rows"] == 20
    held = suggest.look(str(tmp_path / "photos"))
    assert held.kind == "images"
    _, text, _ = suggest.suggest(str(tmp_path / "photos"), folder=tmp_path)
    assert 'label = "label"' in text
    assert open_source(tmp_path / "photos", key="text").items().__next__().key == "picture 0"
    with pytest.raises(SourceError, match="no column 'id'; it has: label, text"):
        open_source(tmp_path / "photos", key="id")


def test_each_split_has_a_table_of_its_own(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "test")):
        names = pictures(tmp_path / split, 4, start=10 * number)
        write_table(tmp_path / split / "metadata.jsonl", [{"file_name": one, "n": f"{split} {one}"} for one in names])
    source = open_source(tmp_path, split="top")
    for item in source.items():
        assert item.columns == {"n": f"{item.split} {item.key.partition('/')[2]}"}
    _, text, _ = suggest.suggest(str(tmp_path), folder=tmp_path)
    assert 'split = "top"' in text


def test_tables_of_other_types_are_refused_with_file_column_and_types(tmp_path: Path) -> None:
    for split, value in (("a", 1), ("b", "x")):
        (name, *_) = pictures(tmp_path / split, 2)
        write_table(tmp_path / split / "metadata.parquet", [{"file_name": name, "n": value}])
    with pytest.raises(SourceError, match=r"b/metadata\.parquet: column 'n' is string, and int64 in a/metadata"):
        open_source(tmp_path)


def test_files_and_rows_without_the_other_are_counted_and_named(tmp_path: Path) -> None:
    names = pictures(tmp_path, 6)
    rows: list[dict[str, object]] = [{"file_name": name, "text": "t"} for name in names[:4]]
    rows += [{"file_name": "gone.png", "text": "g"}, {"file_name": names[1], "text": "again"}, {"text": "none"}]
    write_table(tmp_path / "metadata.jsonl", rows)
    source = open_source(tmp_path)
    assert {key: reason for key, reason in reasons(source).items() if reason} == {
        "gone.png": "named in a table, and not there",
        names[1]: "two rows are about it",
        "metadata.jsonl#6": "no file_name",
    }
    assert source.notes == ["2 files have no row in metadata.jsonl"]


def test_a_table_without_names_of_files_is_passed_over(tmp_path: Path) -> None:
    pictures(tmp_path, 2)
    (tmp_path / "metadata.csv").write_text("a,b\n1,2\n")
    source = open_source(tmp_path)
    assert [dict(item.columns) for item in source.items()] == [{}, {}]
    assert source.passed_over.counts == {"not a picture": 1}


def test_names_match_in_either_form_of_unicode(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "é.png")).write_bytes(png(1))
    write_table(tmp_path / "metadata.jsonl", [{"file_name": unicodedata.normalize("NFC", "é.png"), "text": "t"}])
    (one,) = read_all(open_source(tmp_path))
    assert (one.reason, one.item.columns) == (None, {"text": "t"})


def test_recordings_have_tables_too(tmp_path: Path) -> None:
    sound = pytest.importorskip("soundfile", reason="needs the extra audio")
    for n in range(3):
        sound.write(str(tmp_path / f"{n}.wav"), [0.1, -0.1] * 8000, 16_000)
    write_table(tmp_path / "metadata.csv", [{"file_name": f"{n}.wav", "said": f"word {n}"} for n in range(3)])
    assert [item.columns["said"] for item in open_source(tmp_path, "audio").items()] == ["word 0", "word 1", "word 2"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_columns_of_a_table_have_the_types_of_their_values(ending: str, tmp_path: Path) -> None:
    names = pictures(tmp_path / "photos")
    rows: list[dict[str, object]] = [
        {"file_name": name, "label": "ab"[n % 2], "year": 2010 + n} for n, name in enumerate(names)
    ]
    write_table(tmp_path / "photos" / f"metadata.{ending}", rows)
    source = open_source(tmp_path / "photos", label="label")
    assert source.schema().field("year").type == pa.int64()
    assert {item.columns["year"] for item in source.items()} == set(range(2010, 2030))
    store = Store(tmp_path / "store")
    assert Rows(store.path(ingest(store, source))).facts["rows"] == 20
    if ending == "csv":
        said = open_source(tmp_path / "photos", label="label", types={"year": "text"})
        assert {item.columns["year"] for item in said.items()} == {str(2010 + n) for n in range(20)}


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_values_of_a_table_in_text_have_types(ending: str, tmp_path: Path) -> None:
    names = pictures(tmp_path, 4)
    rows = [
        {"file_name": name, "year": 2000 + n, "price": n / 2, "day": f"2024-01-0{n + 1}"}
        for n, name in enumerate(names)
    ]
    write_table(tmp_path / f"metadata.{ending}", rows)
    source = open_source(tmp_path)
    types = {"year": pa.int64(), "price": pa.float64(), "day": pa.date32() if ending == "csv" else pa.string()}
    assert {field.name: field.type for field in source.schema()} == types
    assert [item.columns["year"] for item in source.items()] == [
        2000 + names.index(item.key) for item in source.items()
    ]
    said = open_source(tmp_path, types={"year": "text"})
    assert next(iter(said.items())).columns["year"] == "2000"
    source.keep_types(pa.schema([("year", pa.float64())]))
    assert source.schema().field("year").type == pa.float64()


@pytest.mark.parametrize("packed", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_table_in_an_archive_is_about_the_files_next_to_it(packed: str, ending: str, tmp_path: Path) -> None:
    rows = [{"file_name": f"{n}.png", "year": 2000 + n} for n in range(4)]
    rows += [{"file_name": "gone.png", "year": 1}]
    write_table(tmp_path / f"metadata.{ending}", rows)
    table = (f"train/metadata.{ending}", (tmp_path / f"metadata.{ending}").read_bytes())
    members = [table, *((f"train/{n}.png", png(n)) for n in range(3)), ("3.png", png(3))]
    for folder, prefix in ((tmp_path / "one", ""), (tmp_path / "two", f"a{packed}/")):
        folder.mkdir()
        path = pack(folder / f"a{packed}", members)
        source = open_source(folder if prefix else path)
        found = {item.key: item.columns.get("year") for item in source.items()}
        assert found.pop(f"{prefix}train/gone.png") is None
        assert found.pop(f"{prefix}train/3.png") is None
        assert found == {**{f"{prefix}train/{n}.png": 2000 + n for n in range(3)}, f"{prefix}3.png": None}
        assert reasons(source)[f"{prefix}train/gone.png"] == "named in a table, and not there"
        assert source.passed_over.counts == {"a table about the other files, whose columns it gives": 1}
        assert source.notes == [f"1 files have no row in {prefix}train/metadata.{ending}"]
        assert source.schema() == pa.schema([("year", pa.int64())])


def test_a_table_in_an_archive_gives_ids(tmp_path: Path) -> None:
    table = "file_name,id\n" + "".join(f"{n}.png,x{n}\n" for n in range(3))
    path = pack(tmp_path / "a.zip", [*((f"{n}.png", png(n)) for n in range(3)), ("metadata.csv", table.encode())])
    source = open_source(path, key="id")
    assert check_read(source) == ["x0", "x1", "x2"]
    with pytest.raises(SourceError, match=r"a\.zip: metadata\.csv: no column 'name'; it has: id"):
        open_source(path, key="name")


def test_a_damaged_table_in_an_archive_is_named(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", [("0.png", png(0)), ("metadata.parquet", b"PAR1 no")])
    with pytest.raises(SourceError, match=r"a\.zip: metadata\.parquet: "):
        open_source(path)


def test_recordings_in_windows_keep_what_is_said_of_their_table(tmp_path: Path) -> None:
    sound = pytest.importorskip("soundfile", reason="needs the extra audio")
    pytest.importorskip("soxr", reason="needs the extra audio")
    for name in "ab":
        sound.write(tmp_path / f"{name}.wav", 0.1 * np.sin(np.arange(16_000)), 16_000)
    (tmp_path / "metadata.csv").write_text("file_name,year\na.wav,2001\n")
    source = open_source(tmp_path, "audio")
    assert [item.columns for item in source.items()] == [{"year": 2001}, {"year": None}]
    assert source.notes == ["1 files have no row in metadata.csv"]
    source.keep_types(pa.schema([("year", pa.float64())]))
    assert [item.columns["year"] for item in source.items()] == [2001.0, None]

"""Exports are read back by pyarrow, pandas and DuckDB, and SQL finds what the index finds."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import Encoder
from aepipe.errors import CorruptError, FullError, QueryError
from aepipe.pipeline.export import parquet, rows, swap
from aepipe.pipeline.export.parquet import export
from aepipe.release.query import answer, questions_from_rows
from aepipe.release.release import Release
from aepipe.release.search import search_options
from aepipe.store.artifacts import Ref, Store
from aepipe.store.rows import Row, Rows
from aepipe.store.rows_writer import RowsWriter
from tests.support.releases import bare_plan, make_release, pictures_of, publish_rows, put_encoder, write_pictures

SHAPE = (4, 4, 1)
N = 50


@pytest.fixture(params=[64, 100, 128])
def ref(store: Store, request: pytest.FixtureRequest) -> Ref:
    """A release with columns of awkward names and types, and with some codes more than once."""
    write_pictures(pictures_of(store), 10, SHAPE)
    plan = bare_plan(store, shape=SHAPE, n_bits=request.param)
    model = put_encoder(store, plan, n_bits=request.param)
    return publish_rows(store, plan, put_rows(store), model)


def put_rows(store: Store) -> Ref:
    """Write rows whose ids do not ascend."""
    rng = np.random.default_rng(0)
    columns = pa.schema([("price", pa.float32()), ("code", pa.string()), ("tags", pa.list_(pa.string()))])
    pixels = rng.integers(0, 256, (N // 2, *SHAPE), dtype=np.uint8)
    with store.draft("rows") as draft, RowsWriter(draft.path, shape=SHAPE, columns=columns) as writer:
        for i in rng.permutation(N).tolist():
            own = {"price": i / 4, "code": None if i % 3 else f"ä{i}", "tags": ["x"] * (i % 3)}
            split, label = "test" if i % 5 == 0 else "train", None if i % 7 == 0 else f"l{i % 2}"
            writer.append(Row(2 * i, f"k{i}", bytes(32), f"p{i}", split, pixels[i % len(pixels)], label, own))
        writer.close(source="s", next_id=2 * N)
        return draft.finish({"rows": N})


def words_of(code: BitCodes) -> list[int]:
    """Return the 64-bit words of one code."""
    return [int(word) for word in code.words()[0]]


def test_columns_are_those_of_rows_and_encoder(store: Store, ref: Ref, tmp_path: Path) -> None:
    done = export(store, ref, tmp_path / "out")
    assert (done.files, done.rows) == (("part-00000.parquet",), N)
    table = pq.read_table(tmp_path / "out")
    release = Release.open(store, ref=ref)
    words = [f"code_u64_{i}" for i in range(-(-release.n_bits // 64))]
    own = ["price", "source_code", "tags"]
    assert table.column_names == ["id", "key", *own, "label", "split", "embedding", "code", *words]
    assert table.schema.field("embedding").type.list_size == 32
    assert table.schema.field("code").type == pa.binary(-(-release.n_bits // 8))
    assert table.schema.field("price").type == pa.float32()
    assert {table.schema.field(word).type for word in words} == {pa.uint64()}
    found = {row.pop("id"): row for row in table.to_pylist()}
    stored = {row.id: row for row in Rows(store.path(dict(release.parts)["rows"])).rows()}
    encoder = Encoder.open(store.path(dict(release.parts)["encoder"]))
    assert found.keys() == stored.keys()
    for row_id, row in found.items():
        expected = stored[row_id]
        code = release.codes_of([row_id])
        encoding = encoder.encode(expected.features[None].astype(np.uint8))
        assert (row["key"], row["label"], row["split"]) == (expected.key, expected.label, expected.split)
        assert {"price": row["price"], "code": row["source_code"], "tags": row["tags"]} == dict(expected.columns)
        assert row["code"].hex() == code.hex()[0]
        assert [row[word] for word in words] == words_of(code)
        np.testing.assert_array_equal(np.float32(row["embedding"]), encoding.embedding[0])


def test_the_first_bits_only(store: Store, ref: Ref, tmp_path: Path) -> None:
    export(store, ref, tmp_path / "out", n_bits=20)
    table = pq.read_table(tmp_path / "out")
    release = Release.open(store, ref=ref)
    said = json.loads(pq.read_metadata(tmp_path / "out" / "part-00000.parquet").metadata[b"aepipe"])
    assert (said["fingerprint"], said["n_bits"]) == (f"{release.fingerprint}/20", 20)
    assert [name for name in table.column_names if name.startswith("code_u64")] == ["code_u64_0"]
    codes = release.codes_of(table["id"].to_numpy()).prefix(20)
    assert [code.hex() for code in table["code"].to_pylist()] == codes.hex()
    assert table["code_u64_0"].to_pylist() == codes.words()[:, 0].tolist()
    with pytest.raises(QueryError, match=f"{release.n_bits} bits, not 999"):
        export(store, ref, tmp_path / "more", n_bits=999)


def test_metadata_describes_the_codes(store: Store, ref: Ref, tmp_path: Path) -> None:
    export(store, ref, tmp_path / "out")
    metadata = pq.read_metadata(tmp_path / "out" / "part-00000.parquet")
    release = Release.open(store, ref=ref)
    said = json.loads(metadata.metadata[b"aepipe"])
    assert said["schema"] == 1
    assert said["bit_order"] == "msb-first"
    assert (said["fingerprint"], said["n_bits"]) == (release.fingerprint, release.n_bits)
    group = metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert "BYTE_STREAM_SPLIT" in columns["embedding.list.element"].encodings


def test_sql_finds_what_the_index_finds(store: Store, ref: Ref, tmp_path: Path) -> None:
    export(store, ref, tmp_path / "out")
    release = Release.open(store, ref=ref)
    n_words = -(-release.n_bits // 64)
    distance = " + ".join(f"bit_count(xor(code_u64_{i}, ?::UBIGINT))::INT" for i in range(n_words))
    query = f"SELECT id, {distance} AS distance FROM '{tmp_path}/out/*.parquet' ORDER BY distance, id"
    opposite = BitCodes.from_bits(1 - release.codes_of([0]).unpack())
    for code in (release.codes_of([0]), release.codes_of([42]), opposite):
        found = duckdb.execute(query, words_of(code)).fetchall()
        ids, distances = release.query(code, N).of(0)
        assert found == list(zip(ids.tolist(), distances.tolist(), strict=True))


def test_sql_orders_candidates_by_their_embeddings(store: Store, ref: Ref, tmp_path: Path) -> None:
    export(store, ref, tmp_path / "out")
    release = Release.open(store, ref=ref)
    page = (Path(__file__).parents[3] / "docs" / "guide" / "sql.md").read_text(encoding="utf-8")
    query = page[page.index("WITH a AS") :].split("```")[0].replace("out/*.parquet", f"{tmp_path}/out/*.parquet")
    columns = range(-(-release.n_bits // 64))
    query = query.replace("10 * 50", "10 * 3").replace(
        "bit_count(xor(a.code_u64_0, b.code_u64_0))::INT",
        " + ".join(f"bit_count(xor(a.code_u64_{i}, b.code_u64_{i}))::INT" for i in columns),
    )
    for row in (0, 42):
        found = duckdb.execute(query.replace("id = 17", f"id = {row}")).fetchall()
        options = search_options(release, {"oversample": 3})
        (one,) = answer(release, list(questions_from_rows(release, [row], [])), options)
        ours = {hit.row.id: (hit.row.key, hit.distance, hit.cosine) for hit in one.hits}
        assert (found[0][0], len(found)) == (row, 10)
        assert len({line[0] for line in found} & ours.keys()) >= 9
        for row_id, key, distance, cosine in found:
            if row_id in ours:
                assert (key, distance) == ours[row_id][:2]
                assert cosine == pytest.approx(ours[row_id][2], abs=0.01)


def test_data_frames_read_it(store: Store, ref: Ref, tmp_path: Path) -> None:
    export(store, ref, tmp_path / "out")
    release = Release.open(store, ref=ref)
    frame = pd.read_parquet(tmp_path / "out").set_index("id").loc[release.items.ids]
    packed = np.array([np.frombuffer(code, np.uint8) for code in frame["code"]])
    np.testing.assert_array_equal(packed, release.codes_of(release.items.ids).packed)
    assert np.stack(frame["embedding"].to_list()).shape == (N, 32)
    assert frame["label"].isna().sum() == len([i for i in range(N) if i % 7 == 0])


@pytest.fixture
def small(store: Store) -> Ref:
    """A release of 40 pictures."""
    return make_release(store, n=40, shape=SHAPE)


def test_parts_have_a_limited_size(store: Store, small: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "PART_ROWS", 18)
    monkeypatch.setattr(rows, "GROUP_ROWS", 7)
    done = export(store, small, tmp_path / "out")
    assert done.files == ("part-00000.parquet", "part-00001.parquet", "part-00002.parquet")
    sizes = [pq.read_metadata(tmp_path / "out" / file).num_rows for file in done.files]
    assert sizes == [14, 14, 12]
    assert sorted(pq.read_table(tmp_path / "out")["id"].to_pylist()) == list(range(40))
    monkeypatch.undo()
    assert export(store, small, tmp_path / "out").files == ("part-00000.parquet",)
    assert os.listdir(tmp_path / "out") == ["part-00000.parquet"], "parts of the export before are left"


def test_a_million_rows_are_one_part() -> None:
    assert parquet.PART_ROWS == 1_000_000


def test_an_earlier_export_is_replaced_as_a_whole(store: Store, small: Ref, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "out"
    export(store, small, target)
    held = (target / "part-00000.parquet").open("rb")
    before = pq.read_table(target)
    export(store, make_release(store, n=30, shape=SHAPE, name="other"), target)
    assert len(pq.read_table(target)) == 30
    with held:
        assert pq.read_table(held).equals(before), "who reads the old export reads all of it"
    assert os.listdir(target.parent) == ["out"]
    (tmp_path / "empty").mkdir()
    assert export(store, small, tmp_path / "empty").rows == 40


@pytest.mark.parametrize("stranger", ["notes.txt", "part-00000.parquet", "part-x.parquet", "sub"])
def test_a_folder_with_other_files_is_not_touched(store: Store, small: Ref, tmp_path: Path, stranger: str) -> None:
    target = tmp_path / "out"
    target.mkdir()
    if stranger == "sub":
        (target / stranger).mkdir()
    elif stranger == "part-00000.parquet":
        pq.write_table(pa.table({"x": [1]}), target / stranger)
    else:
        (target / stranger).write_text("mine")
    with pytest.raises(QueryError, match=rf"{target}: .* it holds {stranger}, .* choose a new or an empty folder"):
        export(store, small, target)
    assert os.listdir(target) == [stranger]


def test_a_file_in_place_of_the_folder_is_refused(store: Store, small: Ref, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(QueryError, match="it is not a folder"):
        export(store, small, tmp_path / "out")


def test_stored_codes_that_the_encoder_does_not_give_are_noticed(store: Store, tmp_path: Path) -> None:
    write_pictures(pictures_of(store), 20, SHAPE)
    plan = bare_plan(store, shape=SHAPE)
    model = put_encoder(store, plan)
    rows = put_rows(store)
    ids = np.sort(Rows(store.path(rows)).ids())
    with store.draft("segment") as draft:
        np.save(draft.path / "ids.npy", ids)
        np.save(draft.path / "codes.npy", np.zeros((N, 8), np.uint8))
        facts = {"fingerprint": Encoder.open(store.path(model)).fingerprint, "n_bits": 64}
        wrong = draft.finish({"wrong": True}, facts)
    ref = publish_rows(store, plan, rows, model, (wrong,))
    with pytest.raises(CorruptError, match=r"release pictures .* another code than its encoder gives here"):
        export(store, ref, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_remains_of_a_killed_export_are_removed(store: Store, small: Ref, tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead, alive = (tmp_path / f".out.export-ab-{pid}" for pid in (int(gone.stdout), os.getppid()))
    dead.mkdir()
    alive.mkdir()
    export(store, small, tmp_path / "out")
    assert not dead.exists()
    assert alive.exists()


def test_a_full_disk_is_reported(store: Store, small: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(FullError, match=str(tmp_path)):
        export(store, small, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_two_folders_exchange_names_without_the_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    swap._exchange(tmp_path / "a", tmp_path / "b")
    assert (os.listdir(tmp_path / "a"), os.listdir(tmp_path / "b")) == (["b"], ["a"])
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]

"""Vectors of another model: formats, normalisation, and vectors that are refused."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aepipe import sources
from aepipe.errors import ItemError, QueryError, SourceError
from aepipe.sources.loader import Outcome, read_all
from aepipe.sources.vectors import decode
from aepipe.sources.vectors.source import Features, Options, Vectors

ROWS = np.random.default_rng(0).normal(3, 2, (6, 4)).astype(np.float32)


def vectors(folder: Path, path: str = ".", normalize: str = "none", **options: object) -> Vectors:
    chosen = Features(normalize=normalize)  # type: ignore[arg-type]
    return Vectors(Options(path=path, **options), chosen, base=folder, name="v")  # type: ignore[arg-type]


def outcomes(source: Vectors) -> list[Outcome]:
    return list(read_all(source.fitted(None)))


def rows(source: Vectors) -> np.ndarray[Any, Any]:
    return np.array([outcome.features for outcome in outcomes(source)])


def lists(folder: Path, values: list[list[float] | None], name: str = "v.parquet") -> Path:
    pq.write_table(pa.table({"embedding": values, "label": [f"l{i}" for i in range(len(values))]}), folder / name)
    return folder


@pytest.mark.parametrize("form", ["npy", "npz", "lists", "fixed"])
def test_vectors_give_the_same_rows_in_every_format(tmp_path: Path, form: str) -> None:
    labels = np.array(list("abcabc"))
    if form == "npy":
        np.save(tmp_path / "v.npy", ROWS)
    elif form == "npz":
        np.savez(tmp_path / "v.npz", embedding=ROWS, label=labels, other=np.zeros((2, 2)))
    else:
        kind = pa.list_(pa.float32(), 4 if form == "fixed" else -1)
        table = {"embedding": pa.array(ROWS.tolist(), kind), "label": labels.tolist()}
        pq.write_table(pa.table(table), tmp_path / "v.parquet")
    source = vectors(tmp_path, label=None if form == "npy" else "label")
    assert source.shape == (4,)
    np.testing.assert_array_equal(rows(source), ROWS)
    expected = [None] * 6 if form == "npy" else list(labels)
    assert [one.item.label for one in outcomes(source)] == expected


def test_rows_of_unit_length_keep_only_the_direction(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", ROWS * np.arange(1, 7)[:, None])
    np.testing.assert_allclose(
        rows(vectors(tmp_path, normalize="unit")), ROWS / np.linalg.norm(ROWS, axis=1)[:, None], atol=1e-6
    )


@pytest.mark.parametrize("largest", [1e-40, 1.0, 3e38])
def test_the_direction_of_a_vector_does_not_depend_on_its_length(largest: float) -> None:
    features = {"width": 12, "normalize": "unit", "mean": [], "scale": []}
    vector = np.linspace(-largest, largest, 12).astype(np.float32)
    row = decode.decoder(features)(vector.tobytes(), "v")
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-4)
    assert row == pytest.approx(np.linspace(-1, 1, 12) / np.linalg.norm(np.linspace(-1, 1, 12)), abs=1e-4)


def test_columns_are_standardised_by_the_train_split_and_keep_its_scale(tmp_path: Path) -> None:
    held = np.concatenate([ROWS, ROWS[:1] * 100])
    held[:, 2] = 5.0
    np.savez(tmp_path / "v.npz", embedding=held, split=np.array(["train"] * 6 + ["test"]))
    source = vectors(tmp_path, normalize="standard", split="split").fitted(None)
    known = np.array([outcome.features for outcome in outcomes(source)])[:6]
    np.testing.assert_allclose(known.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(known.std(0), [1, 1, 0, 1], atol=1e-5)
    np.save(tmp_path / "other.npy", ROWS)
    again = vectors(tmp_path, "v.npz", normalize="standard").fitted(source.features())
    assert again.features() == source.features()


def test_bad_vectors_are_refused_one_by_one(tmp_path: Path) -> None:
    lists(tmp_path, [[1.0, 2.0], [1.0, float("nan")], [1.0, float("inf")], [1.0, 2.0, 3.0], None, [0.0, 0.0]])
    reasons = [one.reason for one in outcomes(vectors(tmp_path, normalize="unit"))]
    assert reasons == [
        None,
        "number 1 is nan",
        "number 1 is inf",
        "3 numbers, and the vectors of this collection have 2",
        "no vector",
        "all zeros: it has no direction",
    ]


@pytest.mark.parametrize(
    ("name", "held", "says"),
    [
        ("v.npy", np.zeros(3), r"float64 \[3\] is not rows of numbers.*reshape\(1, -1\)"),
        ("v.npy", np.array([["a"]]), r"is not rows of numbers"),
        ("v.npy", np.zeros((2, 1, 3)), r"\[2, 1, 3\] is not rows of numbers, \[N, D\]: save array.reshape"),
        (
            "v.npz",
            {"a": np.zeros((2, 2)), "b": np.zeros((2, 2))},
            r"has no array 'embedding' but a \[2, 2\], b .*; say",
        ),
        ("v.npz", {"a": np.zeros(2)}, r"has no array 'embedding' but a \[2\]; say vectors"),
    ],
)
def test_an_array_without_vectors_is_refused(tmp_path: Path, name: str, held: Any, says: str) -> None:
    if name.endswith("npy"):
        np.save(tmp_path / name, held)
    else:
        np.savez(tmp_path / name, **held)
    with pytest.raises(SourceError, match=says):
        vectors(tmp_path)


def test_numbers_beyond_float16_and_float32_are_named_as_the_cause(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[1.0, 2.0], [65_504.0, 1.0], [65_600.0, 1.0], [1e300, 1.0]]))
    largest = 'a number beyond 65,504, the largest of float16: say normalize = "unit" or "standard" under [features]'
    beyond = "number 0 is 1e+300, beyond float32"
    assert [one.reason for one in outcomes(vectors(tmp_path))] == [None, None, largest, beyond]
    assert [one.reason for one in outcomes(vectors(tmp_path, normalize="unit"))] == [None, None, None, beyond]
    assert [one.reason for one in outcomes(vectors(tmp_path, normalize="standard"))] == [None, None, None, beyond]
    decode = sources.decoder("vectors", vectors(tmp_path).fitted(None).features())
    with pytest.raises(ItemError, match=r"number 1 is -1e\+99, beyond float32"):
        decode(b"[1, -1e99]", "q")


@pytest.mark.parametrize("dtype", ["float16", "float64", "longdouble", ">f4", "int8", "uint64", "fortran"])
def test_arrays_of_all_numbers_are_vectors(tmp_path: Path, dtype: str) -> None:
    values = np.arange(12).reshape(3, 4)
    np.save(tmp_path / "v.npy", np.asfortranarray(values, np.float32) if dtype == "fortran" else values.astype(dtype))
    np.testing.assert_array_equal(rows(vectors(tmp_path)), values.astype(np.float32))


def test_bfloat16_and_rows_of_several_lengths_get_a_remedy(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros((2, 2), "V2"))
    with pytest.raises(SourceError, match="bfloat16 is unknown to numpy; save it as float32"):
        vectors(tmp_path)
    np.save(tmp_path / "v.npy", np.array([[1.0], [1.0, 2.0]], object), allow_pickle=True)
    with pytest.raises(SourceError, match="rows of different lengths; save numbers, "):
        vectors(tmp_path)


def test_the_only_array_of_rows_is_taken_whatever_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", arr_0=ROWS, label=np.array(list("abcabc")))
    source = vectors(tmp_path, label="label")
    np.testing.assert_array_equal(rows(source), ROWS)
    assert source.notes == ["v.npz: array 'arr_0', the only one with rows of numbers, holds the vectors"]


def test_files_of_other_widths_are_named_with_both(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    np.savez(tmp_path / "b.npz", embedding=ROWS[:, :3])
    with pytest.raises(SourceError, match=r"b\.npz: vectors of 3 numbers, but 4 in .*a\.npy"):
        vectors(tmp_path)
    for number, width in enumerate((4, 3)):
        column = pa.array(ROWS[:, :width].tolist(), pa.list_(pa.float32(), width))
        pq.write_table(pa.table({"embedding": column}), tmp_path / f"{number}.parquet")
    with pytest.raises(SourceError, match=r"1\.parquet: vectors of 3 numbers, but 4 in .*0\.parquet"):
        vectors(tmp_path, "*.parquet")


def test_columns_of_several_archives_have_one_type(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", embedding=ROWS[:1], n=np.array([1]))
    np.savez(tmp_path / "b.npz", embedding=ROWS[:1], n=np.array([0.5]), more=np.array(["x"]))
    source = vectors(tmp_path)
    assert [dict(item.columns) for item in source.items()] == [{"n": 1.0, "more": None}, {"n": 0.5, "more": "x"}]
    np.savez(tmp_path / "c.npz", embedding=ROWS[:1], n=np.array(["x"]))
    with pytest.raises(SourceError, match=r"c\.npz: column 'n' is string, but double in .*b\.npz"):
        vectors(tmp_path)


def test_bytes_and_texts_of_numbers_are_vectors(tmp_path: Path) -> None:
    npy = io.BytesIO()
    np.save(npy, ROWS[3])
    cells = [ROWS[0].tobytes(), ROWS[1].tobytes(), b"short", npy.getvalue(), ROWS[2, :3].tobytes()]
    pq.write_table(pa.table({"embedding": cells}), tmp_path / "v.parquet")
    source = vectors(tmp_path)
    found = outcomes(source)
    assert [one.reason for one in found] == [
        None,
        None,
        "bytes that are not numbers of float32",
        None,
        "3 numbers, and the vectors of this collection have 4",
    ]
    good = [one.features for one in found if one.features is not None]
    np.testing.assert_array_equal(np.array(good), ROWS[[0, 1, 3]])
    assert source.notes == ["column 'embedding' holds bytes, read as 4 numbers of float32 each"]
    texts = [json.dumps(row.tolist()) for row in ROWS] + ["[1, 2", "[1, [2]]", "[1, null, 2, 3]", "cat"]
    pq.write_table(pa.table({"embedding": texts}), tmp_path / "v.parquet")
    reasons = [one.reason for one in outcomes(vectors(tmp_path))]
    assert reasons[:6] == [None] * 6
    assert reasons[6:] == [
        "text that is no list of numbers",
        "not a list of numbers",
        "a vector with holes",
        "not a list of numbers",
    ]


def clip_folder(folder: Path, *numbers: int, texts: bool = True) -> Path:
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / name).mkdir()
    for number in numbers:
        part = ROWS + number
        np.save(folder / f"img_emb/img_emb_{number}.npy", part.astype(np.float16))
        if texts:
            np.save(folder / f"text_emb/text_emb_{number}.npy", -part.astype(np.float16))
        held = {"image_path": [f"/{number}/{row}.jpg" for row in range(6)], "caption": ["a"] * 6}
        pq.write_table(pa.table(held), folder / f"metadata/metadata_{number}.parquet")
    return folder


def test_a_folder_of_clip_retrieval_joins_vectors_and_metadata_by_position(tmp_path: Path) -> None:
    clip_folder(tmp_path, 0, 2, 10)
    source = vectors(tmp_path)
    expected = np.concatenate([ROWS, ROWS + 2, ROWS + 10]).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(rows(source), expected)
    assert source.total() == 18
    found = list(source.items())
    assert [item.columns["image_path"] for item in found] == [f"/{n}/{row}.jpg" for n in (0, 2, 10) for row in range(6)]
    assert source.notes == ['the vectors of pictures are read; say vectors = "text_emb" for those of texts']
    assert source.passed_over.counts == {"other vectors of the same items": 3}
    texts = vectors(tmp_path, vectors="text_emb", key="image_path")
    np.testing.assert_array_equal(rows(texts), -expected)
    assert [item.key for item in texts.items()][:1] == ["/0/0.jpg"]


def test_a_folder_of_clip_retrieval_whose_parts_disagree_is_refused(tmp_path: Path) -> None:
    clip_folder(tmp_path, 0, 1, texts=False)
    with pytest.raises(SourceError, match="no vectors in text_emb; it has: img_emb"):
        vectors(tmp_path, vectors="text_emb")
    np.save(tmp_path / "img_emb/img_emb_1.npy", ROWS[:5])
    with pytest.raises(SourceError, match=r"img_emb_1.npy: 5 vectors, but 6 rows in .*metadata_1.parquet"):
        vectors(tmp_path)
    (tmp_path / "metadata/metadata_1.parquet").unlink()
    with pytest.raises(SourceError, match=r"img_emb_1.npy: has no metadata with the number 1"):
        vectors(tmp_path)
    (tmp_path / "metadata/metadata_0.parquet").unlink()
    assert len(list(vectors(tmp_path).items())) == 11


def test_arrays_of_objects_and_torn_ones_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(SourceError, match="not a readable array"):
        vectors(tmp_path)
    np.savez(tmp_path / "v.npz", embedding=ROWS)
    whole = (tmp_path / "v.npz").read_bytes()
    (tmp_path / "w.npz").write_bytes(whole[:200])
    with pytest.raises(SourceError, match="not a readable array"):
        vectors(tmp_path, "w.npz")


def test_a_folder_without_vectors_names_the_files_that_could_be_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(SourceError, match=r"no .npy, .npz or .parquet in it"):
        vectors(tmp_path)
    pq.write_table(pa.table({"embedding": ["a"]}), tmp_path / "v.parquet")
    with pytest.raises(SourceError, match="column 'embedding' is string, not a list of numbers"):
        vectors(tmp_path)


def test_a_query_is_an_array_or_a_list(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", ROWS[0].astype(np.float64))
    np.save(tmp_path / "two.npy", ROWS[:2])
    np.save(tmp_path / "v.npy", ROWS)
    decode = sources.decoder("vectors", vectors(tmp_path, "v.npy").fitted(None).features())
    found = [
        [decode(item.read(), item.key) for item in sources.query_items("vectors", str(tmp_path / name))]
        for name in ("one.npy", "two.npy")
    ]
    np.testing.assert_array_equal(found[0], ROWS[:1])
    np.testing.assert_array_equal(found[1], ROWS[:2])
    (item,) = sources.query_items("vectors", json.dumps(ROWS[0].tolist()))
    np.testing.assert_allclose(decode(item.read(), item.key).astype(np.float64), ROWS[0])
    with pytest.raises(ItemError, match="2 numbers, and the vectors of this collection have 4"):
        decode(b"[1, 2]", "q")
    with pytest.raises(QueryError, match="no such file"):
        list(sources.query_items("vectors", "nowhere.npy"))


def asked(text: str | Path) -> list[bytes]:
    return [item.read() for item in sources.query_items("vectors", str(text))]


def test_a_query_is_an_archive_a_table_or_a_folder(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", ROWS[0])
    np.savez(tmp_path / "rows.npz", ids=np.arange(3), vectors=ROWS[:3])
    np.savez(tmp_path / "two.npz", a=ROWS[:1], b=ROWS[1:3])
    pq.write_table(pa.table({"n": [1, 2], "v": ROWS[:2].tolist()}), tmp_path / "t.parquet")
    wide = np.arange(16.0) / 8
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"v": (wide + row).tolist()}) + "\n" for row in range(3)))
    (tmp_path / "v.json").write_text("[1, 2, 3, 4]")
    rows = [row.astype(np.float32).tobytes() for row in ROWS[:3]]
    assert asked(tmp_path / "one.npz") == rows[:1]
    assert asked(tmp_path / "rows.npz") == rows
    assert asked(f"{tmp_path / 'two.npz'}@b") == rows[1:]
    assert asked(tmp_path / "t.parquet") == rows[:2]
    assert asked(tmp_path / "t.jsonl")[1] == (wide + 1).astype(np.float32).tobytes()
    assert asked(tmp_path / "v.json") == [b"[1, 2, 3, 4]"]
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder" / "a.npy", ROWS[:2])
    (tmp_path / "folder" / "notes.txt").write_text("Two vectors.")
    assert asked(tmp_path / "folder") == rows[:2]


def test_what_holds_no_vectors_or_several_arrays_says_so(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=ROWS[:1], b=ROWS[1:3])
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "x.png").write_bytes(b"\x89PNG")
    (tmp_path / "empty").mkdir()
    says = {
        "two.npz": r"not one array of vectors; it has: a \[1, 4\], b \[2, 4\]; ask with one of them: .*two.npz@a$",
        "two.npz@c": "no array 'c' of numbers; it has: a",
        "t.csv": "no column of vectors in this table",
        "x.png": "not a file of vectors; allowed: .npy, .npz",
        "empty": "no files of vectors in this folder",
    }
    for name, why in says.items():
        with pytest.raises(QueryError, match=why):
            asked(tmp_path / name)


def test_a_vector_of_another_length_says_its_length(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", ROWS)
    decode = sources.decoder("vectors", vectors(tmp_path, "v.npy").fitted(None).features())
    with pytest.raises(ItemError, match="6 numbers, and the vectors of this collection have 4"):
        decode(np.ones(6, np.float32).tobytes(), "q")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a,b\n1,2\n", "it is text"),
        (b"", "it is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(9), r"it is a picture \(PNG\)"),
        (b"%PDF-1.7\n", r"it is a document \(PDF\)"),
        (pickle.dumps({1: 2}), None),
        (None, "it holds objects of Python"),
    ],
)
def test_a_file_that_is_no_array_is_called_what_it_is(tmp_path: Path, data: bytes | None, says: str | None) -> None:
    file = tmp_path / "asked"
    if data is None:
        with file.open("wb") as stream:
            np.save(stream, np.array([{}], object))
    else:
        file.write_bytes(data)
    with pytest.raises(QueryError, match=f"asked: not a .npy file of vectors{f': {says}' if says else ''}$"):
        list(sources.query_items("vectors", str(file)))

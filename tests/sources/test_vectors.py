"""Vectors of another model: formats, normalisation, and vectors that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aepipe import sources
from aepipe.errors import ItemError, QueryError, SourceError
from aepipe.sources.loader import Outcome, read_all
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

"""The kind of a collection in tables, by the types of their columns and by what lies in the cells."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from aepipe.pipeline.suggest import suggest

ROWS = 24
VECTORS = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
SENTENCES = [
    f"The cat number {row % 5} sat on mat {row % 7} and looked at the {('sun', 'moon', 'rain')[row % 3]}"
    for row in range(ROWS)
]


def png(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 90)).save(out, "PNG")
    return out.getvalue()


def wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16_000))
    return out.getvalue()


PICTURES = [png(row) for row in range(ROWS)]
NOISE = [np.random.default_rng(row).bytes(32) for row in range(ROWS)]


def kind_of(folder: Path, **columns: Any) -> tuple[str, str]:
    """Write a table; return the derived kind, and the recipe."""
    held = pa.table({**columns, "n": list(range(ROWS)), "c": [f"c{row % 3}" for row in range(ROWS)]})
    with pa.OSFile(str(folder / "t.arrow"), "wb") as out, pa.ipc.new_file(out, held.schema) as writing:
        writing.write_table(held)
    _, text, found = suggest(str(folder / "t.arrow"), folder=folder)
    return found.kind, text


@pytest.mark.parametrize("numbers", [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint8(), pa.int32()])
@pytest.mark.parametrize("lists", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view, "fixed"])
def test_lists_of_numbers_of_one_length_are_vectors(tmp_path: Path, lists: Any, numbers: pa.DataType) -> None:
    kind = pa.list_(numbers, 8) if lists == "fixed" else lists(numbers)
    values = np.abs(VECTORS * 20).astype(numbers.to_pandas_dtype())
    column = pa.array([list(row) for row in values], kind)
    found, text = kind_of(tmp_path, v=column)
    assert found == "vectors"
    assert 'vectors = "v"' in text


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("table", lambda: [list(range(row % 7 + 2)) for row in range(ROWS)]),
        ("table", lambda: pa.array([VECTORS[row, : row % 7 + 1].tolist() for row in range(ROWS)])),
        ("table", lambda: [[{"x": 1.0}]] * ROWS),
        ("table", lambda: NOISE),
        ("images", lambda: pa.array(PICTURES).dictionary_encode()),
        ("images", lambda: pa.array([data.ljust(200, b"\0") for data in PICTURES], pa.binary(200))),
        ("images", lambda: [{"bytes": data, "path": None} for data in PICTURES]),
        ("images", lambda: pa.array([[data, PICTURES[0]] for data in PICTURES], pa.large_list_view(pa.binary()))),
        ("images", lambda: pa.array([[{"bytes": data, "path": "a.png"}] for data in PICTURES])),
        ("text", lambda: pa.array([text.encode() for text in SENTENCES], pa.binary_view())),
        ("text", lambda: pa.array(SENTENCES, pa.string_view())),
        ("text", lambda: pa.array(SENTENCES).dictionary_encode()),
        ("vectors", lambda: [row.tobytes() for row in VECTORS]),
        ("vectors", lambda: [json.dumps(row.tolist()) for row in VECTORS]),
        ("vectors", lambda: pa.FixedShapeTensorArray.from_numpy_ndarray(VECTORS)),
    ],
)
def test_the_kind_is_told_by_types_and_cells(tmp_path: Path, kind: str, column: Callable[[], Any]) -> None:
    assert kind_of(tmp_path, v=column())[0] == kind


def test_numbers_of_words_are_no_vectors(tmp_path: Path) -> None:
    assert kind_of(tmp_path, input_ids=[list(range(8))] * ROWS)[0] == "table"


def test_recordings_in_a_table_are_known(tmp_path: Path) -> None:
    kind, text = kind_of(tmp_path, v=[{"bytes": wav(), "path": "a.wav"}] * ROWS)
    assert kind == "audio"
    assert 'audio = "v"\n' in text


def test_folders_of_others_are_known_by_their_layout(tmp_path: Path) -> None:
    """What describes a saved data set is no document, and metadata of vectors is no text."""
    held = pa.table({"image": PICTURES, "label": [row % 2 for row in range(ROWS)]})
    (tmp_path / "saved").mkdir()
    saved = str(tmp_path / "saved/data-00000-of-00001.arrow")
    with pa.OSFile(saved, "wb") as out, pa.ipc.new_stream(out, held.schema) as writing:
        writing.write_table(held)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"}
    (tmp_path / "saved/state.json").write_text(json.dumps(state, indent=2))
    (tmp_path / "saved/dataset_info.json").write_text(json.dumps({"features": {}}, indent=2))
    assert suggest(str(tmp_path / "saved"), folder=tmp_path)[2].kind == "images"
    for name in ("img_emb", "metadata"):
        (tmp_path / "clip" / name).mkdir(parents=True)
    np.save(tmp_path / "clip/img_emb/img_emb_0.npy", VECTORS)
    pq.write_table(pa.table({"caption": SENTENCES}), tmp_path / "clip/metadata/metadata_0.parquet")
    assert suggest(str(tmp_path / "clip"), folder=tmp_path)[2].kind == "vectors"


def test_folders_of_partitions_are_no_labels(tmp_path: Path) -> None:
    for year in (2023, 2024):
        (tmp_path / f"t/year={year}").mkdir(parents=True)
        held = {"x": [float(row * year) for row in range(ROWS)], "c": [f"c{row % 3}" for row in range(ROWS)]}
        pq.write_table(pa.table(held), tmp_path / f"t/year={year}/part.parquet")
    _, text, found = suggest(str(tmp_path / "t"), folder=tmp_path)
    assert found.kind == "table"
    assert "label" not in text.partition("[gate]")[0]


def test_a_derived_recipe_names_the_columns_that_are_left_out(tmp_path: Path) -> None:
    names = ["id\nnumber", *(f"note {one}" for one in range(10))]
    held = {name: [f"{name} {row}" for row in range(ROWS)] for name in names}
    pq.write_table(pa.table(held | {"x": [row % 5 for row in range(ROWS)]}), tmp_path / "t.parquet")
    text = suggest(str(tmp_path / "t.parquet"), folder=tmp_path)[1]
    lines = text.splitlines()
    at = lines.index("# columns left out:")
    assert lines[at + 1] == f"#   id number: {ROWS} texts, all of them different: an id or a text"
    assert lines[at + 8].startswith("#   note 6: ")
    assert lines[at + 9] == "#   and 3 more"
    pq.write_table(pa.table({"x": [row % 5 for row in range(ROWS)]}), tmp_path / "u.parquet")
    assert "left out" not in suggest(str(tmp_path / "u.parquet"), folder=tmp_path)[1]

"""The verb export."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Aepipe


def test_export_writes_parquet(aepipe: Aepipe, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    found = aepipe("export", "out")
    assert found.exit_code == 0
    assert found.stdout == f"40 rows in 1 file in {tmp_path / 'out'}\n"
    table = parquet.read_table(tmp_path / "out")
    assert table.num_rows == 40
    assert {"id", "key", "code", "embedding"} <= set(table.column_names)


def test_export_does_not_overwrite_what_it_did_not_write(aepipe: Aepipe, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    found = aepipe("export", "out")
    assert found.exit_code == 2
    assert len(found.stderr.splitlines()[-1:]) == 1


def test_export_writes_the_encoder_alone(aepipe: Aepipe, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    found = aepipe("export", "encoder.onnx")
    assert found.exit_code == 0
    assert found.stdout == "encoder.onnx: items [32, 28, 28, 1] in; embedding, logits and bits out\n"
    assert [one.name for one in onnx.load(tmp_path / "encoder.onnx").graph.output] == ["embedding", "logits", "bits"]
    refused = aepipe("export", "encoder.onnx", "--bits", "8")
    assert refused.exit_code == 2
    assert "--bits 8: a graph gives all bits" in refused.stderr


@pytest.mark.parametrize("name", ["rows.csv", "rows.JSONL", "rows.xlsx"])
def test_export_makes_no_folder_with_the_name_of_a_file(aepipe: Aepipe, tmp_path: Path, name: str) -> None:
    found = aepipe("export", name)
    assert found.exit_code == 2
    assert f"{name}: rows are written as Parquet files into a folder; name a folder, or NAME.onnx" in found.stderr
    assert not (tmp_path / name).exists()

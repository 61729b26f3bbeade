"""The verb export."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize("name", ["rows.json", "rows.XLSX", "rows.csv.gz"])
def test_export_makes_no_folder_with_the_name_of_a_file(aepipe: Aepipe, tmp_path: Path, name: str) -> None:
    found = aepipe("export", name)
    assert found.exit_code == 2
    assert f"{name}: rows are not written under that ending; name a folder, or a file: NAME.parquet" in found.stderr
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "rows.FEATHER", "rows.csv", "rows.tsv", "rows.jsonl"])
def test_export_writes_one_file_where_the_name_has_an_ending(aepipe: Aepipe, tmp_path: Path, name: str) -> None:
    pandas = pytest.importorskip("pandas")
    (tmp_path / name).write_text("of before")
    found = aepipe("export", name)
    assert found.exit_code == 0
    assert found.stdout == f"40 rows in {tmp_path / name}\n"
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing else is left"
    reads = {
        ".parquet": pandas.read_parquet,
        ".csv": pandas.read_csv,
        ".tsv": lambda file: pandas.read_csv(file, sep="\t"),
        ".jsonl": lambda file: pandas.read_json(file, lines=True),
    }
    table = reads.get(Path(name).suffix, pandas.read_feather)(tmp_path / name)
    assert len(table) == 40
    assert {"id", "key", "label", "code", "embedding"} <= set(table.columns)
    code = table.code[0]
    assert int(code if isinstance(code, str) else code.hex(), 16) == int(table.code_u64_0[0])


def test_export_into_a_system_shows_the_question_there(aepipe: Aepipe, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    found = aepipe("export", "--to", "duckdb:all.duckdb", "--bits", 20, "--table", "few", "--no-embeddings")
    assert found.exit_code == 0
    said, _, question = found.stdout.partition(
        "\n\nThe hits of `aepipe query --id 0 --fast --bits 20` are given there by\n\n"
    )
    assert said == "40 rows in few of duckdb:all.duckdb"
    hits = [
        json.loads(line) for line in aepipe("query", "--id", 0, "--fast", "--bits", 20, "--json").stdout.splitlines()
    ]
    with duckdb.connect(tmp_path / "all.duckdb") as connection:
        expected = [(hit["id"], hit["key"], hit["distance"]) for hit in hits[0]["hits"]]
        assert connection.execute(question).fetchall() == expected
    again = aepipe("export", "--to", "all.duckdb", "--table", "few")
    assert again.exit_code == 2
    assert again.stderr.splitlines()[-1].endswith("few is there already; say --replace, or name another one by --table")
    assert aepipe("export", "--to", "all.duckdb", "--table", "few", "--replace").exit_code == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "name a folder or a file, or a system by --to"),
        (["out", "--to", "x.duckdb"], "OUT and --to exclude each other"),
        (["out", "--replace"], "--table, --replace and --no-index belong to --to"),
        (["postgresql://me:s3cret@h/db"], "a system is named by --to"),
        (["--to", "mysql://me:s3cret@h/db"], "mysql: no such system; allowed: postgresql://"),
        (["--to", "postgresql://me:s3cret@127.0.0.1:1/db"], "postgresql://127.0.0.1:1/db: connection failed"),
        (["rows.duckdb"], "or a database by --to duckdb:rows.duckdb"),
        (["--to", "nowhere/rows.duckdb"], "there is no folder"),
    ],
)
def test_export_names_what_is_wrong_and_no_password(
    aepipe: Aepipe, tmp_path: Path, given: list[str], said: str
) -> None:
    found = aepipe("export", *given)
    assert found.exit_code in {2, 3}
    assert said in found.stderr
    assert "s3cret" not in found.stderr
    assert not list(tmp_path.iterdir())

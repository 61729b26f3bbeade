"""The verb impute: a table in, the same without holes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from tests.cli.conftest import Aepipe


def test_a_filled_table_is_written_next_to_the_original(aepipe: Aepipe, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"a": rng.integers(0, 4, 40), "b": rng.normal(size=40), "note": [f"row {i}" for i in range(40)]}
    )
    table["note"] = table["note"].where(table.index < 70)
    table.loc[[3, 5], "b"] = np.nan
    pd.concat([table] * 2).to_csv(tmp_path / "t.csv", index=False)
    found = aepipe("impute", "t.csv", "--steps", 20)
    assert found.exit_code == 0
    assert "t-filled.csv: 80 rows, 4 values filled" in found.stdout
    written = pd.read_csv(tmp_path / "t-filled.csv")
    assert written["b"].notna().all()
    assert (written["b_uncertainty"] > 0).sum() == 4
    as_parquet = aepipe("impute", "t.csv", "--steps", 20, "--out", "out.parquet")
    assert as_parquet.exit_code == 0
    assert pd.read_parquet(tmp_path / "out.parquet").shape == written.shape


def test_mistakes_are_one_line(aepipe: Aepipe, tmp_path: Path) -> None:
    found = aepipe("impute", "none.csv")
    assert found.exit_code == 2
    assert found.stderr == "aepipe: none.csv: no such file\n"
    (tmp_path / "t.csv").write_text("a\n1\n")
    itself = aepipe("impute", "t.csv", "--out", "t.csv", "--overwrite")
    assert itself.exit_code == 2
    assert "name another file with --out" in itself.stderr


def test_no_file_is_overwritten_unasked(aepipe: Aepipe, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i % 3 or ''},{i % 2}\n" for i in range(40)))
    (tmp_path / "t-filled.csv").write_text("mine")
    refused = aepipe("impute", "t.csv", "--steps", 1)
    assert refused.exit_code == 2
    assert refused.stderr == (
        "aepipe: t-filled.csv: is there already; say --overwrite, or name another file with --out\n"
    )
    assert (tmp_path / "t-filled.csv").read_text() == "mine"
    assert aepipe("impute", "t.csv", "--steps", 1, "--overwrite").exit_code == 0
    assert (tmp_path / "t-filled.csv").read_text().startswith("a,a_uncertainty,b\n")


def test_what_was_guessed_is_said(aepipe: Aepipe, tmp_path: Path) -> None:
    rows = "".join(f"{i};{20 + i % 7},{i % 4};{'' if i % 9 == 0 else 'x' * (i % 3 + 1)}\n" for i in range(60))
    (tmp_path / "t.csv").write_text("id;size;word\n" + rows)
    found = aepipe("impute", "t.csv", "--steps", 1)
    assert found.exit_code == 0
    assert "id: left as it was: row numbers: they count from 0" in found.stdout
    assert "column 'size': numbers with decimal commas, as '20,0'" in found.stdout

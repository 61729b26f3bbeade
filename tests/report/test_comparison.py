"""Recipes side by side: tables fit the terminal, the best by held-out rows, means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import stdev
from typing import Any

import pyarrow.parquet as pq
import pytest

from aepipe.errors import QueryError
from aepipe.report.comparison import (
    Line,
    as_json,
    choose,
    chosen_figures,
    comparison_table,
    count,
    duration,
    means_table,
    study_table,
    write_parquet,
)

FIGURES: dict[str, float | None] = {
    "reconstruction_bits": 17.25,
    "reconstruction_float": 8.5,
    "held_out_map_at_1000": 0.61,
    "map_at_1000": 0.62,
    "p_at_100": 0.7,
    "recall_at_10": 0.2,
    "entropy": 0.99,
    "probe_embedding": 0.84,
    "nmi_bits": 0.5,
    "seconds": 12.0,
    "parameters": 1_670_000.0,
}
HELD_OUT = {16: (0.5, 0.6), 32: (0.7, 0.5), 64: (0.58, 0.58)}
MEASURED = {"rebuilt": 1000, "train": 10_000, "test": 2000}


def line(name: str, merit: float = 0.6, **more: Any) -> Line:
    return Line(name, figures={**FIGURES, "map_at_1000": merit}, measured=MEASURED, release="release/0", **more)


def grid() -> list[Line]:
    return [
        line("demo", 0.5 + batch / 1000 + lr, changes={"fit.batch": batch, "fit.lr": lr})
        for batch in (64, 256)
        for lr in (0.001, 0.003)
    ]


def test_the_best_recipe_comes_first_and_a_failure_last() -> None:
    lines = [line("middle", 0.6), Line("broken", failed="a loss is nan"), line("best", 0.7)]
    text = comparison_table(lines, width=200)
    rows = text.splitlines()[2:5]
    assert [row.split()[0] for row in rows] == ["best", "middle", "broken"]
    assert "17.25" in rows[0]
    assert "1.67M" in rows[0]
    assert "broken failed: a loss is nan" in text
    assert "errors of 1,000 unseen rows; probes trained on 10,000, asked about 2,000" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_and_the_least_important_columns_go_first(width: int) -> None:
    text = comparison_table([line("a-name-that-is-quite-long"), line("b")], width=width)
    assert max(map(len, text.splitlines()[:4])) <= width
    assert "mAP" in text
    assert ("size" in text) == (width > 80)


def test_a_study_has_a_column_for_each_key() -> None:
    text = study_table(grid(), width=120)
    assert text.splitlines()[1].split()[:2] == ["batch", "lr"]
    assert len(text.splitlines()) >= 6


def test_figures_are_written(tmp_path: Path) -> None:
    write_parquet([*grid(), Line("x", changes={"fit.batch": 1, "fit.lr": 1.0}, failed="no")], tmp_path / "f.parquet")
    table = pq.read_table(tmp_path / "f.parquet").to_pylist()
    assert [row["fit.batch"] for row in table] == [64, 64, 256, 256, 1]
    assert table[0]["map_at_1000"] == pytest.approx(0.565)
    assert table[-1]["map_at_1000"] is None
    assert table[-1]["failed"] == "no"
    assert as_json(grid()[0])["changes"] == {"fit.batch": 64, "fit.lr": 0.001}


def test_numbers_are_short() -> None:
    assert [duration(x) for x in (1.23, 45.6, 1200, 90_000)] == ["1.2 s", "46 s", "20 min", "25.0 h"]
    assert [count(x) for x in (12, 1500, 1_670_000)] == ["12", "1.50k", "1.67M"]


def study() -> list[Line]:
    """32 bits are best by held-out rows in the mean; another length is best on test rows."""
    return [
        Line(
            "demo",
            changes={"code.bits": bits, "seed": seed},
            figures={"held_out_map_at_1000": value, "map_at_1000": 1 - value, "seconds": 10.0 + seed},
        )
        for bits, values in HELD_OUT.items()
        for seed, value in enumerate(values)
    ]


def test_only_the_chosen_keeps_its_test_figures() -> None:
    lines, said = choose(study())
    assert said == "chosen by 0.600 mAP@1000 of held-out rows: code.bits=32; only its test rows were looked at"
    assert [line.figures["map_at_1000"] is not None for line in lines] == [False, False, True, True, False, False]
    assert all(line.figures["held_out_map_at_1000"] is not None for line in lines)
    assert all(line.figures["seconds"] for line in lines)
    assert study_table(lines, width=120).count("0.500") == 3, "two held-out figures, and one test figure of the chosen"


def test_without_held_out_rows_nothing_is_chosen() -> None:
    with pytest.raises(QueryError, match="nothing to choose by"):
        choose([Line("demo", changes={"seed": 1}, figures={"map_at_1000": 0.5}), Line("demo", failed="loss is nan")])


def test_means_over_seeds() -> None:
    text = means_table(study())
    assert text is not None
    head, names, *rows = text.splitlines()
    assert (head.split(), names.split()[:3]) == (["held", "mAP", "train"], ["mean", "of", "seeds"])
    assert rows[1].split()[:3] == ["code.bits=32", "0.600", f"±{stdev(HELD_OUT[32]):.3f}"]
    assert means_table([Line("demo", changes={"seed": 0})]) is None, "one is no mean"
    assert means_table([Line("demo", changes={"code.bits": bits}) for bits in (8, 16)]) is None


def test_figures_are_chosen_releases_named_and_intervals_explained() -> None:
    made = [
        replace(one, release=f"release/{n}{'0' * 63}", intervals={"map_at_1000": [0.5, 0.5 + 0.1 * n]})
        for n, one in enumerate([line("a"), line("b")], 1)
    ]
    text = comparison_table(made, width=120, figures=("seconds", "map_at_1000"))
    head, names, *rows = text.splitlines()
    assert names.split() == ["name", "time", "@1000", "release"]
    assert head.split() == ["train", "mAP"]
    assert rows[0].split()[-1].endswith("0" * 11)
    assert "mAP@1000: ±0.100 at most, half of the 95 % interval over the queries" in text
    assert "release" not in comparison_table([replace(line("a"), release=None)], width=120)
    assert chosen_figures(" map , seconds") == ("map", "seconds")
    with pytest.raises(QueryError, match="no figure 'speed'; there are: reconstruction_bits"):
        chosen_figures("map,speed")


def test_lines_of_different_sources_are_said_to_be_so() -> None:
    said = "the sources of these recipes differ, so their figures are of different rows"
    apart = [replace(line("a"), source="one"), replace(line("b"), source="two")]
    assert said in comparison_table(apart, width=120)
    assert said not in comparison_table([replace(one, source="one") for one in apart], width=120)

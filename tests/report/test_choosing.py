"""What a study comes to: the best by held-out rows, and means over seeds."""

from __future__ import annotations

from statistics import stdev

import pytest

from aepipe.errors import QueryError
from aepipe.report.choosing import choose, means_table
from aepipe.report.comparison import Line, study_table

HELD_OUT = {16: (0.5, 0.6), 32: (0.7, 0.5), 64: (0.58, 0.58)}


def study() -> list[Line]:
    """Lines of which 32 bits are best by held-out rows in the mean, though another is best on test rows."""
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

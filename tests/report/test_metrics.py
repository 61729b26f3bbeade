"""Gauges as Prometheus reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aepipe.errors import StoreError
from aepipe.report.metrics import Gauge, text, write

GAUGES = [
    Gauge("rows", 3, {"collection": "a"}, "Rows in service."),
    Gauge("run_timestamp_seconds", 1764237600, {"collection": "a"}),
    Gauge("rows", 4, {"collection": 'b"\\\n'}, "Rows in service."),
]


def test_gauges_of_a_name_stand_together_and_labels_are_escaped() -> None:
    assert text(GAUGES).splitlines() == [
        "# HELP aepipe_rows Rows in service.",
        "# TYPE aepipe_rows gauge",
        'aepipe_rows{collection="a"} 3',
        r'aepipe_rows{collection="b\"\\\n"} 4',
        "# TYPE aepipe_run_timestamp_seconds gauge",
        'aepipe_run_timestamp_seconds{collection="a"} 1764237600',
    ]


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.prom"
    write(GAUGES, file)
    assert file.read_text() == text(GAUGES)
    assert [path.name for path in file.parent.iterdir()] == ["a.prom"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((StoreError, OSError), match="file"):
        write(GAUGES, tmp_path / "file" / "a.prom")

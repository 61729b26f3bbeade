"""Figures of a run as Prometheus reads them."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("prometheus_client")
pytest.importorskip("prefect")

from prometheus_client.parser import text_string_to_metric_families

from aepipe.evaluate.drift import Drift, Shift
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from flows.prometheus import Gauge, Night, gauges, report, text
from tests.support.releases import make_release

GAUGES = [
    Gauge("rows", 3, {"collection": "a"}, "Rows in service."),
    Gauge("run_timestamp_seconds", 1764237600, {"collection": "a"}, "When."),
    Gauge("rows", 4, {"collection": 'b"\\\n'}, "Rows in service."),
]
# Each name with its help text and its labels: dashboards and alerts hold on to them.
PUBLISHED = {
    "aepipe_run_success": ("Whether the last run did all it should, 1 or 0.", {"collection"}),
    "aepipe_run_timestamp_seconds": ("When the last run ended.", {"collection"}),
    "aepipe_run_seconds": ("How long it took.", {"collection"}),
    "aepipe_stage_seconds": ("How long a stage of it took.", {"collection", "stage"}),
    "aepipe_source_rows": ("Rows of the source as last read.", {"collection", "what"}),
    "aepipe_drift": ("Whether new rows are unlike those of training, 1 or 0.", {"collection"}),
    "aepipe_drift_effect": ("How much a figure has moved.", {"collection", "figure"}),
    "aepipe_created_timestamp_seconds": ("When what is in service was made.", {"collection", "what"}),
    "aepipe_rows": ("Rows of the release in service.", {"collection"}),
    "aepipe_score": ("Scores of the release in service.", {"collection", "system", "metric"}),
}


def samples(written: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every value by its name and labels."""
    families = text_string_to_metric_families(written)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


@pytest.fixture
def job(store: Store) -> Any:
    """A collection with a release in service."""
    make_release(store, n=40)
    return SimpleNamespace(name="pictures", store=store)


def test_gauges_of_a_name_stand_together_and_labels_are_escaped() -> None:
    written = text(GAUGES)
    lines = [line.partition(" ")[0] if line.startswith("aepipe") else line for line in written.splitlines()]
    assert lines == [
        "# HELP aepipe_rows Rows in service.",
        "# TYPE aepipe_rows gauge",
        'aepipe_rows{collection="a"}',
        r'aepipe_rows{collection="b\"\\\n"}',
        "# HELP aepipe_run_timestamp_seconds When.",
        "# TYPE aepipe_run_timestamp_seconds gauge",
        'aepipe_run_timestamp_seconds{collection="a"}',
    ]
    assert samples(written) == {(f"aepipe_{one.name}", frozenset(one.labels.items())): one.value for one in GAUGES}, (
        "every number is whole, seconds since 1970 too"
    )


def test_names_help_and_labels_are_what_they_were(job: Any, store: Store) -> None:
    night = Night(
        seconds={"train": 1.5}, rows={"rows": 40, "new": 2}, drift=Drift((Shift("mean", 0.75, 0.0, 1.0, 2.0),), 100, 40)
    )
    found = {
        family.name: (family.documentation, set(family.samples[0].labels))
        for family in text_string_to_metric_families(text(gauges(job, night, passed=True)))
    }
    assert found == PUBLISHED
    known = samples(text(gauges(job, night, passed=False)))
    one = ("collection", "pictures")
    assert known["aepipe_run_success", frozenset({one})] == 0
    assert known["aepipe_rows", frozenset({one})] == 40
    assert known["aepipe_stage_seconds", frozenset({one, ("stage", "train")})] == 1.5
    assert known["aepipe_source_rows", frozenset({one, ("what", "new")})] == 2
    assert known["aepipe_drift_effect", frozenset({one, ("figure", "mean")})] == 0.75
    ours = next(row["metrics"] for row in Release.open(store).scores["rows"] if row["system"] == "ours")
    for metric, estimate in ours.items():
        labels = frozenset({one, ("system", "ours"), ("metric", metric)})
        assert known["aepipe_score", labels] == estimate["value"], "no digit is lost"


def test_a_file_is_written_whole(job: Any, tmp_path: Path) -> None:
    report(job, Night(), str(tmp_path / "new"), passed=True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pictures.prom"]
    written = samples((tmp_path / "new" / "pictures.prom").read_text())
    assert written["aepipe_run_success", frozenset({("collection", "pictures")})] == 1


def test_a_folder_that_cannot_be_written_is_named(job: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, logger="aepipe.flows"):
        report(job, Night(), str(tmp_path / "file"), passed=True)
    assert "its figures are not written" in caplog.text
    assert str(tmp_path / "file") in caplog.text

"""Behind compare and study: shared layers train once, a failure is a result, with a Prefect server and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from aepipe.errors import SourceError, TrainingError
from aepipe.store.artifacts import Store
from flows import comparison, stages
from tests.support.samples import write_tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A recipe and its pictures."""
    return write_tiny(tmp_path, count=150)


def test_a_study_trains_shared_layers_once(tiny: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "study")
    orders: list[dict[str, Any]] = [
        {"recipe": str(tiny), "shelf": str(store.root), "changes": {"code.bits": bits}} for bits in (8, 16)
    ]
    outcomes = comparison.compared(orders)
    assert [one["failed"] for one in outcomes] == [None, None]
    assert len(store.refs("layer")) == 3, "one layer in common, and a layer of bits for each"
    assert len({one["release"] for one in outcomes}) == 2
    from aepipe.report.comparison import read_line, study_table, write_parquet
    from aepipe.store import registry

    assert not registry.names(store), "nothing goes into service"
    lines = [read_line(store, one) for one in outcomes]
    assert [line.changes for line in lines] == [{"code.bits": 8}, {"code.bits": 16}]
    assert all(line.figures["map_at_1000"] for line in lines)
    assert "bits" in study_table(lines, width=100)
    write_parquet(lines, tmp_path / "study.parquet")
    assert pq.read_table(tmp_path / "study.parquet").num_rows == 2
    json.dumps([dict(line.figures) for line in lines])


def test_recipes_of_one_name_are_told_apart_by_their_files(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "narrow.toml").write_text(tiny.read_text().replace("bits = ", "bits = 8 # "))
    orders: list[dict[str, Any]] = [
        {"recipe": str(file), "shelf": str(tmp_path / "store")} for file in (tiny, tmp_path / "narrow.toml")
    ]
    jobs = [stages.resolve(order) for order in orders]
    assert comparison._names(orders, jobs) == ["tiny", "narrow"]
    assert comparison._names(orders[:1], jobs[:1]) == [jobs[0].name]
    varied = [{**orders[0], "changes": {"seed": seed}} for seed in (0, 1)]
    assert comparison._names(varied, [jobs[0], jobs[0]]) == [jobs[0].name] * 2


def test_a_training_that_diverges_is_a_result_that_prefect_records(tiny: Path, tmp_path: Path, prefect: None) -> None:
    from flows.compare import compare

    shelf = str(tmp_path / "diverging")
    changes = {"fit.lr": 1e30, "layers.0.likelihood": "gaussian", "fit.epochs": 3}
    (outcome,) = compare([{"recipe": str(tiny), "shelf": shelf, "changes": changes}])
    assert outcome["release"] is None
    assert "lower fit.lr" in outcome["failed"]
    assert TrainingError.__name__ not in outcome["failed"]


@pytest.mark.parametrize(
    ("error", "tries"), [(ConnectionResetError("the network"), 3), (SourceError("a mistake"), 1), (OSError("disk"), 1)]
)
def test_a_source_that_may_come_back_is_read_again(
    error: Exception, tries: int, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def fail(*given: object) -> str:
        asked.append(given)
        raise error

    monkeypatch.setattr(stages, "ingest", fail)
    monkeypatch.setattr(stages, "RETRIES", 2)
    monkeypatch.setattr(stages, "PAUSE", 0)
    with pytest.raises(type(error)):
        comparison.compared([{"recipe": str(tiny), "shelf": str(tmp_path / "store")}])
    assert len(asked) == tries

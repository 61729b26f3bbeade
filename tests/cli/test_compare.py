"""The verbs compare and study: what is refused before anything trains."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("prefect")

from aepipe.store.artifacts import Store
from tests.cli.conftest import Aepipe
from tests.support.samples import write_tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path, count=150)


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("code.bitz=8,16", "--vary code.bitz"),
        ("code.bits=eight", "--vary"),
        ("fit.lr=0.1,-1", "--vary fit.lr=-1"),
        ("depth=3", "--vary depth=3"),
        ("bits", "--vary"),
    ],
)
def test_a_wrong_key_or_value_is_refused_before_anything_trains(
    vary: str, message: str, tiny: Path, aepipe: Aepipe, own_store: tuple[Store, Any]
) -> None:
    store, _ = own_store
    found = aepipe("study", tiny, "--vary", vary, home=store)
    assert found.exit_code == 2
    assert message in found.stderr
    assert found.stderr.count("\n") == 1
    assert not store.refs("layer")


def test_recipes_and_files_are_checked_first(tiny: Path, aepipe: Aepipe, own_store: tuple[Store, Any]) -> None:
    store, _ = own_store
    assert "no such" in aepipe("compare", tiny, "none.toml", home=store).stderr.replace("there is no", "no such")
    assert "there is no folder" in aepipe("compare", tiny, "--out", "no/where.parquet", home=store).stderr
    assert "allowed: .gif" in aepipe("compare", tiny, "--picture", "figures.doc", home=store).stderr


def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_trains(
    tiny: Path, aepipe: Aepipe, own_store: tuple[Store, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = own_store
    found = importlib.util.find_spec
    monkeypatch.setattr("aepipe.cli.compare.find_spec", lambda name: None if name == "matplotlib" else found(name))
    refused = aepipe("compare", tiny, "--picture", "figures.svg", home=store)
    assert (refused.exit_code, refused.stderr) == (
        2,
        "aepipe: matplotlib is not installed: pip install 'aepipe[report]'\n",
    )
    assert not store.refs("layer")


def test_prefect_records_a_comparison_where_a_server_is_named(
    tiny: Path, aepipe: Aepipe, own_store: tuple[Store, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = own_store
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    asked = aepipe("compare", tiny, "--api", "http://127.0.0.1:9/api", home=store)
    assert "http://127.0.0.1:9/api: no Prefect server answers" in asked.stderr
    assert "PREFECT_API_URL" not in os.environ, "the next call in this process names its own"
    monkeypatch.setattr("flows.comparison.compared", lambda orders, figures: [{"failed": "as asked"}] * len(orders))
    assert "no training came to an end; the first: as asked" in aepipe("compare", tiny, home=store).stderr
    assert not (store.root / "prefect").exists()

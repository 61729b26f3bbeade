"""Nights in which nothing has changed: they need no Prefect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aepipe.errors import BusyError
from aepipe.release.release import Release
from aepipe.store import layout, registry
from aepipe.store.artifacts import Store
from flows.job import Job, open_release_job
from flows.quiet import Rules, passed
from tests.cli.conftest import stocked
from tests.support.releases import pictures_of


def test_a_night_without_a_change_needs_no_flow(tmp_path: Path) -> None:
    """Whatever it would not leave as it is, it leaves to the flow."""
    store, _ = stocked(tmp_path / "store")
    first = Release.open(store)

    def goes_on(**rules: Any) -> bool:
        again = Store(store.root)  # each checks every file once
        return passed(open_release_job(again, Release.open(again)), Rules(**rules)) is None

    quiet = passed(open_release_job(store, first), Rules())
    assert quiet == {"name": first.name, "release": str(first.ref), "changed": False, "done": ["nothing has changed"]}
    assert "aepipe_run_success" in (store.root / layout.Root.metrics(first.name)).read_text()
    assert goes_on(retrain="always")
    assert goes_on(days=0)
    assert not goes_on(days=0, retrain="never")
    job = open_release_job(store, first)
    gate = job.resolved.recipe.gate.model_copy(update={"max_regression": 0.5})
    other = replace(job.resolved, recipe=job.resolved.recipe.model_copy(update={"gate": gate}))
    assert passed(Job(store, other), Rules()) is None, "the recipe has changed"
    picture = next(pictures_of(store).rglob("*.png"))
    kept = picture.read_bytes()
    picture.unlink()
    assert goes_on()
    picture.write_bytes(kept)
    assert not goes_on()
    with registry.lock(store, first.name), pytest.raises(BusyError):
        goes_on()
    damaged = store.path(first.part("index")) / layout.Index.IDS
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\xaa")
    assert goes_on(), "the flow tells what is damaged"

"""``aepipe doctor``: a table, JSON, and a status."""

from __future__ import annotations

import json

import pytest

from aepipe.store.artifacts import Ref, Store
from tests.cli.conftest import Aepipe


def test_findings_are_printed(aepipe: Aepipe, own_store: tuple[Store, Ref], monkeypatch: pytest.MonkeyPatch) -> None:
    store, ref = own_store
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setattr("aepipe.cli.doctor.packages", lambda: iter(()))
    sound = aepipe("doctor", home=store)
    assert sound.exit_code == 0
    assert f"release {ref.short}" in sound.stdout
    (store.root / "service" / "pictures").write_text("torn")
    damaged = aepipe("doctor", home=store)
    assert damaged.exit_code == 1
    assert "WRONG  collection pictures" in damaged.stdout
    told = json.loads(aepipe("doctor", "--json", home=store).stdout)
    assert {"level", "what", "said"} == set(told[0])
    assert "shelf" in {one["what"] for one in told}, "programs may look for the name that it had before"

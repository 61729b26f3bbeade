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


def test_a_collection_that_is_just_being_removed_is_no_fault(
    aepipe: Aepipe, own_store: tuple[Store, Ref], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = own_store
    monkeypatch.setattr("aepipe.cli.doctor.packages", lambda: iter(()))
    monkeypatch.setattr("aepipe.cli.doctor.server", lambda url: iter(()))
    pointer = store.root / "service" / "pictures"
    held = pointer.read_bytes()
    pointer.unlink()  # as `drop` and `rename` do first
    missing = aepipe("doctor", home=store)
    assert (missing.exit_code, "is missing" in missing.stdout) == (1, True)
    monkeypatch.setattr("time.sleep", lambda seconds: pointer.write_bytes(held))
    assert aepipe("doctor", home=store).exit_code == 0

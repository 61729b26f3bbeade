"""A service on a store on object storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from aepipe.store.artifacts import Store
from aepipe.store.backends.notes import Notes
from tests.serve.conftest import running
from tests.serve.test_reload import ONE, until
from tests.support.releases import make_release


def test_new_releases_are_taken_up(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Notes, "pause", 0.05)
    store = Store(bucket)
    first = make_release(store, n=20)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("AEPIPE_CACHE", str(tmp_path / "service"))
        served = Store(bucket)
    with running(served, write=True) as client:
        assert client.get(ONE).json["release"] == first.digest
        found = client.get(f"{ONE}/search", id=3, k=5).json
        until(client, make_release(store, n=20, seed=1).digest)
        assert client.get(f"{ONE}/search", id=3, k=5).json["release"] != found["release"]
        key, hit = (client.get(f"{ONE}/items/{row}").json["key"] for row in (3, 4))
        assert client.post(f"{ONE}/feedback", {"hit": hit, "verdict": "good", "key": key}).status == 201
        assert len(client.get(f"{ONE}/feedback").json["marks"]) == 1

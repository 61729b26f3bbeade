"""Stores whose objects are in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from aepipe.store.artifacts import Store
from aepipe.store.backends import leases, objects
from tests.support.object_memory import Clock, Memory


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Memory:
    """The objects of a store; its server has the time of this machine."""
    one = Memory()
    monkeypatch.setattr(objects, "Bucket", lambda _: one)
    monkeypatch.setenv("AEPIPE_CACHE", str(tmp_path / "cache"))
    for module in (objects, leases):
        monkeypatch.setattr(module, "time", Clock())
    return one


@pytest.fixture
def there(memory: Memory) -> Store:
    """A store whose objects are in memory."""
    return Store(memory.address)

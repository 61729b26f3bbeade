"""``aepipe gc``: says what would go, and then removes it."""

from __future__ import annotations

from aepipe.store.artifacts import Ref, Store
from tests.cli.conftest import Aepipe


def test_a_dry_run_lists_what_a_run_removes(aepipe: Aepipe, own_store: tuple[Store, Ref]) -> None:
    store, ref = own_store
    aepipe("remove", "--id", 0, home=store)
    aepipe("remove", "--id", 1, home=store)
    aepipe("remove", "--id", 2, home=store)
    said = aepipe("gc", "--keep", 1, "--hours", 0, "-n", home=store).stdout
    assert "kB would be freed; 2 releases kept" in said
    assert "release  2" in said
    assert store.has(ref)
    assert "kB freed; 2 releases kept" in aepipe("gc", "--keep", 1, "--hours", 0, home=store).stdout
    assert not store.has(ref)
    assert aepipe("gc", "--hours", 0, home=store).stdout.startswith("0 kB freed")
    assert aepipe("verify", "--all", home=store).exit_code == 0
    assert aepipe("rollback", home=store).exit_code == 0

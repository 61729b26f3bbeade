"""``aepipe diff``: what differs, said and drawn."""

from __future__ import annotations

from pathlib import Path

from aepipe.release.release import Release
from aepipe.store.artifacts import Ref, Store
from tests.cli.conftest import Aepipe


def test_differences_are_printed_and_drawn(aepipe: Aepipe, own_store: tuple[Store, Ref], tmp_path: Path) -> None:
    store, ref = own_store
    n = len(Release.open(store))
    aepipe("remove", "--id", 0, "--id", 1, home=store)
    said = aepipe("diff", "--picture", tmp_path / "diff.png", home=store).stdout
    assert f"rows        {n} and {n - 2}; {2 / n:.1%} are gone, 0.0% are new" in said
    assert "encoder     the same" in said
    assert "no more" in said
    assert (tmp_path / "diff.png").stat().st_size > 1000
    found = aepipe("diff", ref.short, ref.short, "--json", home=store)
    assert '"overlap": 1.0' in found.stdout


def test_without_an_earlier_release_there_is_nothing_to_compare(aepipe: Aepipe, own_store: tuple[Store, Ref]) -> None:
    result = aepipe("diff", home=own_store[0])
    assert result.exit_code == 2
    assert "there is no release before" in result.stderr

"""``aepipe add``, ``remove``, ``compact``: their output, and the release in service afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.cli.conftest import Aepipe
from tests.support.releases import pictures_of

Own = tuple[Store, Ref]


@pytest.fixture
def picture(own_store: Own, tmp_path: Path) -> Path:
    """A copy of one of the collection's pictures, elsewhere."""
    found = next(iter(sorted(pictures_of(own_store[0]).rglob("*.png"))))
    return Path(shutil.copy(found, tmp_path / "new.png"))


def test_added_rows_are_found_and_removed_ones_are_not(aepipe: Aepipe, own_store: Own, picture: Path) -> None:
    store, _ = own_store
    n = len(Release.open(store))
    said = aepipe("add", picture, home=store).stdout
    assert said.startswith(f"pictures: 1 row added; release {Release.open(store).ref.short} is in service")
    assert "  new.png" in aepipe("query", picture, home=store).stdout
    assert "0 rows added, 1 there already" in aepipe("add", picture, home=store).stdout
    assert "1 added; `aepipe compact` folds that in" in aepipe("show", home=store).stdout
    said = aepipe("remove", "new.png", "--id", 0, home=store).stdout
    assert "pictures: 2 rows removed" in said
    assert "  new.png" not in aepipe("query", picture, home=store).stdout
    assert len(Release.open(store)) == n - 1
    assert f"pictures: {n - 1} rows in one index" in aepipe("compact", home=store).stdout
    assert "nothing was added or removed" in aepipe("compact", home=store).stdout
    assert [event.why for event in registry.history(store, "pictures")[1:]] == [
        "add: 1 row added",
        "remove: 2 rows",
        "compact",
    ]


def test_rows_by_condition_and_from_stdin(aepipe: Aepipe, own_store: Own) -> None:
    store, _ = own_store
    before = Release.open(store)
    aepipe("remove", "--where", "label = 'class1'", home=store)
    after = Release.open(store)
    assert {row.label for row in after.describe(after.items.ids)} == {"class0", "class2", "class3", "class4"}
    keys = [row.key for row in after.describe(after.items.ids[:3])]
    aepipe("remove", "-", home=store, stdin="\n".join(keys).encode())
    assert len(Release.open(store)) == len(after) - 3
    assert aepipe("rollback", home=store).exit_code == 0
    assert len(Release.open(store)) == len(after)
    assert len(before) > len(after)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["remove"], "no row is named"),
        (["remove", "nokey"], "no row has the key 'nokey'"),
        (["remove", "--where", "id >= 0"], "these are all of its"),
        (["add", "nowhere.png"], "nowhere.png: no such file or folder"),
    ],
)
def test_mistakes_change_nothing(aepipe: Aepipe, own_store: Own, arguments: list[str], said: str) -> None:
    store, ref = own_store
    result = aepipe(*arguments, home=store)
    assert result.exit_code == 2
    assert said in result.stderr
    assert registry.resolve(store, None)[1] == ref


def test_a_run_under_way_is_not_disturbed(aepipe: Aepipe, own_store: Own, picture: Path) -> None:
    store, ref = own_store
    with registry.lock(store, "pictures"):
        result = aepipe("add", picture, home=store)
    assert result.exit_code != 0
    assert "another run" in result.stderr
    assert registry.resolve(store, None)[1] == ref


def test_unreadable_pictures_are_named(aepipe: Aepipe, own_store: Own, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    result = aepipe("add", tmp_path / "bad.png", home=own_store[0])
    assert result.exit_code == 2
    assert "1 of 1 items (100.0%) are unreadable" in result.stderr


def test_files_that_are_passed_over_are_named(aepipe: Aepipe, own_store: Own, picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "new.png").write_bytes(picture.read_bytes())
    (folder / "drawing.svg").write_bytes(b"<svg/>")
    result = aepipe("add", folder, home=own_store[0])
    assert result.exit_code == 0
    assert "passed over: 1 x SVG, a drawing and not a picture: export it as PNG (drawing.svg)" in result.stderr


def test_a_condition_that_holds_for_no_row_is_said(aepipe: Aepipe, own_store: tuple[Store, Ref]) -> None:
    store, _ = own_store
    found = aepipe("remove", "--where", "label = 'nothing'", home=store)
    assert found.exit_code == 2
    assert "no row of pictures fits" in found.stderr

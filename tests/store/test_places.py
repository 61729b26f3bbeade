"""The store of the working directory comes first, then the user's; one that is given stands alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from aepipe.store import places, registry
from aepipe.store.artifacts import Ref, Store


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The user's store, with two collections; the working directory is another folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("AEPIPE_HOME", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return stocked(Store(tmp_path / "data" / "aepipe"), "boots", "photos")


def stocked(store: Store, *names: str) -> Store:
    """Put releases into service that nobody opens."""
    store.create()
    for name in names:
        registry.promote(store, name, Ref("release", "0" * 64), why="a test")
    return store


def test_the_users_store_is_asked_where_the_other_does_not_know(user: Store, tmp_path: Path) -> None:
    assert places.find().root == user.root
    assert places.is_users(places.find("photos"))
    here = stocked(Store(tmp_path / "here" / ".aepipe"), "photos")
    assert places.find("photos").root == here.root
    assert places.find().root == here.root
    assert places.find("boots").root == user.root
    assert places.find("nothing").root == here.root, "errors are about the store of the working directory"


def test_a_store_that_is_given_stands_alone(user: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.find("photos", tmp_path / "empty").root == tmp_path / "empty"
    monkeypatch.setenv("AEPIPE_HOME", str(tmp_path / "elsewhere"))
    assert places.find("photos").root == tmp_path / "elsewhere"


def test_what_is_made_never_goes_into_the_users_store_unasked(user: Store, tmp_path: Path) -> None:
    assert Store.locate().root == tmp_path / "here" / ".aepipe"


def test_a_relative_data_folder_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert places.users().root == tmp_path / ".local" / "share" / "aepipe"


def test_the_users_store_comes_second_where_both_are_there(user: Store, tmp_path: Path) -> None:
    here = tmp_path / "here" / ".aepipe"
    assert [store.root for store in places.looked_at()] == [user.root], "there is no other"
    here.mkdir()
    assert [store.root for store in places.looked_at()] == [here, user.root]
    assert [store.root for store in places.looked_at("~/some")] == [Path("~/some").expanduser()]
    assert places.is_users(user)
    assert not places.is_users(Store(here))
    assert places.find("bo\u006fts").root == user.root
    assert places.find("nothing").root == here


def test_one_store_is_looked_at_once(user: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEPIPE_HOME", str(user.root))
    assert [store.root for store in places.looked_at()] == [user.root]
    assert not places.is_users(user), "it is that of the working directory, too"
    monkeypatch.delenv("AEPIPE_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    assert [store.root for store in places.looked_at()] == [tmp_path / "here" / ".aepipe"]


@pytest.mark.parametrize(("platform", "below"), [("darwin", "Library/Application Support"), ("linux", ".local/share")])
def test_the_users_store_lies_where_the_system_keeps_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, below: str
) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", platform)
    assert places.users().root == tmp_path / below / "aepipe"

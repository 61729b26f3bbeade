"""The verbs list, rename and drop, and the user's store beside that of the working directory."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.cli.conftest import Aepipe, stocked
from tests.support.releases import make_release

Own = tuple[Store, Ref]


def test_list_in_all_forms(aepipe: Aepipe, full_store: Store) -> None:
    head, line = aepipe("list").stdout.splitlines()
    assert head.split() == ["name", "kind", "rows", "bits", "releases", "since", "source"]
    assert line.split()[:5] == ["pictures", "images", "40", "64", "1"]
    (one,) = json.loads(aepipe("list", "--json").stdout)
    assert (one["name"], one["rows"], one["in_service"], one["store"]) == ("pictures", 40, True, str(full_store.root))
    assert json.loads(aepipe("list", "--format", "json").stdout) == [one]
    (row,) = csv.DictReader(aepipe("list", "--format", "csv").stdout.splitlines())
    assert (row["name"], row["rows"]) == ("pictures", "40")
    assert aepipe("list", "--format", "markdown").stdout.startswith("| name | kind |")
    for given, said in ((["--format", "xml"], "allowed: table, json"), (["--json", "--format", "csv"], "exclude")):
        wrong = aepipe("list", *given)
        assert wrong.exit_code == 2
        assert said in wrong.stderr


def test_rename_says_what_to_do_with_the_recipe(aepipe: Aepipe, own_store: Own) -> None:
    store, ref = own_store
    done = aepipe("rename", "pictures", "holidays", home=store)
    assert done.stdout == f"pictures is holidays now, release {ref.short} stays in service\n"
    old = aepipe("show", "--name", "pictures", home=store)
    assert old.exit_code == 2
    assert "it was renamed to holidays: --name holidays" in old.stderr
    assert json.loads(aepipe("show", "--json", home=store).stdout)[0]["name"] == "holidays"


def test_drop_asks_with_the_count(aepipe: Aepipe, own_store: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = own_store
    make_release(store, name="other", n=20)
    listed = aepipe("drop", "pictures", "-n", home=store)
    assert listed.stdout.startswith("pictures: 40 rows, 1 release, ")
    assert listed.stdout.endswith("would go\n")
    nobody = aepipe("drop", "pictures", home=store)
    assert nobody.exit_code == 2
    assert "Nobody is here to answer: say so with -y" in nobody.stderr
    asked: list[str] = []
    monkeypatch.setattr("aepipe.cli.collections.can_ask", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda text, err: asked.append(text))
    assert aepipe("drop", "pictures", home=store).exit_code == 0
    assert asked[0].startswith("pictures: remove 40 rows, 1 release")
    assert registry.names(store) == ["other", "pictures"]
    assert aepipe("drop", "pictures", "-y", home=store).stdout.startswith("pictures: removed, ")
    assert registry.names(store) == ["other"]
    assert aepipe("verify", "--all", home=store).exit_code == 0
    gone = aepipe("drop", "pictures", "-y", home=store)
    assert gone.exit_code == 2
    assert "no such collection" in gone.stderr


@pytest.fixture
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The user's store with a collection; the working directory has none."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    store, _ = stocked(tmp_path / "data" / "aepipe")
    return store


def test_a_query_from_any_folder_finds_the_users_collection_and_says_where(
    aepipe: Aepipe, somewhere: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AEPIPE_HOME")
    found = aepipe("query", "--id", 3, "-k", 2)
    assert found.exit_code == 0
    assert found.stderr == f"aepipe: asked: in the user's store {somewhere.root}\n"
    named = aepipe("query", "--id", 3, "-k", 2, "--name", "pictures")
    assert named.stderr == f"aepipe: pictures: in the user's store {somewhere.root}\n"
    assert aepipe("query", "--id", 3, "-q").stderr == ""
    assert aepipe("query", "--id", 3, "--user").stderr == "", "who asks for that store need not be told"
    assert json.loads(aepipe("list", "--json").stdout)[0]["store"] == str(somewhere.root)
    both = aepipe("query", "--id", 3, "--user", "--home", somewhere.root)
    assert both.exit_code == 2
    assert "--home and --user exclude each other" in both.stderr


def test_the_store_here_comes_first(aepipe: Aepipe, somewhere: Store, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("AEPIPE_HOME")
    stocked(tmp_path / ".aepipe")
    make_release(somewhere, name="far", n=20)
    assert aepipe("query", "--id", 3).stderr == ""
    assert "in the user's store" in aepipe("query", "--id", 3, "--name", "far").stderr
    listed = json.loads(aepipe("list", "--json").stdout)
    assert [(one["name"], Path(one["store"]).name) for one in listed] == [
        ("pictures", ".aepipe"),
        ("far", "aepipe"),
        ("pictures", "aepipe"),
    ]

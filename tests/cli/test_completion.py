"""A shell completes what the store and the package know, and nothing is printed where that fails."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aepipe.cli import completion
from aepipe.store.artifacts import Store
from aepipe.store.segments import Row
from tests.cli.conftest import Aepipe


def _context(**given: Any) -> Any:
    return SimpleNamespace(params=given)


def test_names_releases_and_keys_of_the_store(full_store: Store, row: Row) -> None:
    home = _context(home=full_store.root)
    assert completion.names(home, "") == ["pictures"]
    assert completion.names(home, "x") == []
    assert completion.releases(home, "") == [ref.short for ref in full_store.refs("release")]
    assert row.key in completion.row_keys(home, row.key[:-5])
    assert all(key.startswith("test/") for key in completion.row_keys(home, "test/"))
    assert completion.columns(home, "rank,ke") == ["rank,key"]


def test_recipes_of_the_package_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demos").mkdir()
    (tmp_path / "demos" / "mine.toml").touch()
    assert completion.recipes(_context(), "dem") == ["demo", "demos/"]
    assert completion.recipes(_context(), "demos/") == ["demos/mine.toml"]
    assert "zoo/vae" in completion.recipes(_context(), "zoo/v")


def test_keys_of_a_recipe() -> None:
    assert completion.settings(_context(), "code.bi") == ["code.bits=", "code.binarize="]
    assert completion.settings(_context(), "source.hea") == ["source.header="]
    assert "features.words=" in completion.settings(_context(), "features.w")
    assert completion.settings(_context(), "name") == []


def test_a_mistake_completes_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "store"
    (broken / "service").mkdir(parents=True)
    (broken / "service" / "x").write_text("torn")
    assert completion.row_keys(_context(home=broken), "") == []


def test_the_shell_gets_them(aepipe: Aepipe, full_store: Store) -> None:
    words = {"COMP_WORDS": "aepipe query --name pi", "COMP_CWORD": "3", "_AEPIPE_COMPLETE": "complete_bash"}
    given = {**words, "AEPIPE_HOME": os.fspath(full_store.root)}
    assert aepipe(env=given, complete_var="_AEPIPE_COMPLETE").stdout.split() == ["pictures"]

"""A store with a small release in service, and ``aepipe`` run in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from aepipe.cli.app import app
from aepipe.release.release import Release
from aepipe.store.artifacts import Ref, Store
from aepipe.store.segments import Row
from tests.support.releases import make_release, pictures_of

Aepipe = Callable[..., Result]


@pytest.fixture(scope="module")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the release of 40 pictures in service; for tests that only read."""
    return stocked(tmp_path_factory.mktemp("cli") / "store")[0]


@pytest.fixture
def own_store(tmp_path: Path) -> tuple[Store, Ref]:
    """A store of the test's own, with its release."""
    return stocked(tmp_path / "store")


@pytest.fixture(scope="module")
def row(full_store: Store) -> Row:
    """A row of the collection whose code no other has."""
    release = Release.open(full_store)
    codes = release.codes_of(release.items.ids)
    alone = np.flatnonzero((codes.distances(codes) == 0).sum(axis=1) == 1)
    return release.describe([int(release.items.ids[alone[0]])])[0]


@pytest.fixture
def boot(full_store: Store, row: Row) -> Path:
    """Its picture."""
    return pictures_of(full_store) / row.key


@pytest.fixture
def aepipe(full_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Aepipe:
    """``aepipe("query", "x.png")`` in the store, from an empty folder."""
    monkeypatch.setenv("AEPIPE_HOME", str(full_store.root))
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "KITTY_WINDOW_ID", "TERM_PROGRAM", "KONSOLE_VERSION", "LC_TERMINAL", "TMUX"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object, home: Store | None = None, stdin: bytes | None = None, **extra: Any) -> Result:
        given = [os.fspath(word) if isinstance(word, Path) else str(word) for word in arguments]
        given += ["--home", str(home.root)] if home else []
        result = CliRunner().invoke(app, given, input=stdin, **{"prog_name": "aepipe", **extra})
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def stocked(root: Path, **options: Any) -> tuple[Store, Ref]:
    """Make a release of 40 pictures."""
    store = Store(root)
    return store, make_release(store, n=40, **options)

"""Fixtures that all tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from aepipe.store.artifacts import Store

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    """Let Ctrl-C reach what the tests start: a shell ignores it for what runs in its background, and so would they."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty shelf."""
    return Store(tmp_path / "shelf")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development data beside the clone; the test is skipped where it is absent."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the development data in {folder}, which is not part of the project")
    return folder

"""Runs that can be killed, for tests of faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.pipeline import Forge


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """What starts runs of :mod:`tests.faults.pipeline`."""
    with Forge.open(tmp_path_factory.mktemp("forge")) as one:
        yield one

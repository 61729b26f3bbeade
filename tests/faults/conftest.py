"""What tests of faults share: the Prefect server of the tests of flows, and runs that can be killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.pipeline import Forge
from tests.flows.conftest import prefect

__all__ = ["prefect"]


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """What starts runs of :mod:`tests.faults.pipeline`."""
    with Forge.open(tmp_path_factory.mktemp("forge")) as one:
        yield one

"""What starts programs, for tests of faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.forge import Forge


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """What starts programs of this folder."""
    from tests.faults.forge import Forge  # needs torch, which not every test here does

    with Forge.open(tmp_path_factory.mktemp("forge")) as one:
        yield one

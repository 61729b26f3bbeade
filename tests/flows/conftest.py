"""One Prefect server for all tests of flows, as it takes seconds to start: the one that ``aepipe run`` brings along."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory, prefect_home: Callable[[Path], Path]) -> Iterator[None]:
    """A server for flows that are called in this process."""
    from flows.embedded import serving

    environment, level = dict(os.environ), logging.getLogger("aepipe").level
    try:
        with serving(prefect_home(tmp_path_factory.mktemp("prefect") / "home")) as url:
            from prefect.settings import PREFECT_API_URL, temporary_settings

            # Another test may have imported Prefect, which then has read its environment already.
            with temporary_settings({PREFECT_API_URL: url}):
                yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        logging.getLogger("aepipe").setLevel(level)

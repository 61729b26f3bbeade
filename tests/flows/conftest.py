"""One Prefect server for all tests of flows, because it takes seconds to start."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A server for flows that are called in this process."""
    from flows.local_server import serving

    environment, level = dict(os.environ), logging.getLogger("aepipe").level
    try:
        with serving(tmp_path_factory.mktemp("prefect")) as url:
            from prefect.settings import PREFECT_API_URL, temporary_settings

            # Another test may have imported Prefect, which then has read its environment already.
            with temporary_settings({PREFECT_API_URL: url}):
                yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        logging.getLogger("aepipe").setLevel(level)

"""A cluster for all tests of engines, and one whose workers may die."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def started() -> Iterator[str]:
    """Start a Dask cluster of two processes; give its address."""
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as cluster:
        yield f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """A cluster that stays as it is."""
    with started() as address:
        yield address


@pytest.fixture(scope="module")
def mortal() -> Iterator[str]:
    """A cluster of which nothing is sure after a test: a worker that dies while it starts is not started again."""
    with started() as address:
        yield address

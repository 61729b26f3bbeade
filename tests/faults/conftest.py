"""The Prefect server that tests of flows have."""

from __future__ import annotations

from tests.flows.conftest import prefect

__all__ = ["prefect"]

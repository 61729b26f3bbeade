"""The Prefect server that tests of flows have."""

from __future__ import annotations

"""Compare recipes, or variations of one, recorded by a Prefect server."""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime

from flows import tasks
from flows.build import show_progress
from flows.comparison import Order, compared
from flows.notify import HOOKS


def run_name() -> str:
    """Return the name of a run in Prefect."""
    return f"compare-{len(runtime.flow_run.parameters['orders'])}"


@flow(name="aepipe-compare", flow_run_name=run_name, persist_result=False, **HOOKS)
def compare(orders: list[Order], figures: list[str] | None = None) -> list[dict[str, Any]]:
    """Build and measure each order; see :func:`flows.comparison.compared`."""
    show_progress()
    return compared(orders, figures, by=tasks)

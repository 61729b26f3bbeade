"""Notify somebody of a failed run by a notification block of Prefect.

::

    AEPIPE_NOTIFY=slack-webhook/alerts      TYPE/NAME of a block that the Prefect server knows

There are blocks for Slack, Teams, e-mail, PagerDuty and any webhook: `prefect block type ls` lists the types, and the
server's pages create one.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from prefect import Flow, State
from prefect.blocks.core import Block
from prefect.client.schemas.objects import FlowRun

logger = logging.getLogger("aepipe.flows")

NOTIFY = "AEPIPE_NOTIFY"


def log_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Log why a scheduled run failed; the command line reports its own failures."""
    if flow_run.deployment_id is not None:
        logger.error("%s", state.result(raise_on_failure=False))


def tell_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Send a message about a failed run; one that cannot be sent is only logged."""
    block = os.environ.get(NOTIFY)
    if not block:
        return
    subject = f"{flow.name}: {flow_run.name} {state.name.lower() if state.name else 'failed'}"
    try:
        found: Any = Block.load(block)
        found.notify(state.message or "no reason is known", subject)
    except Exception as error:
        logger.error("%s=%s: nobody was told that %s: %s", NOTIFY, block, subject, error)


HOOKS: dict[str, Any] = {"on_failure": [log_failure, tell_failure], "on_crashed": [tell_failure]}
"""Hooks of every flow: for a run that fails, and for a process that dies."""

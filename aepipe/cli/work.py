"""The verb ``work``."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from aepipe import engines
from aepipe.cli.options import Wait, seconds
from aepipe.cli.output import is_quiet, say
from aepipe.cli.prefect import EngineText
from aepipe.cli.progress import showing
from aepipe.errors import EngineError, QueryError
from aepipe.log import step

if TYPE_CHECKING:
    from aepipe.engines.array import Array, Plan

LOOK_EVERY = 1.0
"""Seconds between two looks for work."""


def work(
    stage: Annotated[
        str, typer.Argument(metavar="STAGE", help="ingest or encode, as the run says.", show_default=False)
    ],
    share: Annotated[
        str, typer.Option("--share", help="Which share of the parts: 1/64, 2/64, ..., 64/64.", metavar="I/S")
    ],
    engine: EngineText = None,
    wait: Wait = "0",
) -> None:
    """Do a share of the work of a run on another machine; for the jobs of an array.

    `aepipe run RECIPE --engine array:///FOLDER` writes what is to be done into a folder that all machines
    see, and waits. Each job of an array (Slurm, Kubernetes, AWS Batch) does one share of the parts. A job
    that died is started again, and does what is missing. The store has to be one that all machines see.

    Examples:
      aepipe work ingest --share 3/64 --engine array:///nfs/work
      aepipe work encode --share $((SLURM_ARRAY_TASK_ID + 1))/64 --wait 2h
    """
    chosen, limit = _shares(share), seconds(wait)
    place = _array(engine)
    plan = _found(place, stage, limit)
    mine = sum(part.number % chosen[1] == chosen[0] - 1 for part in plan.parts())
    done = 0
    with showing():
        for _ in place.work(stage, plan, chosen):
            done += 1
            step(f"{stage} {share}", done, mine)
    if not is_quiet():
        say(f"{stage}: {done:,} of the {mine:,} parts of share {share} were done here; the others were there")


def _shares(text: str) -> tuple[int, int]:
    """Return the number of a share, and of all shares.

    Raises:
        QueryError: the text is not ``I/S``.
    """
    found = re.fullmatch(r"(\d{1,7})/(\d{1,7})", text, re.ASCII)
    number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= of:
        raise QueryError(f"--share {text!r}: write 1/64 for the first of 64 shares, and 64/64 for the last")
    return number, of


def _array(engine: str | None) -> Array:
    """Return the folder of a run.

    Raises:
        QueryError: another engine is named.
    """
    from aepipe.engines.array import Array

    found = engines.resolve(engine)
    if not isinstance(found, Array):
        raise QueryError(
            "aepipe work: say --engine array:///FOLDER, as the run does; other engines start their own work"
        )
    return found


def _found(place: Array, stage: str, limit: float) -> Plan:
    """Return what is to be done, once there is something.

    Raises:
        EngineError: nothing is, until the end of the time.
    """
    until = time.monotonic() + limit
    while (plan := place.plan(stage)) is None:
        if time.monotonic() >= until:
            raise EngineError(
                f"{place.folder}: no work for {stage!r}; start `aepipe run RECIPE --engine array://{place.folder}`, "
                "or wait for it with --wait 10m"
            )
        time.sleep(LOOK_EVERY)
    return plan

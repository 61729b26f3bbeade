"""The verb ``work``."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from aepipe import engines
from aepipe.cli.options import Wait, seconds
from aepipe.cli.output import is_quiet, say
from aepipe.cli.prefect import EngineText
from aepipe.cli.progress import showing
from aepipe.engines import Done
from aepipe.errors import EngineError, QueryError
from aepipe.log import step

if TYPE_CHECKING:
    from aepipe.engines.array import Array

LOOK_EVERY = 1.0
"""Seconds between two looks for work."""


class Stage(StrEnum):
    """The stages that an engine works on."""

    INGEST = "ingest"
    ENCODE = "encode"
    ITEMS = "items"
    INDEX = "index"


def work(
    share: Annotated[
        str, typer.Option("--share", help="Which share of the parts: 1/64, 2/64, ..., 64/64.", metavar="I/S")
    ],
    stage: Annotated[
        Stage | None, typer.Argument(help="One stage only, once; else all, until the run ends.", show_default=False)
    ] = None,
    engine: EngineText = None,
    wait: Wait = "10m",
) -> None:
    """Do a share of the work of a run on another machine; for the jobs of an array.

    `aepipe run RECIPE --engine array:///FOLDER` writes what is to be done into a folder that all machines
    see, and waits. Each job of an array (Slurm, Kubernetes, AWS Batch) does one share of the parts of
    every stage, until the run has ended, or nothing has come for the time of --wait. A job that died is
    started again, and does what is missing. The store has to be one that all machines see.

    Examples:
      aepipe work --share 3/64 --engine array:///nfs/work
      aepipe work --share $SLURM_ARRAY_TASK_ID/64 --wait 12h
      aepipe work ingest --share 3/64 --engine array:///nfs/work
    """
    chosen, limit = _shares(share), seconds(wait)
    place, done = _array(engine), 0
    with showing():
        for _ in _work(place, stage.value if stage else None, chosen, limit):
            done += 1
            step(f"share {share}", done, None)
    if not is_quiet():
        say(f"share {share}: {done:,} parts were done here")


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
        raise QueryError("say --engine array:///FOLDER, as the run does; other engines start their own work")
    return found


def _work(place: Array, stage: str | None, share: tuple[int, int], limit: float) -> Iterator[Done]:
    """Do a share of each plan that comes, and yield what has become of each part.

    Args:
        place: the folder of the run.
        stage: whose plan is worked on, once; None for those of all stages until the run ends.
        share: its number, from 1, and the number of shares.
        limit: seconds to wait for a plan.

    Raises:
        EngineError: there was none.
        Exception: what the work raised.
    """
    ended, since, known = place.over(), time.monotonic(), set[str]()
    while True:
        for name in [stage] if stage else place.stages():
            plan = place.plan(name)
            if plan is not None and plan.id not in known:
                known.add(plan.id)
                yield from place.work(name, plan, share)
                since = time.monotonic()
        if place.over() != ended or (known and stage):
            return
        if time.monotonic() - since >= limit:
            break
        time.sleep(min(LOOK_EVERY, limit))
    if not known:
        raise EngineError(
            f"{place.folder}: no work{f' for {stage}' if stage else ''} came; is the folder that of "
            f"`aepipe run RECIPE --engine array://{place.folder}`?"
        )

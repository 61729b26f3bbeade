"""A whole run without Prefect, as a program that can kill itself at any of its steps.

    python -m tests.faults.pipeline RECIPE SHELF [MOMENT]

A moment is ``progress:STAGE:DONE``, when that progress is reported; ``finish:N``, when the N-th artifact is written but
has no manifest yet; ``rename:N``, when it is complete but has not got its name; or ``service``, when the log says that
a release is in service and the service file does not yet. It prints the release's digest.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aepipe import log, recipe
from aepipe.pipeline.encode import encode
from aepipe.pipeline.finetune import finetune
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.pretrain import pretrain
from aepipe.pipeline.publish import publish
from aepipe.pipeline.resolve import resolve
from aepipe.pipeline.score import score
from aepipe.pipeline.views import views
from aepipe.store import artifacts, registry
from aepipe.store.artifacts import Ref, Store
from aepipe.store.backends.folder import Folder


def run(file: Path, shelf: Store) -> Ref:
    """Make a release of a recipe and put it into service."""
    job = resolve(recipe.load(file))
    with registry.lock(shelf, job.recipe.name):
        before = registry.current(shelf, job.recipe.name)
        rows = ingest(shelf, job.source, previous=_rows_of(shelf, before))
        cut = views(shelf, job, rows)
        layers: list[Ref] = []
        for _ in job.specs:
            layers.append(pretrain(shelf, job, cut, layers, save_every=0.0))  # a checkpoint after every step
        model = finetune(shelf, job, cut, layers, save_every=0.0)
        codes = [encode(shelf, model, rows)]
        scores = score(shelf, job, rows, model, codes)
        release = publish(shelf, job.recipe, job.source.location, rows=rows, model=model, codes=codes, scores=scores)
        if release != before:
            registry.promote(shelf, job.recipe.name, release, why="test")
    return release


def _rows_of(shelf: Store, release: Ref | None) -> Ref | None:
    """Return the rows of a release."""
    return Ref.parse(shelf.manifest(release).inputs["source_rows"]) if release else None


def die() -> None:
    """Pull the plug."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str) -> None:
    """Make the process kill itself at a moment."""
    kind, _, rest = moment.partition(":")
    if kind == "progress":
        stage, _, done = rest.rpartition(":")
        _before(log.logger, "info", lambda *a, **k: _at(k["extra"], stage, int(done)))
    elif kind == "service":
        _before(Folder, "swap", lambda *a, **k: True)
    else:
        count = iter(range(10_000))
        number = int(rest)
        owner, name = (artifacts.Draft, "finish") if kind == "finish" else (Path, "rename")
        _before(owner, name, lambda *a, **k: next(count) == number)


def _at(about: dict[str, Any], stage: str, done: int) -> bool:
    """Say whether this is the progress to die at."""
    return bool(about["stage"] == stage and about["done"] >= done)


def _before(owner: Any, name: str, fatal: Callable[..., bool]) -> None:
    """Die before a function does its work, if the moment has come."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if fatal(*args, **kwargs):
            die()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def main(words: list[str]) -> None:
    """Be the program."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    if len(words) > 2:
        arm(words[2])
    print(run(Path(words[0]), Store(Path(words[1]))).digest)


if __name__ == "__main__":
    main(sys.argv[1:])

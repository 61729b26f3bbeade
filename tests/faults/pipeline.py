"""A whole run without Prefect, as a program that can kill itself at any of its steps.

    python -m tests.faults.pipeline RECIPE SHELF [MOMENT]
    python -m tests.faults.pipeline serve

A moment is ``progress:STAGE:DONE``, when that progress is reported; ``finish:N``, when the N-th artifact is written but
has no manifest yet; ``rename:N``, when it is complete but has not got its name; or ``service``, when the log says that
a release is in service and the service file does not yet. It prints the release's digest.

``serve`` imports torch and its exporter once, then forks a process for each run that :class:`Forge` asks for.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from aepipe import log, recipe
from aepipe.learn.onnx_export import exported
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
from tests.support.exporter import read_operators_once

ROOT = Path(__file__).parents[2]
SECONDS = 120
"""A run takes two; whatever takes longer hangs."""


class Forge:
    """Starts runs as processes of their own, which have nothing left to import."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server, self._said = server, (folder / "stdout", folder / "stderr")

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Forge]:
        """Start ``serve``, which ends with the block.

        Args:
            folder: for what a run prints.
        """
        words = [sys.executable, "-m", "tests.faults.pipeline", "serve"]
        pipe = subprocess.PIPE
        with subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, bufsize=1) as server:
            yield cls(server, folder)

    def run(self, file: Path, shelf: Path, moment: str = "") -> subprocess.CompletedProcess[str]:
        """Run a recipe to its end, or to a moment at which it is killed.

        Returns:
            What :func:`subprocess.run` would return for this program.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        words = [str(file), str(shelf), *filter(None, [moment])]
        self._server.stdin.write(json.dumps([*map(str, self._said), words]) + "\n")
        if not select.select([self._server.stdout], [], [], SECONDS)[0]:
            self._server.kill()
            raise subprocess.TimeoutExpired(words, SECONDS)
        status = int(self._server.stdout.readline())
        return subprocess.CompletedProcess(words, status, *(file.read_text() for file in self._said))


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
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(words) > 2:
        arm(words[2])
    print(run(Path(words[0]), Store(Path(words[1]))).digest)


def serve() -> None:
    """Fork a process for each line of standard input, and print its exit status."""
    # An export imports a thousand modules. Nothing else may be done here: what makes threads does not survive a fork.
    read_operators_once()
    exported(torch.nn.Linear(1, 1), torch.zeros(1, 1), {"given": ["found"]}, free=0)
    gc.freeze()  # these objects stay, and no child needs to search them for garbage
    for line in sys.stdin:
        out, err, words = json.loads(line)
        if (child := os.fork()) == 0:
            _print_into(out, err)
            main(words)
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _print_into(out: str, err: str) -> None:
    """Make files of standard output and standard error."""
    for descriptor, name in ((1, out), (2, err)):
        with open(name, "wb") as file:
            os.dup2(file.fileno(), descriptor)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main(sys.argv[1:])

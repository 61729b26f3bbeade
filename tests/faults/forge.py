"""Starts programs of this folder as processes of their own, which have nothing left to import.

    python -m tests.faults.forge FOLDER

imports everything that a run needs, once, and then forks a process for each program that :class:`Forge` asks for.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from runpy import run_module
from typing import Any, NoReturn

import pytest

from tests.faults import programs, trials
from tests.support.plain_flows import plain_flows, write_collection

SECONDS = 120
"""A run takes two; whatever takes longer hangs."""


class Forge:
    """A process that starts programs.

    Args:
        server: the process.
        folder: for what a program prints.
    """

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server, self._said = server, (folder / "stdout", folder / "stderr")

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Forge]:
        """Start the process, which ends with the block.

        Args:
            folder: an empty one.
        """
        words, pipe = [sys.executable, "-m", "tests.faults.forge", str(folder)], subprocess.PIPE
        given = programs.environment()
        with subprocess.Popen(words, cwd=programs.ROOT, env=given, stdin=pipe, stdout=pipe, text=True) as server:
            yield cls(server, folder)

    def run(self, file: Path, shelf: Path, moment: str = "") -> subprocess.CompletedProcess[str]:
        """Run a recipe to its end, or to a moment at which it is killed; see :mod:`tests.faults.pipeline`.

        Returns:
            What :func:`subprocess.run` would return for this program.
        """
        return self._done("pipeline", [str(file), str(shelf), *filter(None, [moment])], SECONDS)

    def tried(self, program: str, folder: Path, *words: str) -> list[dict[str, Any]]:
        """Run a program in an empty folder, and return its lines; see :func:`tests.faults.programs.tried`."""
        done = self._done(program, [str(folder), *words], None)
        return programs.lines_of(done.returncode, done.stdout, done.stderr)

    def _done(self, program: str, words: list[str], seconds: float | None) -> subprocess.CompletedProcess[str]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([*map(str, self._said), program, words]) + "\n")
        self._server.stdin.flush()
        if not select.select([self._server.stdout], [], [], seconds)[0]:
            self._server.kill()
            raise subprocess.TimeoutExpired(words, SECONDS)
        status = int(self._server.stdout.readline())
        return subprocess.CompletedProcess(words, status, *(file.read_text() for file in self._said))


def serve(folder: Path) -> None:
    """Fork a process for each line of standard input, and print its exit status."""
    pytest.MonkeyPatch().setattr(os, "fsync", os.fstat)  # nobody cuts the power
    # Nothing else may be done here: what makes threads does not survive a fork.
    trials.import_early(partial(_some_run, folder), folder / "exports")
    for line in sys.stdin:
        out, err, program, words = json.loads(line)
        if (child := os.fork()) == 0:
            _print_into(out, err)
            sys.argv = [program, *words]
            _end_after(partial(run_module, f"tests.faults.{program}", run_name="__main__"))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201  the output


def _some_run(folder: Path) -> list[str]:
    """Import what runs import."""
    os.chdir(folder)
    write_collection(folder)
    with plain_flows():
        done = trials.do(["run", "tiny.toml", "--home", "store"])
    assert done.exit_code == 0, done.output
    return []


def _end_after(work: Callable[[], object]) -> NoReturn:
    """Do some work, and end this process at once, for it would wait for threads that only its parent has."""
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _print_into(out: str, err: str) -> None:
    """Make files of standard output and standard error."""
    for descriptor, name in ((1, out), (2, err)):
        with open(name, "wb") as file:
            os.dup2(file.fileno(), descriptor)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))

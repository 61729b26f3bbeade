"""The entry point: thread limits are set before NumPy is imported, then the verb runs."""

from __future__ import annotations

import os
import sys
import warnings

from aepipe.cli import VERBS
from aepipe.cli.crash import unforeseen
from aepipe.errors import INTERRUPTED, UNABLE

WAITING = ("OMP_WAIT_POLICY", "PASSIVE")
"""Threads that wait for each other sleep. By default they spin, which is a tenth faster on an idle machine, and up to
ten times slower where another process has a core: each step waits fifty times, and each time costs a time slice."""
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CLOSED = "aepipe: standard output is closed; send it to /dev/null where nobody reads it\n"


def main() -> None:
    """Run ``aepipe`` with the arguments of this process, and exit."""
    _set_threads(sys.argv[1:])
    if not sys.warnoptions:  # -W or $PYTHONWARNINGS ask for them
        # They speak to programmers of packages, and a user can do nothing about them.
        warnings.simplefilter("ignore")
    if sys.stdout is None:  # the first file that is opened would get its number, and the output
        if sys.stderr is not None:
            sys.stderr.write(CLOSED)
        sys.exit(UNABLE)
    try:
        from aepipe.cli.app import run_command

        run_command(sys.argv[1:])
    except KeyboardInterrupt:  # while Python was still starting; later ones are caught below
        sys.exit(INTERRUPTED)
    except Exception as error:  # a module of ours or of another package cannot be imported
        sys.exit(unforeseen(error))


def _set_threads(arguments: list[str]) -> None:
    """Limit linear algebra of quick verbs to one thread; numpy reads this when it is imported."""
    verb = next((word for word in arguments if not word.startswith("-")), "")
    if verb in VERBS and VERBS[verb].threads:
        os.environ.setdefault(*WAITING)
    else:
        for name in THREAD_LIMITS:
            os.environ.setdefault(name, "1")

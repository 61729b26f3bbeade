"""Work in threads of this process.

Threads, not processes: Pillow, hashlib, zstd and onnxruntime release Python's lock while they work, and a new process
has to import everything again. As many parts are worked on at once as their needs leave room for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from threading import Event

from aepipe.engines import Done, Engine, Needs, Part, Stopped, Work, stop_by


def open_engine(address: str) -> Local:
    """Return this machine; it has no address."""
    return Local()


class Local:
    """This machine.

    Args:
        cpus: threads that may be busy; 0 takes one for each processor.
    """

    def __init__(self, cpus: int = 0) -> None:
        self.cpus = cpus or len(os.sched_getaffinity(0))

    def map(self, work: Work, parts: Sequence[Part], needs: Needs) -> Iterator[Done]:
        """Yield what has become of each part; see :class:`aepipe.engines.Engine`."""
        at_once = max(1, min(len(parts), self.cpus // max(1, needs.cpus)))
        stop, ahead = Event(), iter(parts)
        with ThreadPoolExecutor(at_once, thread_name_prefix=work.stage) as pool:
            running: set[Future[Done]] = {pool.submit(_done, work, one, stop) for one in islice(ahead, at_once)}
            try:
                while running:
                    ended, running = wait(running, return_when=FIRST_COMPLETED)
                    for one in ended:
                        done = one.result()
                        # The next part begins before the consumer looks at this one.
                        running |= {pool.submit(_done, work, part, stop) for part in islice(ahead, 1)}
                        yield done
            finally:
                # Parts under way end at their next look, so that nothing is left half done behind an error.
                stop.set()


def threads_for(engine: Engine, parts: int) -> int:
    """Return the threads for one part: several on this machine, where there are few parts."""
    return max(1, engine.cpus // max(1, parts)) if isinstance(engine, Local) else 1


def _done(work: Work, part: Part, stop: Event) -> Done:
    stop_by(stop)
    try:
        return work(part)
    except Stopped:
        return Done(part.number, "")
    finally:
        stop_by(None)

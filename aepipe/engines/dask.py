"""Work on a Dask cluster; ``dask://HOST:PORT`` is the address of its scheduler.

aepipe is installed on each machine, and each sees the store and the collection under the same paths or addresses. A
part that was lost with its worker is begun again elsewhere, as often as the scheduler's ``allowed-failures`` says.

Workers run one thread each (``dask worker --nthreads 1``). Where a part needs a GPU, workers have to say that they have
one: ``--resources "GPU=1"``. An encrypted connection is ``dask://tls://HOST:PORT``, with the certificates of Dask's own
configuration.

Source: Rocklin, Dask: Parallel Computation with Blocked Algorithms and Task Scheduling, SciPy 2015.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

from aepipe.engines import AHEAD, ANSWERS_IN, Done, Needs, Part, Work, check_address, done_elsewhere, installed, named
from aepipe.errors import EngineError, ExtraError

if TYPE_CHECKING:
    from distributed import Client, Future

COMES_BACK_IN = 0.1
"""Seconds between two looks for a worker that is started again."""
START = "start it: dask scheduler --port 8786, and on each machine dask worker HOST:8786 --nthreads 1"
_GONE = "engine dask: the scheduler does not answer any more"


def open_engine(address: str) -> Dask:
    """Return the cluster at an address; without one, that of Dask's own configuration.

    Raises:
        ExtraError: Dask is not installed.
        EngineError: nothing listens there, or no address is given.
    """
    try:
        import dask.config
        import distributed  # noqa: F401
    except ModuleNotFoundError:
        raise ExtraError("distributed", "dask", "engine dask") from None
    where = address.partition("://")[2] or dask.config.get("scheduler-address", "")
    if not where:
        raise EngineError(f"engine dask: write dask://HOST:PORT, or set DASK_SCHEDULER_ADDRESS; {START}")
    check_address(where.rpartition("://")[2], "dask", START)
    return Dask(where if "://" in where else f"tcp://{where}")


class Dask:
    """A cluster.

    Args:
        address: of its scheduler, as Dask writes it.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def map(self, work: Work, parts: Sequence[Part], needs: Needs) -> Iterator[Done]:
        """Yield what has become of each part; see :class:`aepipe.engines.Engine`.

        Raises:
            EngineError: the cluster does not answer, has no worker for these needs, or lost a part too often.
        """
        if not parts:
            return
        client, version, ahead = self._joined(), installed(), iter(parts)
        resources = {"GPU": needs.gpus} if needs.gpus else None
        running: dict[Any, tuple[Future[Done], Part]] = {}
        ended: Queue[Future[Done]] = Queue()

        def submit(count: int) -> None:
            for part in islice(ahead, count):
                # Not pure: a result that Dask remembers may be of an artifact that is gone.
                one = client.submit(done_elsewhere, work, part, version, pure=False, resources=resources)
                running[one.key] = one, part
                one.add_done_callback(ended.put)

        try:
            _check_room(client, needs)
            submit(AHEAD)
            while running:
                key = _next(ended, client, needs).key
                submit(1)
                yield _result(*running.pop(key))
        finally:
            client.close()  # and with it all that was asked for

    def _joined(self) -> Client:
        """Return a connection.

        Raises:
            EngineError: the scheduler does not answer.
        """
        from distributed import Client

        try:
            return Client(self.address, timeout=ANSWERS_IN, set_as_default=False)
        except (OSError, ValueError) as error:
            raise EngineError(f"engine dask: {self.address} does not answer ({error}); {START}") from None


def _next(ended: Queue[Future[Done]], client: Client, needs: Needs) -> Future[Done]:
    """Wait for the next part that has ended, as long as there is a worker for the others.

    Raises:
        EngineError: there is none any more.
    """
    while True:
        with suppress(Empty):
            return ended.get(timeout=ANSWERS_IN)
        _check_room(client, needs)


def _check_room(client: Client, needs: Needs) -> None:
    """Check that some worker has what a part takes; else it would be waited for without an end.

    A worker that has died a moment ago is started again by its nanny, so it has a moment to come back.

    Raises:
        EngineError: none has, :data:`~aepipe.engines.ANSWERS_IN` seconds long; or the scheduler is gone.
    """
    ends = time.monotonic() + ANSWERS_IN
    while True:
        try:
            workers: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
        except OSError as error:
            raise EngineError(f"{_GONE} ({error})") from None
        if any(one["resources"].get("GPU", 0) >= needs.gpus for one in workers.values()):
            return
        if time.monotonic() > ends:
            asked = f" with GPU={needs.gpus:g} under --resources" if needs.gpus else ""
            raise EngineError(f"engine dask: of {len(workers)} workers there is none{asked}; {START}")
        time.sleep(COMES_BACK_IN)


def _result(future: Future[Done], part: Part) -> Done:
    """Return what has become of a part.

    Raises:
        EngineError: the cluster lost it, or is gone.
        Exception: what the work raised.
    """
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError

    try:
        done: Done = future.result()
    except CommClosedError as error:
        raise EngineError(f"{_GONE} ({error})") from None
    except (KilledWorker, CancelledError, FutureCancelledError) as error:
        why = str(error).partition("\n")[0]
        raise named(EngineError(f"engine dask: lost ({why})"), part) from None
    except Exception as error:
        raise named(error, part) from None
    return done

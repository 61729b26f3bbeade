"""Work on a Ray cluster, as plain tasks.

An address is ``ray://HOST:PORT``, that of the head node.

This machine has to be one of the cluster's: ``ray start --address=HOST:PORT``. aepipe is installed on each machine, and
each sees the store and the collection under the same paths or addresses. A task that was lost with its machine is begun
again elsewhere.

Ray has no password by default, and listens on all addresses: it belongs into a private network, with
``RAY_AUTH_MODE=token``. A machine that is cut off is noticed within half a minute where every machine has the two
variables of :data:`KEEPALIVE`; Ray's own defaults take seven minutes.

Source: Moritz et al., Ray: A Distributed Framework for Emerging AI Applications, OSDI 2018.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from aepipe.engines import AHEAD, Done, Needs, Part, Work, check_address, done_elsewhere, installed, named
from aepipe.errors import EngineError, ExtraError

KEEPALIVE = {"RAY_grpc_client_keepalive_time_ms": "10000", "RAY_grpc_client_keepalive_timeout_ms": "10000"}
"""Milliseconds after which a silent machine is asked, and after which it is given up."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "error", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
START = "start it: ray start --head --port=6379, and on each other machine ray start --address=HOST:6379"
RETRIES = 5
"""Times that a part is begun again after its machine was lost."""


def open_engine(address: str) -> Ray:
    """Return the cluster at an address; without one, the cluster that this machine belongs to.

    Raises:
        ExtraError: Ray is not installed.
        EngineError: nothing listens there.
    """
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        raise ExtraError("ray", "ray", "engine ray") from None
    where = address.partition("://")[2]
    if where:
        check_address(where, "ray", START)
    return Ray(where)


class Ray:
    """A cluster.

    Args:
        address: ``HOST:PORT`` of its head; empty for the cluster that this machine belongs to.
    """

    def __init__(self, address: str = "") -> None:
        self.address = address

    def map(self, work: Work, parts: Sequence[Part], needs: Needs) -> Iterator[Done]:
        """Yield what has become of each part; see :class:`aepipe.engines.Engine`.

        Raises:
            EngineError: the cluster cannot be joined, has no machine for these needs, or lost a part too often.
        """
        import ray

        self._join()
        self._check_room(needs)
        given: dict[str, Any] = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "memory": needs.memory or None}
        task = ray.remote(done_elsewhere).options(
            name=work.stage, max_retries=RETRIES, scheduling_strategy="SPREAD", **given
        )
        held, version, ahead = ray.put(work), installed(), iter(parts)
        running = {task.remote(held, part, version): part for part in islice(ahead, AHEAD)}
        try:
            while running:
                (one,), _ = ray.wait(list(running), num_returns=1)
                part = running.pop(one)
                running |= {task.remote(held, more, version): more for more in islice(ahead, 1)}
                yield _result(one, part)
        finally:
            for one in running:
                ray.cancel(one, force=True)

    def _join(self) -> None:
        """Become a process of the cluster, once.

        Raises:
            EngineError: there is none here.
        """
        import ray

        if ray.is_initialized():
            return
        for name, value in (KEEPALIVE | QUIET).items():
            os.environ.setdefault(name, value)
        with _signals_kept():
            try:
                quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
                ray.init(self.address or "auto", logging_level=logging.ERROR, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                why = str(error).partition("\n")[0]
                raise EngineError(f"engine ray: this machine belongs to no such cluster ({why}); {START}") from None

    def _check_room(self, needs: Needs) -> None:
        """Check that some machine has what a part takes; else it would be waited for without an end.

        Raises:
            EngineError: none has.
        """
        import ray

        machines = [one["Resources"] for one in ray.nodes() if one["Alive"]]
        wanted = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory}
        if not any(all(one.get(name, 0) >= value for name, value in wanted.items()) for one in machines):
            asked = ", ".join(f"{value:g} {name}" for name, value in wanted.items() if value)
            raise EngineError(f"engine ray: a part takes {asked}, and none of {len(machines)} machines has that")


def _result(task: Any, part: Part) -> Done:  # noqa: ANN401  Ray's references have no public type
    """Return what has become of a part.

    Raises:
        EngineError: the cluster lost it.
        Exception: what the work raised.
    """
    import ray

    try:
        done: Done = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, Exception) else EngineError(str(error))
        raise named(cause, part) from None
    except ray.exceptions.RayError as error:
        why = str(error).partition("\n")[0]
        raise named(EngineError(f"engine ray: lost again and again ({why})"), part) from None
    return done


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep our own answer to SIGTERM, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)

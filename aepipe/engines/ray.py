"""Work on a Ray cluster: parts as plain tasks, processes together by Ray Train.

An address is ``ray://HOST:PORT``, that of the head node.

This machine has to be one of the cluster's: ``ray start --address=HOST:PORT``. aepipe is installed on each machine, and
each sees the store and the collection under the same paths or addresses. A task that was lost with its machine is begun
again elsewhere.

Ray has no password by default, and listens on all addresses: it belongs into a private network, with
``RAY_AUTH_MODE=token``. A machine that is cut off is noticed within half a minute where every machine has the two
variables of :data:`KEEPALIVE`; Ray's own defaults take seven minutes. They are not set here: machines that do not have
them, too, take those that ask so often for a fault, and hang up.

Ray Train places the processes of :meth:`Ray.together`, looks after them, begins again with as many as there is room for
where one is lost, and takes in machines that come later. Where its processes meet, and what they say to each other, is
the function's own, so of its checkpoints, data and set-up of torch nothing is used.

Source: Moritz et al., Ray: A Distributed Framework for Emerging AI Applications, OSDI 2018.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

from aepipe.engines import (
    AHEAD,
    ANSWERS_IN,
    Done,
    Needs,
    Part,
    Seat,
    Together,
    Work,
    check_address,
    check_version,
    done_elsewhere,
    installed,
    named,
)
from aepipe.errors import EngineError, ExtraError

KEEPALIVE = {"RAY_grpc_client_keepalive_time_ms": "10000", "RAY_grpc_client_keepalive_timeout_ms": "10000"}
"""Milliseconds after which a silent machine is asked, and after which it is given up."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "error", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
START = "start it: ray start --head --port=6379, and on each other machine ray start --address=HOST:6379"
RETRIES = 5
"""Times that a part is begun again after its machine was lost."""
BEGUN_AGAIN = 10
"""Times that processes which work together begin again after one was lost."""
LOOK_EVERY = 1.0
"""Seconds between two looks whether processes still work."""


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

        if not parts:
            return
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

    def together(self, work: Together, count: int, heard: Callable[[str], None]) -> None:
        """Run a function in several processes; see :class:`aepipe.engines.Gathers`.

        Raises:
            EngineError: there is no room for one, or processes were lost again and again.
        """
        import ray

        self._join()
        from ray.train.v2.api.exceptions import TrainingFailedError

        cpus = int(os.environ.get("OMP_NUM_THREADS") or 0) or _share(self._machines(), count)
        self._check_room(Needs(cpus, work.gpus))
        # The first is read here, the others in Ray Train's own processes.
        os.environ |= {"RAY_CHDIR_TO_TRIAL_DIR": "0", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(ANSWERS_IN)}
        os.environ |= {"RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(work.silent)}
        with tempfile.TemporaryDirectory() as folder, _telling(heard) as tell:
            try:
                _trainer(work, tell, folder, count, cpus).fit()
            except (TrainingFailedError, ray.exceptions.RayError) as error:
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                raise EngineError(f"engine ray: lost again and again ({lines[-1]})") from None

    def _machines(self) -> list[Mapping[str, float]]:
        """Return what each machine of the cluster has."""
        import ray

        return [one["Resources"] for one in ray.nodes() if one["Alive"]]

    def _join(self) -> None:
        """Become a process of the cluster, once.

        Raises:
            EngineError: there is none here.
        """
        import ray

        if ray.is_initialized():
            return
        for name, value in QUIET.items():
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
        machines = self._machines()
        wanted = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory}
        if not any(all(one.get(name, 0) >= value for name, value in wanted.items()) for one in machines):
            asked = ", ".join(f"{value:g} {name}" for name, value in wanted.items() if value)
            raise EngineError(f"engine ray: a part takes {asked}, and none of {len(machines)} machines has that")


@contextmanager
def _telling(heard: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Give a function for any machine, whose texts are heard here."""
    import ray
    from ray.util.queue import Empty, Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # On another machine it might be lost.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    told, ended = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here}), threading.Event()

    def read() -> None:
        while not (ended.is_set() and told.empty()):
            with suppress(Empty):
                heard(told.get(timeout=LOOK_EVERY))

    reader = threading.Thread(target=read, name="told", daemon=True)
    reader.start()
    try:
        yield told.put
    finally:
        ended.set()
        reader.join()


def _trainer(work: Together, tell: Callable[[str], None], folder: str, count: int, cpus: int) -> Any:  # noqa: ANN401
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    size: Any = ScalingConfig(
        num_workers=(1, count),
        use_gpu=work.gpus > 0,
        resources_per_worker={"CPU": cpus} | ({"GPU": work.gpus} if work.gpus else {}),
    )
    run: Any = RunConfig(
        storage_path=folder,
        failure_config=FailureConfig(max_failures=BEGUN_AGAIN),
        worker_runtime_env={"env_vars": {"OMP_NUM_THREADS": str(cpus), "OMP_WAIT_POLICY": "PASSIVE"}},
    )
    given = {"work": work, "tell": tell, "version": installed()}
    return DataParallelTrainer(_seated, train_loop_config=given, scaling_config=size, run_config=run)


def _seated(given: Mapping[str, Any]) -> None:
    """Call the function as one of several processes.

    Raises:
        EngineError: another version of aepipe is installed here.
    """
    import ray
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    check_version(given["version"])
    context, here = get_context(), ray.util.get_node_ip_address()
    with socket.create_server((here, 0)) as free:
        port = free.getsockname()[1]
    meet = broadcast_from_rank_zero(f"{here}:{port}")
    seat = Seat(context.get_world_rank(), context.get_world_size(), here, meet)
    work: Together = given["work"]
    work.function(seat, given["tell"], **work.arguments)


def _share(machines: Sequence[Mapping[str, float]], count: int) -> int:
    """Return the most processors for each of some processes by which all of them find room."""
    cpus = [int(one.get("CPU", 0)) for one in machines]
    fitting = (each for each in range(max(cpus, default=1), 1, -1) if sum(one // each for one in cpus) >= count)
    return next(fitting, 1)


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

"""The processes that train one network together, and what they say to each other.

Each of them holds the whole network and computes some slices of every batch (:mod:`aepipe.learn.shards`). The first,
of rank 0, alone saves and reports. Nobody sends objects of Python: tensors travel as they are, facts as JSON.

Gloo carries tensors of the CPU; NCCL those of GPUs, where each process has one of its own. Whoever waits for a step of
another waits ``LIMIT`` seconds, so that a machine that has fallen silent is noticed; whoever waits for the first one to
prepare a training waits as long as that takes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from aepipe.learn.sharing import LIMIT

PATIENCE = timedelta(days=7)
"""The limit where the others wait for what the first one alone prepares."""
Saved = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors by name, and a JSON-able position."""


class World:
    """One process on its own, which has nobody to wait for.

    Attributes:
        rank: of this process, from 0.
        size: number of processes.
    """

    rank = 0
    size = 1

    @property
    def first(self) -> bool:
        """Whether this process saves and reports."""
        return self.rank == 0

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all processes, which have one shape, by rank."""
        return [tensor]

    def swap(self, parts: list[Tensor]) -> list[Tensor]:
        """Give each process a part, by rank, and return those given to this one; all have one shape."""
        return parts

    def ask(self, value: Any) -> list[Any]:  # noqa: ANN401  anything that JSON can hold
        """Return the values of all processes, by rank; they are JSON-able."""
        return [value]

    def tell(self, value: Any) -> Any:  # noqa: ANN401
        """Return the value of the first process, which is JSON-able."""
        return value

    def send(self, saved: Saved | None) -> Saved | None:
        """Return the state that the first process has."""
        return saved

    def array(self, made: Callable[[], NDArray[np.int32]]) -> NDArray[np.int32]:
        """Return an array that the first process makes."""
        return made()


ALONE = World()
"""The world of a training in one process."""


class Group(World):
    """The processes of ``torch.distributed``.

    Args:
        limit: seconds to wait for a step of another process.
        direct: whether tensors of a GPU travel as they are, and not through the CPU.
    """

    def __init__(self, *, limit: float = LIMIT, direct: bool = False) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._direct = direct
        within = timedelta(seconds=limit)
        self._steps = dist.new_group(timeout=within, backend="cpu:gloo,cuda:nccl" if direct else "gloo")
        self._patient = dist.new_group(timeout=PATIENCE, backend="gloo")

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all processes by rank, on the device of one's own."""
        given = self._carried(tensor)
        found = [torch.empty_like(given) for _ in range(self.size)]
        dist.all_gather(found, given, group=self._steps)
        return [one.to(tensor.device) for one in found]

    def swap(self, parts: list[Tensor]) -> list[Tensor]:
        """Give each process a part, and return those that were given to this one."""
        given = self._carried(torch.stack(parts))
        found = torch.empty_like(given)
        dist.all_to_all_single(found, given, group=self._steps)
        return list(found.to(parts[0].device))

    def ask(self, value: Any) -> list[Any]:  # noqa: ANN401
        """Return the values of all processes, by rank."""
        text = _bytes(value)
        longest = max(int(one) for one in self.gather(torch.tensor(len(text))))
        told = self.gather(torch.cat([text, text.new_zeros(longest - len(text))]))
        return [_value(one) for one in told]

    def tell(self, value: Any) -> Any:  # noqa: ANN401
        """Return the value of the first process."""
        text = _bytes(value)
        length = torch.tensor(len(text))
        dist.broadcast(length, 0, group=self._patient)
        text = text if self.first else torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(text, 0, group=self._patient)
        return _value(text)

    def send(self, saved: Saved | None) -> Saved | None:
        """Return the state that the first process has, on the CPU where another had it."""
        tensors, position = saved or ({}, {})
        about = [(name, str(one.dtype).removeprefix("torch."), list(one.shape)) for name, one in tensors.items()]
        known, about, position = self.tell([saved is not None, about, position])
        found = {}
        for name, dtype, shape in about:
            own = tensors[name].cpu().contiguous() if self.first else torch.empty(shape, dtype=getattr(torch, dtype))
            dist.broadcast(own, 0, group=self._patient)
            found[name] = own
        return (found, position) if known else None

    def array(self, made: Callable[[], NDArray[np.int32]]) -> NDArray[np.int32]:
        """Return an array that the first process makes, while the others wait."""
        saved = self.send(({"array": torch.from_numpy(made())}, {}) if self.first else None)
        assert saved is not None
        found: NDArray[np.int32] = saved[0]["array"].numpy()
        return found

    def _carried(self, tensor: Tensor) -> Tensor:
        return tensor.contiguous() if self._direct else tensor.cpu().contiguous()


def device_of(device: torch.device) -> torch.device:
    """Return the device of this process: its own GPU of the machine, if it is to train on one."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


@contextmanager
def joined(device: torch.device, *, limit: float = LIMIT, meet: Path | None = None) -> Iterator[World]:
    """Join the processes that torchrun has started with this one.

    Args:
        device: what is trained on.
        limit: seconds to wait for a step of another process.
        meet: a file that the processes of one machine find each other by, where there is no other one; without it they
            meet at the address that torchrun names.
    """
    rank, size = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    own = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    direct = device.type == "cuda" and own <= torch.cuda.device_count()
    if direct:
        torch.cuda.set_device(device_of(device))
    place: dict[str, Any] = {}
    if meet is not None:
        place["store"] = dist.FileStore(str(meet), size)  # type: ignore[attr-defined]  # its stubs lack it
    backend = "cpu:gloo,cuda:nccl" if direct else "gloo"
    dist.init_process_group(backend, rank=rank, world_size=size, timeout=timedelta(seconds=limit), **place)
    try:
        yield Group(limit=limit, direct=direct)
    finally:
        dist.destroy_process_group()


def _bytes(value: object) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _value(text: Tensor) -> Any:  # noqa: ANN401
    return json.loads(text.numpy().tobytes().rstrip(b"\0"))

"""Engines: what does the same work to many parts, on this machine or on others.

An engine is one file of this room, and its name is the kind: ``local``, or the first word of an address such as
``ray://HOST:PORT``. Each file has ``open_engine(address) -> Engine``. Which engine is taken decides nothing about the
results, so it is in no digest.

A :class:`Work` goes to wherever the engine has room, so it is a function of this package with small arguments that JSON
has: where the store is, and references. An engine may begin a part more than once. So the function begins by
looking whether its output is there; it makes it, and puts it into the store under a name that its inputs decide. Then
it does not matter how often it was begun. Only :class:`Done` comes back.

What a function may ask of its engine: :func:`check_stopped`, which ends it early when nobody wants its result.

Some engines also run one function in several processes at a time that talk to each other: :class:`Gathers`.
"""

from __future__ import annotations

import os
import pkgutil
import platform
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module, metadata
from threading import Event, local
from types import ModuleType
from typing import Any, Protocol, cast

from aepipe.errors import AepipeError, EngineError, RecipeError

VARIABLE = "AEPIPE_ENGINE"
"""Of the environment: a kind, or the address of an engine, where nothing else names one."""
LOCAL = "local"
"""The kind that needs nothing installed, and is taken where none is named."""
ANSWERS_IN = 30.0
"""Seconds that a cluster has to answer."""
AHEAD = 1000
"""Parts that a cluster is given before it has done any."""
SHOWN = 20
"""Letters of a reference in a message."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of the things that work is done to.

    Attributes:
        number: from 0, in the order of all parts.
        ref: names it to the work: the reference of an artifact, or another short text.
    """

    number: int
    ref: str

    def __str__(self) -> str:
        return f"part {self.number + 1:,} ({self.ref[:SHOWN]})"


@dataclass(frozen=True, slots=True)
class Done:
    """What has become of one part.

    Attributes:
        part: its number.
        ref: the output, an artifact in the store.
        rows: rows in the output.
        rejected: items that could not be read.
        seconds: that the work took; 0 where the output was there already.
    """

    part: int
    ref: str
    rows: int = 0
    rejected: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Needs:
    """What the work on one part takes.

    Attributes:
        cpus: threads that it keeps busy.
        gpus: devices, or a share of one.
        memory: bytes; 0 where it is not known.
    """

    cpus: int = 1
    gpus: float = 0.0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A function for each part, with its arguments.

    Attributes:
        stage: in words for users: ``ingest``.
        function: of a module of this package; it is called with the part and the arguments.
        arguments: small, values that JSON has: an engine may write them into a file.
    """

    stage: str
    function: Callable[..., Done]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, part: Part) -> Done:
        """Do it to one part.

        Raises:
            Exception: what the function raises; it names the part.
        """
        try:
            return self.function(part, **self.arguments)
        except Exception as error:
            raise named(error, part)  # noqa: B904  the same error


class Engine(Protocol):
    """Does work to parts, wherever it has room."""

    def map(self, work: Work, parts: Sequence[Part], needs: Needs) -> Iterator[Done]:
        """Yield what has become of each part, in any order.

        A consumer that stops early, as after Ctrl-C, ends the work that is under way.

        Args:
            work: done to each part at least once.
            parts: all of them.
            needs: of the work on one part.

        Raises:
            Exception: what the work raised first; it names the part.
        """


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of a process among those that run one function together.

    Attributes:
        rank: from 0.
        size: of all.
        here: the address of its machine.
        meet: ``HOST:PORT``, an address of the first one's machine where nothing listens yet.
    """

    rank: int
    size: int
    here: str
    meet: str


@dataclass(frozen=True, slots=True)
class Together:
    """A function for several processes at a time, with its arguments.

    Attributes:
        function: of a module of this package; it is called with its :class:`Seat`, with a function that takes the texts
            that it tells, and with the arguments.
        arguments: small, values that JSON has.
        gpus: devices of each process.
        silent: seconds after which a process that does not answer is lost.
    """

    function: Callable[..., None]
    arguments: Mapping[str, Any]
    gpus: float = 0.0
    silent: float = 120.0


class Gathers(Protocol):
    """An engine that also runs one function in several processes at a time."""

    def together(self, work: Together, count: int, heard: Callable[[str], None]) -> None:
        """Run a function in several processes that know each other, until all have returned.

        Where one is lost, all begin again. Where there is no room for as many, there are fewer. This is called in the
        main thread of a process, and SIGINT ends it.

        Args:
            work: the function.
            count: processes, at most.
            heard: called, in another thread, with each text that one of them tells.

        Raises:
            EngineError: there is no room for one, or processes were lost again and again.
        """


class Stopped(BaseException):
    """Nobody wants the result of this part any more; only the engine catches it."""


_here = local()


def stop_by(event: Event | None) -> None:
    """Let work in this thread end when an event is set; None takes that back."""
    _here.event = event


def check_stopped() -> None:
    """End the work of this thread if its engine was stopped; a function calls this now and then.

    Raises:
        Stopped: it was.
    """
    event = getattr(_here, "event", None)
    if event is not None and event.is_set():
        raise Stopped


def named(error: Exception, part: Part) -> Exception:
    """Return an error that names the part it happened in, once however often it is raised again."""
    text = f"in {part}"
    if text not in getattr(error, "__notes__", ()):
        error.add_note(text)
    # On its way between processes an error may have lost one of the two.
    if isinstance(error, AepipeError) and text not in str(error):
        error.args = (f"{error}, {text}",)
    return error


def done_elsewhere(work: Work, part: Part, version: str) -> Done:
    """Do work to a part in a process of a cluster.

    Args:
        work: what is done.
        part: to which.
        version: of aepipe, in the process that asked for it.

    Raises:
        EngineError: another version of aepipe is installed here; it may make other bytes under the same name.
        Exception: as :meth:`Work.__call__`.
    """
    check_version(version)
    return work(part)


def check_version(version: str) -> None:
    """Check that this process has the version of aepipe that asks it for work.

    Raises:
        EngineError: it has another one.
    """
    if (here := installed()) != version:
        raise EngineError(f"{platform.node()} has aepipe {here}, and {version} asks it for work: install the same")


def installed() -> str:
    """Return the version of aepipe that is installed here."""
    try:
        return metadata.version("aepipe")
    except metadata.PackageNotFoundError:
        return "from its source"


def check_address(address: str, kind: str, remedy: str) -> None:
    """Check that something listens at ``HOST:PORT``; drivers of clusters wait for minutes.

    Raises:
        EngineError: nothing does, or the address is none.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise EngineError(f"engine {kind}://{address}: not an address; write {kind}://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_IN).close()
    except (OSError, OverflowError) as error:
        raise EngineError(f"engine {kind}://{address}: does not answer ({error}); {remedy}") from None


def names() -> list[str]:
    """Return the names of all kinds: the files of this room."""
    return [one.name for one in pkgutil.iter_modules(__path__)]


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Let a variable of the environment have a value in the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        os.environ |= {} if before is None else {name: before}


@contextmanager
def using(text: str | None, *, over: bool = False) -> Iterator[None]:
    """Let an engine be taken in the block, where none is named.

    Args:
        text: a kind or an address; None or an empty text changes nothing.
        over: also where the environment names one.
    """
    with environment(VARIABLE, text) if text and (over or not os.environ.get(VARIABLE)) else nullcontext():
        yield


@contextmanager
def told_its_end() -> Iterator[None]:
    """Tell the engine that is taken in the block when the run has ended, where it wants to know."""
    try:
        yield
    finally:
        text = _named()
        end = getattr(_module(text), "end", None)
        if end is not None:
            end(text)


def resolve(text: str | None = None) -> Engine:
    """Return an engine.

    Args:
        text: a kind, or an address that begins with one; None takes the one of the environment, else ``local``.

    Raises:
        RecipeError: there is no such kind.
    """
    text = text or _named()
    module = _module(text)
    if module is None:
        raise RecipeError(f"engine {text!r}: unknown; allowed: {', '.join(names())}")
    return cast(Engine, module.open_engine(text if "://" in text else ""))


def _named() -> str:
    """Return the engine that the environment names, else this machine."""
    return os.environ.get(VARIABLE) or LOCAL


def _module(text: str) -> ModuleType | None:
    """Return the file of a kind, or of an address that begins with one; None where there is no such kind."""
    kind = text.partition("://")[0]
    return import_module(f"{__name__}.{kind}") if kind in names() else None

"""Work by the jobs of an array, which Slurm, Kubernetes or AWS Batch start.

An address is ``array:///FOLDER``, a folder that the run and all jobs see.

Nothing has to be installed, and nothing listens. The run writes what is to be done into the folder, and waits; each
job, ``aepipe work STAGE --share 3/64``, does its share of the parts, and writes what has become of each::

    FOLDER/<stage>/plan.json            the function, its arguments, all parts, and an id
    FOLDER/<stage>/<id>/<number>.json   what has become of a part, or the error it ended with
    FOLDER/over                         a new text whenever a run has ended

A job that dies is started again by what had started it, and does what is missing of its share. Only functions of
aepipe's own stages are called, by name.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from aepipe import errors
from aepipe.engines import Done, Needs, Part, Work, done_elsewhere, installed, named
from aepipe.errors import EngineError

logger = logging.getLogger(__name__)

PLAN, OVER = "plan.json", "over"
STAGES = "aepipe.pipeline."
"""Where a function that a plan names has to be."""
LOOK_EVERY = 0.5
"""Seconds between two looks into the folder."""
REMIND_AFTER = 60.0
"""Seconds without a finished part, after which the run says what it waits for."""


def open_engine(address: str) -> Array:
    """Return the folder of an address.

    Raises:
        EngineError: the address names none, or a relative one.
    """
    folder = address.partition("://")[2]
    if not folder.startswith("/"):  # the jobs run elsewhere
        raise EngineError(f"engine {address or 'array'}: write array:///FOLDER, a folder that the run and all jobs see")
    return Array(Path(folder))


def end(address: str) -> None:
    """Tell the jobs of a folder that their run has ended; without the folder there are none."""
    with suppress(OSError, EngineError):
        (open_engine(address).folder / OVER).write_text(secrets.token_hex(8), encoding="utf-8")


class Array:
    """A folder that the run and the jobs share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def map(self, work: Work, parts: Sequence[Part], needs: Needs) -> Iterator[Done]:
        """Yield what has become of each part; see :class:`aepipe.engines.Engine`.

        Raises:
            EngineError: the folder cannot be written.
        """
        place, plan = self.folder / work.stage, Plan.of(work, parts)
        with _named(self.folder):
            _clear(place)
            if not parts:
                return
            plan.write(place)
        logger.info("%s: %d parts for `%s`", work.stage, len(parts), command(work.stage, "I/S", self.folder))
        try:
            yield from _collected(plan, place, parts)
        finally:
            with suppress(OSError):
                if plan.is_in(place):
                    (place / PLAN).unlink()
                shutil.rmtree(place / plan.id, ignore_errors=True)

    def over(self) -> str:
        """Return a text that is another one when a run has ended; empty before the first has."""
        try:
            return (self.folder / OVER).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    def stages(self) -> list[str]:
        """Return the stages that have a plan."""
        return sorted(one.parent.name for one in self.folder.glob(f"*/{PLAN}"))

    def plan(self, stage: str) -> Plan | None:
        """Return the plan for a stage; None where there is none.

        Raises:
            EngineError: the plan cannot be read, or is not one of this version.
        """
        with _named(self.folder):
            return Plan.read(self.folder / stage)

    def work(self, stage: str, plan: Plan, share: tuple[int, int]) -> Iterator[Done]:
        """Do one share of the parts that are not done, and yield what has become of each.

        It ends early when the run has ended.

        Args:
            stage: that the plan is for.
            plan: of the stage.
            share: its number, from 1, and the number of shares.

        Raises:
            EngineError: the folder cannot be read or written.
            Exception: what the work raised; the run is told.
        """
        number, shares = share
        work, results = plan.work(stage), self.folder / stage / plan.id
        for part in plan.parts():
            file = results / f"{part.number}.json"
            if part.number % shares != number - 1 or file.exists():
                continue
            if not results.exists():
                return
            try:
                done = done_elsewhere(work, part, plan.version)
            except Exception as error:
                with suppress(FileNotFoundError):
                    _write(file, errors.told(error))
                raise
            with suppress(FileNotFoundError), _named(self.folder):  # the run may have ended meanwhile
                _write(file, asdict(done))
            yield done


@dataclass(frozen=True, slots=True)
class Plan:
    """A function, and the parts that it is for.

    Attributes:
        id: of this run's plan.
        version: of aepipe, in the run.
        function: as ``module:name``.
        arguments: of the function.
        refs: of all parts, by number.
    """

    id: str
    version: str
    function: str
    arguments: Mapping[str, Any]
    refs: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, work: Work, parts: Sequence[Part]) -> Plan:
        """Return the plan for some parts."""
        function = f"{work.function.__module__}:{work.function.__qualname__}"
        refs = tuple((part.number, part.ref) for part in parts)
        return cls(secrets.token_hex(8), installed(), function, dict(work.arguments), refs)

    @classmethod
    def read(cls, place: Path) -> Plan | None:
        """Return the plan in the folder of a stage; None where there is none.

        Raises:
            OSError: it cannot be read.
            EngineError: it is damaged.
        """
        file = place / PLAN
        try:
            body = json.loads(file.read_text(encoding="utf-8"))
            refs = tuple((int(number), str(ref)) for number, ref in body.pop("refs"))
            return cls(**body, refs=refs)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise EngineError(
                f"{file}: damaged; stop the run that wrote it, delete the file, and start it again"
            ) from None

    def write(self, place: Path) -> None:
        """Put the plan in the place of an older one.

        Raises:
            OSError: the folder cannot be written.
        """
        (place / self.id).mkdir(parents=True)
        _write(place / PLAN, asdict(self))

    def is_in(self, place: Path) -> bool:
        """Say whether the folder of a stage has this plan, and no later one.

        Raises:
            OSError: it cannot be read.
            EngineError: what is there is damaged.
        """
        found = Plan.read(place)
        return found is not None and found.id == self.id

    def parts(self) -> list[Part]:
        """Return all parts."""
        return [Part(number, ref) for number, ref in self.refs]

    def work(self, stage: str) -> Work:
        """Return the work on each part.

        Raises:
            EngineError: the function is not one of aepipe's stages that work on parts.
        """
        module, _, name = self.function.partition(":")
        function = None
        if module.startswith(STAGES) and all(word.isidentifier() for word in [*module.split("."), name]):
            with suppress(ModuleNotFoundError):
                function = getattr(import_module(module), name, None)
        if getattr(function, "__annotations__", {}).get("return") not in {Done, Done.__name__}:
            raise EngineError(f"engine array: {self.function[:80]!r} is no stage of aepipe {installed()}")
        assert callable(function)
        return Work(stage, function, self.arguments)


def _clear(place: Path) -> None:
    """Remove what a run that was killed, or an earlier one, has left for a stage.

    Raises:
        OSError: the folder cannot be written.
    """
    place.mkdir(parents=True, exist_ok=True)
    (place / PLAN).unlink(missing_ok=True)
    for one in place.iterdir():
        if one.is_dir():
            shutil.rmtree(one, ignore_errors=True)


def command(stage: str, share: str, folder: Path) -> str:
    """Return the command that does a share of a stage."""
    return f"aepipe work {stage} --share {share} --engine array://{folder}"


def _collected(plan: Plan, place: Path, parts: Sequence[Part]) -> Iterator[Done]:
    """Yield what the jobs have made of each part, as it comes.

    Raises:
        EngineError: another run has written its plan into the folder.
        Exception: the error of a part.
    """
    missing, last = {part.number: part for part in parts}, time.monotonic()
    while missing:
        with _named(place):
            written = _numbers(place / plan.id)
        for number in sorted(written & missing.keys()):
            last = time.monotonic()
            yield _read(place / plan.id / f"{number}.json", missing.pop(number))
        if not plan.is_in(place):
            raise EngineError(f"{place}: another run has taken this folder; give each run a folder of its own")
        if missing and time.monotonic() - last > REMIND_AFTER:
            first, last = min(missing), time.monotonic()
            share = f"{first % len(parts) + 1}/{len(parts)}"
            logger.warning(
                "%s: waiting for %d of %d parts; part %d is one of the share of `%s`",
                place.name, len(missing), len(parts), first + 1, command(place.name, share, place.parent),
            )  # fmt: skip
        if missing:
            time.sleep(LOOK_EVERY)


def _numbers(results: Path) -> set[int]:
    """Return the parts that something has become of; none where the folder is gone."""
    try:
        return {int(name[:-5]) for name in os.listdir(results) if name.endswith(".json") and name[0] != "."}
    except FileNotFoundError:
        return set()


def _read(file: Path, part: Part) -> Done:
    """Return what has become of a part.

    Raises:
        EngineError: the file is damaged.
        Exception: what the work raised.
    """
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
        if "error" not in body:
            return Done(**body)
        error = errors.heard(body)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise EngineError(f"{file}: damaged; start the run again") from None
    raise named(error, part)


def _write(file: Path, body: Mapping[str, Any]) -> None:
    """Write JSON as a whole or not at all."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        draft.write_text(json.dumps(body), encoding="utf-8")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Turn what the system refuses into an error that names the folder.

    Raises:
        EngineError: it refuses.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise EngineError(f"engine array://{folder}: {errors.system_words(error)}") from None

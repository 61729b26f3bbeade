"""Export a release into a system that others run, as one table.

A system is one file in :mod:`aepipe.pipeline.export.systems`. Each brings:

- ``SCHEMES``: how its addresses begin;
- ``PACKAGES``: what has to be installed, each package with the extra of aepipe that brings it;
- ``open_system(address)``: returns a :class:`aepipe.pipeline.export.table.System`; nothing is reached yet.

Rows come in groups, so memory is bounded. The table has its name only when it is whole: an export that is interrupted
leaves what was there.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType

import pyarrow as pa

from aepipe.errors import ExtraError, QueryError
from aepipe.log import step
from aepipe.pipeline.export import systems
from aepipe.pipeline.export.address import ALLOWED, Address
from aepipe.pipeline.export.plain import plain, plain_schema
from aepipe.pipeline.export.rows import Exporting
from aepipe.pipeline.export.table import System, Table
from aepipe.store.artifacts import Ref, Store


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an export into a system writes.

    Attributes:
        table: its name there; None for that of the collection.
        replace: a table of that name may be there, and is replaced.
        n_bits: only the first bits of the codes; None for all.
        embeddings: false leaves the embeddings out; then nothing is encoded.
        index: false makes no index for approximate search, where that is a step of its own.
    """

    table: str | None = None
    replace: bool = False
    n_bits: int | None = None
    embeddings: bool = True
    index: bool = True


@dataclass(frozen=True, slots=True)
class Sent:
    """What an export wrote into a system.

    Attributes:
        where: the address, without user, password and options.
        table: the name of the table.
        rows: how many it has.
        asked: the id of the row that ``question`` asks for.
        question: what gives the hits of that row, as aepipe gives them: nearest first, of equals the smaller id.
        notes: what should be known of it.
    """

    where: str
    table: str
    rows: int
    asked: int
    question: str
    notes: tuple[str, ...] = ()


def kinds() -> dict[str, ModuleType]:
    """Return the systems by the schemes of their addresses."""
    names = sorted(one.name for one in pkgutil.iter_modules(systems.__path__))
    modules = [importlib.import_module(f"{systems.__name__}.{name}") for name in names]
    return {scheme: module for module in modules for scheme in module.SCHEMES}


def opened(address: str) -> tuple[Address, System]:
    """Find the system of an address; nothing is reached yet.

    Raises:
        QueryError: there is none, or the address is malformed.
        ExtraError: a package that speaks to it is not installed.
    """
    read = Address.of(address)
    module = kinds().get(read.scheme)
    if module is None:
        raise QueryError(f"{read.scheme}: no such system; {ALLOWED}")
    for package, extra in module.PACKAGES.items():
        if find_spec(package) is None:
            raise ExtraError(package, extra, f"--to {read.scheme}")
    system: System = module.open_system(read)
    return read, system


def export_to(store: Store, release: Ref, address: str, wanted: Wanted | None = None) -> Sent:
    """Write a release into a system.

    Args:
        store: where artifacts are read.
        release: any release, in service or not.
        address: of the system, such as ``postgresql://host/database``.
        wanted: what is written; by default everything, into a new table with the name of the collection.

    Raises:
        ExtraError: a package that speaks to the system is not installed.
        QueryError: there is no such system, the table is there already, or the codes have fewer bits.
        ServiceError: the system refuses, or does not answer.
        CorruptError: an artifact is damaged, or the encoder gives other codes than the stored ones.
    """
    wanted = wanted or Wanted()
    read, system = opened(address)
    exporting = Exporting.of(store, release, n_bits=wanted.n_bits, embeddings=wanted.embeddings)
    table = Table(
        name=wanted.table or exporting.release.name,
        schema=plain_schema(exporting.layout.schema),
        n_bits=exporting.release.n_bits,
        rows=len(exporting.rows),
        replace=wanted.replace,
        index=wanted.index,
        described=exporting.layout.described,
        parts=tuple((wanted.table or "").split(".", 1)) if "." in (wanted.table or "").strip(".") else (),
        asking=int(exporting.rows.ids().min()) if len(exporting.rows) else 0,
    )
    system.write(table, _counted(exporting.groups(), table))
    return Sent(read.shown, table.name, table.rows, table.asking, system.question(table), tuple(table.notes))


def _counted(groups: Iterator[pa.Table], table: Table) -> Iterator[pa.Table]:
    """Give the groups in plain types, and report how many rows were taken."""
    done = 0
    for group in groups:
        yield plain(group, table.schema)
        done += len(group)
        step("export", done, table.rows)

"""All three steps: a source becomes the rows of a large collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain

from aepipe import engines, log
from aepipe.engines import Engine, Needs, Part, Work
from aepipe.engines.local import Local, threads_for
from aepipe.pipeline.parts.joining import join
from aepipe.pipeline.parts.listing import Listed, list_parts, read_ref
from aepipe.pipeline.parts.opened import shared
from aepipe.pipeline.parts.reading import read_part
from aepipe.recipe import Recipe
from aepipe.sources.item import Item, Source
from aepipe.store.artifacts import Ref, Store

_NEAR = 2
"""Parts of before, on each side of the place where a part would be, that may hold some of its rows."""


@dataclass(frozen=True, slots=True)
class Life:
    """What a collection has been before.

    Attributes:
        previous: its rows; None for the first run.
        next_id: the first id for a new key.
        given: ids by key that were given to others than these rows.
    """

    previous: Ref | None = None
    next_id: int = 0
    given: Mapping[str, int] = field(default_factory=dict)


def ingest_parts(
    store: Store,
    source: Source,
    life: Life,
    *,
    items: Iterator[Item] | None = None,
    total: int | None = None,
    recipe: Recipe | None = None,
    engine: Engine | None = None,
) -> Ref:
    """Read a source into rows that are a list of parts.

    Args:
        store: where artifacts are read and written.
        source: fitted.
        life: what the collection has been before.
        items: of the source, where they were begun already.
        total: their number, where it is known.
        recipe: that the source was made by, for other processes; without it the work is done in this one.
        engine: that reads the parts; that of the environment where it is None.

    Raises:
        SourceError, FullError: as :func:`aepipe.pipeline.ingest.ingest`.
    """
    listed = list_parts(store, source, source.items() if items is None else items, total)
    parts = list(_to_read(listed, _tables_before(store, life.previous)))
    engine = engine or (Local(source.workers) if recipe is None else engine_of(source))
    made = dict(enumerate(listed.read))
    done = rejected = 0
    log.step("ingest", 0, listed.starts[-1])
    done = sum(listed.starts[number + 1] - listed.starts[number] for number, ref in made.items() if ref)
    with shared(source, recipe) as at:
        threads = threads_for(engine, len(parts))
        work = Work("ingest", read_part, {"store": store.address, "source": asdict(at), "threads": threads})
        for one in engine.map(work, parts, needs_of(source, threads)):
            made[one.part] = Ref.parse(one.ref)
            done += listed.starts[one.part + 1] - listed.starts[one.part]
            rejected += one.rejected
            log.step("ingest", done, listed.starts[-1], f"{rejected:,} unreadable" if rejected else "")
    refs = [ref for _, ref in sorted(made.items()) if ref is not None]
    readings = [read_ref(one, source) for one in listed.refs]
    return join(store, source, refs, previous=life.previous, next_id=life.next_id, given=life.given, readings=readings)


def needs_of(source: Source, threads: int) -> Needs:
    """Return what reading a part takes: a graphics card, too, where its network runs on one."""
    network: Mapping[str, str] = source.features().get("backbone") or {}
    return Needs(cpus=threads, gpus=float(network.get("provider") == "cuda"))


def engine_of(source: Source) -> Engine:
    """Return the engine that the environment names; on this machine with the source's threads."""
    found = engines.resolve()
    return Local(source.workers) if isinstance(found, Local) else found


def _tables_before(store: Store, previous: Ref | None) -> list[tuple[Ref, ...]]:
    """Return the tables of the rows of before, each with what it was read from, where that is known."""
    if previous is None:
        return []
    parts = store.parts(previous)
    noted = [Ref.parse(one) for one in store.manifest(previous).facts.get("readings", ())]
    return list(zip(parts, noted, strict=True)) if parts else [(previous,)]


def _to_read(listed: Listed, before: Sequence[tuple[Ref, ...]]) -> Iterator[Part]:
    """Yield the listings that have to be read, each with the tables of before that may hold some of its rows."""
    place, last = {one[0]: number for number, one in enumerate(before)}, 0
    missing = list[int]()
    for number, ref in enumerate([*listed.read, None]):
        end = number == len(listed.read)
        at = len(before) if end else place.get(ref, -1) if ref else -1
        if not end and ref is None:
            missing.append(number)
        if at < 0:
            continue
        for rank, one in enumerate(missing):
            near = _near(before, last, at, rank, len(missing)) if len(before) > 1 else before
            yield Part(one, " ".join(map(str, [listed.refs[one], *chain(*near)])))
        missing, last = [], at + 1


def _near(before: Sequence[tuple[Ref, ...]], start: int, stop: int, rank: int, count: int) -> list[tuple[Ref, ...]]:
    """Return the parts of before near the place that one of some missing parts would have, the likeliest first.

    Args:
        before: the parts.
        start: the first of those that are gone.
        stop: after the last of them.
        rank: of the missing part.
        count: of missing parts.
    """
    width = max(0, stop - start)
    first, last = start + rank * width // count, start + -(-(rank + 1) * width // count)
    likely = list(range(first, last))
    around = [*range(max(start, first - _NEAR), first), *range(last, min(stop, last + _NEAR))]
    return [before[one] for one in (*likely, *around)]

"""The verb ``plan``."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aepipe.cli.options import AsJson, Place
from aepipe.cli.output import say, say_json, size, table
from aepipe.errors import NotFoundError, QueryError
from aepipe.release.release import Release

if TYPE_CHECKING:
    from aepipe.index.sizing import Codes, Layout

COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
BYTES = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
TIMES = {"": 1.0, "us": 1e-3, "ms": 1.0, "s": 1e3}


def plan(
    place: Place,
    rows: Annotated[str, typer.Option("--rows", help="Number of rows: 250000, 2.5M, 10B.", metavar="N")],
    bits: Annotated[
        int | None,
        typer.Option("--bits", min=1, help="Bits of a code; else those of the collection, or 64.", metavar="N"),
    ] = None,
    ram: Annotated[
        str | None, typer.Option("--ram", "--machine-memory", help="Memory of a machine: 64GB.", metavar="SIZE")
    ] = None,
    p95: Annotated[
        str | None, typer.Option("--p95", help="Time that 95 of 100 queries may take: 5ms.", metavar="TIME")
    ] = None,
    recall: Annotated[
        float, typer.Option("--recall", min=0, max=1, help="Recall of the 10 nearest; 1 is exact.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Choose an index for a number of rows; say shards, machines, memory, disk and time.

    The speed of a scan is measured on this machine, in a second. Distances of hits, sizes of buckets and
    the share of distinct codes are measured on the collection in service, if there is one; for more rows
    than it has, hits are assumed to be no nearer than now. Without a collection, codes are assumed to
    have no neighbours, so that all must be scanned. Figures are for one thread of each machine and one
    query at a time. A shard has at most a billion rows; without --ram, each has a machine.

    Examples:
      aepipe plan --rows 50M --ram 2GB --p95 5ms
      aepipe plan --rows 10B --ram 64GB --name photos
    """
    from aepipe.index import sizing

    count = round(_number(rows, COUNTS, "--rows"))
    if count < 1:
        raise QueryError(f"--rows {rows}: at least 1")
    memory = None if ram is None else round(_number(ram, BYTES, "--ram"))
    allowed = None if p95 is None else _number(p95, TIMES, "--p95")
    codes, assumed = _codes(place, bits, approximate=recall < 1)
    machine = sizing.time_scan(codes.n_bits)
    found = sizing.layouts(count, codes, machine, ram=memory, p95=allowed, recall=recall)
    chosen = sizing.choose(found)
    if as_json:
        figures = {"rows": count, "bits": codes.n_bits, "assumes": assumed, "offers": list(map(_figures, found))}
        of_all = {"shards": chosen and chosen.shards, "machines": chosen and chosen.machines}
        say_json(figures | {"chosen": _figures(chosen) if chosen else None} | of_all)
        return
    say(f"{count:,} rows of {codes.n_bits} bits; {assumed}\n")
    say(_table(found, chosen, recall))
    say(_advice(chosen))


def _codes(place: Place, bits: int | None, *, approximate: bool) -> tuple[Codes, str]:
    """Return the statistics of codes, and a sentence on where they come from."""
    from aepipe.index import sizing
    from aepipe.index.postings import group

    try:
        release = Release.open(place.store(), place.name)
    except NotFoundError:
        if place.name is not None:
            raise
        return sizing.Codes(bits or 64), "no collection is in service, so codes are assumed to have no neighbours"
    if bits not in {None, release.n_bits}:
        said = f"{release.name} has codes of {release.n_bits} bits, so nothing is known about codes of {bits}"
        return sizing.Codes(bits or 64), said
    ids = release.items.ids
    distinct, postings = group(release.segments.of(ids), ids)
    if len(distinct) < 2:
        return sizing.Codes(release.n_bits), f"{release.name} has fewer than 2 codes, so nothing is known about them"
    found = sizing.measure_codes(distinct, postings.offsets, approximate=approximate)
    said = f"by the codes of {release.name}: {len(ids):,} rows, {found.distinct:.0%} distinct"
    return found, said


def _figures(one: Layout) -> dict[str, Any]:
    """Return a layout for JSON: bytes, milliseconds of a query, seconds of building."""
    shard = asdict(one.shard)
    kind = {name: shard.pop(name) for name in ("kind", "options", "recall")}
    counts = {"shards": one.shards, "machines": one.machines, "fits": one.fits}
    of_all = {"memory": one.memory, "disk": one.disk, "build": one.build, "median": one.median, "p95": one.p95}
    return {**kind, **counts, **of_all, "shard": {"rows": one.rows, **shard}}


def _table(found: list[Layout], chosen: Layout | None, recall: float) -> str:
    """Return the layouts as a table, with the reason against each that does not fit."""
    from aepipe.report.comparison import duration

    head = ("shards", "machines", "memory", "disk", "build", "median", "p95", "recall", "kind", "")
    lines = []
    for one in found:
        why = "recall is too low" if one.shard.recall < recall else "too slow, or too large, in any number of shards"
        said = "chosen" if one is chosen else "fits" if one.fits else why
        counts, sizes = (f"{one.shards:,}", f"{one.machines:,}"), map(size, (one.memory, one.disk))
        times = (duration(one.build), _time(one.median), _time(one.p95))
        lines.append((*counts, *sizes, *times, f"{one.shard.recall:.3g}", one.shard.kind + _brackets(one), said))
    return table(head, lines, left=2)


def _advice(chosen: Layout | None) -> str:
    """Return the lines to write into a recipe and to start, or a way out where no kind fits."""
    if chosen is None:
        return "\nnone of these fits; what helps: more memory, fewer bits, a lower --recall"
    options = "".join(f", {name} = {value}" for name, value in chosen.shard.options.items())
    recipe = f'\nin the recipe:  [index]\n                kind = {{ kind = "{chosen.shard.kind}"{options} }}'
    if chosen.shards == 1:
        return recipe
    machines = "1 machine" if chosen.machines == 1 else f"{chosen.machines:,} machines"
    each = f"{chosen.rows:,} rows, {size(chosen.shard.memory)} of memory and {size(chosen.shard.disk)} of disk"
    return (
        f"\n{chosen.shards:,} shards on {machines}, each shard with {each}\n{recipe}\n"
        f"                shards = {chosen.shards}\n\n"
        f"on the machines: aepipe serve --shard 1/{chosen.shards} and so on; then aepipe serve --shards URL,URL,..."
    )


def _brackets(one: Layout) -> str:
    said = ", ".join(f"{name} {value}" for name, value in one.shard.options.items())
    return f" ({said})" if said else ""


def _number(text: str, units: dict[str, float], option: str) -> float:
    """Read a number with a unit.

    Raises:
        QueryError: it is not a number, or the unit is unknown.
    """
    found = re.fullmatch(r"([\d_,]*\.?\d+)\s*([a-zA-Z]*)", text.strip())
    if found is None or found[2].lower() not in units:
        allowed = ", ".join(unit for unit in units if unit)
        raise QueryError(f"{option} {text!r}: a number is wanted, and after it nothing or one of {allowed}")
    return float(found[1].replace(",", "").replace("_", "")) * units[found[2].lower()]


def _time(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.3g} s" if milliseconds >= 1000 else f"{milliseconds:.3g} ms"

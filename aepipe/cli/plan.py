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
    from aepipe.index.sizing import Codes, Offer

COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
BYTES = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
TIMES = {"": 1.0, "us": 1e-3, "ms": 1.0, "s": 1e3}


def plan(
    place: Place,
    rows: Annotated[str, typer.Option("--rows", help="Number of rows: 250000, 50M, 1B.", metavar="N")],
    bits: Annotated[
        int | None,
        typer.Option("--bits", min=1, help="Bits of a code; else those of the collection, or 64.", metavar="N"),
    ] = None,
    ram: Annotated[str | None, typer.Option("--ram", help="Memory of the machine: 2GB.", metavar="SIZE")] = None,
    p95: Annotated[
        str | None, typer.Option("--p95", help="Time that 95 of 100 queries may take: 5ms.", metavar="TIME")
    ] = None,
    recall: Annotated[
        float, typer.Option("--recall", min=0, max=1, help="Recall of the 10 nearest; 1 is exact.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Choose a kind of index for a number of rows; estimate its memory, disk space and time.

    The speed of a scan is measured on this machine, in a second. Distances of hits, sizes of buckets and
    the share of distinct codes are measured on the collection in service, if there is one; for more rows
    than it has, hits are assumed to be no nearer than now. Without a collection, codes are assumed to
    have no neighbours, so that all must be scanned. Figures are for one thread and one query at a time.

    Examples:
      aepipe plan --rows 50M --ram 2GB --p95 5ms
      aepipe plan --rows 1B --bits 64 --recall 0.9 --name photos
    """
    from aepipe.index import sizing

    count = round(_number(rows, COUNTS, "--rows"))
    if count < 1:
        raise QueryError(f"--rows {rows}: at least 1")
    memory = None if ram is None else round(_number(ram, BYTES, "--ram"))
    allowed = None if p95 is None else _number(p95, TIMES, "--p95")
    codes, assumed = _codes(place, bits, approximate=recall < 1)
    found = sizing.offers(count, codes, sizing.time_scan(codes.n_bits))
    wanted: dict[str, Any] = {"ram": memory, "p95": allowed, "recall": recall}
    chosen = sizing.choose(found, **wanted)
    needed = 1 if chosen else sizing.machines(found, **wanted)
    if as_json:
        figures = {"rows": count, "bits": codes.n_bits, "assumes": assumed, "offers": [asdict(one) for one in found]}
        say_json(figures | {"chosen": asdict(chosen) if chosen else None, "machines": needed})
        return
    say(f"{count:,} rows of {codes.n_bits} bits; {assumed}\n")
    say(_table(found, chosen, memory, allowed, recall))
    say(_advice(chosen, needed))


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


def _table(found: list[Offer], chosen: Offer | None, ram: int | None, p95: float | None, recall: float) -> str:
    """Return the offers as a table, with the reason against each that does not fit."""
    head = ("disk", "memory", "median", "p95", "recall", "kind", "")
    lines = []
    for one in found:
        why = [
            *(["recall is too low"] if one.recall < recall else []),
            *(["does not fit into memory"] if ram is not None and one.memory > ram else []),
            *(["too slow"] if p95 is not None and one.p95 > p95 else []),
        ]
        said = "chosen" if one is chosen else ", ".join(why) or "fits"
        sizes, times = map(size, (one.disk, one.memory)), map(_time, (one.median, one.p95))
        lines.append((*sizes, *times, f"{one.recall:.3g}", one.kind + _brackets(one), said))
    return table(head, lines, left=2)


def _advice(chosen: Offer | None, needed: int) -> str:
    """Return the lines to write into a recipe, or a way out where no kind fits."""
    if chosen is not None:
        options = "".join(f", {name} = {value}" for name, value in chosen.options.items())
        return f'\nin the recipe:  [index]\n                kind = {{ kind = "{chosen.kind}"{options} }}'
    return (
        "\nnone of these fits; what helps: more memory, fewer bits, a lower --recall, "
        f"or the rows spread over {needed:,} machines, each asked for its nearest"
    )


def _brackets(one: Offer) -> str:
    said = ", ".join(f"{name} {value}" for name, value in one.options.items())
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

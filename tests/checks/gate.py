"""The rules of the gate, and the reason of a night to train."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from aepipe.evaluate import drift as drifting
from aepipe.pipeline import update
from aepipe.pipeline.drift import measure_drift
from aepipe.pipeline.encode import encode
from aepipe.pipeline.ingest import ingest
from aepipe.release import feedback
from aepipe.store.artifacts import Ref
from aepipe.store.rows import Rows
from tests.checks.world import NAME, SHAPE, Checks, N, Said, World, brighter
from tests.support.releases import write_pictures

CHECKS = Checks()
LENIENT: dict[str, Any] = {"max_regression": 1.0, "warn_below_itq": False}
NEW = 40


def _figures(world: World, ours: float, itq: float = 0.0) -> Ref:
    """Make a release whose figure has no interval, like a measurement of any number of queries."""

    def change(scores: dict[str, Any]) -> None:
        for row in scores["rows"]:
            value = ours if row["system"] == "ours" else itq
            row["metrics"]["map_at_1000"] = {"value": value, "low": value, "high": value}

    return world.with_scores(change)


@CHECKS.add(
    "gate: health of bits",
    passes="6 of 64 bits are dead",
    names="7 are",
    says="7 of 64 bits are dead",
)
def health(world: World) -> Iterator[Said]:
    for dead in (6, 7):
        yield world.gate(world.released(world.encoder(dead=dead)), **LENIENT)


@CHECKS.add(
    "gate: figure",
    passes="as far below that in service as max_regression allows",
    names="0.0001 more",
    says="is beyond the 0.0100 allowed",
)
def regression(world: World) -> Iterator[Said]:
    world.serve(_figures(world, 0.7))
    for ours in (0.69, 0.6899):
        yield world.gate(_figures(world, ours), max_regression=0.01, warn_below_itq=False)


@CHECKS.add("gate: ITQ", passes="as good as ITQ", names="0.0001 below it", says="below ITQ's 0.7000")
def itq(world: World) -> Iterator[Said]:
    for ours in (0.7, 0.6999):
        yield world.gate(_figures(world, ours, itq=0.7), max_regression=1.0, warn_below_itq="forbid")


@CHECKS.add(
    "gate: neighbours",
    passes="all nearest neighbours are those of before",
    names="a release without one of them",
    says="min_overlap asks for 100.0%",
)
def neighbours(world: World) -> Iterator[Said]:
    for release in (world.released(world.encoder()), update.remove(world.store, world.release, np.array([0]))):
        yield world.gate(release, min_overlap=1.0, **LENIENT)


def _copy(world: World) -> tuple[str, str, int]:
    """Return the keys of a picture and of its copy, and the id of the copy."""
    keys = [row.key for row in world.release.describe(world.release.items.ids)]
    first, last = (next(key for key in keys if key.endswith(f"/{number:05d}.png")) for number in (0, N - 1))
    return first, last, world.release.id_of(last)


@CHECKS.add(
    "gate: canaries",
    passes="a picture finds its copy",
    names="a release without that copy",
    says="0 found, wanted 1 of",
)
def canaries(world: World) -> Iterator[Said]:
    key, copy, lost = _copy(world)
    file = world.folder / "canaries.toml"
    file.write_text(f'[[canary]]\nkey = "{key}"\nhits = ["{copy}"]\nwithin = 1\n')
    for release in (world.release.ref, update.remove(world.store, world.release, np.array([lost]))):
        yield world.gate(release, canaries=str(file), **LENIENT)


@CHECKS.add(
    "gate: marks",
    passes="a hit that was marked as good is found",
    names="it is marked as bad later, and found",
    says="which must not be among the first 10",
)
def marks(world: World) -> Iterator[Said]:
    key, copy, _ = _copy(world)
    for verdict in ("good", "bad"):
        feedback.add(world.store, NAME, feedback.mark(world.release, copy, verdict, key=key))
        yield world.gate(world.release.ref, feedback=True, **LENIENT)


@CHECKS.add(
    "drift",
    passes="34 new pictures of the train split like those before",
    names="the same ones, brighter by 12 of 255 levels",
    says="drift in 34 new rows: level",
)
def drift(world: World) -> Iterator[Said]:
    before = world.release.part("rows")
    held_out = Rows(world.store.path(before)).ids()[::2]
    with world.store.draft("views") as draft:
        np.save(draft.path / "held_out_ids.npy", held_out)
        views = draft.finish({"of": str(before)}, {"next_id": N})
    model = world.encoder(views=str(views))
    write_pictures(world.pictures, N + NEW + 1, SHAPE)
    for by in (0, 12):
        for file in world.pictures.rglob("*.png"):
            if by and N <= int(file.stem) < N + NEW:
                brighter(file, by)
        rows = ingest(world.store, world.plan().source, previous=before)
        found = measure_drift(world.store, model, before, rows, [encode(world.store, model, rows)])
        yield Said(not found.found, str(found))
    assert drifting.FEW <= NEW

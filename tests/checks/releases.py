"""Checks of a release: its bytes, fingerprints, figures and bits, and what differs between two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from aepipe.errors import AepipeError
from aepipe.pipeline import score, update
from aepipe.pipeline.ingest import ingest
from aepipe.release import feedback
from aepipe.store.artifacts import Ref
from tests.checks.world import Checks, Said, World, flip_one_bit
from tests.release.test_release import rewrite
from tests.test_bounds import faults, texts

CHECKS = Checks()


@CHECKS.add("verify", passes="every byte is that which was written", names="one bit of a file", says="encoder.onnx")
def verify(world: World) -> Iterator[Said]:
    yield world.aepipe("verify")
    flip_one_bit(world.file("encoder", "encoder.onnx"))
    yield world.aepipe("verify")


@CHECKS.add(
    "verify --all",
    passes="the release in service and the others are sound",
    names="one bit of one that is not in service",
    says="release.json",
)
def verify_all(world: World) -> Iterator[Said]:
    other = world.released(world.encoder(seed=1))
    yield world.aepipe("verify", "--all")
    flip_one_bit(world.store.path(other) / "release.json")
    assert world.aepipe("verify").passed
    yield world.aepipe("verify", "--all")


@CHECKS.add("promote", passes="the release is sound", names="one bit of its codes", says="codes.npy")
def promote(world: World) -> Iterator[Said]:
    sound, other = world.released(world.encoder(seed=1)), world.released(world.encoder(seed=2))
    yield world.aepipe("promote", sound.digest)
    flip_one_bit(world.file("codes", "codes.npy", other))
    yield world.aepipe("promote", other.digest)


@CHECKS.add("rollback", passes="the release before is sound", names="one bit of its codes", says="codes.npy")
def rollback(world: World) -> Iterator[Said]:
    first = world.release.ref
    world.serve(world.released(world.encoder(seed=1)))
    yield world.aepipe("rollback")
    world.serve(world.released(world.encoder(seed=2)))
    flip_one_bit(world.file("codes", "codes.npy", first))
    yield world.aepipe("rollback")


@CHECKS.add(
    "fingerprint of a release",
    passes="codes, index and encoder bear the one that the release names",
    names="its encoder is one of other weights",
    says="bears the fingerprint",
)
def fingerprint(world: World) -> Iterator[Said]:
    yield world.aepipe("verify")
    world.serve(rewrite(world.store, world.release.ref, encoder=str(world.encoder(seed=1))))
    yield world.aepipe("verify")


@CHECKS.add(
    "fingerprint of a code that was marked",
    passes="the encoder in service has made it",
    names="another one has, of the same bits",
    says="0 canaries",
)
def fingerprint_of_a_mark(world: World) -> Iterator[Said]:
    release = world.release
    mark = feedback.mark(release, release.describe([1])[0].key, "good", code=release.codes_of([0]).hex()[0])
    feedback.add(world.store, release.name, mark)
    for _ in range(2):
        found = feedback.canaries_of(world.store, world.release)
        yield Said(len(found) == 1, f"{len(found)} canaries")
        world.serve(world.released(world.encoder(seed=1)))


def _health(world: World, **changes: Any) -> Said:
    world.serve(world.released(world.encoder(**changes)))
    said = world.aepipe("evaluate").words
    return Said("NOT HEALTHY" not in said, said)


@CHECKS.add(
    "health of bits: dead",
    passes="6 of 64 bits have one value",
    names="7 have",
    says="7 of 64 bits are dead",
)
def dead_bits(world: World) -> Iterator[Said]:
    yield _health(world, dead=6)
    yield _health(world, dead=7)


@CHECKS.add(
    "health of bits: duplicates",
    passes="6 of 64 bits are copies of another",
    names="7 are",
    says="7 of 64 bits are duplicates",
)
def duplicate_bits(world: World) -> Iterator[Said]:
    yield _health(world, copies=6)
    yield _health(world, copies=7)


@CHECKS.add(
    "evaluate --again",
    passes="a release as it was made",
    names="one stored figure is larger by 0.0001",
    says="1 figures DIFFER from those in the store:\n  ours map_at_1000 value",
)
def again(world: World) -> Iterator[Said]:
    yield _again(world)

    def change(scores: dict[str, Any]) -> None:
        next(row for row in scores["rows"] if row["system"] == "ours")["metrics"]["map_at_1000"]["value"] += 1e-4

    world.serve(world.with_scores(change))
    found = _again(world)
    assert "The protocol is the same" in found.words
    yield found


@CHECKS.add(
    "evaluate --again: version of the protocol",
    passes="the figures are the same, whichever version measured them",
    names="they are others, and an earlier version measured them",
    says=f"were measured by version {score.VERSION - 1} of the protocol",
)
def protocol(world: World) -> Iterator[Said]:
    world.serve(world.with_scores(lambda _: None, version=score.VERSION - 1))
    yield _again(world)
    world.serve(world.with_scores(lambda scores: scores["protocol"].update(seed=1), version=score.VERSION - 1))
    yield _again(world)


def _again(world: World) -> Said:
    said = world.aepipe("evaluate", "--again").words
    return Said("the same figures as in the store" in said, said)


@CHECKS.add(
    "confidence",
    passes="it was measured on 100 questions",
    names="on 99",
    says="it takes 100 of them to tell",
)
def confidence(world: World) -> Iterator[Said]:
    item = str(next(world.pictures.rglob("*.png")))
    for count in (100, 99):

        def measured(scores: dict[str, Any], count: int = count) -> None:
            scores["protocol"]["n_queries"] = count
            for curve in scores["calibration"]["curves"].values():
                curve["n_queries"] = count

        world.serve(world.with_scores(measured))
        yield world.aepipe("query", item, "--min-confidence", "0.1")


@CHECKS.add(
    "copies across splits",
    passes="each picture of the test split is another one",
    names="one is a copy of one of the train split",
    says="1 of 26 queries nearly equal a database row",
)
def leaks(world: World) -> Iterator[Said]:
    first, other = (sorted((world.pictures / split).rglob("*.png"))[0] for split in ("train", "test"))
    for _ in range(2):
        rows = ingest(world.store, world.plan().source, previous=world.release.part("rows"))
        world.serve(world.released(world.encoder(), rows))
        said = world.aepipe("evaluate").words
        yield Said("nearly equal" not in said, said)
        other.write_bytes(first.read_bytes())


@CHECKS.add("diff: rows", passes="two releases of the same rows", names="one row of 131 is gone", says="0.8% are gone")
def diff(world: World) -> Iterator[Said]:
    same, fewer = world.released(world.encoder()), update.remove(world.store, world.release, np.array([0]))
    for other in (same, fewer):
        said = world.aepipe("diff", world.release.ref.digest, other.digest).words
        yield Said("0.0% are gone" in said, said)


@CHECKS.add(
    "diff: bits and neighbours",
    passes="two releases of the same encoder",
    names="one of 64 bits is always 0 in the second",
    says="encoder     another",
)
def diff_of_bits(world: World) -> Iterator[Said]:
    for model in (world.encoder(), world.encoder(dead=1)):
        other = world.released(model)
        said = world.aepipe("diff", world.release.ref.digest, other.digest).words
        yield Said("0.0% of the bits differ" in said and "100.0% of the rows find the same rows" in said, said)


def _ingested(world: World) -> Said:
    """Read the source once more."""
    found: Ref | None = None
    try:
        found = ingest(world.store, world.plan().source, previous=world.release.part("rows"))
    except AepipeError as error:
        return Said(False, str(error))
    return Said(found is not None, "")


@CHECKS.add(
    "unreadable items",
    passes="6 of 131 items, 4.6 %",
    names="7, 5.3 %",
    says="7 of 131 items (5.3%) are unreadable",
)
def unreadable(world: World) -> Iterator[Said]:
    files = sorted(world.pictures.rglob("*.png"))
    for count in (6, 7):
        for file in files[:count]:
            file.write_bytes(b"no picture")
        yield _ingested(world)


@CHECKS.add(
    "items that are gone",
    passes="65 of 131 items, 49.6 %",
    names="66, 50.4 %",
    says="66 of the 131 items of the run before are not there any more",
)
def vanished(world: World) -> Iterator[Said]:
    files = sorted(world.pictures.rglob("*.png"))
    for count in (65, 66):
        for file in files[:count]:
            with suppress(FileNotFoundError):
                file.unlink()
        yield _ingested(world)


@CHECKS.add(
    "audit",
    passes="each lower bound is as high as the one with a reason in SECURITY.md",
    names="one is lower",
    says="pillow>=12.3 is below",
)
def audit(world: World) -> Iterator[Said]:
    from packaging.version import Version

    project, security = texts()
    for bounds in (project, project | {"pillow": Version("12.3")}):
        found = list(faults(bounds, security))
        yield Said(not found, "\n".join(found))

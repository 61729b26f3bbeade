"""Tests of half an hour, for ``make soak``: nights killed at random, and 100 in a row."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from aepipe.errors import GateError, SourceError
from aepipe.release.lifecycle import verify
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import KINDS, Ref, Store
from tests.support.samples import write_photos, write_tiny

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("AEPIPE_KILLS", "50"))
NIGHTS = int(os.environ.get("AEPIPE_NIGHTS", "100"))
pytestmark = pytest.mark.skipif("AEPIPE_SOAK" not in os.environ, reason="takes half an hour: make soak")


def start(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start a night in a process group of its own."""
    words = [sys.executable, "-m", "aepipe", "nightly", "tiny.toml", "--home", "store", *more]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    with (folder / "night.log").open("ab") as log:
        return subprocess.Popen(
            words, cwd=folder, env=env | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log, start_new_session=True
        )


def change(folder: Path, number: int) -> set[str]:
    """Add, change and remove pictures, and return the present keys."""
    photos = folder / "photos"
    write_photos(photos, start=200 + 4 * number, count=4)
    files = sorted(photos.rglob("*.png"))
    files[number % 50].unlink()
    shutil.copy(files[60 + number], files[61 + number])
    return {str(path.relative_to(photos)) for path in photos.rglob("*.png")}


def whole(store: Store) -> dict[Ref, int]:
    """Check every byte of a store, and return each artifact with the time it was written."""
    fresh = Store(store.root)
    return {ref: fresh.verified(ref).stat().st_mtime_ns for kind in KINDS for ref in store.refs(kind)}


def answers(store: Store) -> Release:
    """Query the release in service, and return it."""
    release = Release.open(Store(store.root), "tiny")
    assert len(release.query(release.codes_of(release.items.ids[:5]), 10).ids) == 5
    return release


def test_a_night_is_killed_at_random_moments(tmp_path: Path) -> None:
    """After a kill the release in service answers, nothing is damaged, the next night completes."""
    tiny = write_tiny(tmp_path, count=200, epochs=4)
    tiny.write_text(tiny.read_text() + "\n[gate]\nmax_regression = 1.0\n")
    store, rng = Store(tmp_path / "store"), np.random.default_rng(0)
    took = {words: _complete(tmp_path, *words) for words in ((), ("--retrain", "always"))}
    killed, in_service = 0, 0
    for number in range(3 * KILLS):
        if killed == KILLS:
            break
        keys, before = change(tmp_path, number), registry.current(store, "tiny")
        words = ("--retrain", "always") if number % 2 else ()
        process = start(tmp_path, *words)
        try:
            process.wait(rng.uniform(0.1, 1.0) * took[words])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            in_service += registry.current(store, "tiny") != before
        answers(store)
        there = whole(store)
        took[words] = _complete(tmp_path, *words)
        assert set(answers(store).items.column("key")) == keys
        assert there.items() <= whole(store).items(), "what was finished is not done again"
    print(f"{killed} nights were killed, {in_service} of them after something was put into service")
    assert killed == KILLS


def _complete(folder: Path, *words: str) -> float:
    began = time.monotonic()
    assert start(folder, *words).wait() == 0, (folder / "night.log").read_text()
    return time.monotonic() - began


@dataclass
class Nights:
    """Counts over 100 nights, and the number of artifacts after each."""

    quiet: int = 0
    renewed: int = 0
    trained: int = 0
    refused: int = 0
    artifacts: list[int] = field(default_factory=list)


@pytest.mark.usefixtures("prefect")
def test_a_hundred_nights(tmp_path: Path) -> None:
    """The store stays bounded, quiet nights do nothing, and bad ones are refused."""
    tiny = write_tiny(tmp_path, count=240, epochs=6)
    tiny.write_text(tiny.read_text() + "\n[views]\nholdout = 0.25\n\n[gate]\nmax_regression = 0.1\n")
    recipe, store, found = tiny.read_text(), Store(tmp_path / "store"), Nights()
    for number in range(NIGHTS):
        before = answers(store) if number else None
        kind = _happens(tmp_path, number)
        if kind == "bad recipe":
            tiny.write_text(recipe.replace("bits = 32", "bits = 1"))
        try:
            done = _night(tiny, store)
        except (GateError, SourceError):
            assert kind.startswith("bad"), kind
            assert before is not None
            assert registry.current(store, "tiny") == before.ref
            found.refused += 1
            done = []
        else:
            assert not kind.startswith("bad"), done
        tiny.write_text(recipe)
        for file in (tmp_path / "photos").glob("torn*.png"):
            file.unlink()
        if kind == "quiet" and before is not None:
            assert done == ["nothing has changed"]
            assert answers(store).ref == before.ref
            found.quiet += 1
        found.renewed += any(one.startswith("renewed") for one in done)
        found.trained += any(one.startswith("trained") for one in done)
        found.artifacts.append(sum(len(store.refs(one)) for one in KINDS))
        release = answers(store)
        keys = {str(path.relative_to(tmp_path / "photos")) for path in (tmp_path / "photos").rglob("*.png")}
        assert set(release.items.column("key")) == keys, "no row is lost, and none stays that is gone"
        assert verify(store, release.ref)
    print(found)
    assert found.refused == len([n for n in range(NIGHTS) if n in {40, 70}])
    assert found.quiet >= NIGHTS // 5
    assert found.trained >= (2 if NIGHTS > 55 else 1), "the first night, and the drift"
    assert max(found.artifacts) < 150, found.artifacts
    assert np.mean(found.artifacts[-10:]) < 1.5 * np.mean(found.artifacts[NIGHTS // 3 : NIGHTS // 2]), found.artifacts


def _night(tiny: Path, store: Store) -> list[str]:
    """Run one night, and return what it did."""
    from flows.nightly import nightly
    from flows.quiet import Rules

    done: list[str] = nightly(str(tiny), shelf=str(store.root), rules=Rules(keep=3, hours=0.0))["done"]
    return done


def _happens(folder: Path, number: int) -> str:
    """Change the source for a night, and return the kind of change."""
    photos = folder / "photos"
    if number == 40:
        return "bad recipe"
    if number == 70:
        for torn in range(200):
            (photos / f"torn{torn}.png").write_bytes(b"no picture")
        return "bad files"
    if number == 55:
        for place, file in enumerate(sorted(photos.rglob("*.png"))[:80]):
            with Image.open(file) as image:
                Image.fromarray(255 - np.asarray(image.convert("L"))).save(file.with_name(f"negative{place}.png"))
        return "drift"
    if number % 3 == 0:
        return "quiet"
    write_photos(photos, start=240 + 3 * number, count=3)
    if number % 3 == 2:
        for file in sorted(photos.rglob("*.png"))[number % 7 : number % 7 + 3]:
            file.unlink()
    return "growth"

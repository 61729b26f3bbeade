"""An id is given once in the life of a collection, whatever is done to it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from PIL import Image

from aepipe.errors import CorruptError, NotFoundError
from aepipe.pipeline import update
from aepipe.pipeline.compact import compact, merge_rows
from aepipe.pipeline.export.file import export_file
from aepipe.pipeline.ingest import ingest_next
from aepipe.release import gc as collector
from aepipe.release import lifecycle
from aepipe.release.release import Release
from aepipe.store import layout, registry
from aepipe.store.artifacts import Ref, Store
from tests.support.releases import bare_plan, make_release, pictures_of, publish_rows

N = 12
SHAPE = (8, 8, 1)
NAME = "pictures"


def write_picture(store: Store, number: int) -> Path:
    """Put a picture with a name of its own into the collection."""
    file = pictures_of(store) / "train" / "class0" / f"new{number:03d}.png"
    pixels = np.random.default_rng(number).integers(0, 256, SHAPE[:2], dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def refresh(store: Store, *, promote: bool = True) -> Ref:
    """Read the collection anew, as a night does, and make a release of it."""
    before = lifecycle.last_sound(store, NAME)
    rows = ingest_next(store, bare_plan(store, shape=SHAPE).source, NAME, merge_rows(store, before) if before else None)
    model = next(iter(store.refs("model")))
    ref = publish_rows(store, bare_plan(store, shape=SHAPE), rows, model)
    if promote:
        registry.promote(store, NAME, ref, why="a test")
    return ref


class Life(RuleBasedStateMachine):
    """A collection, and a plain model of it: which key each id has ever meant."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aepipe-ids-"))
        self.store = Store(self.folder / "store")
        make_release(self.store, n=N, shape=SHAPE)
        self.written = 0
        self.meant: dict[int, str] = {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def serve(self, ref: Ref | None) -> None:
        if ref is not None:
            registry.promote(self.store, NAME, ref, why="a test")

    @property
    def release(self) -> Release:
        return Release.open(self.store, NAME)

    @rule(count=st.integers(1, 3), named=st.booleans())
    def add(self, count: int, named: bool) -> None:
        files = [write_picture(self.store, self.written + n) for n in range(count)]
        self.written += count
        if named:
            self.serve(
                update.add(self.store, self.release, update.sources_of(self.release, list(map(str, files)))).release
            )

    @rule(place=st.integers(0, 10_000))
    @precondition(lambda self: len(self.release) > N)
    def remove(self, place: int) -> None:
        ids = self.release.items.ids
        self.serve(update.remove(self.store, self.release, ids[[place % len(ids)]]))

    @rule(place=st.integers(0, 10_000))
    def delete(self, place: int) -> None:
        files = sorted(pictures_of(self.store).rglob("new*.png"))
        if files:
            files[place % len(files)].unlink()

    @rule(promote=st.booleans())
    def refresh(self, promote: bool) -> None:
        self.see(Release.open(self.store, ref=refresh(self.store, promote=promote)))

    @rule()
    @precondition(lambda self: self.release.changed)
    def compact(self) -> None:
        self.serve(compact(self.store, self.release))

    @rule(place=st.integers(0, 10_000))
    def promote(self, place: int) -> None:
        refs = self.store.refs("release")
        self.serve(refs[place % len(refs)])

    @rule()
    def roll_back(self) -> None:
        try:
            ref = registry.previous(self.store, NAME)
        except NotFoundError:
            return
        if self.store.has(ref):
            registry.promote(self.store, NAME, ref, why="a test", action="rollback")

    @rule()
    def tidy(self) -> None:
        collector.clean(self.store, keep=1, hours=0.0)

    @rule()
    def lose_the_log(self) -> None:
        (self.store.root / layout.Root.LOG).unlink(missing_ok=True)

    @rule()
    def lose_the_highest_id(self) -> None:
        (self.store.root / layout.Root.IDS / NAME).unlink(missing_ok=True)

    @rule()
    def back_up(self) -> None:
        shutil.rmtree(self.folder / "backup", ignore_errors=True)
        shutil.copytree(self.store.root, self.folder / "backup")

    @rule()
    @precondition(lambda self: (self.folder / "backup").exists())
    def restore(self) -> None:
        """Copy the backup over the store; what was made since then stays."""
        shutil.copytree(self.folder / "backup", self.store.root, dirs_exist_ok=True)

    @invariant()
    def each_id_means_one_key(self) -> None:
        self.see(self.release)

    def see(self, release: Release) -> None:
        """Compare every row that can be seen, and that is exported, with what its id meant before."""
        rows = release.describe(release.items.ids)
        for row in rows:
            assert self.meant.setdefault(row.id, row.key) == row.key
        export_file(self.store, release.ref, self.folder / "rows.jsonl", embeddings=False)
        exported = map(json.loads, (self.folder / "rows.jsonl").read_text().splitlines())
        assert {one["id"]: one["key"] for one in exported} == {row.id: row.key for row in rows}
        hits = release.query(release.codes_of(release.items.ids[:2]), 3)
        assert set(hits.ids[hits.ids >= 0].tolist()) <= set(release.items.ids.tolist())


ALL = "AEPIPE_SOAK" in os.environ
Life.TestCase.settings = settings(
    max_examples=int(os.environ.get("AEPIPE_LIVES", "200" if ALL else "12")),
    stateful_step_count=30 if ALL else 14,
    deadline=None,
    derandomize=not ALL,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLife = Life.TestCase


def test_ids_of_a_release_that_is_gone_are_not_given_again(store: Store) -> None:
    first = make_release(store, n=N, shape=SHAPE)
    files = [write_picture(store, n) for n in range(3)]
    second = refresh(store)
    given = Release.open(store, ref=second).items.ids.max()
    registry.promote(store, NAME, first, why="a test", action="rollback")
    for file in files:
        file.unlink()
    collector.collect(store, collector.Garbage((second,), (), 0, ()))
    assert store.refs("release") == [first]
    write_picture(store, 9)
    new = Release.open(store, ref=refresh(store))
    assert new.items.ids.max() == given + 1


def test_a_refused_release_is_the_same_the_next_night(store: Store) -> None:
    make_release(store, n=N, shape=SHAPE)
    write_picture(store, 0)
    refused = refresh(store, promote=False)
    assert refresh(store, promote=False) == refused


def test_a_damaged_file_of_the_highest_id_is_named(store: Store) -> None:
    make_release(store, n=N, shape=SHAPE)
    file = store.root / layout.Root.IDS / NAME
    assert file.read_text() == f"{N}\n"
    file.write_text("none")
    with pytest.raises(CorruptError, match="corrupt, not one line with a number"):
        refresh(store)
    file.unlink()
    assert lifecycle.next_id(store, NAME) == N, "the releases know it, too"

"""Collections in parts that keep the features of a sample: the same codes and answers, and less on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import aepipe
from aepipe.engines.local import Local
from aepipe.errors import QueryError, RecipeError, SourceError
from aepipe.pipeline.compact import compact
from aepipe.pipeline.encode import encode_all
from aepipe.pipeline.export.rows import Exporting
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.update import add, remove, sources_of
from aepipe.recipe import Recipe, load
from aepipe.release import gc, lifecycle
from aepipe.release.release import Release
from aepipe.sources import listing, resolve
from aepipe.sources.item import Source
from aepipe.store import layout, registry
from aepipe.store.artifacts import Ref, Store
from aepipe.store.row_files import columns_of
from aepipe.store.rows import Rows
from tests.support.encoders import write_encoder
from tests.support.plain_flows import plain_flows, write_collection

SHARE = 0.4
N = 90
NAME = "tiny"


@pytest.fixture(scope="module", autouse=True)
def _plain() -> Iterator[None]:
    with plain_flows(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(listing, "FRESH", -1e9)  # the files are new, and listings are compared
        yield


def written(folder: Path, name: str, source: str = "", numbers: range = range(N)) -> Path:
    """Write a recipe that learns from a sample, with further lines under ``[source]``, and its pictures."""
    file = write_collection(folder, numbers=numbers)
    text = file.read_text().replace('label = "parent"', f'label = "parent"\n{source}')
    recipe = folder / f"{name}.toml"
    recipe.write_text(f"{text}\n[views]\nsample = {SHARE}\n")
    return recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """Stores with one collection: in one table, in parts, and in parts that keep a sample."""
    folder, stores = tmp_path_factory.mktemp("kept"), {}
    for name, source in (("one", ""), ("parts", "part = 12"), ("sample", 'part = 12\nkeep = "sample"')):
        stores[name] = Store(folder / name)
        aepipe.run(written(folder, name, source), home=folder / name)
    return stores


def opened_rows(store: Store) -> tuple[Ref, Ref]:
    """The rows in service, and their encoder."""
    return opened(store).part("rows"), opened(store).part("encoder")


def opened(store: Store) -> Release:
    return Release.open(store, NAME)


def rows_of(store: Store) -> Rows:
    return Rows(store.verified(opened(store).part("rows")))


def answers(release: Release) -> list[Any]:
    """What a release says: ids, keys, codes, embeddings, and the nearest rows."""
    ids = release.items.ids
    codes = release.codes_of(ids)
    hits = release.query(codes, 10)
    found = [ids.tolist(), list(release.items.column("key")), codes.hex(), hits.ids.tolist(), hits.distances.tolist()]
    return [*found, release.segments.embeddings_of(ids).tolist()]


def test_codes_answers_and_scores_are_those_of_all_features(made: dict[str, Store]) -> None:
    found = {name: answers(opened(store)) for name, store in made.items()}
    assert found["one"] == found["parts"] == found["sample"]
    scores = [opened(store).scores for store in made.values()]
    assert scores[0] == scores[1] == scores[2]
    codes = {
        name: [store.manifest(ref).outputs for ref in opened(store).all_parts("codes")] for name, store in made.items()
    }
    assert codes["parts"] == codes["sample"]
    assert len(codes["parts"]) > 5


def test_only_the_sample_has_features(made: dict[str, Store]) -> None:
    every, some = rows_of(made["parts"]), rows_of(made["sample"])
    there = some.with_features
    assert 0 < there.sum() == every.sampled(SHARE).sum() < N / 2
    assert (there == every.sampled(SHARE)).all()
    assert (some.features(mask=there) == every.features(mask=there)).all()
    assert some.ids().tolist() == every.ids().tolist()
    assert (some.sha256() == every.sha256()).all()
    nulls = sum(columns_of(file, ["features"]).column("features").null_count for file in some._parts)
    assert nulls == N - there.sum()
    number = int(np.flatnonzero(~there)[0])
    for ask in (some.features, lambda: some.feature(number), lambda: list(some.batches(8))):
        with pytest.raises(QueryError, match=r"no features in the store.*keep = 'all'"):
            ask()


def test_training_and_scores_read_the_sample(made: dict[str, Store]) -> None:
    for store in made.values():
        (views,) = store.refs("views")
        facts = store.manifest(views).facts
        train = rows_of(store).of_split("train") & rows_of(store).sampled(SHARE)
        assert facts["train"] + facts["held_out"] == train.sum()
        assert opened(store).scores["protocol"]["n_database"] == train.sum()


def plan_of(store: Store) -> tuple[Recipe, Source]:
    read = load(store.root.parent / f"{store.root.name}.toml")
    return read, resolve(read)


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_that_were_not_kept_are_decoded_and_encoded_in_one_pass(made: dict[str, Store], threads: int) -> None:
    store = made["sample"]
    release = opened(store)
    before = release.all_parts("codes")
    wanted = {ref: store.manifest(ref).outputs for ref in before}
    kept = {kind: sorted(store.refs(kind)) for kind in ("rows", "listing", "segment")}
    for ref in before:
        store.remove(ref)
    recipe, source = plan_of(store)
    again = encode_all(
        store, release.part("encoder"), release.part("rows"), engine=Local(threads), source=(source, recipe)
    )
    assert {ref: store.manifest(ref).outputs for ref in again} == wanted
    assert {kind: sorted(store.refs(kind)) for kind in kept} == kept, "nothing is stored in between"


def test_another_process_decodes_again_by_the_recipe(made: dict[str, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    from aepipe.pipeline.parts import opened as sources

    store = made["sample"]
    release = opened(store)
    wanted = release.all_parts("codes")[:1]
    outputs = store.manifest(wanted[0]).outputs
    store.remove(wanted[0])

    class Elsewhere(Local):
        def map(self, work: Any, parts: Any, needs: Any) -> Any:
            monkeypatch.setattr(sources, "_here", {})
            yield from super().map(work, parts, needs)

    recipe, source = plan_of(store)
    encode_all(store, release.part("encoder"), release.part("rows"), engine=Elsewhere(1), source=(source, recipe))
    assert store.manifest(wanted[0]).outputs == outputs


def start(tmp_path: Path, source: str = 'part = 12\nkeep = "sample"') -> tuple[Path, Store]:
    """A collection of its own that a test may change."""
    recipe = written(tmp_path, "own", source, range(60))
    home = tmp_path / "store"
    aepipe.run(recipe, home=home)
    return recipe, Store(home)


def change(folder: Path) -> None:
    """Replace a picture, add one, and remove one."""
    drawn = np.random.default_rng(3)
    for name in ("class0/002.png", "class0/new.png"):
        Image.fromarray(drawn.integers(0, 256, (8, 8), np.uint8)).save(folder / NAME / name)
    (folder / NAME / "class1" / "005.png").unlink()


def test_nights_and_changes_are_those_of_all_features(tmp_path: Path) -> None:
    """Rows are added and removed, all is merged, the source changes: each time both answer the same."""
    write_collection(tmp_path / "more", numbers=range(100, 106))
    found = []
    for name, source in (("all", "part = 12"), ("some", 'part = 12\nkeep = "sample"')):
        recipe, store = start(tmp_path / name, source)
        steps = [opened(store)]
        more = sources_of(steps[0], [str(tmp_path / "more" / NAME)])
        steps.append(Release.open(store, ref=add(store, steps[0], more).release))
        steps.append(Release.open(store, ref=remove(store, steps[1], np.array([7, 62]))))
        steps.append(Release.open(store, ref=compact(store, steps[2])))
        registry.promote(store, NAME, steps[-1].ref, why="a test")
        change(tmp_path / name)
        aepipe.nightly(recipe, home=store.root)
        steps.append(opened(store))
        exported = [len(one) for one in Exporting.of(store, steps[3].ref, embeddings=False).groups()]
        found.append(([answers(one) for one in steps], exported))
        assert lifecycle.check_all(store).damage == ()
    assert found[0] == found[1]
    assert Rows(store.path(steps[3].part("rows"))).kept == SHARE
    with pytest.raises(QueryError, match="--no-embeddings"):
        Exporting.of(store, steps[3].ref)


def test_gc_keeps_what_is_decoded_again(made: dict[str, Store]) -> None:
    store = made["sample"]
    gc.clean(store, keep=1, hours=0)
    listings = [one for one in store.refs("listing") if store.output(one, layout.Listing.TABLE)]
    assert len(listings) == len(store.parts(opened(store).part("rows")))
    recipe, source = plan_of(store)
    wanted, (rows, model) = opened(store).all_parts("codes"), opened_rows(store)
    for ref in wanted:
        store.remove(ref)
    assert encode_all(store, model, rows, source=(source, recipe)) == wanted


@dataclass(frozen=True)
class Bare:
    """A collection of its own that a test may change, with an encoder that was not trained."""

    folder: Path
    recipe: Path
    store: Store
    rows: Ref
    model: Ref

    @classmethod
    def of(cls, recipe: Path, home: str | Path) -> Bare:
        store, source = Store(home), resolve(load(recipe))
        with store.draft("model") as draft:
            write_encoder(draft.path, shape=source.shape, hidden=(8,), n_bits=16, features=source.features())
            model = draft.finish({"seed": 0})
        return cls(recipe.parent / NAME, recipe, store, ingest(store, source), model)

    def encode(self, rows: Ref | None = None) -> list[Ref]:
        read = load(self.recipe)
        return encode_all(self.store, self.model, rows or self.rows, source=(resolve(read), read))


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    return Bare.of(written(tmp_path, "own", 'part = 12\nkeep = "sample"', range(60)), tmp_path / "store")


def test_files_with_new_times_are_found_where_they_are_now(bare: Bare) -> None:
    codes = bare.encode()
    os.utime(bare.folder / "class0" / "004.png", (1, 1))
    again = ingest(bare.store, resolve(load(bare.recipe)), previous=bare.rows)
    assert bare.store.parts(again) == bare.store.parts(bare.rows)
    assert again != bare.rows, "another listing is read again"
    assert bare.encode(again) == codes


@pytest.mark.parametrize("how", ["changed", "gone", "unlisted"])
def test_what_cannot_be_decoded_again_is_said(bare: Bare, how: str) -> None:
    rows = Rows(bare.store.path(bare.rows))
    key = rows.keys()[int(np.flatnonzero(~rows.with_features)[0])]
    if how == "changed":
        (bare.folder / key).write_bytes((bare.folder / rows.keys()[-1]).read_bytes())
    elif how == "gone":
        (bare.folder / key).unlink()
    else:
        for ref in bare.store.refs("listing"):
            if bare.store.output(ref, layout.Listing.TABLE):
                bare.store.remove(ref)
    said = "is not in the store.*; run again" if how == "unlisted" else f"{key}: has changed since it was listed"
    with pytest.raises(SourceError, match=said):
        bare.encode()


def test_features_come_back_where_all_are_kept_again(bare: Bare, tmp_path: Path) -> None:
    bare.recipe.write_text(bare.recipe.read_text().replace('keep = "sample"\n', ""))
    source, fresh = resolve(load(bare.recipe)), Store(tmp_path / "fresh")
    whole = Rows(bare.store.verified(ingest(bare.store, source, previous=bare.rows)))
    assert whole.kept == 1
    assert (whole.features() == Rows(fresh.verified(ingest(fresh, source))).features()).all()
    assert whole.ids().tolist() == Rows(bare.store.path(bare.rows)).ids().tolist()


def test_a_small_collection_keeps_all(tmp_path: Path) -> None:
    read = load(written(tmp_path, "small", 'keep = "sample"', range(30)))
    store = Store(tmp_path / "store")
    assert Rows(store.verified(ingest(store, resolve(read)))).kept == 1


def test_a_sample_has_to_be_named(tmp_path: Path) -> None:
    recipe = written(tmp_path, "own", 'part = 12\nkeep = "sample"', range(8))
    recipe.write_text(recipe.read_text().replace(f"sample = {SHARE}", ""))
    with pytest.raises(RecipeError, match=r"source.keep: 'sample' needs a sample below 1 under \[views\]"):
        resolve(load(recipe))


def test_a_larger_sample_holds_a_smaller_one(made: dict[str, Store]) -> None:
    rows = rows_of(made["one"])
    small, large = rows.sampled(0.2), rows.sampled(0.5)
    assert 0 < small.sum() < large.sum() < N
    assert not (small & ~large).any()
    assert rows.sampled(1).all()


KILLED = """
import os, signal, sys
from pathlib import Path
from aepipe.pipeline import encode
from aepipe.recipe import load
from aepipe.sources import resolve
from aepipe.store.artifacts import Ref, Store
usual, count = encode._encode, []
def killed(*args, **more):
    usual(*args, **more)
    count.append(0)
    if len(count) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
encode._encode = killed
recipe, home, model, rows = sys.argv[1:]
read = load(Path(recipe))
encode.encode_all(Store(home), Ref.parse(model), Ref.parse(rows), source=(resolve(read), read))
"""


def test_after_a_kill_only_what_is_missing_is_made(bare: Bare, tmp_path: Path) -> None:
    store = bare.store
    command = [sys.executable, "-c", KILLED, str(bare.recipe), str(store.root), str(bare.model), str(bare.rows)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    made = {ref: store.used(ref) for ref in store.refs("segment")}
    codes = bare.encode()
    assert set(made) < set(codes)
    assert 1 <= len(made) <= 2
    assert not list(store.root.glob("*/.tmp-*")), "drafts of the dead are swept"
    wanted = {ref: store.manifest(ref).outputs for ref in codes}
    for ref in codes:
        store.remove(ref)
    assert {ref: store.manifest(ref).outputs for ref in bare.encode()} == wanted


def test_on_object_storage_too(bare: Bare, bucket: str) -> None:
    there = Bare.of(bare.recipe, bucket)
    assert there.rows == bare.rows
    wanted = {ref: bare.store.manifest(ref).outputs for ref in bare.encode()}
    assert {ref: there.store.manifest(ref).outputs for ref in there.encode()} == wanted

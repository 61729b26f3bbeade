"""Nights with faults: a wrong clock, torn files, a source that vanishes, flipped bits."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
time_machine = pytest.importorskip("time_machine")

from aepipe.errors import CorruptError, SourceError
from aepipe.pipeline import ingest
from aepipe.release.release import Release
from aepipe.sources import loader
from aepipe.store import registry
from aepipe.store.artifacts import KINDS, Store
from aepipe.store.rows import Rows
from tests.support.samples import write_photos, write_tiny

pytestmark = pytest.mark.usefixtures("prefect")


def night(tiny: Path, store: Store, **rules: Any) -> dict[str, Any]:
    """Run one night."""
    from flows.nightly import nightly
    from flows.quiet import Rules

    return nightly(str(tiny), shelf=str(store.root), rules=Rules(**rules))


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Path:
    """A folder with a collection after its first night, kept for all tests."""
    folder = tmp_path_factory.mktemp("nights")
    recipe = write_tiny(folder / "now", count=160, epochs=2)
    recipe.write_text(recipe.read_text() + "\n[gate]\nmax_regression = 1.0\n")
    night(recipe, Store(folder / "now" / "shelf"))
    shutil.copytree(folder / "now", folder / "kept")
    return folder


@pytest.fixture
def tiny(first_night: Path) -> Path:
    """The collection as it was, in the place where it was: rows know where they lie."""
    shutil.rmtree(first_night / "now")
    shutil.copytree(first_night / "kept", first_night / "now")
    return first_night / "now" / "tiny.toml"


@pytest.fixture
def store(tiny: Path) -> Store:
    """Its store."""
    return Store(tiny.parent / "shelf")


def answers(store: Store) -> Release:
    """Check every byte of the release in service and query it, and return it."""
    fresh = Store(store.root)
    for kind in KINDS:
        for ref in fresh.refs(kind):
            fresh.verified(ref)
    release = Release.open(fresh)
    assert len(release.query(release.codes_of(release.items.ids[:5]), 10).ids) == 5
    return release


def digests(store: Store) -> dict[str, str]:
    """Return the sha256 behind each row of the release in service, by key."""
    rows = Rows(store.path(answers(store).part("rows")))
    return dict(zip(rows.keys(), (bytes(one).hex() for one in rows.sha256()), strict=True))


def files(tiny: Path) -> dict[str, str]:
    """Return the sha256 of the present files, by key."""
    photos = tiny.parent / "photos"
    return {
        str(path.relative_to(photos)): hashlib.sha256(path.read_bytes()).hexdigest() for path in photos.rglob("*.png")
    }


def test_a_clock_that_was_set_back_a_day(tiny: Path, store: Store) -> None:
    """The next night goes into service and can be rolled back; nothing counts as old or lost."""
    first = Release.open(store).ref
    write_photos(tiny.parent / "photos", start=160, count=10)
    with time_machine.travel(datetime.now(UTC) - timedelta(days=1), tick=True):
        assert night(tiny, store, keep=1)["done"][0].startswith("renewed: 10 new")
        second = answers(store).ref
        assert digests(store) == files(tiny)
        assert not night(tiny, store, keep=1)["changed"]
        assert [event.after for event in registry.history(store)] == [first.digest, second.digest]
        assert registry.previous(store, "tiny") == first
        assert store.has(first), "a rollback goes to it"
    assert not night(tiny, store)["changed"]


@contextmanager
def meddling(act: Callable[[int], None]) -> Iterator[None]:
    """Do something over and over while the block runs."""
    over = threading.Event()

    def work() -> None:
        number = 0
        while not over.is_set():
            act(number)
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_files_that_change_while_they_are_read(tiny: Path, store: Store) -> None:
    """A row holds a whole file as it once was, or is in quarantine; quiet nights catch up."""
    some = sorted((tiny.parent / "photos").rglob("*.png"))[::10]
    contents = [path.read_bytes() for path in some]

    def change(number: int) -> None:
        place = number % len(some)
        whole = contents[(place + number) % len(some)]
        some[place].write_bytes(whole[: len(whole) // 2])  # as a slow writer leaves a file for a moment
        some[place].write_bytes(whole)

    write_photos(tiny.parent / "photos", start=160, count=10)
    with meddling(change), suppress(SourceError):  # too many files may be half written
        night(tiny, store)
    known = {hashlib.sha256(one).hexdigest() for one in contents}
    still = {key: digest for key, digest in files(tiny).items() if digest not in known}
    assert set(digests(store).values()) <= known | set(still.values()), "no row was made of half a file"
    night(tiny, store)
    assert digests(store) == files(tiny)


def test_a_third_of_the_files_are_torn(tiny: Path, store: Store) -> None:
    """The night fails with names and reasons; mended files give the next release."""
    before, photos = answers(store).ref, sorted((tiny.parent / "photos").rglob("*.png"))
    kept = {path: path.read_bytes() for path in photos[::3]}
    for path, whole in kept.items():
        path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"54 of 160 .*\n?.*quarantine-tiny\.parquet") as caught:
        night(tiny, store)
    assert photos[0].name in str(caught.value)
    assert answers(store).ref == before
    for path, whole in kept.items():
        path.write_bytes(whole)
    assert not night(tiny, store)["changed"]


def test_a_source_that_goes_away_while_it_is_read(tiny: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were listed and have vanished count as unreadable; the old release answers."""
    before, photos = answers(store).ref, tiny.parent / "photos"
    real, seen = loader.read_all, []

    def unmounting(*given: Any, **options: Any) -> Iterator[Any]:
        for outcome in real(*given, **options):
            seen.append(outcome)
            if len(seen) == 40:
                photos.rename(tiny.parent / "gone")
            yield outcome

    write_photos(photos, start=160, count=10)
    with monkeypatch.context() as patched:
        patched.setattr(ingest, "read_all", unmounting)
        with pytest.raises(SourceError):
            night(tiny, store)
    assert answers(store).ref == before
    with pytest.raises(SourceError, match="photos"):
        night(tiny, store)
    assert answers(store).ref == before
    shutil.move(tiny.parent / "gone", photos)
    assert night(tiny, store)["done"][0].startswith("renewed: 10 new")


def test_every_bit_counts(tiny: Path, store: Store) -> None:
    """A flipped bit in any file of the release in service is found; the error names the file."""
    release = answers(store)
    for ref in sorted({ref for _, ref in release.parts} | {release.ref}):
        for file in sorted(path for path in store.path(ref).rglob("*") if path.is_file()):
            with flipped(file), pytest.raises(CorruptError, match=ref.digest[:8]):
                Store(store.root).verified(ref)
    answers(store)


def test_a_night_reads_what_is_in_service(tiny: Path, store: Store) -> None:
    """A flipped bit fails a quiet night; once deleted, the artifact is made again."""
    index = store.path(answers(store).part("index"))
    with flipped(index / "codes.faiss"), pytest.raises(CorruptError, match=r"codes\.faiss: corrupt.*Delete"):
        night(tiny, store)
    assert not night(tiny, store)["changed"]
    shutil.rmtree(index)
    assert night(tiny, store)["done"]
    assert digests(store) == files(tiny)


@contextmanager
def flipped(file: Path) -> Iterator[None]:
    """Flip a bit in the middle of a file while the block runs."""
    whole = file.read_bytes()
    place = len(whole) // 2
    file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    try:
        yield
    finally:
        file.write_bytes(whole)

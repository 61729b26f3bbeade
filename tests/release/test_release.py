"""A release opens whole or not at all, and answers with the codes of its encoder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import CodeError, CorruptError, FingerprintError, NotFoundError, QueryError
from aepipe.release.lifecycle import VerifyReport, check_release, last_sound, verify
from aepipe.release.prefix import Prefix
from aepipe.release.release import Release
from aepipe.sources.images.decode import decode
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.support.encoders import write_encoder
from tests.support.releases import make_release, pictures_of

N = 60


@pytest.fixture(scope="module")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Ref]:
    """A store with a release that no test may change."""
    store = Store(tmp_path_factory.mktemp("releases") / "store")
    return store, make_release(store, n=N)


@pytest.fixture
def copied(full_store: tuple[Store, Ref], tmp_path: Path) -> tuple[Store, Ref]:
    """A copy of it, to be damaged."""
    shutil.copytree(full_store[0].root, tmp_path / "copy")
    return Store(tmp_path / "copy"), full_store[1]


@pytest.fixture
def release(full_store: tuple[Store, Ref]) -> Release:
    """The release, opened."""
    return Release.open(full_store[0])


def folder_of(store: Store, ref: Ref, what: str) -> Path:
    """The folder of one part of a release."""
    part = dict(Release.open(store, ref=ref).parts)[what]
    return store.root / part.kind / part.digest


def rewrite(store: Store, ref: Ref, **changes: Any) -> Ref:
    """Write a release anew with other contents, sealed."""
    body = json.loads((store.path(ref) / "release.json").read_text()) | changes
    with store.draft("release") as draft:
        (draft.path / "release.json").write_text(json.dumps(body))
        return draft.finish({"rewritten": body})


def other_encoder(store: Store) -> Ref:
    """Put an encoder with other weights in the store."""
    with store.draft("model") as draft:
        write_encoder(draft.path, seed=9)
        return draft.finish({"other": True})


def test_it_knows_what_it_is(full_store: tuple[Store, Ref], release: Release) -> None:
    assert (release.name, release.ref, release.n_bits, len(release)) == ("pictures", full_store[1], 64, N)
    assert release.fingerprint == release.encoder.fingerprint == release.index.fingerprint
    assert release.recipe["name"] == "pictures"
    assert release.scores["protocol"]["n_bits"] == 64
    assert Release.open(full_store[0], "pictures").ref == Release.open(full_store[0], ref=full_store[1]).ref


def test_a_picture_of_the_collection_finds_itself_at_distance_0(
    full_store: tuple[Store, Ref], release: Release
) -> None:
    folder = pictures_of(full_store[0])
    for row_id in (0, 7, N - 1):
        row = release.describe([row_id])[0]
        item = decode((folder / row.place).read_bytes(), key=row.key, size=(28, 28), color="gray")
        hits = release.query(item[None], N)
        ids, distances = hits.of(0)
        assert row_id in ids[distances == 0]
        np.testing.assert_array_equal(release.codes_of([row_id]).packed, release.encode(item[None]).packed)


def test_the_copy_of_a_picture_is_another_row_with_the_same_code(release: Release) -> None:
    keys = {release.describe([i])[0].key: i for i in range(N)}
    first, last = (next(i for key, i in keys.items() if key.endswith(f"/{n:05d}.png")) for n in (0, N - 1))
    ids, distances = release.query(release.codes_of([first]), 2).of(0)
    assert ids.tolist() == sorted([first, last])
    assert distances.tolist() == [0, 0]


def test_query_within_and_where_agree(release: Release) -> None:
    code = release.codes_of([3])
    distances = release.codes_of(range(N)).distances(code)[:, 0]
    ranked = sorted((int(far), row) for row, far in enumerate(distances))
    assert release.query(code, N).ids[0].tolist() == [row for _, row in ranked]
    assert release.within(code, 9).of(0)[0].tolist() == [row for far, row in ranked if far <= 9]
    even = np.arange(0, N, 2)
    assert release.query(code, N, where=even).of(0)[0].tolist() == [row for _, row in ranked if row % 2 == 0]


def test_rows_are_described(release: Release) -> None:
    rows = release.describe([5, 0, 5])
    assert [row.id for row in rows] == [5, 0, 5]
    split, label, _ = rows[1].key.split("/")
    assert (rows[1].split, rows[1].label, rows[1].place) == (split, label, rows[1].key)
    assert [release.id_of(release.describe([i])[0].key) for i in range(N)] == list(range(N))


@pytest.mark.parametrize("unknown", [-1, N, 10**12])
def test_an_unknown_id_is_said_with_the_range(release: Release, unknown: int) -> None:
    for ask in (release.items.check, release.codes_of, release.describe):
        with pytest.raises(QueryError, match=rf"id {unknown}: the release has {N} rows with ids from 0 to {N - 1}"):
            ask(np.array([0, unknown]))


@pytest.mark.parametrize("unknown", ["", "zzz", "train/class0/99999.png", "\udcff"])
def test_an_unknown_key_is_said(release: Release, unknown: str) -> None:
    with pytest.raises(QueryError, match=r"no row has the key .* keys are like 'test/"):
        release.id_of(unknown)


def test_codes_of_another_encoder_are_refused(release: Release) -> None:
    packed = np.zeros((1, 8), np.uint8)
    with pytest.raises(FingerprintError):
        release.query(BitCodes(packed, 64, "e" * 64), 3)
    with pytest.raises(CodeError, match="32 bits"):
        release.query(BitCodes(packed[:, :4], 32), 3)


def test_nothing_in_service(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no release is in service"):
        Release.open(store)
    with pytest.raises(NotFoundError, match="release/abc is not in the store"):
        Release.open(store, ref=Ref("release", "abc"))


def test_a_reader_keeps_its_release_while_another_goes_into_service(copied: tuple[Store, Ref]) -> None:
    store, ref = copied
    held = Release.open(store)
    other = rewrite(store, ref, name="pictures", rows=1)
    registry.promote(store, "pictures", other, why="test")
    assert held.query(held.codes_of([0]), 1).ids[0, 0] == 0
    assert (held.ref, Release.open(store).ref) == (ref, other)


@pytest.mark.parametrize("what", ["encoder", "codes", "items", "index", "scores"])
def test_a_missing_part_is_said_when_it_is_opened(copied: tuple[Store, Ref], what: str) -> None:
    store, ref = copied
    part = dict(Release.open(store).parts)[what]
    shutil.rmtree(folder_of(store, ref, what))
    with pytest.raises(CorruptError, match=rf"{part.kind}/{part.short} is not in the store .* `aepipe rollback`"):
        Release.open(store)


@pytest.mark.parametrize("what", ["release", "encoder", "rows"])
def test_a_run_goes_on_from_the_newest_release_that_is_whole(copied: tuple[Store, Ref], what: str) -> None:
    store, ref = copied
    found = last_sound(store, "pictures")
    assert found is not None
    assert found.ref == ref
    later = make_release(store, n=20, seed=1)
    assert (found := last_sound(store, "pictures")) is not None
    assert found.ref == later
    shutil.rmtree(store.root / "release" / later.digest if what == "release" else folder_of(store, later, what))
    assert (found := last_sound(store, "pictures")) is not None
    assert found.ref == ref
    shutil.rmtree(store.root / "release" / ref.digest)
    assert last_sound(store, "pictures") is None
    assert last_sound(store, "others") is None


def test_the_rows_are_not_needed_for_queries(copied: tuple[Store, Ref]) -> None:
    store, ref = copied
    shutil.rmtree(folder_of(store, ref, "rows"))
    release = Release.open(store)
    assert release.query(release.codes_of([1]), 1).count[0] == 1
    with pytest.raises(CorruptError, match="rows/"):
        verify(store, ref)


def test_a_shortened_file_is_said_when_it_is_opened(copied: tuple[Store, Ref]) -> None:
    store, ref = copied
    file = folder_of(store, ref, "codes") / "codes.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptError, match=str(file)):
        Release.open(store)


def test_fingerprints_that_differ_are_refused(copied: tuple[Store, Ref]) -> None:
    store, ref = copied
    for changes in ({"fingerprint": "e" * 64}, {"encoder": str(other_encoder(store))}):
        changed = rewrite(store, ref, **changes)
        with pytest.raises(FingerprintError, match=r"release pictures \(\w{12}\): its .* bears the fingerprint"):
            verify(store, changed)
    with pytest.raises(FingerprintError, match="its codes"):
        Release.open(store, ref=rewrite(store, ref, fingerprint="e" * 64))


def test_an_encoder_of_another_release_makes_no_codes(copied: tuple[Store, Ref]) -> None:
    store, ref = copied
    release = Release.open(store, ref=rewrite(store, ref, encoder=str(other_encoder(store))))
    with pytest.raises(FingerprintError, match="its encoder bears"):
        release.query(np.zeros((1, 28, 28, 1), np.uint8), 1)


def test_a_release_of_a_later_version_is_refused(copied: tuple[Store, Ref]) -> None:
    store, ref = copied
    with pytest.raises(CorruptError, match="schema 5; this version"):
        Release.open(store, ref=rewrite(store, ref, schema=5))
    with pytest.raises(CorruptError, match="not a release"):
        Release.open(store, ref=rewrite(store, ref, codes=None))


def test_verify_reads_everything_a_release_refers_to(full_store: tuple[Store, Ref]) -> None:
    checked = verify(*full_store)
    assert checked[0] == full_store[1]
    assert {ref.kind for ref in checked} == {"release", "model", "segment", "rows"}
    assert len(checked) == len(set(checked)) == 7


def test_verify_finds_any_flipped_byte(copied: tuple[Store, Ref]) -> None:
    store, ref = copied
    verify(store, ref)  # a store that was read before is read again
    for part in [ref, *(part for _, part in Release.open(store).parts)]:
        folder = store.root / part.kind / part.digest
        for file in sorted(path for path in folder.iterdir() if path.is_file()):
            whole = file.read_bytes()
            file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            with pytest.raises(CorruptError, match=str(file)):
                verify(store, ref)
            file.write_bytes(whole)
    assert verify(store, ref)


def test_a_query_needs_no_heavy_library(full_store: tuple[Store, Ref]) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from aepipe.release.release import Release; from aepipe.store.artifacts import Store\n"
        f"r = Release.open(Store(Path({str(full_store[0].root)!r})))\n"
        "r.describe(r.query(r.codes_of([1]), 3).ids[0]); r.encoder; r.id_of(r.describe([0])[0].key); r.scores\n"
        "heavy = {'torch', 'pyarrow', 'pandas', 'prefect', 'rich', 'pydantic', 'sklearn', 'scipy'}\n"
        "heavy |= {'matplotlib', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_encoder_that_does_not_open_is_damage_though_all_bytes_are_right(
    full_store: tuple[Store, Ref], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ref = full_store
    sound = check_release(store, ref)
    assert sound.damage == ()
    assert sound.n_bytes > sound.folders > 3

    def fail(_: Path) -> None:
        raise CorruptError("encoder.onnx: no graph")

    monkeypatch.setattr("aepipe.release.release.Encoder.open", fail)
    assert check_release(store, ref) == VerifyReport(sound.folders, sound.n_bytes, ("encoder.onnx: no graph",))


@pytest.mark.parametrize("bits", [0, -1, 65, "3", 2.0])
def test_a_prefix_has_some_of_the_bits(release: Release, bits: Any) -> None:
    with pytest.raises(QueryError, match=f"^pictures: its codes have 64 bits, not {bits!r}$"):
        Prefix(release, bits)


def test_a_prefix_of_all_bits_is_the_release_itself(release: Release) -> None:
    for bits, fingerprint in ((64, release.fingerprint), (np.int64(63), f"{release.fingerprint}/63"), (1, None)):
        view = Prefix(release, bits)  # type: ignore[arg-type]
        assert (view.n_bits, view.whole) == (bits, release)
        assert view.fingerprint == (fingerprint or f"{release.fingerprint}/1")
        assert view.codes_of([0, 1]).hex() == release.codes_of([0, 1]).prefix(int(bits)).hex()
        assert view.decoder is None

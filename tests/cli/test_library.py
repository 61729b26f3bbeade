"""Each method of a collection does what the verb of its name does, on equal releases."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import aepipe as library
from aepipe.api import Collection
from aepipe.cli.query import as_json
from aepipe.errors import BusyError, CorruptError, NotFoundError, QueryError
from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.cli.conftest import Aepipe, stocked
from tests.support.releases import make_release, pictures_of


@pytest.fixture
def opened(full_store: Store) -> Collection:
    """The collection that the verbs read."""
    return library.open(full_store.root)


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Collection, Store]:
    """Two stores with the same pictures: one for the library, one for the verbs."""
    ours, theirs = (stocked(tmp_path / side / "store")[0] for side in ("library", "verbs"))
    return library.open(ours.root), theirs


def test_query(aepipe: Aepipe, opened: Collection, boot: Path) -> None:
    options = ("-k", 5, "--where", "label <> 'class9'", "--bits", 64, "--oversample", 3)
    said = [json.loads(line) for line in aepipe("query", boot, "--id", 3, *options, "--json").stdout.splitlines()]
    found = opened.query(boot, ids=[3], k=5, where="label <> 'class9'", bits=64, oversample=3)
    assert [as_json(opened.release, one) | {"query": ""} for one in found] == [one | {"query": ""} for one in said]
    assert all(hit.cosine is not None for hit in found.hits)


def test_answers_come_in_blocks_and_name_what_cannot_be_read(opened: Collection, boot: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    good, bad, row = opened.answers(boot, tmp_path / "bad.png", boot.read_bytes(), k=3)
    assert bad.question.failure is not None
    assert not bad.hits
    assert [hit.row for hit in good.hits] == [hit.row for hit in row.hits]


def test_add_remove_and_compact(aepipe: Aepipe, twins: tuple[Collection, Store], tmp_path: Path) -> None:
    ours, theirs = twins
    copies = tmp_path / "more"
    copies.mkdir()
    for number, file in enumerate(sorted(pictures_of(theirs).rglob("*.png"))[:3]):
        (copies / f"{number}.png").write_bytes(file.read_bytes())
    added = ours.add(copies)
    aepipe("add", copies, home=theirs)
    assert (added.new, added.unchanged, len(ours)) == (3, 0, 43)
    assert ours.query(copies / "1.png", k=2).hits[0].distance == 0
    removed = ours.remove("2.png", ids=[0], where="label = 'class1'")
    aepipe("remove", "2.png", "--id", 0, "--where", "label = 'class1'", home=theirs)
    assert removed == 43 - len(ours) > 2
    assert ours.compact()
    assert not ours.compact()
    aepipe("compact", home=theirs)
    other = Release.open(theirs)
    assert ours.release.items.ids.tolist() == other.items.ids.tolist()
    assert ours.release.codes_of(other.items.ids).hex() == other.codes_of(other.items.ids).hex()
    reasons = [[event.why for event in registry.history(store)] for store in (ours.store, theirs)]
    assert reasons[0] == reasons[1]
    assert [one.event.why for one in ours.history()] == reasons[0]


def test_a_refused_change_changes_nothing(twins: tuple[Collection, Store]) -> None:
    ours, _ = twins
    before = ours.release.ref
    with pytest.raises(QueryError, match="no row is named"):
        ours.remove()
    with registry.lock(ours.store, ours.name), pytest.raises(BusyError):
        ours.remove(ids=[0])
    assert registry.resolve(ours.store)[1] == ours.release.ref == before


def test_export(aepipe: Aepipe, opened: Collection, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    done = opened.export(tmp_path / "ours", bits=16)
    aepipe("export", tmp_path / "theirs", "--bits", 16)
    assert done.rows == 40
    assert parquet.read_table(tmp_path / "ours").equals(parquet.read_table(tmp_path / "theirs"))
    pytest.importorskip("onnx")
    assert opened.export_encoder(tmp_path / "ours.onnx") == (32, 28, 28, 1)
    aepipe("export", tmp_path / "theirs.onnx")
    assert (tmp_path / "ours.onnx").read_bytes() == (tmp_path / "theirs.onnx").read_bytes()


def test_dedup(aepipe: Aepipe, opened: Collection, tmp_path: Path) -> None:
    said = json.loads(aepipe("dedup", "--radius", 5, "--out", tmp_path / "theirs.parquet", "--json").stdout)
    found = opened.dedup(5, out=tmp_path / "ours.parquet")
    assert (len(found), len(found.ids), found.radius) == (said["groups"], said["rows_in_groups"], 5)
    assert [ids.tolist() for ids, _ in found][:20] == [[row["id"] for row in one["rows"]] for one in said["largest"]]
    assert (tmp_path / "ours.parquet").read_bytes() == (tmp_path / "theirs.parquet").read_bytes()


def test_verify_evaluate_and_history(aepipe: Aepipe, opened: Collection) -> None:
    report = opened.verify()
    assert aepipe("verify").stdout == (
        f"{report.folders} of {report.folders} folders are sound, {report.n_bytes:,} bytes in {opened.store.root}\n"
    )
    assert not report.damage
    assert json.loads(aepipe("evaluate", "--json").stdout) == opened.evaluate() == opened.scores
    said = json.loads(aepipe("history", "--json").stdout)
    assert said == [asdict(one.event) | {"scores": one.scores} for one in opened.history()]


def test_evaluate_again_measures_what_the_verb_measures(aepipe: Aepipe, opened: Collection) -> None:
    pytest.importorskip("safetensors")
    found = opened.evaluate(bits=16)
    assert json.loads(aepipe("evaluate", "--bits", 16, "--json").stdout) == json.loads(json.dumps(found))
    assert found["protocol"]["n_bits"] == 16


def test_diff_promote_and_rollback(aepipe: Aepipe, own_store: tuple[Store, Ref]) -> None:
    store, first = own_store
    second = make_release(store, n=40, seed=1, promote=False)
    new = library.open(store.root, release=second.digest[:8])
    with pytest.raises(NotFoundError, match="there is no release before"):
        new.diff()
    found = new.diff(first.digest[:8], k=5, rows=20)
    said = json.loads(aepipe("diff", first.short, second.short, "-k", 5, "--rows", 20, "--json", home=store).stdout)
    assert (found.overlap, found.flips, found.mixed) == (said["overlap"], said["flips"], said["mixed"])
    assert [one.key for one in found.most_changed(5)] == [one["key"] for one in said["most_changed"]]
    event = new.promote(why="it is better")
    assert (event.after, event.why) == (second.digest, "it is better")
    assert registry.resolve(store)[1] == second
    assert new.diff(k=5, rows=20).overlap == found.overlap, "without a release, the one before is compared"
    assert new.rollback().after == first.digest
    assert new.release.ref == first, "a collection is what it has put into service"
    other = make_release(store, name="shoes", n=20, promote=False)
    with pytest.raises(QueryError, match="is one of shoes, not of pictures"):
        new.promote(other.digest)


def test_a_damaged_release_is_reported_and_not_promoted(own_store: tuple[Store, Ref]) -> None:
    store, first = own_store
    file = store.path(Release.open(store).part("codes")) / "codes.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    damaged = library.open(store.root)
    (line,) = damaged.verify().damage
    assert str(file) in line
    with pytest.raises(CorruptError, match=r"codes\.npy"):
        damaged.promote(first.digest)


def test_ids_by_condition_limit_a_query(opened: Collection) -> None:
    ids = opened.ids_where("label = 'class2'")
    found = opened.query(ids=[0], where=ids, k=40)
    assert np.sort([hit.row.id for hit in found.hits]).tolist() == ids.tolist()
    assert {hit.row.label for hit in found.hits} == {"class2"}


def test_remove_says_how_many_rows_a_condition_names(
    aepipe: Aepipe, twins: tuple[Collection, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store = twins
    asked = ("remove", "--where", "label = 'class1'")
    assert aepipe(*asked, "-n", home=store).stdout == "pictures: 8 rows of 40 rows would be removed\n"
    found = aepipe("remove", "--where", "label = 'none'", home=store)
    assert (found.exit_code, found.stderr.strip().endswith("no row of pictures fits")) == (2, True)
    assert len(Release.open(store)) == 40
    monkeypatch.setattr("aepipe.cli.update.can_ask", lambda: True)
    refused = aepipe(*asked, home=store, stdin=b"n\n")
    assert "nothing is removed" in refused.stderr
    assert "remove 8 rows of 40 rows?" in refused.stderr
    assert len(Release.open(store)) == 40
    assert aepipe(*asked, home=store, stdin=b"y\n").exit_code == 0
    assert len(Release.open(store)) == 32
    assert aepipe("remove", "--where", "label = 'class2'", "--yes", home=store).exit_code == 0
    assert len(Release.open(store)) == 24

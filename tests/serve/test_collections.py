"""Collections, rows, pictures of rows, duplicates, releases, and removing rows."""

from __future__ import annotations

import errno
import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import aepipe
from aepipe.errors import QueryError
from aepipe.pipeline.intake import quarantine_file
from aepipe.release import canaries, feedback
from aepipe.release.filter import rows_named
from aepipe.release.originals import whole_place
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from aepipe.store.backends import folder
from aepipe.store.rows import Rejected
from tests.serve.conftest import Client, running
from tests.support.releases import make_release, pictures_of

ONE = "/v1/collections/pictures"


def test_all_collections_are_listed_with_what_they_answer(client: Client) -> None:
    found = {one["name"]: one for one in client.get("/v1/collections").json["collections"]}
    assert {name: one["asks"][3:] for name, one in found.items()} == {
        "docs": ["text", "bytes"],
        "people": ["row"],
        "pictures": ["bytes"],
        "vectors": ["vector"],
    }
    assert found["pictures"]["pictures"]
    assert not found["docs"]["pictures"]
    assert found["pictures"]["promoted"]


def test_a_collection_tells_of_labels_and_of_its_columns(client: Client) -> None:
    about = client.get("/v1/collections/people").json
    assert about["columns"] == {"age": "int64", "job": "string"}
    assert sum(one["count"] for one in about["labels"]) == 60
    assert {one["value"] for one in about["splits"]} == {"train", "test"}
    assert client.get(ONE).json["confidence"] is None, "too few items were held out to tell"
    assert client.get("/v1/collections/none").status == 404


def test_rows_are_listed_page_by_page(client: Client) -> None:
    for order in ("id", "random"):
        found: list[int] = []
        after: dict[str, str] = {}
        while True:
            page = client.get(f"{ONE}/items", None, limit=25, order=order, seed=4, **after).json
            found += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert sorted(found) == list(range(60))
        assert page["total"] == 60
        assert (found == sorted(found)) == (order == "id")
    assert client.get(f"{ONE}/items", where="id < 7", limit=50).json["total"] == 7
    assert client.get(f"{ONE}/items", after="0123456789ab-5").status == 400


def test_a_row_has_its_code_and_all_columns(client: Client, store: Store) -> None:
    item = client.get("/v1/collections/people/items/3").json
    assert item["columns"] == {"age": "23", "job": "baker"}
    assert item["code"] == Release.open(store, "people").codes_of([3]).hex()[0]
    assert client.get(f"{ONE}/items/1000").status == 404


def test_pictures_are_small_and_have_nothing_but_pixels(client: Client) -> None:
    first = client.get(f"{ONE}/items/3/thumb", s=112)
    picture = Image.open(io.BytesIO(first.body))
    assert (picture.format, max(picture.size) <= 112) == ("JPEG", True)
    assert not picture.getexif()
    again = client.get(f"{ONE}/items/3/thumb", {"If-None-Match": first.headers["etag"]}, s=112)
    assert again.status == 304
    release = client.get(ONE).json["release"]
    assert "immutable" in client.get(f"{ONE}/items/3/thumb", s=112, release=release).headers["cache-control"]
    assert client.get(f"{ONE}/items/3/thumb", s=113).status == 400
    assert client.get("/v1/collections/docs/items/3/thumb").status == 404
    assert client.get(f"{ONE}/items/1000/thumb").status == 404


@pytest.mark.parametrize(
    ("place", "whole"),
    [
        ("a/b.wav#t1.5+1", "a/b.wav"),
        ("a/b.mp4#v12.25", "a/b.mp4"),
        ("all.zip#b.wav#t0+2", "all.zip#b.wav"),
        ("all.zip#t1", "all.zip#t1"),
        ("a#t1+2.wav", "a#t1+2.wav"),
        ("a.png", "a.png"),
    ],
)
def test_a_moment_is_of_a_whole_recording(place: str, whole: str) -> None:
    assert whole_place(place) == whole


def test_what_is_gone_or_broken_is_said(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=10)
    files = sorted(pictures_of(store).rglob("*.png"))
    with running(store, originals=True) as client:
        keys = {item["key"]: item["id"] for item in client.get(f"{ONE}/items").json["items"]}
        names = [keys[file.relative_to(pictures_of(store)).as_posix()] for file in files[:2]]
        assert client.get(f"{ONE}/items/{names[1]}/original").body == files[1].read_bytes()
        files[0].unlink()
        files[1].write_bytes(b"no picture")
        assert client.get(f"{ONE}/items/{names[0]}/thumb").status == 410
        assert client.get(f"{ONE}/items/{names[1]}/thumb").status == 422
        assert client.get(f"{ONE}/items/{names[0]}/original").status == 410
        files[0].symlink_to("/etc/hostname")
        assert client.get(f"{ONE}/items/{names[0]}/original").status == 403


def test_two_rows_are_compared_bit_by_bit(client: Client) -> None:
    found = client.get(f"{ONE}/explain", a=3, b=9).json
    differing = [bit for bit in found["bits"] if bit["a"] != bit["b"]]
    assert len(differing) == found["distance"]
    assert len(found["bits"]) == 64
    assert all(0 <= bit["share"] <= 1 for bit in found["bits"])
    key = client.get(f"{ONE}/items/9").json
    assert client.get(f"{ONE}/explain", a=3, b=key["key"]).json["distance"] == found["distance"]
    assert client.get(f"{ONE}/explain", a=3, b=key["code"]).json["distance"] == found["distance"]
    assert client.get(f"{ONE}/explain", a=3, b="nothing").status == 422
    assert client.get(f"{ONE}/explain", a=3).status == 400


def duplicates(client: Client, place: str = ONE, **wanted: Any) -> Any:
    """Return near-duplicates once they are found."""
    end = time.monotonic() + 60
    while (found := client.get(f"{place}/duplicates", **wanted)).status == 202:
        assert found.headers["location"].startswith(f"{place}/duplicates")
        assert time.monotonic() < end, "they are looked for without an end"
    assert found.status == 200, found.body
    return found.json


def test_duplicates_come_in_groups_with_their_marks(client: Client) -> None:
    found = duplicates(client, radius=0)
    groups = found["groups"]
    assert (found["alike"], found["radius"]) == ("content", 0)
    assert found["total"] == len(groups) >= 1
    assert all([one["mark"] for one in group].count("keep") == 1 for group in groups)
    assert all(group[0]["relation"] == "first" for group in groups)
    assert client.get(f"{ONE}/duplicates", radius=100).status == 422
    assert client.get(f"{ONE}/duplicates", radius=0, keep="prettiest").status == 422


def test_duplicates_are_told_from_what_is_only_alike(client: Client, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=10)
    here = aepipe.open(store.root)
    with running(store) as few:
        for alike in ("identical", "copies"):
            wanted = here.dedup(alike=alike)
            found = duplicates(few, alike=alike)
            assert (found["alike"], found["total"], found["summary"]) == (alike, len(wanted), wanted.summary())
            told = [[one["relation"] for one in group] for group in found["groups"]]
            assert told == [wanted.relations_of(place) for place in range(len(told))]
        assert duplicates(few)["alike"] == "copies", "as `aepipe dedup` does with pictures"
    assert client.get(f"{ONE}/duplicates", alike="copies", radius=3).status == 422
    assert client.get(f"{ONE}/duplicates", alike="friends").status == 400
    assert client.get("/v1/collections/people/duplicates", alike="copies").status == 422


def test_rows_of_a_table_with_near_codes_are_alike_and_no_duplicates(client: Client) -> None:
    people = "/v1/collections/people"
    equal = duplicates(client, people)
    assert (equal["alike"], equal["total"]) == ("identical", 0)
    assert "could not be read" not in equal["summary"]
    assert duplicates(client, people, radius=2)["alike"] == "content"


def test_releases_and_their_difference(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    before = make_release(store, n=40, seed=0)
    after = make_release(store, n=40, seed=1)
    with running(store) as client:
        events = client.get(f"{ONE}/releases").json["events"]
        assert [event["after"] for event in events] == [after.digest, before.digest]
        end = time.monotonic() + 60
        while (found := client.get(f"{ONE}/diff", before=before.digest[:12])).status == 202:
            assert time.monotonic() < end, "they are compared without an end"
        assert 0 <= found.json["overlap"] <= 1
        assert not found.json["same_encoder"]
        old = client.get(f"{ONE}/search", id=3, release=before.digest[:12])
        assert old.headers["aepipe-release"] == old.json["release"] == before.digest
        assert client.get(f"{ONE}/search", id=3, release="0" * 12).status == 410
        assert client.get(f"{ONE}/diff", before="0" * 12).status == 410


def test_pages_go_on_in_their_release_until_it_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    before = make_release(store, n=40, seed=0)
    with running(store) as client:
        first = client.get(f"{ONE}/search", id=3, k=5).json["answers"][0]
        wanted = [hit["id"] for hit in client.get(f"{ONE}/search", id=3, k=10).json["answers"][0]["hits"]]
        after = make_release(store, n=40, seed=1)
        while client.get(ONE).json["release"] != after.digest:
            time.sleep(0.02)
        again = client.get(f"{ONE}/search", id=3, k=5, after=first["next"]).json
        assert again["release"] == before.digest
        assert [hit["id"] for hit in again["answers"][0]["hits"]] == wanted[5:]
        store.remove(before)
        asked = client.get(f"{ONE}/search", id=4, k=5, after=first["next"])
        assert asked.status in {200, 410}, "an open release answers from its files, which are there until it is closed"
    with running(store) as client:
        gone = client.get(f"{ONE}/search", id=3, k=5, after=first["next"])
        assert (gone.status, after.digest in gone.json["detail"]) == (410, True)
        assert client.get(f"{ONE}/items/3/thumb", release=before.digest[:12]).status == 410
        assert client.get(f"{ONE}/search", id=3, k=5).json["release"] == after.digest


def test_ids_that_no_row_can_have_are_missing(client: Client, store: Store) -> None:
    large = 2**64 + 3
    for path in (f"{ONE}/items/{large}", f"{ONE}/items/{large}/thumb"):
        assert client.get(path).status == 404
    assert client.get(f"{ONE}/search", id=large).status == 400
    assert client.get(f"{ONE}/explain", a=large, b=3).status == 422
    with pytest.raises(QueryError, match="no row has the id"):
        aepipe.open(store.root, "pictures").query(ids=[large])
    with pytest.raises(QueryError, match="no row has the id"):
        rows_named(Release.open(store, "pictures"), ids=[-large])


def test_what_was_not_read_is_grouped_by_its_reason(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=10)
    quarantine_file(store, "pictures", [Rejected(f"{n}.png", f"{n}.png", "damaged") for n in range(3)])
    with running(store) as client:
        (found,) = client.get(f"{ONE}/quarantine").json["reasons"]
        assert found == {"what": "unreadable", "reason": "damaged", "count": 3, "keys": ["0.png", "1.png", "2.png"]}


def test_rows_are_removed_only_where_that_is_allowed(client: Client, tmp_path: Path) -> None:
    assert client.post(f"{ONE}/remove", {"ids": [3]}).status == 403
    store = Store(tmp_path / "store")
    make_release(store, n=20)
    with running(store, write=True) as writer:
        assert writer.post(f"{ONE}/remove", {"ids": [3], "dry_run": True}).json == {"rows": 1, "removed": False}
        assert writer.get(f"{ONE}/items/3").status == 200
        assert writer.post(f"{ONE}/remove", {"ids": [3]}).json == {"rows": 1, "removed": True}
        assert writer.get(f"{ONE}/items/3").status == 404
        assert writer.get(f"{ONE}/search", id=4, k=30).json["rows"] == 19
        assert writer.post(f"{ONE}/remove", {}).status == 400
        assert writer.post(f"{ONE}/remove", {"ids": [3]}).status == 422


def test_marks_are_canaries_of_later_releases(client: Client, tmp_path: Path) -> None:
    assert client.post(f"{ONE}/feedback", {"hit": "x", "verdict": "good", "key": "y"}).status == 403
    store = Store(tmp_path / "store")
    make_release(store, n=40)
    with running(store, write=True) as writer:
        hits = writer.get(f"{ONE}/search", id=3, others="true", k=40).json["answers"][0]["hits"]
        key = writer.get(f"{ONE}/items/3").json["key"]
        code = writer.get(f"{ONE}/items/3").json["code"]
        near, far = hits[0]["key"], hits[-1]["key"]
        for body in ({"hit": near, "verdict": "good", "key": key}, {"hit": far, "verdict": "bad", "key": key}):
            assert writer.post(f"{ONE}/feedback", body).status == 201
        (found,) = writer.get(f"{ONE}/feedback").json["marks"]
        assert (found["good"], found["bad"], found["passed"]) == ([near], [far], True)
        for body in ({"hit": near, "verdict": "bad", "key": key}, {"hit": near, "verdict": "bad", "code": code}):
            assert writer.post(f"{ONE}/feedback", body).status == 201
        by_key, by_code = writer.get(f"{ONE}/feedback").json["marks"]
        assert (by_key["good"], by_key["passed"], by_code["passed"]) == ([], False, False)
        assert near in by_key["said"]
        (tmp_path / "c.toml").write_bytes(writer.get(f"{ONE}/canaries.toml").body)
        assert [one.passed for one in canaries.ask(Release.open(store), tmp_path / "c.toml")] == [False, False]
        assert writer.post(f"{ONE}/feedback", {"hit": "gone", "verdict": "bad", "key": key}).status == 422
        assert writer.post(f"{ONE}/feedback", {"hit": near, "verdict": "bad"}).status == 400


def test_marks_of_codes_that_cannot_be_read_are_refused_and_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=20)
    release = Release.open(store)
    key = release.describe(release.items.ids[:1])[0].key
    with running(store, write=True) as writer:
        for code in ("zz", "00", "0" * 4096):
            body = {"hit": key, "verdict": "bad", "code": code}
            found, asked = writer.post(f"{ONE}/feedback", body), writer.get(f"{ONE}/search", code=code)
            assert found.status == asked.status == 422
        assert writer.get(f"{ONE}/feedback").json["marks"] == []
    feedback.add(store, release.name, feedback.mark(release, key, "bad", code="zz"))
    assert feedback.canaries_of(store, release) == []


def test_marks_of_uploads_keep_the_file_for_later_models(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=40, seed=0)
    picture = sorted(pictures_of(store).rglob("*.png"))[3].read_bytes()
    with running(store, write=True) as writer:
        answer = writer.post(f"{ONE}/search", picture, k=40).json["answers"][0]
        near, far = answer["hits"][0]["key"], answer["hits"][-1]["key"]
        for _ in range(2):  # the same bytes are kept once
            assert (
                writer.post(f"{ONE}/feedback", picture, hit=near, verdict="good", name="../my boot.PNG").status == 201
            )
        cropped = writer.post(f"{ONE}/feedback", picture, hit=far, verdict="bad", crop="0,0,0.5,0.5")
        assert cropped.status == 201
        asked = writer.get(f"{ONE}/feedback").json["marks"]
        assert [(one["key"], one["code"], one["upload"][32:]) for one in asked] == [("", "", ".png")] * 2
        assert [one["good"] for one in asked] == [[near], []]
        assert all(str(tmp_path) not in one["said"] for one in asked)
        kept = sorted((store.root / "feedback" / "pictures").iterdir())
        assert sorted(one["upload"] for one in asked) == [file.name for file in kept]
        assert picture in [file.read_bytes() for file in kept]
        for body, status in ((b"no picture", 422), (b"x" * (feedback.UPLOAD + 1), 413)):
            assert writer.post(f"{ONE}/feedback", body, hit=near, verdict="good").status == status
        assert writer.post(f"{ONE}/feedback", picture, hit=near, verdict="good", key=near).status == 400
        assert writer.post(f"{ONE}/feedback", picture, hit="gone", verdict="good").status == 422
        assert len(list((store.root / "feedback" / "pictures").iterdir())) == 2
        (store.root / "feedback" / "c.toml").write_bytes(writer.get(f"{ONE}/canaries.toml").body)
        assert canaries.ask(Release.open(store), store.root / "feedback" / "c.toml")[0].passed
        other = make_release(store, n=40, seed=1)  # of another encoder
        while writer.get(ONE).json["release"] != other.digest:
            time.sleep(0.02)
        assert len(writer.get(f"{ONE}/feedback").json["marks"]) == 2


def test_marks_are_bounded_and_a_full_disk_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=20)
    picture = sorted(pictures_of(store).rglob("*.png"))[3].read_bytes()
    with running(store, write=True) as writer:
        key, hit = (writer.get(f"{ONE}/items/{row}").json["key"] for row in (3, 4))
        mark = {"hit": hit, "verdict": "good", "key": key}
        assert writer.post(f"{ONE}/feedback", mark).status == 201
        with monkeypatch.context() as full:
            full.setattr(folder, "append_line", no_space)
            assert writer.post(f"{ONE}/feedback", {**mark, "verdict": "bad"}).status == 507
            full.setattr(folder, "write_durably", no_space)
            assert writer.post(f"{ONE}/feedback", picture, hit=hit, verdict="good").status == 507
        monkeypatch.setattr(feedback, "UPLOADS", len(picture) - 1)
        assert writer.post(f"{ONE}/feedback", picture, hit=hit, verdict="good").status == 507
        (kept,) = writer.get(f"{ONE}/feedback").json["marks"]
        assert (kept["good"], kept["bad"]) == ([hit], [])
        assert writer.get(f"{ONE}/search", id=3).status == 200


def no_space(*_: object) -> None:
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/openapi.json"])
def test_the_service_tells_of_itself(client: Client, path: str) -> None:
    found = client.get(path)
    assert found.status == 200
    assert found.headers["content-security-policy"].startswith("default-src 'none'")
    assert "server" not in found.headers

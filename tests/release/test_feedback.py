"""Marks of hits: kept by collection, and canaries of what a release can be asked."""

from __future__ import annotations

import hashlib
import tomllib
from typing import Any

import pytest

from aepipe.errors import FullError
from aepipe.release import feedback
from aepipe.release.canaries import Canary
from aepipe.release.feedback import Mark
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from tests.support.releases import make_release


def mark(hit: str, verdict: Any, **asked: str) -> Mark:
    return Mark("2026-01-01T00:00:00+00:00", hit, verdict, **asked)


@pytest.mark.parametrize(("good", "within", "least"), [(0, 10, 1), (1, 10, 1), (3, 10, 2), (5, 10, 3), (6, 12, 3)])
def test_half_of_the_good_hits_have_to_be_found(good: int, within: int, least: int) -> None:
    verdicts: Any = {f"g{number}": "good" for number in range(good)} | {"b": "bad"}
    found = feedback._canary("key", "k", verdicts)
    assert (found.key, found.hits, found.not_hits) == ("k", tuple(f"g{number}" for number in range(good)), ("b",))
    assert (found.within, found.at_least) == (within, least)


def test_marks_become_canaries_of_what_can_be_asked(store: Store) -> None:
    """The last mark of a hit counts; rows that are gone, and codes of others, are left out."""
    release = Release.open(store, ref=make_release(store, n=12, shape=(4, 4, 1)))
    keys = [row.key for row in release.describe(range(4))]
    code = release.codes_of([0]).hex()[0]
    for one in (
        mark(keys[1], "good", key=keys[0]),
        mark(keys[2], "good", key=keys[0]),
        mark(keys[2], "bad", key=keys[0]),
        mark("gone", "good", key=keys[0]),
        mark(keys[1], "good", key="gone"),
        mark(keys[3], "good", code=code, fingerprint=release.fingerprint),
        mark(keys[3], "good", code=code, fingerprint="another"),
        mark(keys[3], "good", code="not hex"),
        mark(keys[3], "good", upload="not kept.png"),
    ):
        feedback.add(store, release.name, one)
    kept = feedback.keep(store, release.name, b"bytes", "My Picture.PNG")
    assert kept.endswith(".png")
    assert feedback.keep(store, release.name, b"bytes", "again.png") == kept
    assert "." not in feedback.keep(store, release.name, b"bytes", "no ending")
    feedback.add(store, release.name, mark(keys[1], "bad", upload=kept))
    found = feedback.canaries_of(store, release)
    assert found == [
        Canary(key=keys[0], hits=(keys[1],), not_hits=(keys[2],), within=10, at_least=1),
        Canary(code=code, hits=(keys[3],), within=10, at_least=1),
        Canary(query=f"{release.name}/{kept}", not_hits=(keys[1],), within=10, at_least=1),
    ]
    assert feedback.as_toml(found[:2]) == (
        f'[[canary]]\nkey = "{keys[0]}"\nhits = ["{keys[1]}"]\nnot_hits = ["{keys[2]}"]\nwithin = 10\nat_least = 1\n\n'
        f'[[canary]]\ncode = "{code}"\nhits = ["{keys[3]}"]\nwithin = 10\nat_least = 1\n'
    )
    assert feedback.as_toml([]) == ""


def test_canaries_are_read_back_as_they_were() -> None:
    given = [
        Canary(key='a "b".png', hits=("c", "d é"), not_hits=("e", "f"), within=12, at_least=2),
        Canary(code="00ff", not_hits=("g",), within=10, at_least=1),
        Canary(query="pictures/a.png", hits=("h",), within=10, at_least=1),
    ]
    text = feedback.as_toml(given)
    assert tomllib.loads(text)["canary"] == [
        {"key": 'a "b".png', "hits": ["c", "d é"], "not_hits": ["e", "f"], "within": 12, "at_least": 2},
        {"code": "00ff", "not_hits": ["g"], "within": 10, "at_least": 1},
        {"query": "pictures/a.png", "hits": ["h"], "within": 10, "at_least": 1},
    ]
    assert 'hits = ["c", "d é"]\nnot_hits = ["e", "f"]' in text


def test_uploads_are_kept_up_to_a_limit_under_the_digest_of_their_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create()
    monkeypatch.setattr(feedback, "UPLOADS", 10)
    names = [
        feedback.keep(store, "a", data, called) for data, called in ((b"1234", "X.JPG"), (b"567890", "y.longending"))
    ]
    digests = [hashlib.sha256(data).hexdigest()[:32] for data in (b"1234", b"567890")]
    assert names == [f"{digests[0]}.jpg", digests[1]]
    assert [(feedback.folder_of(store) / "a" / name).read_bytes() for name in names] == [b"1234", b"567890"]
    assert feedback.keep(store, "a", b"1234", "again.jpg") == names[0], "it is there, and takes no more"
    with pytest.raises(FullError, match=r"^a: the uploads of marks take 0 GiB, and no more are kept"):
        feedback.keep(store, "a", b"!", "z.png")
    assert feedback.keep(store, "b", b"!", "a.tar.gz").endswith(".gz")
    assert "." not in feedback.keep(store, "b", b"?", "a.png?")

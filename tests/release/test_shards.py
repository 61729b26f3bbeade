"""A release whose index is in shards, next to one of the same rows in one index: all that is done gives the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aepipe import engines
from aepipe.api import Collection
from aepipe.codes.bitcodes import BitCodes
from aepipe.engines import Done, Needs, Part, Work
from aepipe.errors import CodeError, QueryError
from aepipe.index import asymmetric
from aepipe.index.hits import Hits, RaggedHits
from aepipe.index.remote import TYPES, Ask, Found, Gather, RemoteShards, pack
from aepipe.index.shards import Shard, Shards
from aepipe.release import diff, gc, lifecycle
from aepipe.release.prefix import Prefix
from aepipe.release.query import Answer
from aepipe.release.release import Release
from aepipe.release.shards import Gathered, OneShard, answer
from aepipe.report import facts
from aepipe.store.artifacts import Store
from tests.support.releases import make_release, pictures_of

ASKED: list[dict[str, Any]] = [
    {},
    {"k": 1},
    {"k": 100},
    {"k": 5, "fast": True},
    {"radius": 9},
    {"k": 7, "where": "label = 'class1'"},
    {"k": 7, "where": "label = 'class1'", "others": True, "fast": True},
    {"others": True, "distinct": True},
    {"k": 30, "distinct": True, "fast": True},
    {"k": 5, "oversample": 3},
    {"k": 5, "bits": 16},
    {"k": 9, "bits": 16, "fast": True},
]
SHARDS = 3


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the same pictures twice: as ``one``, and as ``several``."""
    store = Store(tmp_path_factory.mktemp("shards") / "store")
    make_release(store, name="one", n=80, embedding="int8")
    make_release(store, name="several", n=80, embedding="int8", shards=SHARDS)
    return store


def opened(store: Store, name: str) -> Collection:
    return Collection(store, Release.open(store, name))


def told(found: list[Answer]) -> list[tuple[Any, ...]]:
    """Return all of some answers that can be compared."""
    return [(one.question.text, one.strange, *map(str, one.hits)) for one in found]


def assert_same_answers(store: Store, new: Path) -> None:
    """Check that both collections answer alike, asked by rows, by a picture from outside and by a code."""
    one, several = opened(store, "one"), opened(store, "several")
    assert len(one) == len(several)
    ids = one.release.items.ids[::9].tolist()
    codes = one.release.codes_of(ids[:2]).hex()
    for options in ASKED:
        asked = {"ids": ids, "codes": [] if {"bits", "oversample"} & set(options) else codes}
        found = [told(list(each.answers(str(new), **asked, **options))) for each in (one, several)]
        assert found[0] == found[1], options


def written(folder: Path, seed: int) -> Path:
    """Write a picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (28, 28), np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"new{seed}.png")
    return folder / f"new{seed}.png"


def test_a_release_in_shards_answers_as_one_index(store: Store, tmp_path: Path) -> None:
    release = Release.open(store, "several")
    assert isinstance(release.index, Shards)
    assert release.manifest.n_shards == len(release.all_parts("index")) == SHARDS
    assert_same_answers(store, written(tmp_path, 1))


def test_what_looks_at_all_rows_sees_those_of_all_shards(store: Store, tmp_path: Path) -> None:
    one, several = opened(store, "one"), opened(store, "several")
    groups = [each.dedup(radius=4) for each in (one, several)]
    assert groups[0].ids.tolist() == groups[1].ids.tolist() != []
    assert one.export(tmp_path / "one.csv").rows == several.export(tmp_path / "several.csv").rows
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "several.csv").read_bytes()
    difference = diff.compare(one.release, several.release)
    assert (difference.overlap, difference.unchanged) == (1, 1)
    assert lifecycle.verify(store, several.release.ref)
    assert facts.describe(store, several.release.ref)["shards"] == SHARDS
    assert f"in {SHARDS} shards" in facts.describe_text(facts.describe(store, several.release.ref))


def test_added_and_removed_rows(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, name="one", n=60, embedding="int8")
    make_release(store, name="several", n=60, embedding="int8", shards=7)
    asked = written(tmp_path / "asked", 9)
    for name in ("one", "several"):
        for seed in range(3):
            written(pictures_of(store, name) / "train" / "class0", seed)
        collection = opened(store, name)
        assert collection.add(str(pictures_of(store, name))).new == 3
        assert collection.remove(ids=[0, 8, 61]) == 3
    several = Release.open(store, "several")
    assert (several.manifest.to_json()["schema"], several.manifest.n_shards) == (3, 7)
    assert facts.describe(store, several.ref)["changes"] == {"added": 2, "removed": 2}
    assert_same_answers(store, asked)
    assert several.ref not in gc.clean(store, keep=1, hours=0).refs
    assert lifecycle.verify(store, several.ref)
    assert_same_answers(store, asked)
    for name in ("one", "several"):
        assert opened(store, name).compact()
    assert isinstance(Release.open(store, "several").index, Shards)
    assert_same_answers(store, asked)


def test_one_shard_is_the_release_as_it_was(store: Store) -> None:
    again = make_release(store, name="one", n=80, embedding="int8", shards=1, promote=False)
    assert again == Release.open(store, "one").ref
    manifest = Release.open(store, "one").manifest
    assert manifest.recipe["index"].keys() == {"kind", "rows", "embedding"}
    assert manifest.to_json()["schema"] == 1
    assert manifest.facts.keys() == {"name", "fingerprint", "n_bits", "rows"}


def test_an_engine_builds_the_shards_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []

    class Elsewhere:
        """Does work to the last part first, with arguments that have gone through JSON."""

        def map(self, work: Work, parts: Sequence[Part], needs: Needs) -> Iterator[Done]:
            sent = Work(work.stage, work.function, json.loads(json.dumps(work.arguments)))
            for part in reversed(parts):
                built.append(part.number)
                yield sent(part)

    store = Store(tmp_path / "store")
    here = make_release(store, n=20, shards=SHARDS)
    shards = Release.open(store, ref=here).all_parts("index")
    for ref in (here, *shards[:2]):
        assert store.remove(ref)
    monkeypatch.setattr(engines, "resolve", Elsewhere)
    assert make_release(store, n=20, shards=SHARDS) == here
    assert built == [1, 0]
    assert lifecycle.verify(Store(store.root), here)


def test_a_single_shard_finds_its_rows_only(store: Store) -> None:
    whole = Release.open(store, "several")
    codes = whole.codes_of([4, 5])
    for number in range(SHARDS):
        part = OneShard.of(store, whole.ref, Shard(number, SHARDS))
        found = part.query(codes, 200)
        own = whole.items.ids[whole.items.ids % SHARDS == number]
        assert sorted(found.of(0)[0].tolist()) == own.tolist()
        assert len(part.index) == len(own)


def gather_here(store: Store) -> Gather:
    """Return what asks the shards of the release in this process, by bytes as over a network."""
    parts = [OneShard.of(store, Release.open(store, "several").ref, Shard(number, SHARDS)) for number in range(SHARDS)]

    def gather(asks: Sequence[Ask], name: str) -> list[Found]:
        read = [Ask.unpack(ask.pack()) for ask in asks]
        assert name == "several"
        assert [ask.release for ask in read] == [part.ref.digest for part in parts]
        seen = [
            part if ask.n_bits == part.n_bits else Prefix(part, ask.n_bits)
            for part, ask in zip(parts, read, strict=True)
        ]
        return [Found.unpack(answer(part, ask).pack()) for part, ask in zip(seen, read, strict=True)]

    return gather


def test_shards_that_lie_elsewhere_answer_as_one_index(store: Store, tmp_path: Path) -> None:
    one = opened(store, "one")
    ref = Release.open(store, "several").ref
    elsewhere = Gathered.of(store, ref, gather_here(store), SHARDS)
    assert isinstance(elsewhere.index, RemoteShards)
    assert len(elsewhere.index) == len(one)
    ids, new = one.release.items.ids[::9].tolist(), str(written(tmp_path, 1))
    for options in ASKED:
        found = [told(list(each.answers(new, ids=ids, **options))) for each in (one, Collection(store, elsewhere))]
        assert found[0] == found[1], options
    values = np.random.default_rng(0).normal(size=one.n_bits).astype(np.float32)
    for where in (None, one.release.items.ids[5:9], one.release.items.ids[::2], np.zeros(0, np.int64)):
        best = [asymmetric.search(each.index, values, 9, where) for each in (one.release, elsewhere)]
        np.testing.assert_array_equal(best[0], best[1])
    with pytest.raises(QueryError, match="at least 1"):
        elsewhere.query(one.release.codes_of([1]), 0)
    with pytest.raises(CodeError):
        elsewhere.query(one.release.codes_of([1]).prefix(8), 1)


@pytest.mark.parametrize("where", [[], [3], [0, 3, 6, 9], [12, 6 << 40], list(range(1, 900, 3))])
def test_ids_arrive_as_they_were_sent(where: list[int]) -> None:
    ask = Ask(
        "a" * 64,
        f"{1 + (where or [0])[0] % 3}/3",
        8,
        4,
        values=np.zeros(8, np.float32),
        where=np.array(where, np.int64),
    )
    found = Ask.unpack(ask.pack())
    assert found.where is not None
    assert found.where.tolist() == where


@pytest.mark.parametrize(
    "changed", [{"n_bits": 9}, {"n_bits": 0}, {"n_bits": 8.0}, {"release": 3}, {"k": None}, {"radius": "1"}]
)
def test_a_question_with_wrong_numbers_is_refused(changed: dict[str, Any]) -> None:
    head = {"release": "a" * 64, "shard": "1/3", "n_bits": 8, "k": 4, "radius": -1} | changed
    with pytest.raises((QueryError, CodeError), match="a question to a shard"):
        Ask.unpack(pack(head, {"values": np.zeros(8, np.float32)}, TYPES))


def test_a_release_without_such_a_shard_is_refused(store: Store) -> None:
    with pytest.raises(QueryError, match=r"one: its index is in 1 shard, not 2; .*shards = 2"):
        OneShard.of(store, Release.open(store, "one").ref, Shard(0, 2))


def test_a_shard_answers_as_many_hits_as_it_has_and_its_own_questions_only() -> None:
    asked: list[Any] = []

    class Index:
        def __len__(self) -> int:
            return 3

        def search(self, codes: BitCodes, k: int, where: Any) -> Hits:
            asked.append(("search", codes.hex(), codes.fingerprint, k, where))
            return Hits(np.array([[5, 7]]), np.array([[1, 2]], np.uint16), np.array([2]))

        def within(self, codes: BitCodes, radius: int, where: Any) -> RaggedHits:
            asked.append(("within", codes.hex(), codes.fingerprint, radius, where))
            return RaggedHits(np.array([5]), np.array([1], np.uint16), np.array([0, 1]))

    seen: Any = SimpleNamespace(n_bits=8, fingerprint="f", index=Index())
    seen.whole = SimpleNamespace(shard=Shard(1, 4))
    question = Ask("r", "2/4", 8, 2, packed=np.array([[0x5A]], np.uint8), where=np.array([5, 7]))
    found = answer(seen, question)
    assert found.distances is not None
    assert (found.ids.tolist(), found.counts.tolist(), found.distances.tolist()) == ([5, 7], [2], [1, 2])
    for k, looked in ((3, 3), (4, 3), (100, 3)):
        answer(seen, replace(question, k=k, where=None))
        assert asked[-1] == ("search", ["5a"], "f", looked, None)
    assert asked[0] == ("search", ["5a"], "f", 2, question.where)
    for radius in (0, 5):
        assert answer(seen, replace(question, k=0, radius=radius)).ids.tolist() == [5]
        assert asked[-1] == ("within", ["5a"], "f", radius, question.where)
    for other, own in ((Shard(2, 4), "3/4"), (None, "None")):
        seen.whole = SimpleNamespace(shard=other) if other else SimpleNamespace()
        with pytest.raises(QueryError, match=f"^this is shard {own}, and the question is for shard 2/4$"):
            answer(seen, question)

"""Documents found by their words, beside their codes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tantivy", reason="needs the extra hybrid")

from aepipe.api import Collection
from aepipe.errors import ExtraError, ItemError, QueryError
from aepipe.release import fulltext, gc
from aepipe.release.hybrid import is_unknown, ranked
from aepipe.release.release import Release
from aepipe.release.search import Question
from aepipe.store.artifacts import Store
from tests.support.posts import CHINESE, RARE, make_posts_release


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_posts_release(tmp_path_factory.mktemp("posts"))[0]


@pytest.fixture
def opened(posts: Store) -> Collection:
    return Collection(posts, Release.open(posts))


def test_ranks_are_fused() -> None:
    assert ranked([1, 2, 3], [3, 4, 1]) == [1, 3, 2, 4]
    assert ranked([], [7]) == [7]
    assert ranked([5, 6], []) == [5, 6]


def test_what_is_not_in_the_source_any_more_is_read_by_its_place(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("apart")
    store, ref = make_posts_release(folder)
    release = Release.open(store, ref=ref)
    (folder / "posts" / "river" / "0.txt").unlink()
    items = list(fulltext._items(release))
    monkeypatch.setattr(fulltext, "_items", lambda _: items[:5])
    found = dict(fulltext._texts(release))
    assert len(found) == len(release) - 1
    assert any(RARE in text for text in found.values())


def test_a_rare_word_is_found_by_itself(opened: Collection) -> None:
    index = fulltext.opened(opened.store, opened.release)
    (only,) = index.search(RARE, 10)
    assert opened.release.describe([only])[0].key == "bread/3.txt"
    assert list(index.search(RARE, 10, np.array([0], np.int64))) == []
    assert list(index.search("!?", 10)) == []


def test_words_of_all_scripts_are_found(opened: Collection) -> None:
    (only,) = fulltext.opened(opened.store, opened.release).search("链条", 10)
    assert opened.release.describe([only])[0].key == "bicycle/0.txt"
    assert CHINESE in (opened.release.items.root / "bicycle" / "0.txt").read_text(encoding="utf-8")


def test_hits_of_both_lists_have_all_figures(opened: Collection) -> None:
    (found,) = opened.query(f"{RARE} guitar", k=5, hybrid=True)
    assert "bread/3.txt" in [hit.row.key for hit in found.hits]
    assert [hit.rank for hit in found.hits] == [1, 2, 3, 4, 5]
    for hit in found.hits:
        assert hit.similarity == pytest.approx(1 - hit.distance / 64, abs=1e-4)
        assert hit.cosine is not None
        assert hit.confidence is None


def test_words_that_no_vocabulary_has_are_found(opened: Collection) -> None:
    (found,) = opened.query(RARE, k=5, hybrid=True)
    assert [hit.row.key for hit in found.hits] == ["bread/3.txt"]
    assert found.strange is None
    with pytest.raises(ItemError, match="none of its words"):
        opened.query(RARE, k=5)


def test_a_row_asks_with_its_text_and_is_left_out_of_its_hits(opened: Collection) -> None:
    (found,) = opened.query(keys=["river/2.txt"], k=3, hybrid=True, others=True)
    assert {hit.row.label for hit in found.hits} == {"river"}
    assert "river/2.txt" not in [hit.row.key for hit in found.hits]


def test_a_condition_holds_for_words_too(opened: Collection) -> None:
    (found,) = opened.query(f"{RARE} river", k=5, hybrid=True, where="label = 'river'")
    assert {hit.row.label for hit in found.hits} == {"river"}


@pytest.mark.parametrize("option", [{"radius": 3}, {"min_confidence": 0.5}, {"distinct": True}, {"rerank": True}])
def test_what_holds_for_codes_only_is_refused(opened: Collection, option: dict[str, float]) -> None:
    with pytest.raises(QueryError, match="--hybrid fuses hits by their ranks"):
        opened.query("bread", hybrid=True, **option)  # type: ignore[arg-type]


def test_the_index_is_made_once_and_kept_with_its_release(posts: Store, opened: Collection) -> None:
    opened.query("bread", hybrid=True)
    ref = fulltext.ref_of(opened.release.ref)
    made = posts.manifest(ref).created
    Collection(posts, Release.open(posts)).query("bread", hybrid=True)
    assert posts.manifest(ref).created == made
    assert ref not in gc.find(posts, hours=0).refs
    assert not opened.verify().damage


def test_a_bare_code_has_no_words(opened: Collection) -> None:
    code = opened.release.codes_of([0]).hex()
    with pytest.raises(QueryError, match=f"code {code[0]}: has no words to look for"):
        list(opened.answers(codes=code, hybrid=True))


def test_pictures_have_no_words(colours: Store) -> None:
    with pytest.raises(QueryError, match="words are looked up in documents"):
        Collection(colours, Release.open(colours)).query("red", hybrid=True)


def test_without_the_package_it_is_named(opened: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fulltext, "find_spec", lambda _: None)
    with pytest.raises(ExtraError, match=r"tantivy is not installed: pip install 'aepipe\[hybrid\]'"):
        opened.query("bread", hybrid=True)


def test_originals_that_are_gone_are_said(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("gone")
    store, ref = make_posts_release(folder)
    shutil.rmtree(folder / "posts")
    with pytest.raises(QueryError, match="no original is left"):
        Collection(store, Release.open(store, ref=ref)).query("bread", hybrid=True)


def test_a_text_that_is_not_in_utf_8_is_refused_alone(opened: Collection) -> None:
    found = list(opened.answers(text=["bread", "\ud800", "guitar"], k=1))
    assert [bool(one.hits) for one in found] == [True, False, True]
    assert "not in UTF-8: half a character at 0" in str(found[1].question.failure)


def test_numbers_are_found_in_words_and_alone(tmp_path: Path) -> None:
    store, _ = make_posts_release(tmp_path, more={("river", 2): "pump XJ-905, error 0x80070005; ISO9001 from 1987"})
    opened = Collection(store, Release.open(store))
    for text in ("905", "XJ-905 will not start", "0x80070005", "iso9001", "1987", "xj"):
        ids = fulltext.opened(store, opened.release).search(text, 10)
        assert [row.key for row in opened.release.describe(ids)][:1] == ["river/2.txt"], text
    (found,) = opened.query("XJ-905 will not start", k=3, hybrid=True)
    assert "river/2.txt" in [hit.row.key for hit in found.hits]


def test_ranks_of_two_lists_are_fused_by_their_reciprocals() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.permutation(40)[:25].tolist() for _ in range(2))
    scores = {one: sum(1 / (61 + ids.index(one)) for ids in (first, second) if one in ids) for one in [*first, *second]}
    assert ranked(first, second) == sorted(scores, key=lambda one: -scores[one])
    assert len(ranked(first, second)) == len(set(first) | set(second))


def test_only_words_without_an_embedding_are_unknown() -> None:
    words = Question("red", data=b"red")
    assert is_unknown(words)
    assert not is_unknown(replace(words, embedding=np.zeros(3)))
    assert not is_unknown(Question("code 00"))

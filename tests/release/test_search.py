"""Answers that are looked for in steps: first bits, all bits, embeddings; and when embeddings order them."""

from __future__ import annotations

import logging
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aepipe.codes.encoder import cosines
from aepipe.errors import QueryError
from aepipe.evaluate.calibration import Confidence
from aepipe.pipeline.encode import encode_all
from aepipe.release import query as queries
from aepipe.release import search
from aepipe.release.prefix import Prefix
from aepipe.release.query import answer
from aepipe.release.release import Release
from aepipe.release.search import Found, Hit, QueryOptions, Question, SearchOptions, search_options
from aepipe.store.artifacts import Store
from tests.support import releases
from tests.support.releases import make_release, pictures_of


@pytest.mark.parametrize(("bits", "wider", "factor"), [(8, 3, 2), (8, 1, 4), (16, 2, 1), (40, 1, 3)])
def test_a_cascade_from_first_bits_to_embeddings(
    store: Store, monkeypatch: pytest.MonkeyPatch, bits: int, wider: int, factor: int
) -> None:
    """Each step keeps the first by what it compares, ties by id, and hands fewer on to the next."""
    make_release(store, n=120)
    monkeypatch.setattr(search, "WIDER", wider)
    release, k = Release.open(store), 5
    ids = release.items.ids
    codes = release.codes_of(ids)
    prefixes = codes.prefix(bits)
    for row in (0, 17, 63):
        near, far = (some.distances(some[row : row + 1])[:, 0] for some in (prefixes, codes))
        first = sorted(range(len(ids)), key=lambda i: (near[i], ids[i]))[: wider * factor * k]
        then = sorted(first, key=lambda i: (far[i], ids[i]))[: factor * k]
        angle = cosines(release.segments.embeddings_of(ids[row : row + 1])[0], release.segments.embeddings_of(ids))
        last = sorted(then, key=lambda i: (-angle[i], near[i], ids[i]))[:k]
        view = Prefix(release, bits)
        (found,) = answer(
            view, list(queries.questions_from_rows(view, [int(ids[row])], [])), SearchOptions(top=k, factor=factor)
        )
        assert [hit.row.id for hit in found.hits] == [int(ids[i]) for i in last]
        assert [hit.distance for hit in found.hits] == [int(near[i]) for i in last]
        assert [hit.cosine for hit in found.hits] == pytest.approx(angle[last].tolist(), abs=1e-4)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release of 120 pictures, the last a copy of the first."""
    store = Store(tmp_path_factory.mktemp("search") / "store")
    return Release.open(store, ref=make_release(store, n=120))


def found(release: Release, row: int, **options: Any) -> list[Hit]:
    """Return what a row of the release finds."""
    given: QueryOptions = {**options}  # type: ignore[typeddict-item]
    asked = list(queries.questions_from_rows(release, [row], []))
    return answer(release, asked, search_options(release, given))[0].hits


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 25},
        {"others": True},
        {"distinct": True},
        {"others": True, "distinct": True, "k": 3},
        {"radius": 26},
        {"radius": 26, "k": 4, "others": True},
        {"radius": 0, "distinct": True},
        {"where": np.arange(40, 90)},
        {"where": np.arange(40, 90), "radius": 28, "others": True, "distinct": True},
    ],
)
def test_embeddings_order_hits_whatever_else_is_wanted(release: Release, options: dict[str, Any]) -> None:
    """Against a plain search of everything: the first by code, of these the first by cosine."""
    ids = release.items.ids
    factor, k = release.scores["reranking"]["factor"], options.get("k", 10)
    for row in (0, 41):
        own = release.codes_of([row])
        far = own.distances(release.codes_of(ids))[0].astype(int)
        angle = cosines(release.segments.embeddings_of(np.array([row]))[0], release.segments.embeddings_of(ids))
        near = sorted((int(far[i]), i) for i in options.get("where", ids))
        near = [pair for pair in near if pair[0] <= options.get("radius", 64)]
        if "radius" not in options:
            near = near[: k * factor + options.get("others", False)]
        if options.get("others"):
            near = [pair for pair in near if pair[1] != row]
        if options.get("distinct"):
            codes = [release.codes_of([i]).hex()[0] for _, i in near]
            near = [pair for place, pair in enumerate(near) if codes[place] not in codes[:place]]
        if "radius" not in options or "k" in options:
            near = near[: k * factor]
        best = sorted(near, key=lambda pair: (-round(float(angle[pair[1]]), 6), *pair))
        best = best if "radius" in options and "k" not in options else best[:k]
        assert [(hit.distance, hit.row.id) for hit in found(release, row, **options)] == best


def test_a_copy_comes_first_and_a_code_alone_is_answered_in_the_order_of_codes(release: Release) -> None:
    codes = release.codes_of(release.items.ids).hex()
    row = next(place for place, code in enumerate(codes) if code in codes[:place])
    first, copy = found(release, row, k=5)[:2]
    assert {first.row.id, copy.row.id} == {codes.index(codes[row]), row}
    assert (first.distance, first.cosine, copy.distance, copy.cosine) == (0, 1, 0, 1)
    mixed = [*queries.questions_from_codes(release, release.codes_of([3]).hex())]
    mixed += queries.questions_from_rows(release, [3], [])
    coded, own = answer(release, mixed, search_options(release, {}))
    plain = answer(release, mixed, search_options(release, {"fast": True}))
    assert coded.hits == plain[0].hits
    assert [hit.cosine for hit in coded.hits] == [None] * 10
    assert None not in [hit.cosine for hit in own.hits]
    with pytest.raises(QueryError, match="only items and rows have an embedding"):
        answer(release, mixed, search_options(release, {"rerank": True}))


def test_an_item_of_the_collection_is_compared_as_its_row_is(release: Release) -> None:
    paths = [str(release.items.root / release.describe([row])[0].place) for row in (5, 60)]
    answers = answer(release, list(queries.questions_from_paths(release, paths)), search_options(release, {}))
    for one, row in zip(answers, (5, 60), strict=True):
        same = found(release, row)
        assert one.hits[0] == same[0]
        assert len({hit.row.id for hit in one.hits} & {hit.row.id for hit in same}) >= 9, "rows have fewer digits"


def test_the_recipe_chooses_and_a_question_chooses_otherwise(store: Store) -> None:
    make_release(store, n=40)
    release = Release.open(store)
    release.recipe["index"]["rerank"] = False
    plain = found(release, 3)
    assert plain == found(release, 3, fast=True)
    assert None not in [hit.cosine for hit in found(release, 3, rerank=True)]
    assert None not in [hit.cosine for hit in found(release, 3, oversample=2)]
    del release.recipe["index"]
    assert None not in [hit.cosine for hit in found(release, 3)], "a recipe of an older version does not say"


def test_where_no_embeddings_are_kept_the_order_is_that_of_codes(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "encode_all", partial(encode_all, embedding=False))
    make_release(store, n=40)
    bare = Release.open(store)
    assert bare.segments.width is None
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert found(bare, 3) == found(bare, 3, fast=True)
    assert not caplog.records
    for asked in ({"rerank": True}, {"oversample": 3}):
        with pytest.raises(QueryError, match="the embeddings of its rows are not kept"):
            found(bare, 3, **asked)


def test_a_factor_that_was_not_measured_is_asked_for(store: Store) -> None:
    make_release(store, n=40)
    release = Release.open(store)
    release.__dict__["scores"] = {**release.scores, "reranking": None}
    assert found(release, 3) == found(release, 3, fast=True)
    with pytest.raises(QueryError, match="give that as --oversample"):
        found(release, 3, rerank=True)
    assert None not in [hit.cosine for hit in found(release, 3, oversample=3)]


@pytest.mark.parametrize(("bits", "said"), [(None, "of this release: run it again"), (8, "of the first bits")])
def test_a_confidence_that_was_not_measured_says_why(store: Store, bits: int | None, said: str) -> None:
    make_release(store, n=20)
    release = Release.open(store)
    release.__dict__["scores"] = {**release.scores, "calibration": None}
    asked = release if bits is None else Prefix(release, bits)
    with pytest.raises(QueryError, match=f"it was not measured what distances {said} are worth"):
        search_options(asked, {"min_confidence": 0.5})


def test_words_are_compared_by_distance_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few words are decoded worse than the documents that the usual error was measured on."""
    make_release(store, n=20)
    release, seen = Release.open(store), []

    def strange(_: Confidence, nearest: int | None, error: float | None) -> None:
        seen.append(error)

    monkeypatch.setattr(Confidence, "strange", strange)
    # Scores of a version that knew no figures of strangers.
    release.__dict__["scores"] = {name: value for name, value in release.scores.items() if name != "strangers"}
    code = release.codes_of(release.items.ids[:1])
    asked = [Question(text, code, b"a cat", error=0.9) for text in ("a cat", "cat.txt")]
    assert len(answer(release, asked, SearchOptions(top=1))) == 2
    assert seen == [None, 0.9]


def test_the_smaller_of_a_radius_and_the_distance_of_a_confidence_counts() -> None:
    known = SimpleNamespace(radius=lambda _, where: 7 if where else 5)
    release: Any = SimpleNamespace(name="a", n_bits=8, whole=SimpleNamespace(n_bits=8), confidence=known)
    assert [search._radius(release, radius, 0.5, where=False) for radius in (None, 3, 9)] == [5, 3, 5]
    assert search._radius(release, None, 0.5, where=True) == 7
    assert search._radius(release, 9, None, where=True) == 9
    release.confidence = None
    with pytest.raises(QueryError, match="it was not measured what distances of this release: run it again are worth"):
        search._radius(release, 9, 0.5, where=False)


def test_files_are_encoded_in_groups(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    make_release(store, n=12)
    release = Release.open(store)
    files = [str(file) for file in sorted(pictures_of(store).rglob("*.png"))[:5]]
    whole = [one.code for one in queries.questions_from_paths(release, files)]
    monkeypatch.setattr(queries, "AT_ONCE", 2)
    sizes, encode = list[int](), release.encoder.encode

    def counted(items: Any) -> Any:
        sizes.append(len(items))
        return encode(items)

    monkeypatch.setattr(release.encoder, "encode", counted)
    found = [one.code for one in queries.questions_from_paths(release, files)]
    assert sizes == [2, 2, 1]
    assert None not in found
    assert [one.hex() for one in found if one] == [one.hex() for one in whole if one]


def test_how_many_hits_are_wanted() -> None:
    cases = [
        (SearchOptions(), 10, 10),
        (SearchOptions(top=3), 3, 3),
        (SearchOptions(radius=2), 10, None),
        (SearchOptions(top=3, radius=2), 3, 3),
    ]
    assert [(one.wanted, one.most) for one, _, _ in cases] == [(wanted, most) for _, wanted, most in cases]


def test_some_of_the_rows_found_keep_their_measures() -> None:
    found = Found(np.array([5, 6, 7]), np.array([1, 2, 3], np.uint16), [0.9, 0.8, 0.7], 1)
    some = found.at([2, 0])
    assert (some.ids.tolist(), some.distances.tolist(), some.cosines, some.nearest) == ([7, 5], [3, 1], [0.7, 0.9], 1)
    assert list(found.measures([0.5, 0.4, 0.3])) == [(1, 0.5, 0.9), (2, 0.4, 0.8), (3, 0.3, 0.7)]
    bare = Found(found.ids, found.distances)
    assert list(bare.measures(None)) == [(1, None, None), (2, None, None), (3, None, None)]
    assert bare.at([1]).cosines is None


@pytest.mark.parametrize(
    ("factor", "bits", "looked_at"), [(None, 16, 5), (None, 32, 5), (3, 32, 15), (3, 16, 15 * search.WIDER)]
)
def test_how_many_rows_are_looked_at_by_code(factor: int | None, bits: int, looked_at: int) -> None:
    release: Any = SimpleNamespace(n_bits=bits, whole=SimpleNamespace(n_bits=32))
    assert search._looked_at(release, SearchOptions(factor=factor), 5) == looked_at


def test_a_confidence_under_a_condition_has_a_distance_of_its_own(release: Release) -> None:
    known = SimpleNamespace(radius=lambda least, where: 7 if where else 5)
    one: Any = Release.open(release.store, ref=release.ref)
    one.__dict__["confidence"] = known
    for where, radius in ((None, 5), (np.arange(40, 90), 7), ("id < 9", 7)):
        found = search_options(one, {"min_confidence": 0.5, "where": where})
        assert (found.radius, found.least) == (radius, 0.5)
    assert search_options(one, {"min_confidence": 0.5, "radius": 2}).radius == 2


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("k", 0, "k: a whole number from 1 on is wanted, not 0"),
        ("k", True, "k: a whole number from 1 on is wanted, not True"),
        ("k", 2.0, r"k: a whole number from 1 on is wanted, not 2\.0"),
        ("radius", -1, "radius: a whole number from 0 on is wanted, not -1"),
        ("oversample", 0, "oversample: a whole number from 1 on is wanted, not 0"),
        ("min_confidence", 1.1, r"min_confidence: a number from 0 to 1 is wanted, not 1\.1"),
        ("min_confidence", "a", "min_confidence: a number from 0 to 1 is wanted, not 'a'"),
        ("where", np.zeros((2, 2), int), "where: a condition in SQL or a list of ids is wanted"),
        ("where", [0.5], "where: a condition in SQL or a list of ids is wanted"),
        ("top", 3, "no such option of query: top; these are: k, radius, where, others"),
    ],
)
def test_wrong_options_are_named(release: Release, name: str, value: object, said: str) -> None:
    given: Any = {name: value}
    with pytest.raises(QueryError, match=said):
        search_options(release, given)


def test_options_at_their_borders(release: Release) -> None:
    given: Any = {"k": 1, "radius": 0, "oversample": 1, "where": []}
    found = search_options(release, given)
    assert (found.top, found.radius, found.factor, found.strict) == (1, 0, 1, True)
    assert found.where is not None
    assert found.where.dtype == np.int64
    assert found.where.tolist() == []
    plain = search_options(release, {"where": np.array([3, 1], np.uint8), "fast": True})
    assert (plain.top, plain.radius, plain.factor, plain.strict) == (None, None, None, False)
    assert plain.where is not None
    assert plain.where.tolist() == [3, 1]
    assert search_options(release, {"rerank": False}).factor is None
    usual = search_options(release, {})
    assert (usual.factor, usual.strict) == (release.scores["reranking"]["factor"], False)
    assert search_options(release, {"rerank": True}).strict
    with pytest.raises(QueryError, match="--fast leaves hits in the order of their codes"):
        search_options(release, {"fast": True, "oversample": 2})


@pytest.mark.parametrize(
    ("scores", "width", "rule", "factor", "expected"),
    [
        ({"reranking": {"factor": 4}}, 8, {}, None, 4),
        ({"reranking": {"factor": 4}}, 8, {"index": {"rerank": True}}, None, 4),
        ({"reranking": {"factor": 4}}, 8, {"index": {"rerank": False}}, None, None),
        ({"reranking": {"factor": 4}}, 8, {}, 7, 7),
        ({"reranking": None}, 8, {}, 7, 7),
        ({}, 8, {}, None, "it was not measured among how many hits"),
        ({"reranking": {"factor": 4}}, None, {}, None, "the embeddings of its rows are not kept"),
        ({}, None, {}, 7, "the embeddings of its rows are not kept"),
    ],
)
def test_among_how_many_hits_embeddings_choose(
    caplog: pytest.LogCaptureFixture,
    scores: dict[str, Any],
    width: int | None,
    rule: dict[str, Any],
    factor: int | None,
    expected: object,
) -> None:
    segments = SimpleNamespace(width=width)
    release: Any = SimpleNamespace(name="pictures", scores=scores, segments=segments, recipe=rule)
    with caplog.at_level(logging.DEBUG, logger="aepipe.query"):
        found = search._oversampling(release, factor, strict=False)
    if not isinstance(expected, str):
        assert (found, caplog.messages) == (expected, [])
        return
    assert found is None
    assert [one.startswith("pictures: hits are in the order of their codes: ") for one in caplog.messages] == [True]
    assert expected in caplog.messages[0]
    with pytest.raises(QueryError, match=f"^pictures: hits cannot be re-ranked: {expected}"):
        search._oversampling(release, factor, strict=True)


def test_what_is_asked_for_is_re_ranked_whatever_the_rule_says() -> None:
    segments, rule = SimpleNamespace(width=8), {"index": {"rerank": False}}
    release: Any = SimpleNamespace(name="", scores={"reranking": {"factor": 4}}, segments=segments, recipe=rule)
    assert search._oversampling(release, None, strict=True) == 4
    assert search._oversampling(release, 3, strict=True) == 3

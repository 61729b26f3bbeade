"""Questions in words to a collection of pictures: alone, together with an item, and where none are answered."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aepipe.api import Collection
from aepipe.errors import ItemError, QueryError
from aepipe.release import gc
from aepipe.release import query as queries
from aepipe.release.release import Release
from aepipe.release.search import Question, SearchOptions
from aepipe.release.words import NOTHING, Mixture, advice
from aepipe.store.artifacts import Store
from tests.support.releases import make_release
from tests.support.towers import COLOURS, EACH


@pytest.fixture
def opened(colours: Store, monkeypatch: pytest.MonkeyPatch) -> Collection:
    monkeypatch.chdir(colours.root.parent)
    return Collection(colours, Release.open(colours))


def labels(found: Iterable[object]) -> list[str]:
    return [hit.row.label for hit in found]  # type: ignore[attr-defined]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("fast", [False, True])
def test_words_find_their_pictures(opened: Collection, colour: str, fast: bool) -> None:
    (found,) = opened.query(colour, k=EACH, fast=fast)
    assert found.question.text == colour
    assert found.strange is None
    assert labels(found.hits).count(colour) >= EACH - 2
    assert all(hit.confidence is None for hit in found.hits), "what such questions are worth was not measured"


@pytest.mark.parametrize(
    "options", [{"bits": 32}, {"bits": 32, "fast": True}, {"radius": 20}, {"distinct": True}, {"where": "id < 1000"}]
)
def test_options_of_a_search_hold_for_words(opened: Collection, options: dict[str, Any]) -> None:
    (found,) = opened.query("red", **{"k": 5, **options})
    assert labels(found.hits)[0] == "red"
    assert all(hit.distance <= options.get("radius", 64) for hit in found.hits)


def test_a_condition_leaves_only_its_rows(opened: Collection) -> None:
    allowed = opened.ids_where("label = 'blue'")
    (found,) = opened.query("red", where=allowed, fast=True)
    assert set(labels(found.hits)) == {"blue"}
    asked = list(queries.questions_from_words(opened.release, ["red"]))
    with pytest.raises(QueryError, match="what hits of words are worth was not measured"):
        queries.answer(opened.release, asked, SearchOptions(least=0.5))


def test_words_and_files_are_answered_in_their_order(opened: Collection) -> None:
    red = "pictures/red/0.png"
    found = opened.query("blue", red, "green", k=1)
    assert [one.question.text for one in found] == ["blue", red, "green"]
    assert labels(found.hits) == ["blue", "red", "green"]


def test_text_is_words_whatever_it_looks_like(opened: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(opened.store.root.parent / "pictures")
    assert len(opened.query("red").answers) == EACH, "a folder is its pictures"
    (found,) = opened.query(text="red", k=3)
    assert found.question.text == "red"
    assert set(labels(found.hits)) == {"red"}
    assert len(opened.query(text=["red", "blue/red"], minus="white", k=1)) == 2


def test_what_looks_like_a_missing_file_is_one(opened: Collection) -> None:
    with pytest.raises(ItemError, match="no such file or folder"):
        opened.query("red.png")


def test_words_are_added_to_pictures_and_rows(opened: Collection) -> None:
    (file,) = opened.query("pictures/red/0.png", plus="white", k=5)
    (row,) = opened.query(keys=["red/0.png"], plus="white", k=5)
    assert file.question.text == "pictures/red/0.png + white"
    assert set(labels(file.hits)) == set(labels(row.hits)) == {"pink"}
    assert [hit.row.id for hit in file.hits] == [hit.row.id for hit in row.hits]


def test_words_are_taken_away(opened: Collection) -> None:
    yellow = opened.query("yellow", k=3 * EACH)
    without = opened.query("yellow", minus=["green"], k=3 * EACH)
    assert without.answers[0].question.text == "yellow - green"
    assert labels(without.hits).count("green") < max(labels(yellow.hits).count("green"), 1)
    assert set(labels(opened.query(plus="red", k=5).hits)) == {"red"}
    assert "black" not in labels(opened.query(minus="black", k=EACH).hits)


def test_the_weight_decides_between_item_and_words(opened: Collection) -> None:
    asked = ["pictures/red/0.png"]
    assert set(labels(opened.query(*asked, plus="blue", weight=0.0, k=5).hits)) == {"red"}
    assert set(labels(opened.query(*asked, plus="blue", weight=1.0, k=5).hits)) == {"blue"}
    for weight in (-0.1, 1.1, float("nan")):
        with pytest.raises(QueryError, match="a number from 0 to 1"):
            opened.query(*asked, plus="blue", weight=weight)


def test_a_code_has_nothing_to_mix(opened: Collection) -> None:
    with pytest.raises(QueryError, match="a code cannot be mixed with words"):
        opened.query(codes=["00" * 8], plus="red")
    with pytest.raises(QueryError, match="words to add or to leave out are empty"):
        opened.query("red", minus=" ")


def test_where_none_are_answered_it_is_said(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    plain = Collection(store, Release.open(store, ref=make_release(store, n=20)))
    for asked in ({"plus": "red"}, {"minus": "red", "ids": [0]}):
        with pytest.raises(QueryError, match=r"does not answer words.*\[features\] words"):
            plain.query(**asked)
    with pytest.raises(ItemError, match=r"no such file or folder.*\[features\] words"):
        plain.query("a red boot")


def test_garbage_and_verification_know_words(opened: Collection) -> None:
    (ref,) = opened.store.refs("words")
    assert ref in {part for _, part in opened.release.parts}
    assert ref not in gc.find(opened.store, hours=0).refs
    assert not opened.verify().damage


def test_names_of_mixtures() -> None:
    mixture = Mixture(("at night", "rain"), ("snow",))
    assert mixture.named("beach.jpg") == "beach.jpg + at night + rain - snow"
    assert mixture.named("") == "at night + rain - snow"
    assert Mixture(minus=("snow",)).named("") == "- snow"


def test_text_that_is_not_in_utf_8_is_refused(opened: Collection) -> None:
    for text, said in (("\udcff", "byte 0xff at 0"), ("ä\ud800", "half a character at 2")):
        with pytest.raises(ItemError, match=f"not in UTF-8: {said}"):
            opened.query(text=text)
        with pytest.raises(QueryError, match=f"not in UTF-8: {said}"):
            opened.query("red", plus=text)


@pytest.mark.parametrize(
    ("kind", "backbone", "said"),
    [
        (
            "images",
            "efficientnet-lite0",
            ". To ask it in words, install the extra `words`, and run its recipe again with",
        ),
        ("images", "clip/vision", ". To ask it in words, name the text tower of its network"),
        ("audio", "clap/audio", ". To ask it in words, name the text tower of its network"),
        ("video", None, ". To ask it in words, name a network in its recipe, `[features] backbone`"),
        ("audio", None, ""),
        ("table", None, ""),
        ("vectors", None, ""),
    ],
)
def test_advice_is_given_where_it_works(kind: str, backbone: str | None, said: str) -> None:
    recipe = {"source": {"kind": kind}, "features": {"backbone": backbone}}
    found = advice(SimpleNamespace(recipe=recipe))  # type: ignore[arg-type]
    assert found.startswith(said)
    assert bool(found) == bool(said)


@pytest.mark.parametrize(("weight", "wrong"), [(0.0, False), (1.0, False), (-0.01, True), (1.01, True)])
def test_a_weight_is_a_share(weight: float, wrong: bool) -> None:
    if not wrong:
        assert Mixture(("rain",), weight=weight).weight == weight
        return
    with pytest.raises(QueryError, match=f"weight: a number from 0 to 1 is wanted, not {weight}"):
        Mixture(("rain",), weight=weight)


def test_words_of_mixtures_are_texts_or_lists() -> None:
    assert Mixture.of("rain", ["snow", "ice"], None) == Mixture(("rain",), ("snow", "ice"))
    assert Mixture.of((), (), 0.25) == Mixture(weight=0.25)
    assert bool(Mixture(("a",)))
    assert bool(Mixture(minus=("a",)))
    assert not Mixture(weight=0.9)
    for given in ((("",), ()), ((), (" ",))):
        with pytest.raises(QueryError, match="words to add or to leave out are empty"):
            Mixture(*given)


def test_words_out_of_a_pipe_keep_their_place_among_files(opened: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are asked as words, also with words added; a picture out of a pipe stays one."""
    release = opened.release
    files = [str(release.path_of(row.place)) for row in release.describe([0, 1])]
    apart = [*queries.questions_from_paths(release, files[:1]), *queries.questions_from_words(release, ["red"])]

    def asked(given: bytes, mixture: Mixture = NOTHING) -> list[Question]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        return list(queries.questions_from_paths(release, [files[0], "-", files[1]], mixture))

    found = asked(b"red\n")
    assert [one.text for one in found] == [apart[0].text, "red", files[1]]
    for one, other in zip(found[:2], apart, strict=True):
        assert one.code is not None
        assert other.code is not None
        assert one.code.hex() == other.code.hex()
    assert [one.meaning is None for one in found] == [True, False, True]
    (mixed,) = queries.questions_from_words(release, ["red"], Mixture(("blue",)))
    with_more = asked(b"red", Mixture(("blue",)))[1]
    assert with_more.text == mixed.text == "red + blue"
    assert with_more.code is not None
    assert mixed.code is not None
    assert with_more.code.hex() == mixed.code.hex()
    picture = asked(Path(files[1]).read_bytes())
    assert picture[1].code is not None
    assert picture[2].code is not None
    assert picture[1].code.hex() == picture[2].code.hex()
    assert picture[1].meaning is None


def test_words_to_documents_are_text_with_what_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents refuse added words, so these must come to where that is said."""
    given: list[Any] = []

    def encode(release: Any, named: Any, mixture: Mixture) -> list[Question]:
        given.append((release, named, mixture))
        return [Question(name) for name, _ in named]

    monkeypatch.setattr(queries, "questions_from_bytes", encode)
    posts: Any = SimpleNamespace(all_parts=lambda _: [], recipe={"source": {"kind": "text"}})
    added = Mixture(plus=("blue",))
    asked = list(queries.questions_from_text(posts, ["red", "green", "\ud800", "grün"], added))
    assert [one.text for one in asked] == ["red", "green", "\ud800", "grün"]
    assert [one.failure is None for one in asked] == [True, True, False, True]
    assert given == [
        (posts, [("red", b"red"), ("green", b"green")], added),
        (posts, [("grün", "grün".encode())], added),
    ]
    assert list(queries.questions_from_text(posts, [], added)) == []

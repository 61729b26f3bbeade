"""Questions with words added and taken away: the mathematics, and how they are encoded and named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import Encoding
from aepipe.errors import ItemError, QueryError
from aepipe.release import query, words
from aepipe.release.search import Question
from aepipe.release.words import Mixture, mixed
from aepipe.words import Meaning, named

CENTRE = np.array([0.1, -0.2, 0.3, 0.05], np.float32)
RNG = np.random.default_rng(0)
FEATURES = {text: RNG.normal(size=4).astype(np.float32) for text in ("red", "blue", "round", "item")}
FEATURES = {text: one / np.linalg.norm(one) for text, one in FEATURES.items()}


class Known:
    """Words that are understood as their own letters, but for blue, which is far from all."""

    centre = CENTRE

    def __call__(self, text: str) -> Meaning:
        return Meaning(FEATURES[text], (text[0], text), "is far" if text == "blue" else None)


RELEASE: Any = SimpleNamespace(words=Known(), recipe={"source": {"kind": "images"}}, all_parts=lambda _: ["it"])
ITEM = Meaning(FEATURES["item"], ("it",))


def unit(vector: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(vector, np.float64) / np.linalg.norm(np.asarray(vector, np.float64))


def away(text: str) -> NDArray[np.float64]:
    return unit(FEATURES[text].astype(float) - CENTRE)


@pytest.mark.parametrize(
    ("item", "plus", "minus", "weight"),
    [
        (True, ("red",), (), 0.5),
        (True, ("red", "round"), (), 0.2),
        (True, (), ("red",), 0.5),
        (True, ("blue",), ("red", "round"), 0.8),
        (False, ("red",), (), 0.5),
        (False, ("red", "blue"), ("round",), 0.9),
        (False, (), ("round", "red"), 0.3),
    ],
)
def test_a_mixture_is_a_weighted_sum_without_what_is_unwanted(
    item: bool, plus: tuple[str, ...], minus: tuple[str, ...], weight: float
) -> None:
    found = mixed(RELEASE, ITEM if item else None, Mixture(plus, minus, weight)).features
    asked = sum((away(text) / len(plus) for text in plus), np.zeros(4))
    if item:
        share = weight if plus else 0.0
        asked = share * asked + (1 - share) * away("item")
    for text in minus:
        asked = asked / max(float(np.linalg.norm(asked)), 1e-12)
        asked = asked - (max(0.0, float(asked @ away(text))) + 0.4 * weight / len(minus)) * away(text)
    first = "item" if item else (plus or minus)[0]
    length = np.linalg.norm(FEATURES[first].astype(float) - CENTRE)
    assert found.dtype == np.float32
    assert found == pytest.approx(unit(CENTRE + length * unit(asked)), abs=1e-6)
    assert np.linalg.norm(found) == pytest.approx(1)


def test_what_nothing_is_added_to_stays() -> None:
    assert mixed(RELEASE, ITEM, Mixture()) is ITEM


def test_parts_of_a_mixture_are_told_with_their_marks() -> None:
    told = mixed(RELEASE, ITEM, Mixture(("red",), ("round", "blue")))
    assert told.known == ("it", "+ r", "+ red", "- r", "- round", "- b", "- blue")
    assert told.far == "blue: is far"
    alone = mixed(RELEASE, None, Mixture(("red", "round"), ("blue",)))
    assert alone.known == ("r", "red", "+ r", "+ round", "- b", "- blue"), "the first of all needs no plus"
    assert mixed(RELEASE, None, Mixture(minus=("red",))).known == ("- r", "- red")
    assert mixed(RELEASE, None, Mixture(("blue",))).far == "is far"
    assert mixed(RELEASE, Meaning(FEATURES["item"], far="so"), Mixture(("blue",))).far == "so"
    assert mixed(RELEASE, ITEM, Mixture(("red",))).far is None


def test_who_answers_no_words_says_what_would() -> None:
    def release(kind: str) -> Any:
        return SimpleNamespace(name="some", words=None, recipe={"source": {"kind": kind}})

    with pytest.raises(QueryError, match=r"^some has documents: write all words in one question"):
        words.words_for(release("text"))
    with pytest.raises(QueryError, match=r"^some does not answer words, nor .* questions\. To ask it in words"):
        words.words_for(release("images"))
    assert words.words_for(RELEASE) is RELEASE.words


BITS = np.random.default_rng(3).integers(0, 2, (3, 16))


def encoding(release_bits: int, seen: list[NDArray[Any]]) -> Any:
    """Return a release whose encoder gives the codes of three rows one after the other."""

    def encode(items: NDArray[Any]) -> Encoding:
        seen.append(items)
        bits = BITS[: len(items)]
        return Encoding(BitCodes.from_bits(bits), items.astype(np.float32) + 1, bits - np.float32(0.5))

    encoder = SimpleNamespace(encode=encode)
    return SimpleNamespace(**{**vars(RELEASE), "encoder": encoder, "n_bits": release_bits})


def test_words_go_through_the_encoder_together_as_rows_do() -> None:
    seen: list[NDArray[Any]] = []
    found = list(query.questions_from_words(encoding(8, seen), ["red", "blue"], Mixture(("round",))))
    (items,) = seen
    assert items.dtype == np.float16
    expected = [mixed(RELEASE, Known()(text), Mixture(("round",))) for text in ("red", "blue")]
    assert np.array_equal(items, np.stack([one.features for one in expected]).astype(np.float16))
    for place, one in enumerate(found):
        assert one.text == named(("red", "blue")[place], ("round",), ())
        assert one.whole is not None
        assert one.code is not None
        assert one.whole.hex() == BitCodes.from_bits(BITS[place : place + 1]).hex()
        assert one.code.hex() == one.whole.prefix(8).hex()
        assert np.array_equal(one.embedding, items[place].astype(np.float32) + 1)  # type: ignore[arg-type]
        assert one.logits is not None
        assert one.logits.tolist() == (BITS[place] - 0.5).tolist()
        assert one.meaning is not None
        assert (one.meaning.known, one.meaning.far) == (expected[place].known, expected[place].far)
    (alone,) = query.questions_from_words(encoding(16, seen), [], Mixture(("red",), ("blue",)))
    assert alone.text == named("", ("red",), ("blue",))
    assert alone.meaning is not None
    assert alone.meaning.known == ("r", "red", "- b", "- blue")


def test_items_are_encoded_with_words_one_by_one_and_failures_keep_their_place() -> None:
    seen: list[NDArray[Any]] = []
    failed = ItemError("b.png", "no picture")
    block = [Question("a.png", data=b"a"), Question("b.png", data=b"b"), Question("c.png", data=b"c")]
    items: Any = [FEATURES["item"].astype(np.float16), failed, FEATURES["blue"]]
    added = Mixture(("red",), weight=0.3)
    a, b, c = query._encoded_with_words(encoding(16, seen), block, items, added)
    assert (b.text, b.failure, b.code) == ("b.png", failed, None)
    for one, item, own in ((a, items[0], seen[0]), (c, items[2], seen[1])):
        assert one.text == named(one.data.decode() + ".png", ("red",), ())
        meant = mixed(RELEASE, Meaning(item.astype(np.float32)), added)
        assert np.array_equal(own, meant.features[None].astype(np.float16))
        assert one.understood == ("+ r", "+ red")
        assert one.code is not None
        assert one.failure is None


def test_features_of_rows_come_in_the_order_of_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """From whichever table of rows has them."""
    held = {"first": [3, 5, 8], "second": [9, 11]}

    def rows(folder: str) -> Any:
        ids = np.array(held[folder])
        return SimpleNamespace(ids=lambda: ids, feature=lambda place: np.array([ids[place], 0.5], np.float16))

    monkeypatch.setattr("aepipe.store.rows.Rows", rows)
    release: Any = SimpleNamespace(folders=lambda what: list(held) if what == "rows" else [])
    found = words.features_of(release, [11, 5, 9])
    assert [one.tolist() for one in found] == [[11, 0.5], [5, 0.5], [9, 0.5]]
    assert {one.dtype for one in found} == {np.dtype(np.float32)}


def test_each_packed_code_is_a_question_of_its_own() -> None:
    codes, release = BitCodes.from_bits(BITS, "f"), SimpleNamespace(n_bits=16, fingerprint="g")
    given: Any
    for given, fingerprint in ((codes, "f"), (codes.hex(), "g")):
        asked = list(query.questions_from_codes(release, given))  # type: ignore[arg-type]
        assert [one.text for one in asked] == [f"code {text}" for text in codes.hex()]
        assert [one.code.hex() for one in asked if one.code is not None] == [[text] for text in codes.hex()]
        assert [one.code.fingerprint for one in asked if one.code is not None] == [fingerprint] * 3

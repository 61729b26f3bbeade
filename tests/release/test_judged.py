"""Which questions are judged, by which nearest row, and what a question keeps of its encoding: plain figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import Encoding
from aepipe.errors import FingerprintError, ItemError
from aepipe.evaluate.calibration import Confidence
from aepipe.evaluate.strangers import Strangers
from aepipe.index.hits import Hits
from aepipe.release import query, unusual
from aepipe.release.search import Found, Question, SearchOptions
from aepipe.release.words import NOTHING, Mixture
from aepipe.words import Meaning

BITS = np.random.default_rng(3).integers(0, 2, (6, 16))
ROWS = np.random.default_rng(4).integers(-100, 100, (6, 5)).astype(np.int8)


class Whole:
    """A release of six rows that notes what it is asked."""

    def __init__(self, scores: dict[str, Any], *, known: Confidence | None = None) -> None:
        self.scores, self.confidence = scores, known
        self.codes = BitCodes.from_bits(BITS)
        self.segments = SimpleNamespace(embeddings_of=lambda ids: ROWS[ids], width=5)
        self.asked: list[tuple[list[str], int]] = []
        self.whole = self
        self.n_bits = 16

    def __len__(self) -> int:
        return 1234

    def query(self, codes: BitCodes, k: int) -> Hits:
        self.asked.append((codes.hex(), k))
        far = codes.distances(self.codes).astype(int)
        order = np.argsort(far, axis=1, kind="stable")[:, :k]
        return Hits(order, np.take_along_axis(far, order, 1).astype(np.uint16), np.full(len(codes), order.shape[1]))


def question(row: int, flipped: int = 0, **more: Any) -> Question:
    """Return a question with the code of a row, of which some bits are turned."""
    bits = BITS[row : row + 1].copy()
    bits[0, :flipped] ^= 1
    code = BitCodes.from_bits(bits)
    return Question(**{"text": f"{row}.png", "code": code, "whole": code, **more})


def rows(*nearest: int, cosines: Sequence[float] | None = None) -> list[Found]:
    """Return what was found for some questions: one row each, at these distances."""
    return [Found(np.array([0]), np.array([far + 2], np.uint16), cosines, far) for far in nearest]


@pytest.mark.parametrize("options", [{}, {"top": 10}, {"least": 0.5}, {"top": 10, "least": 0.0}])
@pytest.mark.parametrize("factor", [None, 3])
def test_the_rows_of_a_usual_search_are_the_nearest(options: dict[str, Any], factor: int | None) -> None:
    whole: Any = Whole({"reranking": {"factor": factor}} if factor else {"reranking": None})
    asked, found = [question(1), question(2)], rows(7, 4, cosines=[0.75])
    told = unusual._nearest(whole, [1, 0], asked, found, SearchOptions(factor=factor, **options))
    assert [least for _, least in told] == [4, 7]
    assert [figure for figure, _ in told] == pytest.approx([np.log(0.251)] * 2)
    assert whole.asked == []


@pytest.mark.parametrize(
    "options",
    [
        {"top": 11},
        {"top": 9},
        {"radius": 4},
        {"where": np.arange(3)},
        {"others": True},
        {"distinct": True},
        {"factor": None},
        {"hybrid": True},
        {"strict": True},
    ],
)
def test_other_searches_are_judged_by_the_ten_nearest_rows_of_all(options: dict[str, Any]) -> None:
    whole: Any = Whole({"reranking": {"factor": 3}})
    own = np.array([1.0, -2, 0.5, 3, 0])
    asked = [question(0, 9), question(1, 2, embedding=own), question(2, 5)]
    given = SearchOptions(**{"factor": 3, **options})
    told = unusual._nearest(whole, [1, 2], asked, rows(0, 0, 0), given)
    assert whole.asked == [([asked[place].code.hex()[0] for place in (1, 2)], 30)]  # type: ignore[union-attr]
    far = [int(asked[place].code.distances(whole.codes)[0].min()) for place in (1, 2)]  # type: ignore[union-attr]
    angles = ROWS.astype(float) @ own / np.linalg.norm(ROWS.astype(float), axis=1) / np.linalg.norm(own)
    assert told[0][0] == pytest.approx(np.log(1 - angles.max() + 1e-3), abs=1e-5)
    assert told[0][1] == far[0]
    assert told[1] == (float(far[1]), far[1]), "without an embedding it is the distance of the code"
    assert unusual._nearest(whole, [], asked, rows(0, 0, 0), given) == []
    assert len(whole.asked) == 1


def test_a_release_without_a_factor_and_a_prefix_ask_the_whole() -> None:
    whole: Any = Whole({})
    whole.whole = Whole({})
    own = question(1, 3, embedding=np.ones(5))
    assert unusual._nearest(whole, [0], [own], rows(0), SearchOptions()) == [(3.0, 3)]
    assert whole.asked == []
    assert whole.whole.asked == [(own.code.hex(), 10)]  # type: ignore[union-attr]


LIMIT = asdict(Strangers(("nearest", "outside"), (0.0, 0.0), (1.0, 1.0), 4.0, 200, (1.0, 1.0)))
"""A question without other figures is beyond it from a distance of 5 bits on: (log(10) + 4) / sqrt(2) is 4.46."""
LIKE, UNLIKE = {"outside": 0.0}, {"outside": 9.0}
KNOWN = Confidence("pictures", "has the same label", {}, 200, 6, 0.25)


def judged(
    whole: Any, asked: Sequence[Question], *nearest: int, options: SearchOptions | None = None
) -> list[str | None]:
    return unusual.unusual(whole, asked, rows(*nearest), options or SearchOptions())


def test_items_and_words_are_judged_by_the_limits_of_their_kind() -> None:
    whole = Whole({"strangers": {"items": LIMIT}}, known=KNOWN)
    far = unusual.UNLIKE.format(count=1234)
    item, words = question(0, figures=LIKE), question(0, figures=UNLIKE, text="red", data=b"red")
    assert judged(whole, [item] * 4, 0, 4, 5, 9) == [None, None, far, far]
    assert judged(whole, [question(0, figures=UNLIKE)] * 2, 0, 1) == [None, far], "not with the code of a row"
    embedded = question(0, figures=UNLIKE, text="red", data=b"red", embedding=np.ones(5), error=0.9)
    assert judged(whole, [embedded], 9) == [None], "nothing was measured of words"
    whole.scores["strangers"]["words"] = LIMIT
    assert judged(whole, [words, item, words], 0, 9, 1) == [None, far, unusual.WORDS_UNLIKE]
    unmeasured = question(0, figures={"sparse": 9.0}, embedding=np.ones(5), error=0.9)
    assert judged(whole, [unmeasured, question(0, figures=UNLIKE)], 9, 9) == [None, far]


def test_rows_and_meanings_are_not_judged() -> None:
    whole = Whole({"strangers": {"items": LIMIT}}, known=KNOWN)
    meaning = Meaning(np.zeros(5, np.float32))
    asked = [question(0, figures=UNLIKE, row_id=0), question(0, figures=UNLIKE, meaning=meaning)]
    assert judged(whole, asked, 9, 9) == [None, None]
    assert judged(whole, [*asked, question(0, figures=LIKE)], 9, 9, 9)[2] is not None
    assert judged(whole, [question(0, row_id=0), question(0)], 9, 9)[0] is None, "a code of a row"


def test_codes_alone_are_judged_by_the_usual_distance() -> None:
    released: list[dict[str, Any]] = [{"strangers": {"items": LIMIT}}, {"strangers": {}}, {}]
    for scores in released:
        whole = Whole(scores, known=KNOWN)
        bare = Question("code 00", BitCodes.from_bits(BITS[:1]))
        told = judged(whole, [bare, bare], 6, 7)
        assert told == [None, KNOWN.strange(7, None)], scores
        assert "7 bits away, not 6" in str(told[1])
        assert judged(whole, [bare], 7, options=SearchOptions(where=np.arange(3))) == [None]
        assert judged(Whole(scores), [bare], 7) == [None]


def test_items_of_older_releases_are_judged_by_how_well_they_are_decoded() -> None:
    item = question(0, embedding=np.ones(5), error=0.3)
    words = question(0, embedding=np.ones(5), error=0.3, text="red", data=b"red")
    older = Whole({}, known=KNOWN)
    assert judged(older, [item, words, words], 0, 0, 7) == [KNOWN.strange(0, 0.3), None, KNOWN.strange(7, None)]
    assert judged(older, [item], 0, options=SearchOptions(where=np.arange(3))) == [None]
    assert judged(Whole({"strangers": {}}, known=KNOWN), [item], 9) == [None], "it was judged, and no limit was found"
    unfigured = question(0, embedding=np.ones(5), whole=None, figures=UNLIKE)
    assert judged(Whole({"strangers": {"items": LIMIT}}, known=KNOWN), [unfigured], 9) == [None]


class Encoder:
    """Gives item i the bits and the floats of row i; an item of 9 has no code."""

    card = SimpleNamespace(source="images", features={})

    def encode(self, items: NDArray[np.generic]) -> Encoding:
        chosen = items[:, 0].astype(int)
        floats = np.where(chosen[:, None] == 9, np.nan, ROWS[chosen % 6]).astype(np.float32)
        return Encoding(BitCodes.from_bits(BITS[chosen % 6]), floats, BITS[chosen % 6] - 0.5)


def decode(data: bytes, name: str) -> NDArray[np.float32]:
    if data == b"?":
        raise ItemError(name, "no picture")
    return np.array([float(data), np.nan if data == b"9" else 0], np.float32)


@pytest.mark.parametrize("older", [True, False])
def test_each_item_keeps_its_place_with_its_own_code_and_figures(
    monkeypatch: pytest.MonkeyPatch, *, older: bool
) -> None:
    seen: list[Any] = []

    def errors(items: NDArray[Any], codes: BitCodes) -> Any:
        seen.append((items[:, 0].tolist(), codes.hex()))
        return items[:, 0] / 4

    def figures(
        _: Any, items: NDArray[np.generic], found: Encoding, asked: Sequence[Question]
    ) -> list[dict[str, float]]:
        seen.append((items[:, 0].tolist(), found.codes.hex(), [one.text for one in asked]))
        return [{"outside": float(one)} for one in items[:, 0]]

    monkeypatch.setattr(query, "figures_of", figures)
    release: Any = SimpleNamespace(
        encoder=Encoder(), n_bits=8, scores={} if older else {"strangers": {}}, decoder=SimpleNamespace(errors=errors)
    )
    failed = ItemError("gone", "not found")
    block = [
        Question("a", data=b"3"),
        Question("b", data=b"?"),
        Question("c", data=b"9"),
        Question("d", failure=failed),
        Question("e", data=b"1"),
    ]
    a, b, c, d, e = query._encoded(release, block, decode)
    whole = BitCodes.from_bits(BITS[[3, 1]])
    for place, (one, row) in enumerate([(a, 3), (e, 1)]):
        assert one.failure is None
        assert one.whole is not None
        assert one.whole.hex() == whole.hex()[place : place + 1]
        assert one.code is not None
        assert one.code.hex() == whole.prefix(8).hex()[place : place + 1]
        assert np.array_equal(one.embedding, ROWS[row])  # type: ignore[arg-type]
        assert one.error == (row / 4 if older else None)
        assert one.figures == {"outside": float(row)}
        assert one.data == str(row).encode()
    assert [one.code for one in (b, c, d)] == [None] * 3
    assert "no picture" in str(b.failure)
    assert "c: a value is missing" in str(c.failure)
    assert d.failure is failed
    assert seen == [([3.0, 1.0], whole.hex())] * older + [([3.0, 1.0], whole.hex(), ["a", "e"])]
    release.decoder = None
    assert [one.error for one in query._encoded(release, block[:1], decode)] == [None]
    assert [one.code for one in query._encoded(release, block[1:4], decode)] == [None] * 3


@pytest.mark.parametrize("version", [None, 3, 4])
def test_items_are_decoded_as_those_of_the_collection_were(
    monkeypatch: pytest.MonkeyPatch, version: int | None
) -> None:
    features = {"size": [8, 8]} if version is None else {"size": [8, 8], "decoder": version}
    card = SimpleNamespace(source="images", features=features)
    release: Any = SimpleNamespace(
        name="pictures", encoder=SimpleNamespace(card=card), folder=lambda what: f"in {what}"
    )
    monkeypatch.setattr("aepipe.sources.version", lambda kind: 3 if kind == "images" else 0)
    monkeypatch.setattr("aepipe.sources.decoder", lambda *given: given)
    if version == 4:
        said = "^pictures was made with version 4 of the decoder of images, this is version 3: codes would not match"
        with pytest.raises(FingerprintError, match=said):
            query.decoder(release)
    else:
        found: object = query.decoder(release)
        assert found == ("images", features, "in encoder")


def test_bytes_are_encoded_with_the_words_that_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    release: Any = object()
    monkeypatch.setattr(query, "decoder", lambda one: decode if one is release else None)
    monkeypatch.setattr(query, "_encoded", lambda *given: iter(given))
    added = Mixture(plus=("blue",))
    found: list[Any] = [*query.questions_from_bytes(release, [("a", b"1"), ("b", b"2")], added)]
    _, asked, function, mixture = found
    assert [(one.text, one.data) for one in asked] == [("a", b"1"), ("b", b"2")]
    assert (function, mixture) == (decode, added)
    found = [*query.questions_from_bytes(release, [("a", b"1")])]
    assert found[3] == NOTHING
    assert list(query.questions_from_bytes(release, [], added)) == []

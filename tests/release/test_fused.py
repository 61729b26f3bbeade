"""Hits by codes and by words of a question: against lists fused by hand, without an index of words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import ItemError, QueryError
from aepipe.log import Progress
from aepipe.release import fulltext, hybrid
from aepipe.release.search import Found, Question, SearchOptions

BITS = np.random.default_rng(3).integers(0, 2, (9, 16))
ROWS = np.random.default_rng(4).integers(-100, 100, (9, 5)).astype(np.int8)
OWN = np.array([3.0, -1, 0.5, 2, 0])
BY_CODE = [4, 2, 7, 1]
BY_WORDS = [5, 2, 8]


class Words:
    """An index of words that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, Any]] = []

    def search(self, text: str, most: int, where: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        self.asked.append((text, most, where))
        return np.array(BY_WORDS if text else [], np.int64)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> list[SearchOptions]:
    """Options that the search by codes is asked with, which finds the same for every question."""
    given: list[SearchOptions] = []

    def search(_: Any, asked: Sequence[Question], options: SearchOptions) -> Iterator[Found]:
        given.append(options)
        for _one in asked:
            yield Found(np.array(BY_CODE), np.array([1, 2, 3, 4], np.uint16), None, 6)

    def reader(_: Any) -> Callable[[bytes, str], str]:
        return lambda data, key: f"{key}: {data.decode()}"

    def original(_: Any, place: str) -> bytes:
        if place == "gone":
            raise ItemError(place, "not found")
        return f"text at {place}".encode()

    monkeypatch.setattr(hybrid, "search", search)
    monkeypatch.setattr(hybrid, "text_reader", reader)
    monkeypatch.setattr(hybrid, "original", original)
    return given


def release(width: int | None = 5) -> Any:
    """Return a release of nine rows; that of the last one is gone."""
    return SimpleNamespace(
        codes_of=lambda ids: BitCodes.from_bits(BITS[ids]),
        segments=SimpleNamespace(width=width, embeddings_of=lambda ids: ROWS[ids]),
        describe=lambda ids: [SimpleNamespace(key=f"{one}.txt", place="gone" if one == 8 else f"{one}") for one in ids],
    )


def fused(question: Question, words: Words, options: SearchOptions, width: int | None = 5) -> Found:
    (found,) = hybrid.fused(release(width), words, [question], options)  # type: ignore[arg-type]
    return found


CODE = BitCodes.from_bits(BITS[:1])
DOCUMENT = Question("new.txt", CODE, data=b"a river", embedding=OWN)


def test_a_document_is_looked_up_by_its_code_and_its_text(wide: list[SearchOptions]) -> None:
    words, where = Words(), np.arange(9)
    found = fused(DOCUMENT, words, SearchOptions(top=4, factor=3, where=where))
    assert wide == [SearchOptions(top=300, factor=None, where=where)]
    assert words.asked == [("new.txt: a river", 300, where)]
    # Row 2 is in both lists; then the first of the codes, the first of the words, the third of the codes.
    expected = [2, 4, 5, 7]
    assert found.ids.tolist() == expected
    assert found.ids.dtype == np.int64
    assert found.distances.tolist() == (BITS[expected] != BITS[0]).sum(axis=1).tolist()
    rows = ROWS[expected].astype(float)
    angles = rows @ OWN / np.linalg.norm(rows, axis=1) / np.linalg.norm(OWN)
    assert found.cosines == pytest.approx(angles.tolist(), abs=6e-5)
    assert [round(one, 4) for one in found.cosines or ()] == found.cosines
    assert found.nearest == 6
    assert fused(DOCUMENT, words, SearchOptions()).ids.tolist() == [2, 4, 5, 7, 8, 1]
    assert wide[-1] == SearchOptions(top=300)
    fused(DOCUMENT, words, SearchOptions(top=301))
    assert wide[-1] == SearchOptions(top=301)


def test_without_embeddings_hits_have_distances_alone(wide: list[SearchOptions]) -> None:
    found = fused(DOCUMENT, Words(), SearchOptions(top=2), width=None)
    assert (found.ids.tolist(), found.cosines, found.nearest) == ([2, 4], None, 6)
    bare = fused(Question("code 00", CODE), Words(), SearchOptions(top=2))
    assert (bare.ids.tolist(), bare.cosines) == ([4, 2], None)
    assert len(wide) == 2


def test_a_row_asks_with_the_text_of_its_original(wide: list[SearchOptions]) -> None:
    words = Words()
    asked = Question("id 5", CODE, row_id=5, embedding=ROWS[5])
    assert fused(asked, words, SearchOptions(top=3)).ids.tolist() == [2, 4, 5]
    assert fused(asked, words, SearchOptions(top=4, others=True)).ids.tolist() == [2, 4, 8, 7]
    assert words.asked == [("5.txt: text at 5", 300, None), ("5.txt: text at 5", 301, None)]
    gone = Question("id 8", CODE, row_id=8, embedding=ROWS[8])
    assert fused(gone, words, SearchOptions(top=3, others=True)).ids.tolist() == [4, 2, 7]
    assert words.asked[-1] == ("", 301, None)
    fused(DOCUMENT, words, SearchOptions(others=True))
    assert [most for _, most, _ in words.asked][3:] == [300], "it is no row, so nothing is left out"
    assert [one.others for one in wide] == [False, True, True, True]


def test_unknown_words_are_answered_by_words_alone(wide: list[SearchOptions]) -> None:
    unknown = Question("zanzibar", CODE, data=b"zanzibar")
    found = fused(unknown, Words(), SearchOptions())
    assert (found.ids.tolist(), found.cosines) == (BY_WORDS, None)
    assert len(wide) == 1


def test_words_that_the_encoder_does_not_know_get_the_code_of_no_words() -> None:
    seen: list[NDArray[Any]] = []

    def encode(items: NDArray[Any]) -> Any:
        seen.append(items)
        return SimpleNamespace(codes=CODE)

    card = SimpleNamespace(shape=(4,), dtype="float16")
    asked: Any = SimpleNamespace(encoder=SimpleNamespace(card=card, encode=encode), n_bits=8)
    lost = ItemError("zanzibar", "none of its words is known")
    words = Question("zanzibar", data=b"zanzibar", failure=lost)
    found = hybrid.known_by_words(asked, words)
    assert found.failure is None
    assert found.code is not None
    assert (found.whole, found.code.hex()) == (CODE, CODE.prefix(8).hex())
    assert [(one.shape, str(one.dtype), int(one.any())) for one in seen] == [((1, 4), "float16", 0)]
    for other in (Question("a.txt", data=b"zanzibar", failure=lost), Question("red", CODE, data=b"red")):
        assert hybrid.known_by_words(asked, other) is other


def test_only_a_bare_code_has_nothing_to_look_for() -> None:
    failed = ItemError("a.txt", "not found")
    fine = [Question("id 1", row_id=0), Question("a.txt", failure=failed), Question("b.txt", data=b"b"), DOCUMENT]
    hybrid.check_asked(fine)
    hybrid.check_asked([])
    with pytest.raises(QueryError, match=r"^code 00: has no words to look for"):
        hybrid.check_asked([*fine, Question("code 00", CODE), Question("code 01", CODE)])


def test_each_text_is_read_once_in_the_order_of_the_source(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Items that the collection has not are passed over; rows that the source has not any more come last."""
    monkeypatch.setattr(fulltext, "BLOCK", 2)
    ids = np.array([3, 4, 6, 9, 12])
    keys = dict(zip(ids.tolist(), "abcde", strict=True))

    def describe(some: NDArray[np.int64]) -> list[Any]:
        assert len(some) <= 2
        return [SimpleNamespace(id=one, key=keys[one], place=f"at {keys[one]}") for one in some.tolist()]

    def item(key: str) -> Any:
        def read() -> bytes:
            if key == "e":
                raise ItemError(key, "cannot be read")
            return f"item {key}".encode()

        return SimpleNamespace(key=key, read=read)

    def original(_: Any, place: str) -> bytes:
        if place == "at b":
            raise ItemError(place, "gone")
        return place.encode()

    asked: Any = SimpleNamespace(items=SimpleNamespace(ids=ids), describe=describe)
    monkeypatch.setattr(fulltext, "_items", lambda one: map(item, "dxaeyz") if one is asked else iter(()))
    monkeypatch.setattr(fulltext, "text_reader", lambda _: lambda data, key: f"{key}: {data.decode()}")
    monkeypatch.setattr(fulltext, "original", original)
    with caplog.at_level(logging.INFO, logger="aepipe.progress"):
        found = list(fulltext._texts(asked))
    assert found == [(9, "d: item d"), (3, "a: item a"), (6, "c: at c"), (12, "e: at e")]
    steps = [(one.stage, one.done, one.total) for record in caplog.records if (one := Progress.of(record))]
    assert set(steps) == {("full text", done, 5) for done in range(6)}


@pytest.mark.parametrize(("mail", "text"), [(True, "body of to: a"), (False, "to: a"), (None, "to: a")])
def test_of_a_mail_the_body_counts(monkeypatch: pytest.MonkeyPatch, mail: bool | None, text: str) -> None:
    monkeypatch.setattr("aepipe.sources.readable", lambda kind, data, key: data.decode() if kind == "text" else key)
    monkeypatch.setattr("aepipe.sources.text.decode.body_of", lambda found, version: f"body of {found}")
    card = SimpleNamespace(source="text", features={} if mail is None else {"mail": mail})
    asked: Any = SimpleNamespace(encoder=SimpleNamespace(card=card))
    read = fulltext.text_reader(asked)
    assert read(b"to: a", "a.eml") == text
    assert read(b"", "a.eml") == ""


@pytest.mark.parametrize("writable", [True, False])
def test_an_index_that_cannot_be_locked_is_opened_as_a_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, writable: bool
) -> None:
    (tmp_path / "meta.json").write_text("it")
    tried: list[str] = []

    def open_(folder: str) -> Any:
        tried.append(folder)
        if folder == str(tmp_path) and not writable:
            raise ValueError("no lock")
        assert (Path(folder) / "meta.json").read_text() == "it"
        return SimpleNamespace(searcher=lambda: f"searcher of {folder}")

    monkeypatch.setattr(fulltext, "_tantivy", lambda: SimpleNamespace(Index=SimpleNamespace(open=open_)))
    opened = fulltext.FullText(tmp_path)
    assert tried[0] == str(tmp_path)
    assert len(tried) == (1 if writable else 2)
    assert opened._searcher == f"searcher of {tried[-1]}"
    assert [path.name for path in tmp_path.iterdir()] == ["meta.json"], "the copy lies elsewhere"

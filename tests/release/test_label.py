"""Labels of all rows by words that are given."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from aepipe.api import Collection
from aepipe.codes.bitcodes import BitCodes
from aepipe.errors import ItemError, QueryError
from aepipe.release import label
from aepipe.release.release import Release
from aepipe.release.search import Question
from aepipe.report import labels
from aepipe.store.artifacts import Store
from aepipe.words import words_in
from tests.support.towers import COLOURS


@pytest.fixture
def opened(colours: Store) -> Collection:
    return Collection(colours, Release.open(colours))


def test_rows_get_the_word_that_they_are_most_like(opened: Collection) -> None:
    found = opened.label(list(COLOURS))
    own = [row.label for row in opened.release.describe(found.ids)]
    right = np.array([found.words[place] == name for place, name in zip(found.places, own, strict=True)])
    assert right.mean() > 0.9
    assert found.confidence[right].mean() > found.confidence[~right].mean() if not right.all() else True
    assert ((found.confidence > 0) & (found.confidence <= 1)).all()
    assert sum(found.counts().values()) == len(found) == len(own)


def test_codes_do_where_no_embeddings_are_kept(opened: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    with_embeddings = opened.label(["red", "blue"])
    monkeypatch.setattr(type(opened.release.segments), "width", None)
    by_code = opened.label(["red", "blue"])
    sure = with_embeddings.confidence > 0.95
    assert (by_code.places[sure] == with_embeddings.places[sure]).mean() > 0.8


def test_a_label_is_as_sure_as_it_stands_out() -> None:
    places, confidence = label.chosen(np.array([[0.9, 0.1], [0.51, 0.5], [0.2, 0.4]], np.float32))
    assert list(places) == [0, 0, 1]
    assert confidence[0] > 0.99 > confidence[2] > confidence[1] > 0.5
    assert len(label.chosen(np.zeros((0, 2), np.float32))[0]) == 0


def test_files_have_a_line_for_each_row(opened: Collection, tmp_path: Path) -> None:
    found = opened.label(["red", "blue"])
    for name in ("labels.csv", "labels.parquet"):
        labels.write(label.lines(opened.release, found), tmp_path / name)
    with (tmp_path / "labels.csv").open(encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    table = pq.read_table(tmp_path / "labels.parquet").to_pylist()
    assert list(lines[0]) == list(table[0]) == list(labels.NAMES)
    assert len(lines) == len(table) == len(found)
    assert [line["key"] for line in lines] == [row["key"] for row in table]
    assert {line["label"] for line in lines} == {"red", "blue"}
    with pytest.raises(QueryError, match=r"labels are written under \.csv or \.parquet"):
        labels.write(label.lines(opened.release, found), tmp_path / "labels.txt")


@pytest.mark.parametrize("text", ["", "red", "red\n\nred\n"])
def test_two_words_at_least(text: str) -> None:
    with pytest.raises(QueryError, match="2 to 10,000 are wanted"):
        words_in(text)


def test_lists_are_read_as_people_write_them() -> None:
    assert words_in("\ufeffred\r\n  a blue sky \n\nred\n") == ("red", "a blue sky")


def test_a_label_is_as_sure_as_its_share_of_all_weights() -> None:
    near = np.random.default_rng(0).uniform(-1, 1, (20, 5)).astype(np.float32)
    weights = np.exp(near.astype(float) / 0.05)
    places, sure = label.chosen(near.copy())
    assert places.tolist() == near.argmax(1).tolist()
    np.testing.assert_allclose(sure, weights.max(1) / weights.sum(1), rtol=1e-4)


def test_lines_begin_after_those_that_were_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label, "BLOCK", 2)
    asked: list[list[int]] = []

    def describe(ids: Any) -> list[Any]:
        asked.append(ids.tolist())
        return [SimpleNamespace(key=f"{one}.png") for one in ids]

    release: Any = SimpleNamespace(describe=describe)
    sure = np.array([0.12344, 0.5, 0.98767, 1, 0.25], np.float32)
    found = label.Labelled(("red", "blue", "green"), np.array([3, 4, 6, 8, 9]), np.array([1, 0, 1, 1, 0]), sure)
    every = [(3, "blue", 0.1234), (4, "red", 0.5), (6, "blue", 0.9877), (8, "blue", 1.0), (9, "red", 0.25)]
    told = [(row, f"{row}.png", word, share) for row, word, share in every]
    assert list(label.lines(release, found)) == told
    assert asked == [[3, 4], [6, 8], [9]]
    assert list(label.lines(release, found, 3)) == told[3:]
    assert list(label.lines(release, found, 5)) == []
    assert found.counts() == {"red": 2, "blue": 3, "green": 0}


def test_the_nearness_of_words_is_the_cosine_of_embeddings_or_codes() -> None:
    rng = np.random.default_rng(0)
    rows, told, bits = rng.integers(-9, 9, (4, 5)).astype(np.int8), rng.normal(size=(2, 5)), rng.integers(0, 2, (6, 16))
    rows[2], told[1] = 0, 0
    codes = BitCodes.from_bits(bits)
    asked = [Question("", codes[place : place + 1], embedding=told[place]) for place in range(2)]
    segments = SimpleNamespace(width=5, embeddings_of=lambda ids: rows[ids])
    release: Any = SimpleNamespace(segments=segments, n_bits=16, codes_of=lambda ids: codes[2 + ids])
    ids = np.array([3, 0, 2, 1])
    found = label._nearness(release, asked, ids)
    for row, one in enumerate(rows[ids].astype(float)):
        for word, other in enumerate(told):
            length = float(np.linalg.norm(one) * np.linalg.norm(other))
            assert found[row, word] == pytest.approx(one @ other / length if length else 0, abs=1e-5)
    segments.width = None
    expected = [[1 - 2 * (bits[2 + row] != bits[word]).sum() / 16 for word in range(2)] for row in ids]
    assert label._nearness(release, asked, ids).tolist() == expected


def test_rows_are_compared_with_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many that a block holds PAIRS pairs at most, or BLOCK rows; at least one row."""
    asked: list[list[int]] = []

    def nearness(_: Any, questions: Any, ids: Any) -> Any:
        asked.append(ids.tolist())
        return np.array([[one % 2, 1 - one % 2] for one in ids], np.float32)

    monkeypatch.setattr(label, "_nearness", nearness)
    monkeypatch.setattr(label, "answers_words", lambda _: True)
    meant = SimpleNamespace(far="far from all")
    questions = [Question("red", meaning=meant), Question("blue")]  # type: ignore[arg-type]
    monkeypatch.setattr(label, "questions_from_words", lambda _, words: questions if words == ("red", "blue") else [])
    monkeypatch.setattr(label, "questions_from_paths", lambda _, words: questions[1:])
    release: Any = SimpleNamespace(items=SimpleNamespace(ids=np.array([3, 4, 6, 9, 11])), all_parts=lambda _: ["it"])
    for block, pairs, sizes in ((2, 100, [2, 2, 1]), (100, 6, [3, 2]), (100, 1, [1] * 5), (100, 100, [5])):
        monkeypatch.setattr(label, "BLOCK", block)
        monkeypatch.setattr(label, "PAIRS", pairs)
        asked.clear()
        found = label.label(release, ["red", "blue"])
        assert [len(one) for one in asked] == sizes
        assert [row for one in asked for row in one] == found.ids.tolist() == [3, 4, 6, 9, 11]
        assert (found.words, found.places.tolist(), found.far) == (
            ("red", "blue"),
            [0, 1, 1, 0, 0],
            ("red: far from all",),
        )
        assert len(found.confidence) == len(found) == 5
    release.items.ids = np.zeros(0, np.int64)
    assert len(label.label(release, ["red", "blue"]).confidence) == 0
    release.all_parts = lambda _: []
    assert label.label(release, ["red", "blue"]).far == ()
    failed = Question("red", failure=ItemError("red", "is not known"))
    monkeypatch.setattr(label, "questions_from_paths", lambda *_: [failed])
    with pytest.raises(ItemError, match="is not known"):
        label.label(release, ["red", "blue"])
    monkeypatch.setattr(label, "answers_words", lambda _: False)
    monkeypatch.setattr(label, "advice", lambda _: "; so")
    release.name = "pictures"
    with pytest.raises(QueryError, match=r"^pictures: this collection does not answer words; so$"):
        label.label(release, ["red", "blue"])

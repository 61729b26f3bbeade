"""Labels of all rows by words that are given."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from aepipe.api import Collection
from aepipe.errors import QueryError
from aepipe.release import label
from aepipe.release.release import Release
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

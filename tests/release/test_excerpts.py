"""A hit of a long passage shows the sentence that fits the question."""

from __future__ import annotations

import numpy as np
import pytest

from aepipe.release.query import Answer, answer, questions_from_paths, questions_from_rows
from aepipe.release.release import Release
from aepipe.release.search import search_options
from aepipe.store.artifacts import Store
from tests.support.releases import publish_source

SENTENCES = (
    "The harbour pilot waits for the tide and drinks his tea in the small house.",
    "Bakers knead the dough twice before the sun comes up over the old town.",
    "A long letter about the price of wool came with the morning train today.",
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Thirty documents, each of three sentences in another order."""
    folder = tmp_path_factory.mktemp("excerpts")
    (folder / "docs").mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        text = " ".join(SENTENCES[place] for place in rng.permutation(3))
        (folder / "docs" / f"{number:02}.txt").write_text(f"{text} Number {number}.")
    store = Store(folder / "store")
    publish_source(store, "docs", {"kind": "text", "path": "docs"}, features={"passage": 60, "most": 1.0})
    return Release.open(store, "docs")


def shown(found: Answer) -> set[str | None]:
    return {hit.row.columns["snippet"] for hit in found.hits}


@pytest.mark.parametrize("place", range(3))
def test_each_hit_shows_the_sentence_with_most_words_of_the_question(release: Release, place: int) -> None:
    asked = " ".join(SENTENCES[place].split()[2:7])
    (found,) = answer(release, [*questions_from_paths(release, [asked])], search_options(release, {"k": 5}))
    assert len(found.hits) == 5
    assert shown(found) == {SENTENCES[place]}


def test_a_row_that_asks_is_compared_by_its_own_text(release: Release) -> None:
    (found,) = answer(release, [*questions_from_rows(release, [0], [])], search_options(release, {"k": 3}))
    assert len(found.hits) == 3
    assert shown(found) <= {*SENTENCES, *(f"Number {number}." for number in range(30))}

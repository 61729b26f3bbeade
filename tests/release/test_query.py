"""Answers that are looked for in steps: first bits, all bits, embeddings."""

from __future__ import annotations

import pytest

from aepipe.codes.encoder import cosines
from aepipe.evaluate.calibration import Confidence
from aepipe.release import query as queries
from aepipe.release.prefix import Prefix
from aepipe.release.query import SearchOptions, answer
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from tests.support.releases import make_release


@pytest.mark.parametrize(("bits", "wider", "factor"), [(8, 3, 2), (8, 1, 4), (16, 2, 1), (40, 1, 3)])
def test_a_cascade_from_first_bits_to_embeddings(
    store: Store, monkeypatch: pytest.MonkeyPatch, bits: int, wider: int, factor: int
) -> None:
    """Each step keeps the first by what it compares, ties by id, and hands fewer on to the next."""
    make_release(store, n=120)
    monkeypatch.setattr(queries, "WIDER", wider)
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


def test_words_are_compared_by_distance_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few words are decoded worse than the documents that the usual error was measured on."""
    make_release(store, n=20)
    release, seen = Release.open(store), []

    class Known:
        probability = [1.0] * (release.n_bits + 1)

        def strange(self, nearest: int | None, error: float | None) -> None:
            seen.append(error)

    monkeypatch.setattr(Confidence, "of", lambda *_: Known())
    code = release.codes_of(release.items.ids[:1])
    asked = [queries.Question(text, code, b"a cat", error=0.9) for text in ("a cat", "cat.txt")]
    assert len(answer(release, asked, SearchOptions(top=1))) == 2
    assert seen == [None, 0.9]

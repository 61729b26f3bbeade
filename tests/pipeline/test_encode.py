"""Known codes are reused, except those of rows whose bytes have changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aepipe import recipe, sources
from aepipe.errors import ItemError, SourceError
from aepipe.pipeline import encode as keeping
from aepipe.pipeline.encode import encode, reuse_codes
from aepipe.pipeline.ingest import ingest
from aepipe.release.query import questions_from_paths
from aepipe.release.release import Release
from aepipe.store.artifacts import Ref, Store
from flows.job import open_job
from tests.support.releases import publish_source
from tests.support.samples import write_photos, write_tiny


def segment(store: Store, ids: list[int]) -> Ref:
    """Write a segment whose codes hold the ids of the rows."""
    with store.draft("segment") as draft:
        np.save(draft.path / "ids.npy", np.array(ids))
        np.save(draft.path / "codes.npy", np.array(ids, np.uint8)[:, None])
        return draft.finish({"ids": ids}, {"fingerprint": "f" * 64, "n_bits": 8})


def held(store: Store, refs: list[Ref]) -> list[tuple[list[int], list[int]]]:
    """Return ids and codes of segments."""
    files = [[np.load(store.path(ref) / f"{name}.npy").ravel().tolist() for name in ("ids", "codes")] for ref in refs]
    return [(ids, codes) for ids, codes in files]


def test_a_row_without_a_code_is_refused_wherever_it_comes_from(store: Store, tmp_path: Path) -> None:
    """The encoder was trained on rows without missing values: for others it gives no number."""
    rows = [{"age": age, "job": "baker" if age % 2 else "pilot"} for age in range(20, 60)]
    table = store.root.parent / "people.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)))
    publish_source(store, "people", {"kind": "table", "path": "people.jsonl"}, holes=False)
    release = Release.open(store, "people")
    asked = [{"age": 40, "job": "pilot"}, {"age": 40}, {"age": 41, "job": "baker"}]
    questions = list(questions_from_paths(release, [json.dumps(row) for row in asked]))
    assert [question.code is None for question in questions] == [False, True, False]
    assert questions[0].code is not None
    assert questions[0].code.hex() == release.codes_of([20]).hex()
    assert "a value is missing; only a net that says `holes = true` reads" in str(questions[1].failure)
    cells = np.zeros((3, *release.encoder.card.shape), np.float32)
    assert len(release.encode(cells)) == 3
    cells[2, 0] = np.nan
    with pytest.raises(ItemError, match="item 2: a value is missing"):
        release.encode(cells)
    cells[2, 0] = np.inf
    with pytest.raises(ItemError, match="item 2: its numbers are too large for the encoder"):
        release.encode(cells)
    table.write_text("\n".join(map(json.dumps, [*rows, {"age": 60}, {"job": "pilot"}])))
    read = sources.resolve(recipe.parse(release.recipe, tmp_path / "people.toml"))
    more = ingest(store, read, previous=release.part("rows"))
    with pytest.raises(SourceError, match=r"people\.jsonl#40 \(as 1 others\): a value is missing"):
        encode(store, release.part("encoder"), more, known=release.all_parts("codes"))


def test_only_the_code_of_a_changed_row_is_dropped(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_job(str(write_tiny(tmp_path, count=6))).resolved.source
    before = ingest(store, source)
    segments = [segment(store, [0, 1]), segment(store, [2, 3]), segment(store, [4, 5])]
    photos = tmp_path / "photos"
    key = dict(enumerate(sorted(photos.rglob("*.png"))))
    assert reuse_codes(store, segments, before=before, after=before) == segments

    key[4].unlink()  # vanished: its code does no harm
    write_photos(photos, start=6, count=1)  # new: it has no code
    key[2].write_bytes(key[0].read_bytes())  # other bytes under the same key
    after = ingest(store, source, previous=before)
    kept = reuse_codes(store, segments, before=before, after=after)
    assert (kept[0], kept[2]) == (segments[0], segments[2])
    assert held(store, kept) == [([0, 1], [0, 1]), ([3], [3]), ([4, 5], [4, 5])]

    monkeypatch.setattr(keeping, "MOST", 3)
    joined = reuse_codes(store, segments, before=before, after=after)
    assert held(store, joined) == [([0, 1, 3, 5], [0, 1, 3, 5])], "many become one, of the rows that are left"

"""Which known codes still stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aepipe.stages.ingest import ingest
from aepipe.stages.keep import keep
from aepipe.store import Ref, Store
from flows.job import open_job
from tests.samples import write_photos, write_tiny


def segment(store: Store, ids: list[int]) -> Ref:
    with store.draft("segment") as draft:
        np.save(draft.path / "ids.npy", np.array(ids))
        return draft.finish({"ids": ids})


def test_a_segment_with_a_changed_row_is_dropped(tmp_path: Path, store: Store) -> None:
    source = open_job(str(write_tiny(tmp_path, count=6))).plan.source
    before = ingest(store, source)
    segments = [segment(store, [0, 1]), segment(store, [2, 3]), segment(store, [4, 5])]
    photos = tmp_path / "photos"
    key = dict(enumerate(sorted(photos.rglob("*.png"))))
    assert keep(store, segments, before=before, after=before) == segments

    key[4].unlink()  # has vanished: its code does no harm
    write_photos(photos, start=6, count=1)  # is new: it has none
    key[2].write_bytes(key[0].read_bytes())  # is another picture now
    after = ingest(store, source, previous=before)
    assert keep(store, segments, before=before, after=after) == [segments[0], segments[2]]

"""What the last run read is kept beside the rows, and counts as long as they are in use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aepipe.errors import CorruptError
from aepipe.store import layout, reading
from aepipe.store.artifacts import Ref, Store
from aepipe.store.row_files import columns_of, row_files
from tests.store.test_rows import row, write


def rows(store: Store, **facts: object) -> Ref:
    with store.draft("rows") as draft:
        write(draft.path, [row(1)])
        return draft.finish({"a": str(facts)}, {"files": 3, "other": 1, **facts})


def test_the_facts_of_the_last_run_or_of_the_one_that_made_the_rows(store: Store) -> None:
    ref = rows(store, skipped=2)
    quarantine = store.root / str(ref) / layout.Rows.QUARANTINE
    assert reading.facts_of(store, "one", ref) == {"files": 3, "skipped": 2, "list": str(quarantine)}
    reading.keep(store, "one", ref, {"files": 9, "notes": ["a guess"], "unknown": 1})
    text = (store.root / "reading-one.json").read_text()
    assert text == json.dumps({"rows": str(ref), "files": 9, "notes": ["a guess"], "unknown": 1}, indent=1)
    assert reading.facts_of(store, "one", ref) == {"files": 9, "notes": ["a guess"], "list": None}
    listed = store.root / "quarantine-one.parquet"
    listed.write_text("x")
    assert reading.facts_of(store, "one", ref)["list"] == str(listed)
    assert reading.facts_of(store, "two", ref)["files"] == 3, "each collection has its own"
    other = rows(store, skipped=7)
    assert reading.facts_of(store, "one", other)["skipped"] == 7
    for torn in ("{", "[]"):
        (store.root / "reading-one.json").write_text(torn)
        assert reading.facts_of(store, "one", ref)["files"] == 3
    store.remove(ref)
    assert reading.facts_of(store, "one", ref) == {}


def test_files_of_rows_are_read_in_their_order(tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match=rf"^{tmp_path}: corrupt, no rows-\*\.parquet is in it; delete the folder"):
        row_files(tmp_path)
    write(tmp_path, [row(1)])
    file = tmp_path / "rows-00000.parquet"
    (tmp_path / "rows-00010.parquet").write_bytes(file.read_bytes())
    (tmp_path / "rows-00002.parquet").write_bytes(b"x")
    assert [path.name for path in row_files(tmp_path)] == [f"rows-000{n}.parquet" for n in ("00", "02", "10")]
    assert columns_of(file, ["key", "id"]).to_pylist() == [{"key": "k/1.jpg", "id": 1003}]
    with pytest.raises(CorruptError, match=r"rows-00002\.parquet: corrupt, it cannot be read"):
        columns_of(tmp_path / "rows-00002.parquet", ["key"])

"""The manifest of a release: files of both schemas are read and written byte by byte as before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from aepipe.errors import CorruptError, NotFoundError
from aepipe.release.manifest import ReleaseManifest
from aepipe.store.artifacts import Ref, Store

GOLDEN = Path(__file__).parents[1] / "golden" / "store"
FILES = sorted(GOLDEN.glob("release/*/release.json"))
ADDED = Ref("rows", "a" * 64)


def of_schema(schema: int) -> ReleaseManifest:
    bodies = [json.loads(file.read_bytes()) for file in FILES]
    return ReleaseManifest.parse(next(body for body in bodies if body["schema"] == schema))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name[:8])
def test_a_file_of_an_earlier_version_is_written_with_the_same_bytes(file: Path, tmp_path: Path) -> None:
    ref = Ref("release", file.parent.name)
    ReleaseManifest.read(Store(GOLDEN), ref).write(tmp_path)
    assert (tmp_path / "release.json").read_bytes() == file.read_bytes()


def test_both_schemas_are_among_these_files() -> None:
    assert {json.loads(file.read_bytes())["schema"] for file in FILES} == {1, 2}


def test_a_change_gives_the_second_schema() -> None:
    built = of_schema(1)
    assert (built.changes, built.added_codes, built.base_codes) == (None, (), built.codes)
    codes, items, changes = (Ref("segment", one * 64) for one in "bcd")
    changed = replace(
        built, codes=(*built.codes, codes), more_rows=(ADDED,), more_items=(items,), changes=changes, n_rows=9
    )
    body = changed.to_json()
    assert (body["schema"], body["rows"], body["changes"]) == (2, 9, str(changes))
    assert list(body)[-3:] == ["more_items", "more_rows", "changes"]
    assert (changed.base_codes, changed.added_codes) == (built.codes, (codes,))
    assert ReleaseManifest.parse(body) == changed


@pytest.mark.parametrize("schema", [1, 2])
def test_several_shards_give_the_third_schema(schema: int) -> None:
    one = of_schema(schema)
    more = (*one.index, Ref("segment", "b" * 64))
    sharded = replace(one, index=more)
    body = sharded.to_json()
    assert (body["schema"], body["index"]) == (3, [str(ref) for ref in more])
    assert list(body) == list(one.to_json())
    assert ReleaseManifest.parse(body) == sharded
    assert [ref for what, ref in sharded.parts if what == "index"] == list(more)
    assert (sharded.facts["shards"], one.facts.get("shards")) == (2, None)


@pytest.mark.parametrize("schema", [1, 2])
def test_items_in_several_segments_give_the_fourth_schema(schema: int) -> None:
    one = of_schema(schema)
    items = (*one.items, Ref("segment", "b" * 64))
    for indexes in (one.index, (*one.index, Ref("segment", "c" * 64))):
        parted = replace(one, items=items, index=indexes)
        body = parted.to_json()
        assert (body["schema"], body["items"]) == (4, [str(ref) for ref in items])
        assert list(body) == list(one.to_json())
        assert ReleaseManifest.parse(body) == parted
    found = [ref for what, ref in replace(one, items=items).parts if what == "items"]
    assert found == [*items, *one.more_items]


def test_parts_come_by_kind_and_the_oldest_first() -> None:
    changed = of_schema(2)
    kinds = [what for what, _ in changed.parts]
    order = ["encoder", "codes", "items", "index", "changes", "scores", "rows"]
    assert sorted(kinds, key=order.index) == kinds
    assert set(kinds) == set(order)
    rows = [ref for what, ref in changed.parts if what == "rows"]
    assert rows == [changed.source_rows, *changed.more_rows]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 5}, "schema 5; this version of aepipe reads 1 to 4"),
        ({"encoder": None}, "corrupt, not a release"),
        ({"codes": 7}, "corrupt, not a release"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(store: Store, change: dict[str, object], said: str) -> None:
    body = of_schema(1).to_json() | change
    with store.draft("release") as draft:
        (draft.path / "release.json").write_text(json.dumps(body))
        ref = draft.finish({"body": body})
    with pytest.raises(CorruptError, match=said):
        ReleaseManifest.read(store, ref)


def test_a_missing_key_is_named(store: Store) -> None:
    body = {key: value for key, value in of_schema(1).to_json().items() if key != "index"}
    with store.draft("release") as draft:
        (draft.path / "release.json").write_text(json.dumps(body))
        ref = draft.finish({"body": body})
    with pytest.raises(CorruptError, match="'index'"):
        ReleaseManifest.read(store, ref)


def test_a_missing_release_says_how_to_go_on(store: Store) -> None:
    with pytest.raises(NotFoundError, match="aepipe rollback"):
        ReleaseManifest.read(store, Ref("release", "f" * 64))


def test_words_are_the_last_key_and_only_where_there_are_some() -> None:
    words = Ref("words", "e" * 64)
    for built in (of_schema(1), of_schema(2)):
        assert "words" not in built.to_json()
        answering = replace(built, words=words)
        assert list(answering.to_json()) == [*built.to_json(), "words"]
        assert ReleaseManifest.parse(answering.to_json()) == answering
        assert [ref for what, ref in answering.parts if what == "words"] == [words]

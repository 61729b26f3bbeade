"""No file that a user names replaces an original, a source or a recipe."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aepipe.errors import TargetError
from aepipe.pipeline.export.file import export_file
from aepipe.release import dedup
from aepipe.release.originals import _is_of, check_output
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from tests.support.releases import make_release, pictures_of, publish_source


def test_originals_recipes_and_what_was_asked_with_are_not_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    release = Release.open(store, ref=make_release(store, n=20))
    folder = pictures_of(store)
    original = folder / release.describe(release.items.ids[:1])[0].key
    link = tmp_path / "link.png"
    link.symlink_to(original)
    (tmp_path / "deep").symlink_to(folder)
    for file in (original, link, tmp_path / "deep" / original.relative_to(folder)):
        with pytest.raises(TargetError, match=r"is a file of the collection; name another one$"):
            check_output(file, release=release)
    asked, recipe, earlier = (tmp_path / name for name in ("asked.png", "some.toml", "hits.png"))
    for one in (asked, recipe, earlier, folder / "hits.png"):
        one.touch()
    for given in (asked, tmp_path / "asked.png", f"{asked}@12.5"):
        with pytest.raises(TargetError, match=r"asked.png: was asked with; name another one$"):
            check_output(asked, release=release, asked=["some words", given])
    with pytest.raises(TargetError, match=r"some.toml: is a recipe"):
        check_output(None, recipe)
    check_output(earlier, folder / "hits.png", tmp_path / "new.toml", None, release=release, asked=["[1, 2]", "-"])


@pytest.mark.parametrize("named", ["odd.parquet", "."])
def test_the_file_of_a_table_is_not_replaced(tmp_path: Path, named: str) -> None:
    file = tmp_path / "data" / "odd.parquet"
    file.parent.mkdir()
    pq.write_table(pa.table({"a": list(range(40)), "b": [f"t{i % 3}" for i in range(40)]}), file)
    store = Store(tmp_path / "store")
    publish_source(store, "odd", {"kind": "table", "path": str(file.parent / named)})
    (file.parent / "other.parquet").touch()
    release = Release.open(store)
    check_output(file.parent / "other.parquet", release=release)
    before = file.read_bytes()
    for write in (
        lambda: check_output(file, release=release),
        lambda: export_file(store, release.ref, file, embeddings=False),
        lambda: dedup.search(release, radius=0, out=file),
    ):
        with pytest.raises(TargetError, match=r"odd.parquet: is a file of the collection"):
            write()
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("list.csv", True),  # is named in the recipe
        ("deep/columns.json", True),  # is named within it
        ("key.png", True),
        ("place.png", True),
        ("film.mp4", True),  # a place behind whose name a part is meant
        ("linked.png", True),  # leads to an original
        ("other.png", False),
        ("film.mp", False),
        ("../beside.png", False),
        ("../place.png", False),
    ],
)
def test_which_files_are_those_of_a_collection(tmp_path: Path, file: str, own: bool) -> None:
    root = tmp_path / "items"
    (root / "deep").mkdir(parents=True)
    (root / "linked.png").symlink_to(root / "key.png")
    places = ["", None, "place.png", "film.mp4#v=3", "elsewhere.png"]
    items = SimpleNamespace(
        root=root, roots=(), find=lambda name: 7 if name == "key.png" else None, column=lambda name: iter(places)
    )
    source = {"kind": "images", "path": "list.csv", "options": {"more": [1, "deep/columns.json"]}}
    release: Any = SimpleNamespace(items=items, recipe={"source": source})
    asked = root / file
    assert _is_of(release, asked, Path(os.path.realpath(asked))) == own
    bare: Any = SimpleNamespace(items=items, recipe={})
    assert _is_of(bare, asked, Path(os.path.realpath(asked))) == (own and file not in {"list.csv", "deep/columns.json"})

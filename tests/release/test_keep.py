"""Which row of a group is kept: orders of originals, and what is known of one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aepipe.errors import ItemError, QueryError
from aepipe.release import keep
from aepipe.release.keep import Original, marked, order_named, original_of
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from aepipe.store.segments import Row
from tests.support.releases import make_release


def original(
    row_id: int, pixels: int = 1, n_bytes: int = 1, changed: float | None = 1.0, key: str = "a.png"
) -> Original:
    return Original(Row(row_id, key, None, None, key, {}), None, pixels, n_bytes, changed)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("best", {"pixels": 2}, {"n_bytes": 9, "changed": 0.0}),
        ("best", {"n_bytes": 2}, {"changed": 0.0}),
        ("best", {"changed": 0.5}, {}),
        ("best", {"changed": 0.5}, {"changed": None}),
        ("newest", {"changed": 2.0}, {"pixels": 9}),
        ("newest", {"changed": 2.0}, {"changed": None, "pixels": 9}),
        ("newest", {"pixels": 2}, {"n_bytes": 9}),
        ("oldest", {"changed": 0.5}, {"pixels": 9}),
        ("oldest", {"changed": 0.5}, {"changed": None, "pixels": 9}),
        ("oldest", {"pixels": 2}, {"n_bytes": 9}),
        ("path:b/*", {"key": "b/c.png"}, {"key": "a/b/c.png", "pixels": 9}),
        ("path:b/*", {"pixels": 2}, {"key": "a/c.png"}),
    ],
)
def test_which_of_two_originals_is_kept(name: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    order = order_named(name)
    assert order(original(7, **first)) < order(original(3, **second))
    assert order(original(3, **first)) < order(original(7, **first)), "of equals the one with the lower id"
    assert order_named("first")(original(3, **second)) < order_named("first")(original(7, **first))


def test_an_order_that_there_is_not_is_named() -> None:
    for name in ("", "path:", "largest"):
        with pytest.raises(QueryError, match=f"by '{name}': give best, newest, oldest, first or path:GLOB"):
            order_named(name)


def test_what_is_known_of_an_original(store: Store) -> None:
    """Its file with its size, pixels and time; nothing of one that is gone, and no pixels of what is no picture."""
    release = Release.open(store, ref=make_release(store, n=6, shape=(5, 7, 1)))
    rows = release.describe([0, 1, 2])
    files = [Path(release.path_of(row.place) or "") for row in rows]
    files[1].unlink()
    files[2].write_bytes(b"no picture")
    found = [original_of(release, row) for row in rows]
    first = files[0].stat()
    assert found[0] == Original(rows[0], files[0], 35, first.st_size, first.st_mtime)
    assert found[1] == Original(rows[1], None, 0, 0, None)
    assert (found[2].path, found[2].pixels, found[2].n_bytes) == (files[2], 0, 10)
    marks = marked(release, [1, 0, 2], order_named("best"))
    assert [(one.row.id, mark) for one, mark in marks] == [(1, "remove"), (0, "keep"), (2, "remove")]


def test_an_original_within_an_archive_has_its_size_and_pixels_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    Image.new("L", (5, 7)).save(stream, "PNG")
    held = {"a.zip#1.png": stream.getvalue(), "a.zip#2.png": b"no picture"}

    def read(_: object, place: str) -> bytes:
        if place not in held:
            raise ItemError(place, "gone")
        return held[place]

    monkeypatch.setattr(keep, "file_of", lambda release, place: None)
    monkeypatch.setattr(keep, "original", read)
    rows = [Row(number, f"{number}.png", None, None, f"a.zip#{number}.png", {}) for number in (1, 2, 3)]
    found = [original_of(object(), row) for row in rows]  # type: ignore[arg-type]
    assert found == [
        Original(rows[0], None, 35, len(held["a.zip#1.png"]), None),
        Original(rows[1], None, 0, 10, None),
        Original(rows[2], None, 0, 0, None),
    ]


def test_a_glob_is_compared_with_the_key_and_with_the_path() -> None:
    row = Row(1, "c.png", None, None, "c.png", {})
    one = Original(row, Path("/here/b/c.png"), 1, 1, 1.0)
    for glob, fits in (("c.png", True), ("*/b/*", True), ("/here/*", True), ("b/*", False), ("None", False)):
        assert keep._matches(one, glob) is fits, glob
    gone = Original(row, None, 1, 1, 1.0)
    assert keep._matches(gone, "c.*")
    assert not keep._matches(gone, "None")

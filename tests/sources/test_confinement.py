"""What lists, tables and links name stays inside the source, when it is read and when it is shown."""

from __future__ import annotations

import json
import os
import sqlite3
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from aepipe import recipe, sources
from aepipe.errors import ItemError, SourceError
from aepipe.release import originals
from aepipe.release.release import Release
from aepipe.sources import file_at, preview
from aepipe.sources.confinement import ADDRESS, NO_PATH, NUL, Bounds, path_in
from aepipe.sources.item import Source
from aepipe.sources.loader import read_all
from tests.sources.test_sources import open_source, png, put


def as_csv(folder: Path, names: list[str]) -> Path:
    quoted = (name.replace('"', '""') for name in names)
    return put(folder / "list.csv", ("image\n" + "".join(f'"{name}"\n' for name in quoted)).encode())


def as_parquet(folder: Path, names: list[str]) -> Path:
    pq.write_table(pa.table({"image": names}), file := folder / "list.parquet")
    return file


def as_hugging_face(folder: Path, names: list[str]) -> Path:
    cells = [{"bytes": None, "path": name} for name in names]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(cells, kind)}), file := folder / "train-00000.parquet")
    return file


def as_arrow(folder: Path, names: list[str]) -> Path:
    table = pa.table({"image": names})
    with pa.ipc.new_file(str(folder / "list.arrow"), table.schema) as writer:
        writer.write_table(table)
    return folder / "list.arrow"


def as_sqlite(folder: Path, names: list[str]) -> Path:
    with sqlite3.connect(folder / "list.sqlite") as database:
        database.execute("CREATE TABLE t (image TEXT)")
        database.executemany("INSERT INTO t VALUES (?)", [(name,) for name in names])
    database.close()
    return folder / "list.sqlite"


WRITERS = [as_csv, as_parquet, as_hugging_face, as_arrow, as_sqlite]
Write = Callable[[Path, list[str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with a collection ``c`` and, next to it, files that are not in it."""
    put(tmp_path / "c" / "p" / "a.png", png(1))
    put(tmp_path / "private" / "x.png", png(2))
    (tmp_path / "c" / "p" / "link.png").symlink_to(tmp_path / "private" / "x.png")
    (tmp_path / "c" / "way").symlink_to(tmp_path / "private")
    (tmp_path / "c" / "in.png").symlink_to("p/a.png")
    return tmp_path


def read(source: Source) -> tuple[list[str], dict[str, str]]:
    """Return the keys of the items that are read, and the reasons of the others."""
    found = list(read_all(source))
    good = [one.item.key for one in found if one.reason is None]
    return good, {one.item.key: one.reason for one in found if one.reason}


@pytest.mark.parametrize("write", WRITERS)
def test_a_path_stays_inside_whatever_it_is_written_in(write: Write, tree: Path) -> None:
    outside = ["../private/x.png", str(tree / "private" / "x.png"), "p/link.png", "way/x.png"]
    inside = ["p/a.png", (tree / "c" / "p" / "a.png").as_uri(), "p/../in.png"]
    source = open_source(write(tree / "c", [*inside, *outside, "http://h/x.png", "~/x.png"]))
    good, bad = read(source)
    assert good == ["p/a.png", str(tree / "c" / "p" / "a.png"), "in.png"]
    ways = [bad[key].partition(" out of the source; root = ")[0] for key in outside]
    assert ways == ["its path leads", "its path leads", "a link on its path leads", "a link on its path leads"]
    assert ADDRESS in bad.values()
    for outcome in read_all(source):
        if outcome.reason and "out of the source" in outcome.reason:
            with pytest.raises(ItemError, match="no longer in"):
                preview(source.location, outcome.item.place, source.roots)


@pytest.mark.parametrize("write", WRITERS)
def test_a_root_lets_paths_out_to_where_it_says(write: Write, tree: Path) -> None:
    file = write(tree / "c", ["p/a.png", "../private/x.png", "p/link.png", "../elsewhere.png", "/etc/hostname"])
    for root in (str(tree / "private"), [str(tree / "c" / ".." / "private"), str(tree / "c" / "p")]):
        source = open_source(file, root=root)
        good, bad = read(source)
        assert good == ["p/a.png", "../private/x.png", "p/link.png"]
        assert set(bad) == {"../elsewhere.png", "/etc/hostname"}
        for outcome in read_all(source):
            if outcome.reason is None:
                assert preview(source.location, outcome.item.place, source.roots) in (png(1), png(2))
                assert ".." not in Path(outcome.item.place).parts
    # Without a root, nobody is shown what lies there.
    assert file_at(source.location, str(tree / "private" / "x.png")) is None


def test_the_remedy_that_is_named_works(tree: Path) -> None:
    (tree / "c" / "list.csv").write_text("image\np/a.png\n../private/x.png\n")
    text = '[source]\nkind = "images"\npath = "list.csv"\n'
    reason = read(open_beside(tree / "c", text))[1]["../private/x.png"]
    assert 'root = "' in reason
    root = reason.partition('root = "')[2].partition('"')[0]
    good, bad = read(open_beside(tree / "c", f'{text}root = "{root}"\n'))
    assert (good, bad) == (["p/a.png", "../private/x.png"], {})


def open_beside(folder: Path, text: str) -> Source:
    """Return the source of a recipe that lies in a folder."""
    whole = f'name = "x"\n{text}\n[[layers]]\nnet = "dense"\n'
    return sources.resolve(recipe.parse(tomllib.loads(whole), folder / "x.toml"))


def test_links_of_folders_and_globs_lead_where_the_root_allows(tree: Path) -> None:
    assert read(open_source(tree / "c"))[0] == ["p/a.png"]
    assert read(open_source(tree / "c", root=str(tree)))[0] == ["p/a.png", "p/link.png"]
    assert read(open_source(tree / "c" / "*" / "*.png"))[0] == ["p/a.png"]
    source = open_source(tree / "c" / "*" / "*.png", root=str(tree))
    assert "p/link.png" in read(source)[0]
    assert preview(source.location, "p/link.png", source.roots) == png(2)


def test_a_link_that_is_given_may_lead_anywhere(tree: Path) -> None:
    (tree / "given.png").symlink_to(tree / "c" / "p" / "a.png")
    (tree / "elsewhere").mkdir()
    (tree / "elsewhere" / "given.png").symlink_to(tree / "c" / "p" / "a.png")
    (tree / "elsewhere" / "folder").symlink_to(tree / "c")
    for path in ("elsewhere/given.png", "elsewhere/folder"):
        source = open_source(tree / path)
        good, _ = read(source)
        assert len(good) == 1
        [item] = [item for item in source.items() if item.key in good]
        assert preview(source.location, item.place, source.roots) == png(1)


def test_a_list_in_a_folder_of_lists_names_files_of_the_source(tree: Path) -> None:
    put(tree / "c" / "lists" / "one.csv", b"image\n../p/a.png\n../../private/x.png\n")
    os.unlink(tree / "c" / "p" / "link.png")
    source = open_source(tree / "c" / "lists" / "one.csv")
    assert read(source)[0] == []
    source = open_source(f"{tree}/c/./lists/one.csv")
    good, bad = read(source)
    assert good == ["p/a.png"]
    assert list(bad) == ["../private/x.png"]


def test_a_table_about_files_names_only_those_of_the_folder(tree: Path) -> None:
    rows = [{"file_name": "p/a.png", "note": "in"}, {"file_name": "../private/x.png", "note": "out"}]
    (tree / "c" / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    good, bad = read(open_source(tree / "c"))
    assert (good, list(bad)) == (["p/a.png"], ["../private/x.png"])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a/../b.png", ("b.png", "")),
        ("  a.png ", ("a.png", "")),
        ("file:///a/b%20c.png", ("/a/b c.png", "")),
        ("file://localhost/a.png", ("/a.png", "")),
        ("file://host/a.png", (None, ADDRESS)),
        ("s3://b/a.png", (None, ADDRESS)),
        ("HTTPS://h/a.png", (None, ADDRESS)),
        ("a\0.png", (None, NUL)),
        ("file:///a%00.png", (None, ADDRESS)),
        ("", (None, NO_PATH)),
        (None, (None, NO_PATH)),
        (3, (None, NO_PATH)),
        ("a\nb.png", ("a\nb.png", "")),
        ("~/a.png", ("~/a.png", "")),
    ],
)
def test_paths_in_cells(cell: object, expected: tuple[str | None, str]) -> None:
    assert path_in(cell) == expected


def test_a_remedy_is_never_a_whole_disk(tmp_path: Path) -> None:
    bounds = Bounds(Path("/srv/lists"))
    for path, root in (
        ("/etc/passwd", "/etc"),
        ("/data/photos/2024/a.png", "/data/photos"),
        ("/srv/pictures/a/b.png", "/srv/pictures"),
    ):
        assert bounds.remedy(path, Path("/nowhere/at/all/x")).startswith(f'root = "{root}" under [source]')
    assert 'root = ".."' in Bounds(tmp_path / "a" / "b").remedy(str(tmp_path / "a" / "c" / "x"), tmp_path / "a" / "b")


def test_a_root_has_to_be_a_folder_here(tree: Path) -> None:
    for root in ("s3://b/c", str(tree / "missing"), str(tree / "c" / "p" / "a.png")):
        with pytest.raises(SourceError, match="root under \\[source\\]"):
            open_source(tree / "c", root=root)


def test_nothing_outside_is_shown_whatever_a_place_says(tree: Path) -> None:
    for place in ("../private/x.png", str(tree / "private" / "x.png"), "p/link.png", "way/x.png", "c\0/x", "\ud800"):
        assert file_at(tree / "c", place) is None
        with pytest.raises(ItemError):
            preview(tree / "c", place)
    assert file_at(tree / "c", str(tree / "c" / "p" / "a.png")) == str(tree / "c" / "p" / "a.png")


def test_a_release_shows_originals_inside_only(tree: Path) -> None:
    release: Any = SimpleNamespace(items=SimpleNamespace(root=tree / "c", roots=()))
    release.path_of = partial(Release.path_of, release)
    assert originals.original(release, "p/a.png") == png(1)
    assert originals.file_of(release, "../private/x.png") is None
    release.items.roots = (tree / "private",)
    assert originals.file_of(release, str(tree / "private" / "x.png")) == tree / "private" / "x.png"

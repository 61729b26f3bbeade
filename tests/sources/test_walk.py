"""Which files a source has: links, names, patterns that leave files out, and what cannot be read."""

from __future__ import annotations

import inspect
import os
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aepipe.errors import ItemError, SourceError
from aepipe.sources.exclude import Exclude
from aepipe.sources.files import SAME, Files, WholeFile
from aepipe.sources.formats.folder import Folder
from aepipe.sources.passed_over import LISTED, PassedOver


def put(folder: Path, *names: str, data: bytes = b"?") -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def listed(path: Path | str, *exclude: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return the items of a source where every file is one, and what is passed over, by reason."""
    folder = Folder(Files.at(str(path), Path.cwd(), exclude))
    keys = [item.key for item in folder.items()]
    assert folder.total() == len(keys)
    return keys, folder.passed_over.first


@pytest.mark.parametrize(
    ("patterns", "left_out", "kept"),
    [
        ((), ["@eaDir/", "a/@eaDir/", "a/Thumbs.db", ".DS_Store", "x/__MACOSX/", "#recycle/"], ["a/", "eaDir", "db"]),
        (("*.xmp",), ["a.xmp", "a/b/c.xmp"], ["a.xmp.jpg", "xmp"]),
        (("raw/",), ["raw/", "a/raw/"], ["raw", "a/raw"]),
        (("/raw",), ["raw", "raw/"], ["a/raw"]),
        (("a/*.jpg",), ["a/b.jpg"], ["a/b/c.jpg", "x/a/b.jpg", "b.jpg"]),
        (("a/**/c.jpg",), ["a/c.jpg", "a/b/c.jpg", "a/b/d/c.jpg"], ["c.jpg", "x/a/c.jpg"]),
        (("**/c.jpg",), ["c.jpg", "a/b/c.jpg"], ["xc.jpg"]),
        (("a/**",), ["a/b", "a/b/c"], ["a/", "ba/c"]),
        (("IMG_[0-4]?.jpg",), ["IMG_01.jpg", "a/IMG_4x.jpg"], ["IMG_5x.jpg", "IMG_1.jpg"]),
        (("[!a]b",), ["cb", "x/bb"], ["ab"]),
        (("*.jpg", "!keep.jpg"), ["a.jpg"], ["keep.jpg", "a/keep.jpg"]),
        (("!Thumbs.db",), [".DS_Store"], ["Thumbs.db"]),
        (("!*",), [], ["@eaDir/", "a/Thumbs.db", ".DS_Store"]),
        (("!*", "*.bak"), ["a.bak"], ["Thumbs.db"]),
        (("(1).jpg", "a+b"), ["(1).jpg", "a+b"], ["1.jpg", "aab"]),
        (("café",), [unicodedata.normalize("NFD", "café")], ["cafe"]),
        (("",), [], ["a"]),
        (("a*b*c",), ["abc", "aXbYbc", "x/a-b-c/"], ["acb", "ab", "a/b/c"]),
        (("**",), ["a", "a/b"], []),
        (("a**/b",), ["ab/b", "a/b"], ["a/x/b"]),
        (("**/a/**/b?/**/c*",), ["a/b1/c", "x/a/y/b2/z/w/cc", "a/a/b1/b2/b3/c"], ["a/c", "b1/a/c", "a/b/c"]),
        (("x/**/**/y",), ["x/y", "x/z/y"], ["y"]),
        (("[!a]*",), ["b", "a/bc"], ["a", "ab"]),
        (("x[!y]z/a",), ["xaz/a"], ["x/z/a"]),
        ((r"\#x", r"\!y", r"a\*.jpg", r"b\\c"), ["#x", "!y", "a*.jpg", "b\\c"], ["x", "y", "ab.jpg", "bc"]),
        ((r"a\[1\].png", r"d\/e\ f"), ["a[1].png", "d/e f"], ["a1.png", "x/d/e f"]),
        (("a[[:digit:]]",), ["a1", "x/a2/"], ["aa", "a:", "a1]"]),
        (("[![:alpha:]_]", "x[[:upper:]0]"), ["1", "xA", "x0"], ["a", "_", "xa"]),
        ((r"a[\]-]b", "c[[]"), ["a]b", "a-b", "c["], ["ab", "a\\b"]),
    ],
)
def test_patterns_leave_out_what_a_gitignore_would(
    patterns: tuple[str, ...], left_out: list[str], kept: list[str]
) -> None:
    exclude = Exclude(patterns)
    assert [place for place in (*left_out, *kept) if exclude(place)] == left_out


def test_what_is_no_pattern_is_said() -> None:
    for pattern, said in (("a\\", "stands before nothing"), ("[[:foo:]]", "no set of letters; there are: alnum, ")):
        with pytest.raises(SourceError, match=said):
            Exclude([pattern])


def test_many_wildcards_take_no_longer_than_few() -> None:
    """Each would multiply the time by the length, where all ways to share a path among them are tried."""
    below = Exclude(["x/*", "!x/y/"])
    assert not below("x/")
    assert below("x/a")
    assert not below("x/y/")
    assert not Exclude(["*a" * 20 + "b"])("a" * 200)
    assert not Exclude(["**/a/" * 20 + "b"])("a/" * 200 + "c")
    assert Exclude(["**/a*a*/" * 9 + "**/b"])("aa/" * 100 + "b")


def test_what_is_left_out_is_counted_below_folders_too(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "raw/b.jpg", "raw/deep/c.jpg", "@eaDir/a.jpg/thumb.jpg", ".git/x/y", "b.xmp")
    keys, first = listed(tmp_path, "raw", "*.xmp")
    assert keys == ["a.jpg"]
    assert first == {
        "hidden": [".git/x/y"],
        "left out by exclude": ["@eaDir/a.jpg/thumb.jpg", "b.xmp", "raw/b.jpg", "raw/deep/c.jpg"],
    }
    keys, first = listed(tmp_path, "!*")
    assert keys == ["@eaDir/a.jpg/thumb.jpg", "a.jpg", "b.xmp", "raw/b.jpg", "raw/deep/c.jpg"]
    keys, first = listed(tmp_path / "*" / "*.jpg", "deep")
    assert keys == ["raw/b.jpg"]
    assert first == {"left out by exclude": ["@eaDir/a.jpg/thumb.jpg"]}
    keys, first = listed(tmp_path / "**" / "*.jpg", "raw/")
    assert keys == ["a.jpg"]
    assert first["left out by exclude"][-2:] == ["raw/b.jpg", "raw/deep/c.jpg"]


def test_a_link_gives_way_to_its_file_and_the_first_of_hard_links_counts(tmp_path: Path) -> None:
    put(tmp_path, "z3.png", "z4.png", "other/z5.png")
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "z3.png").symlink_to("../z3.png")
    (tmp_path / "best" / "again.png").symlink_to("z3.png")
    os.link(tmp_path / "z4.png", tmp_path / "again.png")
    os.link(tmp_path / "z4.png", tmp_path / "zz.png")
    keys, first = listed(tmp_path)
    assert keys == ["again.png", "other/z5.png", "z3.png"]
    assert first == {SAME: ["best/again.png", "best/z3.png", "z4.png", "zz.png"]}


def test_a_link_is_an_item_where_the_file_is_none(tmp_path: Path) -> None:
    """As git-annex and data lakes have them: the files have no names of their own, or lie in a hidden folder."""
    put(tmp_path, ".git/annex/objects/ab12", "blobs/cd34", "raw/ef56.png")
    for name, target in (("a.png", ".git/annex/objects/ab12"), ("b.png", "blobs/cd34"), ("c.png", "raw/ef56.png")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "twice.png").symlink_to("a.png")
    folder = Folder(Files.at(str(tmp_path), Path.cwd(), ("raw",)), (".png",))
    assert [item.key for item in folder.items()] == ["a.png", "b.png", "c.png"]
    assert folder.passed_over.first[SAME] == ["twice.png"]
    assert folder.passed_over.first["not an item"] == ["blobs/cd34"]


def test_a_glob_finds_a_file_once_though_folders_are_linked(tmp_path: Path) -> None:
    put(tmp_path, "lib/a.png", "lib/b.png")
    (tmp_path / "best").symlink_to("lib")
    (tmp_path / "loop").symlink_to(".")
    keys, first = listed(tmp_path / "**" / "*.png")
    assert keys == ["lib/a.png", "lib/b.png"]
    assert set(first) == {SAME}
    keys, _ = listed(tmp_path / "b*" / "*.png")
    assert keys == ["best/a.png", "best/b.png"]  # the only names by which this glob finds them


def refusing(name: str, error: OSError) -> Callable[[object], object]:
    scandir = os.scandir

    def refused(at: object) -> object:
        if os.path.basename(str(at).rstrip("/")) == name:
            raise error
        return scandir(at)  # type: ignore[call-overload]

    return refused


def test_a_folder_that_cannot_be_read_is_named_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a/1", "lost+found/2")
    monkeypatch.setattr(os, "scandir", refusing("lost+found", PermissionError(13, "Permission denied")))
    files = Folder(Files.at(str(tmp_path), Path.cwd()))
    assert [item.key for item in files.items()] == ["a/1"]
    assert files.passed_over.first == {"a folder that cannot be read: Permission denied": ["lost+found/"]}
    assert files.passed_over.total == 0
    with pytest.raises(SourceError, match=r"lost\+found/: cannot be read: Permission denied"):
        list(Files.at(str(tmp_path / "lost+found"), Path.cwd()))


def test_a_path_that_may_not_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = Path.stat

    def refused(path: Path, **options: Any) -> os.stat_result:
        if path.is_relative_to(tmp_path):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, **options)

    monkeypatch.setattr(Path, "stat", refused)
    for name in ("a.jpg", "*.jpg", "b/./a.jpg"):
        with pytest.raises(SourceError, match=r"jpg: cannot be read: Permission denied"):
            Files.at(str(tmp_path / name), Path.cwd())


def test_a_disk_that_fails_is_an_error_and_no_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/1", "b/2")
    monkeypatch.setattr(os, "scandir", refusing("b", OSError(5, "Input/output error")))
    with pytest.raises(SourceError, match="b/: cannot be read: Input/output error"):
        list(Files.at(str(tmp_path), Path.cwd()))


def test_a_tree_that_is_deeper_than_the_stack_is_walked(tmp_path: Path) -> None:
    deep = put(tmp_path, "/".join(["d"] * 150) + "/x")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        found = [found.place for found in Files(str(deep), deep).everything()]
    finally:
        sys.setrecursionlimit(limit)
    assert found == ["/".join(["d"] * 150) + "/x"]


@pytest.mark.parametrize(("given", "there"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_is_found_in_the_other_normal_form(tmp_path: Path, given: str, there: str) -> None:
    def form(name: str, kind: str) -> str:
        return unicodedata.normalize(kind, name)  # type: ignore[arg-type]

    put(tmp_path, form("müsli/café.png", there), data=b"bytes")
    for path in ("müsli", "müsli/café.png", "müsli/*.png", "müsli/caf?*.png", "müsli/café*", "mü*/café.png"):
        keys, _ = listed(tmp_path / form(path, given))
        assert [unicodedata.normalize("NFC", key).rpartition("/")[2] for key in keys] == ["café.png"], path
    assert WholeFile(str(tmp_path / form("müsli/café.png", given)))("k") == b"bytes"
    with pytest.raises(SourceError, match="no such file or folder"):
        Files.at(str(tmp_path / form("müsli/tée.png", given)), Path.cwd())


@pytest.mark.parametrize("name", ["a.csv", "a.npy", "a.parquet", "a.jsonl", "a.wav", "a.tar.gz", "a"])
def test_a_pipe_as_a_source_is_named_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match=rf"{name}: a named pipe, not a file; write what it gives into a file first"):
        Files.at(str(tmp_path / name), Path.cwd())
    with pytest.raises(SourceError, match="a device, not a file"):
        Files.at("/dev/null", Path.cwd())
    assert listed(tmp_path) == ([], {"a named pipe": [name]})


def test_names_are_kept_up_to_a_limit_and_counts_are_exact() -> None:
    held = PassedOver()
    for number in range(LISTED + 7):
        held.add(str(number), "hidden")
    held.add("x/", "a folder that cannot be read")
    assert held.total == LISTED + 7
    assert held.facts()[0] == {"reason": "hidden", "count": LISTED + 7, "first": [*"01234"], "folders": False}
    rows = list(held.listed())
    assert rows[LISTED] == ("", "hidden", 7)
    assert sum(count for _, _, count in rows) == held.total + 1
    assert held.summary() == "1,007 x hidden (0, 1, 2, ...); 1 x a folder that cannot be read (x/)"


def test_a_file_that_only_points_to_its_content_is_called_so(tmp_path: Path) -> None:
    put(tmp_path, "shard.csv", data=b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    files = Files.at(str(tmp_path), Path.cwd())
    for read in (lambda: files.first(lambda _: True), lambda: list(files.claimed(lambda _: True))):
        with pytest.raises(SourceError, match=r"shard\.csv: a pointer of Git LFS: .* `git lfs pull` fetches it"):
            read()


def test_a_reader_of_a_pipe_in_a_list_says_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ItemError, match="not a file"):
        WholeFile(str(tmp_path / "a.png"))("a.png")

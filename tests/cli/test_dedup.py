"""The verb dedup."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import cast

import pyarrow.parquet as pq
import pytest
from PIL import Image

from aepipe.cli.dedup import dedup
from aepipe.release import copies
from aepipe.release import dedup as duplicates
from aepipe.release.keep import Original, order_named
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from aepipe.store.segments import Row
from tests.cli.conftest import Aepipe


def test_groups_as_a_table_as_json_and_as_a_picture(aepipe: Aepipe, full_store: Store, tmp_path: Path) -> None:
    found = duplicates.find(Release.open(full_store), 6)
    shown = aepipe("dedup", "--radius", 6, "-k", 2, "--picture", tmp_path / "x.png", "--out", tmp_path / "x.parquet")
    assert shown.exit_code == 0
    head, *lines = shown.stdout.splitlines()
    assert head.split() == ["rows", "farthest", "alike", "keep", "remove"]
    assert len(lines) == 3
    assert lines[0].split()[0] == str(len(found.of(0)[0]))
    assert lines[-1] == found.summary()
    sheet = Image.open(tmp_path / "x.png")
    assert 300 < sheet.width <= 1920
    assert sheet.height <= 1080
    assert (tmp_path / "x.parquet").exists()
    told = json.loads(aepipe("dedup", "--radius", 6, "-k", 2, "--json").stdout)
    assert (told["groups"], len(told["largest"])) == (len(found), 2)
    assert told["alike"] == "content"
    alike = [row["alike"] for row in told["largest"][0]["rows"]]
    assert alike == ["first", *["alike in content"] * (len(found.of(0)[0]) - 1)]
    assert [row["id"] for row in told["largest"][0]["rows"]] == found.of(0)[0].tolist()
    shape = {"mark", "alike", "distance", "id", "key", "path", "label", "labels", "split", "snippet", "columns"}
    assert set(told["largest"][0]["rows"][0]) == shape
    rows = list(csv.DictReader(aepipe("dedup", "--radius", 6, "-k", 2, "--format", "csv").stdout.splitlines()))
    assert [int(one["id"]) for one in rows if one["group"] == "1"] == found.of(0)[0].tolist()
    assert aepipe("dedup", "--radius", 6, "--format", "markdown").stdout.startswith("| rows | farthest |")


def test_a_group_by_near_codes_that_nobody_asked_for_is_not_called_a_copy(
    aepipe: Aepipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "has_pictures", lambda kind: False)
    assert "alike in content are no copies: look at some before you remove any" in aepipe("dedup").stderr
    assert "no copies" not in aepipe("dedup", "--alike", "content").stderr


def test_no_groups_and_mistakes_are_reported(aepipe: Aepipe) -> None:
    none = aepipe("dedup", "--radius", 0, "--min-size", 100)
    assert none.exit_code == 0
    assert none.stdout.startswith("no two of") or "0 groups" in none.stdout
    wrong = aepipe("dedup", "--radius", 999)
    assert wrong.exit_code == 2
    assert "a radius of 999 bits" in wrong.stderr


def test_one_of_each_group_is_kept_and_no_original_is_touched(
    aepipe: Aepipe, full_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The examples of the help are run, and the marks are the same in every form."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(copies, "MADE", 10)
    release = Release.open(full_store)
    before = {path: path.read_bytes() for path in release.items.root.rglob("*") if path.is_file()}
    text = cast("str", dedup.__doc__)
    examples = [line.split("  ")[0] for line in map(str.strip, text.splitlines()) if line.startswith("aepipe dedup")]
    assert len(examples) == 6
    for example in examples:
        words = shlex.split(example.split(" | ")[0])[1:]
        assert aepipe(*words).exit_code == 0, example
    assert before == {path: path.read_bytes() for path in before}
    group = _marked(aepipe("dedup", "--radius", 0, "--json").stdout)
    assert sorted(group["marks"]) == ["keep", "remove"]
    removed = group["keys"][group["marks"].index("remove")]
    files = aepipe("dedup", "--radius", 0, "--null").stdout
    assert files == f"{release.items.root / removed}\0"
    assert aepipe("dedup", "--radius", 0, "--csv", "x.csv").exit_code == 0
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as opened:
        lines = list(csv.DictReader(opened))
    assert [(line["key"], line["mark"]) for line in lines] == list(zip(group["keys"], group["marks"], strict=True))
    assert pq.read_table("doubles.parquet")["mark"].to_pylist() == group["marks"]
    for glob, kept in ((group["keys"][0], 0), (group["keys"][1], 1)):
        chosen = _marked(aepipe("dedup", "--radius", 0, "--keep", f"path:{glob}", "--json").stdout)
        assert chosen["marks"].index("keep") == kept
    wrong = aepipe("dedup", "--keep", "largest")
    assert wrong.exit_code == 2
    assert "give best, newest, oldest, first or path:GLOB" in wrong.stderr


def _marked(text: str) -> dict[str, list[str]]:
    """Return keys and marks of the only group."""
    (group,) = json.loads(text)["largest"]
    return {name: [row[name.removesuffix("s")] for row in group["rows"]] for name in ("keys", "marks")}


def test_the_order_is_pixels_then_bytes_then_age(tmp_path: Path) -> None:
    def one(row_id: int, pixels: int, n_bytes: int, changed: float | None) -> Original:
        row = Row(row_id, f"{row_id}.png", None, "train", f"{row_id}.png", {})
        return Original(row, tmp_path / row.place, pixels, n_bytes, changed)

    some = [one(0, 10, 5, 3.0), one(1, 20, 5, 4.0), one(2, 20, 9, 5.0), one(3, 20, 9, 2.0), one(4, 0, 0, None)]
    expected = {"best": 3, "newest": 2, "oldest": 3, "first": 0, "path:*1.png": 1, "path:nothing": 3}
    assert {name: min(some, key=order_named(name)).row.id for name in expected} == expected

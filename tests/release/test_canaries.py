"""Canaries: files of queries whose answers are known, asked of a release."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aepipe.errors import ItemError, RecipeError
from aepipe.release import canaries
from aepipe.release.query import answer, questions_from_rows
from aepipe.release.release import Release
from aepipe.release.search import Question, search_options
from aepipe.store.artifacts import Store
from tests.support.releases import make_release, pictures_of


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release of 40 pictures; the last is a copy of the first."""
    store = Store(tmp_path_factory.mktemp("canaries") / "store")
    return Release.open(store, ref=make_release(store, n=40, shape=(8, 8, 1)))


def asked(release: Release, file: Path, text: str) -> canaries.Outcome:
    """What comes of one canary."""
    file.write_text(f"[[canary]]\n{text}\n")
    (outcome,) = canaries.ask(release, file)
    return outcome


def test_a_row_that_finds_its_copy_passes(release: Release, tmp_path: Path) -> None:
    first, last = release.describe([0])[0], "train/class0/00000.png"
    (question,) = questions_from_rows(release, [0], [])
    (near,) = answer(release, [question], search_options(release, {"k": 1, "others": True}))
    copy = near.hits[0].row.key
    found = asked(release, tmp_path / "c.toml", f'key = "{first.key}"\nhits = ["{copy}"]\nwithin = 1')
    assert found == canaries.Outcome(True, f"canary key {first.key}: 1 found, wanted 1 of {copy} within the first 1")
    missed = asked(release, tmp_path / "c.toml", f'key = "{last}"\nhits = ["no/such.png"]')
    assert not missed.passed
    assert missed.said.endswith("0 found, wanted 1 of no/such.png within the first 10")


def test_a_picture_beside_the_file_is_asked_for_a_label(release: Release, tmp_path: Path) -> None:
    row = release.describe([7])[0]
    (tmp_path / "one.png").write_bytes((release.items.root / row.place).read_bytes())
    found = asked(release, tmp_path / "c.toml", f'query = "one.png"\nlabel = "{row.label}"\nwithin = 1')
    assert found.passed
    everything = f'query = "one.png"\nlabel = "{row.label}"\nwithin = 40\nat_least = 40'
    assert not asked(release, tmp_path / "c.toml", everything).passed


def test_a_canary_that_cannot_be_asked_has_not_passed(release: Release, tmp_path: Path) -> None:
    assert "no row has the key" in asked(release, tmp_path / "c.toml", 'key = "gone"\nlabel = "x"').said
    assert not asked(release, tmp_path / "c.toml", 'query = "gone.png"\nlabel = "x"').passed
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert not asked(release, tmp_path / "c.toml", 'query = "bad.png"\nlabel = "x"').passed
    assert str(pictures_of(release.store)) in str(release.items.root)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[canary]]\nlabel = 'x'", "either query or key or code is needed"),
        ("[[canary]]\nkey = 'x'", "hits or label is needed"),
        ("[[canary]]\nkey = 'x'\nhits = ['a']\nat_least = 2", "no more than 1 can be found"),
        ("[[canary]]\nkey = 'x'\nlabel = 'a'\nwithn = 2", "withn: unknown key; allowed: query, key, code, hits"),
        ("[[canary", "not TOML"),
        ("", "canary: missing"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=said) as caught:
        canaries.read(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none.toml: cannot be read: No such file"):
        canaries.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("hits", "label", "said"),
    [
        ("a", "", "a"),
        ("abc", "", "a, b, c"),
        ("abcd", "", "a, b, c and 1 more"),
        ("abcdef", "boots", "a, b, c and 3 more or label boots"),
        ("", "boots", "label boots"),
    ],
)
def test_three_hits_are_named_at_most(hits: str, label: str, said: str) -> None:
    assert canaries._listed(canaries.Canary(key="k", hits=tuple(hits), label=label or None)) == said


@pytest.mark.parametrize(
    ("found", "canary", "outcome"),
    [
        ("abc", {"hits": ("a", "z")}, (True, "1 found, wanted 1 of a, z within the first 10")),
        ("abc", {"hits": ("a", "z"), "at_least": 2}, (False, "1 found, wanted 2 of a, z within the first 10")),
        ("abc", {"hits": ("a", "b"), "at_least": 2}, (True, "2 found, wanted 2 of a, b within the first 10")),
        (
            "abc",
            {"hits": ("a",), "not_hits": ("z", "b", "c")},
            (False, "found b, which must not be among the first 10"),
        ),
        ("abc", {"not_hits": ("z",)}, (True, "nothing found that must not be")),
        ("", {"hits": ("a",), "within": 3}, (False, "0 found, wanted 1 of a within the first 3")),
    ],
)
def test_what_a_canary_says_of_its_hits(
    monkeypatch: pytest.MonkeyPatch, found: str, canary: dict[str, Any], outcome: tuple[bool, str]
) -> None:
    one, asked = canaries.Canary(key="k", **canary), list[Any]()
    hits = [SimpleNamespace(row=SimpleNamespace(key=key, labels=())) for key in found]
    release: Any = object()

    def answers(where: Any, questions: list[Question], options: Any) -> list[Any]:
        assert where is release
        asked.append((questions[0].text, options))
        return [SimpleNamespace(hits=hits)]

    monkeypatch.setattr(canaries, "answer", answers)
    monkeypatch.setattr(canaries, "search_options", lambda where, options: options)
    for row_id in (0, None):
        monkeypatch.setattr(canaries, "_question", lambda *_, row_id=row_id: Question("asked", row_id=row_id))
        passed, said = outcome
        assert canaries._asked(release, one, Path()) == canaries.Outcome(passed, f"canary {one.name}: {said}")
        assert asked.pop() == ("asked", {"k": one.within, "others": row_id is not None})
    failed = Question("asked", failure=ItemError("a.png", "cannot be read"))
    monkeypatch.setattr(canaries, "_question", lambda *_: failed)
    assert canaries._asked(release, one, Path()) == canaries.Outcome(False, f"canary {one.name}: {failed.failure}")
    assert asked == []

"""The verb ``label``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aepipe.store.artifacts import Store
from tests.cli.conftest import Aepipe
from tests.support.towers import COLOURS, EACH


@pytest.fixture
def words(tmp_path: Path) -> Path:
    file = tmp_path / "words.txt"
    file.write_text("red\nblue\ngreen\n")
    return file


def test_labels_are_printed_as_csv_or_json(aepipe: Aepipe, colours: Store, words: Path) -> None:
    found = aepipe("label", words, home=colours)
    assert found.exit_code == 0, found.output
    head, *lines = found.stdout.splitlines()
    assert head == "id,key,label,confidence"
    assert len(lines) == EACH * len(COLOURS)
    assert any(line.split(",")[1:3] == ["red/0.png", "red"] for line in lines)
    assert "red: " in found.stderr
    first = json.loads(aepipe("label", words, "--json", home=colours).stdout.splitlines()[0])
    assert list(first) == head.split(",")


def test_a_release_is_named_first(aepipe: Aepipe, colours: Store, words: Path, tmp_path: Path) -> None:
    (digest,) = (ref.digest[:12] for ref in colours.refs("release"))
    for name in ("colours", digest):
        found = aepipe("label", name, words, "--out", tmp_path / "labels.csv", home=colours)
        assert found.exit_code == 0, found.output
        assert "96 rows labelled" in found.stdout
    assert "no release starts with 'nobody'" in aepipe("label", "nobody", words, home=colours).stderr


def test_a_mistake_is_one_line(aepipe: Aepipe, colours: Store, words: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\nthe\n")
    for given, said in (
        (("none.txt",), "none.txt: no such file; write the words into one"),
        ((tmp_path / "latin.txt",), "not text in UTF-8"),
        (("a", "b", "c"), "a release and a file of words are wanted"),
    ):
        found = aepipe("label", *given, home=colours)
        assert found.exit_code == 2
        assert said in found.stderr
        assert len(found.stderr.splitlines()) == 1


def test_a_collection_that_answers_no_words_says_so(aepipe: Aepipe, words: Path) -> None:
    found = aepipe("label", words)
    assert found.exit_code == 2
    assert "this collection does not answer words. To ask it in words" in found.stderr
    assert "no such file" not in found.stderr

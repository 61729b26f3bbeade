"""The verb ``query`` with words to a collection of pictures."""

from __future__ import annotations

import json

import pytest

from aepipe.store.artifacts import Store
from tests.cli.conftest import Aepipe


def test_words_are_answered_as_files_are(aepipe: Aepipe, colours: Store) -> None:
    folder = colours.root.parent / "pictures"
    found = aepipe("query", "red", folder / "blue" / "1.png", "-k", 2, "--json", home=colours)
    assert found.exit_code == 0, found.output
    red, blue = map(json.loads, found.stdout.splitlines())
    assert list(red) == list(blue)
    assert list(red["hits"][0]) == list(blue["hits"][0])
    assert (red["query"], red["hits"][0]["label"], blue["hits"][0]["label"]) == ("red", "red", "blue")


def test_words_come_out_of_a_pipe(aepipe: Aepipe, colours: Store) -> None:
    picture = (colours.root.parent / "pictures" / "blue" / "1.png").read_bytes()
    asked = ("-", "-k", 1, "--json")
    words = json.loads(aepipe("query", *asked, home=colours, stdin=b"red\n").stdout)
    assert (words["query"], words["hits"][0]["label"]) == ("red", "red")
    assert json.loads(aepipe("query", *asked, home=colours, stdin=picture).stdout)["hits"][0]["label"] == "blue"


def test_plus_and_not_and_weight(aepipe: Aepipe, colours: Store) -> None:
    found = aepipe("query", "--key", "red/0.png", "--plus", "white", "--weight", 0.5, "-k", 1, home=colours)
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("key red/0.png + white\n")
    assert "pink" in found.stdout
    assert aepipe("query", "--plus", "red", "--not", "black", home=colours).stdout.startswith("red - black\n")


def test_a_weight_alone_weighs_nothing(aepipe: Aepipe, colours: Store) -> None:
    found = aepipe("query", "red", "--weight", 0.5, home=colours)
    assert found.exit_code == 2
    assert "--weight is the share of the words of --plus and --not" in found.stderr


def test_words_without_words_say_what_to_do(aepipe: Aepipe) -> None:
    found = aepipe("query", "a red boot")
    assert found.exit_code == 2
    assert "no such file or folder" in found.stderr
    assert "`[features] words`" in found.stderr


@pytest.mark.parametrize("given", [("\udcff\udcfe",), ("red", "--plus", "\udcff"), ("red", "--not", "\udcff")])
def test_words_that_are_not_in_utf_8_are_one_line(aepipe: Aepipe, colours: Store, given: tuple[str, ...]) -> None:
    found = aepipe("query", *given, home=colours)
    assert found.exit_code == 2, found.output
    (line,) = found.stderr.splitlines()
    assert "not in UTF-8: byte 0xff at 0" in line


def test_other_words_are_answered_beside_those_that_are_not_in_utf_8(aepipe: Aepipe, colours: Store) -> None:
    found = aepipe("query", "caf\udce9", "red", "-k", 1, home=colours)
    assert found.exit_code == 2
    assert found.stdout.startswith("red\n")
    assert "not in UTF-8: byte 0xe9 at 3" in found.stderr


@pytest.mark.parametrize("text", ["", "   "])
def test_empty_words_are_no_words(aepipe: Aepipe, colours: Store, text: str) -> None:
    found = aepipe("query", text, home=colours)
    assert found.exit_code == 2
    assert f'"{text[:1]}": no words, and no name of a file; this collection is asked with words, files' in found.stderr


def test_a_missing_file_is_told_that_words_are_answered(aepipe: Aepipe, colours: Store) -> None:
    found = aepipe("query", "pizza.jpg", home=colours)
    assert found.exit_code == 2
    assert "pizza.jpg: no such file or folder; this collection is asked with words, files and folders" in found.stderr
    assert "To ask it in words" not in found.stderr
    assert "is asked with files and folders of pictures" in aepipe("query", "pizza.jpg").stderr


def test_the_title_of_a_long_question_is_shortened(aepipe: Aepipe, colours: Store) -> None:
    found = aepipe("query", "red " * 200, "-k", 1, home=colours)
    title = found.stdout.splitlines()[0]
    assert len(title) <= 125
    assert " ... " in title

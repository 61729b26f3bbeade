"""The verb ``query`` with words to a collection of pictures."""

from __future__ import annotations

import json

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

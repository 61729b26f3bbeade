"""Words to a collection of pictures behind a service: in addresses, in bodies, from a client, and over the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

import aepipe
from aepipe.api import Collection
from aepipe.cli.app import app
from aepipe.errors import QueryError
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from tests.serve.conftest import Client, running

PATH = "/v1/collections/colours"


@pytest.fixture(scope="module")
def asked(colours: Store) -> Iterator[Client]:
    with running(colours) as client:
        yield client


@pytest.fixture
def here(colours: Store) -> Collection:
    return Collection(colours, Release.open(colours))


def ids(answer: Any) -> list[int]:
    return [hit["id"] for hit in answer["hits"]]


def test_the_collection_says_that_it_answers_words(asked: Client, client: Client) -> None:
    assert "text" in asked.get(PATH).json["asks"]
    assert "text" not in client.get("/v1/collections/pictures").json["asks"]


def test_words_are_answered_as_in_the_shell(asked: Client, here: Collection) -> None:
    (found,) = asked.get(f"{PATH}/search", text="red", k=5).json["answers"]
    (expected,) = here.query("red", k=5)
    assert ids(found) == [hit.row.id for hit in expected.hits]
    assert (found["query"], found["strange"], found["understood"]) == ("red", None, [])
    again = asked.get(f"{PATH}/search", handle=found["handle"], k=5).json["answers"][0]
    assert ids(again) == ids(found)
    after = asked.get(f"{PATH}/search", text="red", k=5, after=found["next"]).json["answers"][0]
    assert not set(ids(after)) & set(ids(found))


def test_words_are_added_and_taken_away(asked: Client, here: Collection) -> None:
    row = here.release.id_of("red/0.png")
    body = {"queries": [{"id": row}, {"key": "red/0.png"}], "plus": ["white"], "weight": 0.5, "k": 3}
    by_id, by_key = asked.post(f"{PATH}/search", body).json["answers"]
    (expected,) = here.query(ids=[row], plus="white", k=3)
    assert ids(by_id) == ids(by_key) == [hit.row.id for hit in expected.hits]
    unknown = asked.get(f"{PATH}/search", id=10**6, plus="white")
    assert (unknown.status, unknown.json["detail"][:25]) == (422, "no row has the id 1000000")
    (expected,) = here.query(plus=["red", "white"], k=3)
    for reply in (asked.get(f"{PATH}/search", plus=["red", "white"], k=3, weight=".5"),
                  asked.post(f"{PATH}/search", {"plus": ["red", "white"], "k": 3})):  # fmt: skip
        (found,) = reply.json["answers"]
        assert (found["query"], ids(found)) == ("red + white", [hit.row.id for hit in expected.hits])
    (found,) = asked.get(f"{PATH}/search", text="yellow", minus="green", k=3).json["answers"]
    assert found["query"] == "yellow - green"
    picture = (here.store.root.parent / "pictures" / "red" / "0.png").read_bytes()
    (found,) = asked.post(f"{PATH}/search", picture, plus=["white"], k=3).json["answers"]
    assert ids(found) == ids(by_id)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"code": "00" * 8, "plus": "red"}, "code: it cannot be mixed with words"),
        ({"text": " "}, "text: no words"),
        ({"text": "red", "weight": 2}, "weight: a number of at most 1 is wanted"),
        ({"text": "red", "weight": "abc"}, "weight: a number is wanted, not a text"),
        ({"text": "red", "k": "x"}, "k: a whole number is wanted, not a text"),
        ({"text": "red", "colour": "x"}, "no such parameter: colour"),
    ],
)
def test_what_cannot_be_asked_is_said(asked: Client, given: dict[str, Any], said: str) -> None:
    found = asked.get(f"{PATH}/search", **given)
    assert found.status in {400, 422}
    assert said in found.body.decode()


def test_half_a_character_is_no_word(asked: Client) -> None:
    for body in ({"queries": [{"text": "\ud800"}]}, {"queries": [{"text": "red"}], "plus": ["\ud800"]}):
        assert asked.post(f"{PATH}/search", body).status == 400


def test_a_collection_without_words_says_what_to_do(client: Client) -> None:
    for given in ({"text": "red"}, {"id": 0, "plus": "red"}):
        found = client.get("/v1/collections/pictures/search", **given)
        assert found.status in {400, 422}
        assert "[features] words" in found.body.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ["red"],
        ["red", "--not", "white"],
        ["--plus", "red", "--plus", "white"],
        ["--key", "red/0.png", "--plus", "blue"],
    ],
)
def test_a_service_answers_as_a_store(asked: Client, colours: Store, arguments: list[str]) -> None:
    def told(*where: object) -> Any:
        words = ["query", *arguments, "-k", "3", "--json", *map(str, where)]
        found = CliRunner().invoke(app, words, prog_name="aepipe")
        assert found.exit_code == 0, found.output
        answer = json.loads(found.stdout)
        return answer | {"hits": [hit | {"path": None} for hit in answer["hits"]]}

    assert told("--server", f"http://127.0.0.1:{asked.port}") == told("--home", colours.root)


def test_pictures_are_sent_with_their_words(asked: Client, colours: Store, here: Collection) -> None:
    remote = aepipe.connect(f"http://127.0.0.1:{asked.port}", "colours")
    file = str(colours.root.parent / "pictures" / "red" / "0.png")
    (found,) = remote.query(file, plus="white", k=3)
    (expected,) = here.query(file, plus="white", k=3)
    assert found.question.text == expected.question.text == f"{file} + white"
    assert [hit.row.id for hit in found.hits] == [hit.row.id for hit in expected.hits]
    with pytest.raises(QueryError, match="weight"):
        remote.query("red", plus="white", weight=3.0)


def test_words_that_look_like_a_path_are_words(asked: Client, client: Client, here: Collection) -> None:
    remote = aepipe.connect(f"http://127.0.0.1:{asked.port}", "colours")
    found, expected = (one.query(text=["red/white", "red"], plus="white", k=3) for one in (remote, here))
    assert repr(found) == repr(expected)
    for wrong, said in (("", "text: no words"), (["red", " "], "text: no words"), (5, "text: a text is wanted")):
        for one in (remote, here):
            with pytest.raises(QueryError, match=said):
                one.query(text=wrong)  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="does not answer words"):
        aepipe.connect(f"http://127.0.0.1:{client.port}", "pictures").query(text="red")


@pytest.mark.parametrize(
    "arguments", [["\udcff"], ["red", "--plus", "\udcff"], ["red", "--not", "\udcff"], ["red", "--where", "\udcff"]]
)
def test_what_is_not_in_utf_8_is_one_line(asked: Client, arguments: list[str]) -> None:
    where = ["--server", f"http://127.0.0.1:{asked.port}"]
    found = CliRunner().invoke(app, ["query", *arguments, *where], prog_name="aepipe")
    assert found.exit_code == 2, found.output
    (line,) = found.stderr.splitlines()
    assert "not in UTF-8: byte 0xff at 0" in line

"""Documents by their codes and words behind a service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("tantivy", reason="needs the extra hybrid")

from typer.testing import CliRunner

import aepipe
from aepipe.api import Collection
from aepipe.cli.app import app
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from tests.serve.conftest import Client, running
from tests.support.posts import RARE, make_posts_release

PATH = "/v1/collections/posts"


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_posts_release(tmp_path_factory.mktemp("posts"))[0]


@pytest.fixture(scope="module")
def asked(posts: Store) -> Iterator[Client]:
    with running(posts) as client:
        yield client


def keys(answer: Any) -> list[str]:
    return [hit["key"] for hit in answer["hits"]]


def test_the_collection_says_that_its_words_are_looked_up(asked: Client, client: Client) -> None:
    assert asked.get(PATH).json["hybrid"]
    assert not client.get("/v1/collections/pictures").json["hybrid"]


@pytest.mark.parametrize("text", [f"{RARE} guitar", RARE, "bread in an oven"])
def test_hits_are_those_of_a_store(asked: Client, posts: Store, text: str) -> None:
    (expected,) = Collection(posts, Release.open(posts)).query(text, k=5, hybrid=True)
    (found,) = asked.get(f"{PATH}/search", text=text, k=5, hybrid="true").json["answers"]
    assert keys(found) == [hit.row.key for hit in expected.hits]
    (remote,) = aepipe.connect(f"http://127.0.0.1:{asked.port}", "posts").query(text, k=5, hybrid=True)
    assert [hit.row.key for hit in remote.hits] == keys(found)


def test_pages_go_on_where_the_last_one_ended(asked: Client) -> None:
    (first,) = asked.get(f"{PATH}/search", text=f"{RARE} guitar", k=3, hybrid=1).json["answers"]
    given = {"text": f"{RARE} guitar", "k": 3, "hybrid": 1, "after": first["next"]}
    (second,) = asked.get(f"{PATH}/search", **given).json["answers"]
    assert not set(keys(first)) & set(keys(second))
    assert [hit["rank"] for hit in second["hits"]] == [4, 5, 6]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"text": "bread", "radius": 3}, "hybrid fuses hits by their ranks: radius excludes it"),
        ({"handle": "x"}, "handle: its words are not kept"),
    ],
)
def test_what_excludes_it_is_said(asked: Client, given: dict[str, Any], said: str) -> None:
    found = asked.get(f"{PATH}/search", hybrid="true", **given)
    assert found.status == 422
    assert said in found.json["detail"]


def test_pictures_have_no_words_to_look_up(client: Client) -> None:
    found = client.get("/v1/collections/pictures/search", id=0, hybrid="true")
    assert (found.status, "words are looked up in documents" in found.json["detail"]) == (422, True)


def test_the_shell_asks_a_service(asked: Client, posts: Store) -> None:
    def told(*where: object) -> list[str]:
        words = ["query", RARE, "--hybrid", "-k", "3", "--json", *map(str, where)]
        found = CliRunner().invoke(app, words, prog_name="aepipe")
        assert found.exit_code == 0, found.output
        return keys(json.loads(found.stdout))

    assert told("--server", f"http://127.0.0.1:{asked.port}") == told("--home", posts.root)

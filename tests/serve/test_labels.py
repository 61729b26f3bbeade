"""Rows labelled by words behind a service: in pages, from a client, and from the shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import aepipe
from aepipe.api import Collection
from aepipe.cli.app import app
from aepipe.client import labels
from aepipe.errors import QueryError
from aepipe.release.release import Release
from aepipe.store.artifacts import Store
from tests.serve.conftest import Client, running

PATH = "/v1/collections/colours/labels"
WORDS = ["red", "blue", "green"]


@pytest.fixture(scope="module")
def asked(colours: Store) -> Iterator[Client]:
    with running(colours) as client:
        yield client


def test_a_service_labels_as_a_store_does(asked: Client, colours: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "ROWS", 40)
    expected = Collection(colours, Release.open(colours)).label(WORDS)
    found = aepipe.connect(f"http://127.0.0.1:{asked.port}", "colours").label(WORDS)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.places, expected.places)
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-4)
    assert (found.words, found.counts(), len(found)) == (expected.words, expected.counts(), len(expected))


def test_pages_have_counts_of_all_rows(asked: Client, colours: Store) -> None:
    told = asked.post(PATH, {"words": WORDS, "limit": 5}).json
    total = len(Release.open(colours))
    assert (len(told["rows"]), told["next"], told["total"], sum(told["counts"])) == (5, 5, total, total)
    assert list(told["rows"][0]) == ["id", "key", "label", "confidence"]
    last = asked.post(PATH, {"words": WORDS, "after": total - 1}).json
    assert (len(last["rows"]), last["next"]) == (1, None)
    assert asked.post(PATH, {"words": WORDS, "after": total + 9}).json["rows"] == []


def test_the_shell_prints_the_same_lines(asked: Client, colours: Store, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\n".join(WORDS))

    def told(*where: object) -> str:
        found = CliRunner().invoke(app, ["label", str(tmp_path / "words.txt"), *map(str, where)], prog_name="aepipe")
        assert found.exit_code == 0, found.output
        return found.stdout

    assert told("--server", f"http://127.0.0.1:{asked.port}") == told("--home", colours.root)


def test_what_cannot_be_labelled_is_said(asked: Client, client: Client) -> None:
    few = asked.post(PATH, {"words": ["red"]})
    assert (few.status, few.json["detail"]) == (
        422,
        "labels: 1 words; 2 to 10,000 are wanted, one or a phrase in each line",
    )
    assert asked.post(PATH, {"words": "red"}).json["detail"] == "words: a list is wanted, not a text"
    remote = aepipe.connect(f"http://127.0.0.1:{client.port}", "pictures")
    with pytest.raises(QueryError, match="this collection does not answer words"):
        remote.label(WORDS)

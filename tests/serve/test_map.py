"""The map over HTTP: what it shows, points as bytes, the rows behind points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aepipe.release import maps, placing
from aepipe.release.release import Release
from aepipe.serve import mapping
from aepipe.store.artifacts import Store
from tests.serve.conftest import Client, running
from tests.support.releases import make_release

ONE = "/v1/collections/pictures"


@pytest.fixture(scope="module")
def drawn(store: Store) -> maps.Map:
    """The map that the service shows."""
    found = maps.find(store, Release.open(store, "pictures").ref)
    assert found is not None
    return found


def test_it_tells_of_classes_and_their_colours(client: Client, drawn: maps.Map) -> None:
    facts = client.get(f"{ONE}/map").json
    assert (facts["rows"], facts["chunks"], facts["side"], facts["chunk"]) == (60, 1, 65535, 65536)
    assert [(one["index"], one["label"], one["count"]) for one in facts["classes"]] == [
        (one.number, one.label, one.count) for one in drawn.legend
    ]
    assert len({one["colour"] for one in facts["classes"]}) == 5


def test_points_are_columns_and_never_change_for_a_release(client: Client, drawn: maps.Map) -> None:
    release = client.get(ONE).json["release"]
    found = client.get(f"{ONE}/map/points", chunk=0, release=release)
    assert found.headers["content-type"] == "application/octet-stream"
    assert "immutable" in found.headers["cache-control"]
    assert np.frombuffer(found.body, "<u2", 60).tolist() == drawn.x.tolist()
    assert np.frombuffer(found.body, "<u2", 60, 120).tolist() == drawn.y.tolist()
    assert np.frombuffer(found.body, np.uint8, 60, 240).tolist() == drawn.classes.tolist()
    assert len(found.body) == 300
    tag = {"If-None-Match": found.headers["etag"]}
    assert client.get(f"{ONE}/map/points", tag).status == 304
    assert "immutable" not in client.get(f"{ONE}/map/points").headers["cache-control"]
    assert client.get(f"{ONE}/map/points", chunk=1).status == 404


def test_rows_are_told_by_place_point_and_id(client: Client, drawn: maps.Map) -> None:
    by_place = client.get(f"{ONE}/map/at", x=int(drawn.x[4]), y=int(drawn.y[4]), r=65535, limit=3).json["rows"]
    assert by_place[0]["point"] == 4
    assert len(by_place) == 3
    by_point = client.get(f"{ONE}/map/at", point=[9, 4]).json["rows"]
    assert [one["item"]["id"] for one in by_point] == drawn.ids[[9, 4]].tolist()
    assert by_point[1] == by_place[0]
    by_id = client.get(f"{ONE}/map/at", id=[int(drawn.ids[4]), 999]).json["rows"]
    assert by_id == by_place[:1]
    assert by_id[0]["item"]["key"] == client.get(f"{ONE}/items/{drawn.ids[4]}").json["key"]


@pytest.mark.parametrize(
    "asked",
    [{}, {"x": 3}, {"x": 3, "y": 4, "id": 1}, {"point": 60}, {"x": -1, "y": 0}, {"x": "nan", "y": 0}, {"point": "a"}],
)
def test_other_questions_are_refused(client: Client, asked: dict[str, Any]) -> None:
    assert client.get(f"{ONE}/map/at", None, **asked).status == 400


def test_a_map_is_taken_up_while_the_service_runs(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make_release(store, n=12)
    with running(store) as client:
        assert not client.get(ONE).json["map"]
        for path in ("map", "map/points", "map/at?point=0"):
            refused = client.ask("GET", f"{ONE}/{path}")
            assert refused.status == 404
            assert "`aepipe map`" in refused.json["detail"]
        placing.make(store, Release.open(store))
        assert client.get(ONE).json["map"]
        assert client.get(f"{ONE}/map").json["rows"] == 12


def test_colours_of_many_classes_differ() -> None:
    colours = [mapping.colour(number) for number in range(maps.NAMED)]
    assert len(set(colours)) > 240
    assert mapping.colour(maps.OTHERS) == mapping.colour(maps.NONE) == mapping.GREY

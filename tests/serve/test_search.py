"""Answers of the service are those of the command line, page by page, whatever is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from aepipe.cli.app import app
from aepipe.serve.requests import pairs_of
from aepipe.store.artifacts import Store
from tests.serve.conftest import Client
from tests.support.releases import pictures_of

ONE = "/v1/collections/{}/search"


def by_command(store: Store, name: str, *arguments: str) -> list[dict[str, Any]]:
    """Return what ``aepipe query --json`` prints."""
    command = ["query", *arguments, "--json", "--name", name, "--home", str(store.root)]
    found = CliRunner().invoke(app, command, prog_name="aepipe")
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.stdout.splitlines()]


def check_same(answers: list[dict[str, Any]], commanded: list[dict[str, Any]]) -> None:
    """Check that answers have the same fields with the same values, in the same order."""
    assert len(answers) == len(commanded)
    for answer, other in zip(answers, commanded, strict=True):
        assert answer["code"] == other["code"]
        assert answer["strange"] == other["strange"]
        hits = [{name: value for name, value in hit.items() if name != "path"} for hit in other["hits"]]
        assert json.dumps(answer["hits"]) == json.dumps(hits)


@pytest.mark.parametrize("query", ["", "&", "id=3&k=2", "a=&b&&c==1", "id=a%26b&k=1", "where=a+b", "=x", "a;b=1"])
def test_the_parameters_of_an_address_are_those_that_the_library_reads(query: str) -> None:
    assert pairs_of(query.encode()) == parse_qsl(query, keep_blank_values=True)


options = st.fixed_dictionaries(
    {},
    optional={
        "k": st.integers(1, 70),
        "radius": st.integers(0, 16),
        "others": st.just(True),
        "distinct": st.just(True),
        "fast": st.just(True),
        "where": st.sampled_from(["id > 20", "id % 3 = 0 OR id < 5", "key LIKE '%1%'"]),
    },
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(name=st.sampled_from(["pictures", "docs", "people", "vectors"]), row=st.integers(0, 40), chosen=options)
def test_rows_are_answered_as_by_the_command(
    client: Client, store: Store, name: str, row: int, chosen: dict[str, Any]
) -> None:
    flags = [word for flag, value in chosen.items() for word in _flag(flag, value)]
    commanded = by_command(store, name, "--id", str(row), *flags)
    asked: dict[str, Any] = {flag: str(value).lower() if value is True else value for flag, value in chosen.items()}
    found = client.get(ONE.format(name), None, id=row, **asked)
    assert found.status == 200, found.body
    check_same(found.json["answers"], commanded)
    assert found.json["fingerprint"] == commanded[0]["fingerprint"]


def _flag(name: str, value: object) -> list[str]:
    name = {"k": "top"}.get(name, name)
    return [f"--{name}"] if value is True else [f"--{name}", str(value)]


def test_items_from_outside_are_answered_as_by_the_command(client: Client, store: Store, tmp_path: Path) -> None:
    picture = sorted(pictures_of(store).rglob("*.png"))[7]
    found = client.post(ONE.format("pictures"), picture.read_bytes(), k=5)
    check_same(found.json["answers"], by_command(store, "pictures", str(picture), "-k", "5"))
    words = "harbour tide"
    check_same(client.get(ONE.format("docs"), text=words).json["answers"], by_command(store, "docs", words))
    row = {"age": 41, "job": "baker"}
    body = {"queries": [{"row": row}]}
    rows = by_command(store, "people", "--row", json.dumps(row))
    check_same(client.post(ONE.format("people"), body).json["answers"], rows)
    vector = np.linspace(-1, 1, 12).astype(np.float32)
    np.save(tmp_path / "v.npy", vector)
    vectors = by_command(store, "vectors", str(tmp_path / "v.npy"))
    body = {"queries": [{"vector": vector.tolist()}]}
    check_same(client.post(ONE.format("vectors"), body).json["answers"], vectors)
    code = vectors[0]["code"]
    check_same(
        client.get(ONE.format("vectors"), code=code).json["answers"], by_command(store, "vectors", "--code", code)
    )


@pytest.mark.parametrize("fast", ["true", "false"])
@pytest.mark.parametrize("name", ["pictures", "docs", "vectors"])
def test_pages_hold_every_row_once(client: Client, name: str, fast: str) -> None:
    place = ONE.format(name)
    answer = client.get(place, id=3, k=7, fast=fast).json
    hits, rows = answer["answers"][0]["hits"], answer["rows"]
    while after := answer["answers"][0]["next"]:
        answer = client.get(place, id=3, k=7, fast=fast, after=after).json
        hits += answer["answers"][0]["hits"]
    assert [hit["rank"] for hit in hits] == list(range(1, len(hits) + 1))
    assert len({hit["id"] for hit in hits}) == len(hits) == rows


def test_filters_count_what_fits(client: Client) -> None:
    place = ONE.format("pictures")
    labels = {one["value"]: one["count"] for one in client.get("/v1/collections/pictures").json["labels"]}
    label, count = next(iter(labels.items()))
    answer = client.get(place, id=3, label=label, k=100).json["answers"][0]
    assert answer["total"] == len(answer["hits"]) == count
    assert {hit["label"] for hit in answer["hits"]} == {label}
    both = client.get(place, id=3, label=list(labels), split="test", k=100).json["answers"][0]
    assert both["total"] == len(both["hits"]) == 12
    near = client.get(place, id=3, radius=25, k=2).json["answers"][0]
    every = client.get(place, id=3, radius=25).json["answers"][0]
    assert near["total"] == every["total"] == len(every["hits"]) > len(near["hits"]) == 2


def test_columns_are_given_where_they_are_asked_for(client: Client) -> None:
    place = ONE.format("people")
    assert client.get(place, id=0).json["answers"][0]["hits"][0]["columns"] == {"age": "20", "job": "pilot"}
    one = client.get(place, id=0, columns="age").json["answers"][0]["hits"][0]
    assert one["columns"] == {"age": "20"}
    hit = client.get(place, id=0, columns=["age", "job"]).json["answers"][0]["hits"][0]
    assert hit["columns"] == {"age": "20", "job": "pilot"}
    assert client.get(place, id=0, columns="salary").status == 400


def test_one_bad_question_of_many_has_its_error(client: Client) -> None:
    body = {"queries": [{"id": 1}, {"id": 10**6}, {"code": "zz"}, {"key": "none"}, {"bytes": "AAAA"}], "k": 1}
    found = client.post(ONE.format("pictures"), body)
    errors = [one["error"] for one in found.json["answers"]]
    assert found.status == 200
    assert errors[0] is None
    assert all(errors[1:])
    assert client.get(ONE.format("pictures"), id=10**6).status == 422


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"queries": [{"id": 1}], "k": 2, "k": 3}', "the key 'k' comes twice"),
        (b'{"queries": [{"id": 1, "id": 2}]}', "the key 'id' comes twice"),
        (b'{"queries": [{"id": 1}], "k": 2, "\\u006b": 3}', "the key 'k' comes twice"),
        (b'{"queries": [{"text": "\\ud800"}]}', r"\\ud800 in a text is half of a letter"),
        (b'{"queries": [{"text": "a\\udfffb"}]}', r"\\udfff in a text is half of a letter"),
        (b'{"queries": [', "not JSON: Input data was truncated"),
        (b" ", "the body is empty"),
    ],
)
def test_a_body_that_is_not_read_whole_is_refused(client: Client, body: bytes, said: str) -> None:
    found = client.post(ONE.format("pictures"), body, {"Content-Type": "application/json"})
    assert found.status == 400
    assert said.replace("\\\\", "\\") in found.json["detail"]


def test_a_row_with_a_column_twice_is_refused_by_the_command_too(store: Store) -> None:
    command = ["query", "--row", '{"age": 41, "age": 14}', "--name", "people", "--home", str(store.root)]
    found = CliRunner().invoke(app, command, prog_name="aepipe")
    assert (found.exit_code, found.stdout) == (2, "")
    assert "column 'age' is given twice" in found.stderr


def test_numbers_are_written_in_digits(client: Client) -> None:
    path = ONE.format("pictures")
    for asked in ({"id": "1e0"}, {"id": "1.0"}, {"id": 1, "k": "1e1"}, {"id": 1, "radius": "2."}):
        found = client.get(path, **asked)
        assert found.status == 400, asked
        assert "a whole number is wanted" in found.json["detail"]


def test_a_question_that_asks_nothing_is_told_what_the_collection_answers(client: Client) -> None:
    for name, said in (
        ("pictures", "id, key, code or handle"),
        ("docs", "id, key, code, text or handle, or plus and minus"),
    ):
        assert client.get(ONE.format(name)).json["detail"] == f"nothing is asked: give {said}"


def test_answers_can_be_streamed_in_order(client: Client) -> None:
    body = {"queries": [{"id": number % 60} for number in range(300)], "k": 2}
    found = client.post(ONE.format("pictures"), body, {"Accept": "application/x-ndjson"})
    lines = [json.loads(line) for line in found.body.splitlines()]
    assert [line["query"] for line in lines] == [f"id {number % 60}" for number in range(300)]
    assert lines[5]["hits"] == client.get(ONE.format("pictures"), id=5, k=2).json["answers"][0]["hits"]


def test_an_upload_is_asked_again_by_its_handle(client: Client, store: Store) -> None:
    picture = sorted(pictures_of(store).rglob("*.png"))[7].read_bytes()
    first = client.post(ONE.format("pictures"), picture, k=9).json["answers"][0]
    again = client.get(ONE.format("pictures"), handle=first["handle"], k=9).json["answers"][0]
    assert again["hits"] == first["hits"]
    assert client.get(ONE.format("docs"), handle=first["handle"]).status == 422
    assert client.get(ONE.format("docs"), handle="guess").status == 422


def test_a_part_of_a_picture_is_a_question(client: Client, store: Store) -> None:
    place = ONE.format("pictures")
    picture = sorted(pictures_of(store).rglob("*.png"))[7].read_bytes()
    whole = client.post(place, picture, k=3).json["answers"][0]
    assert client.post(place, picture, k=3, crop="0,0,1,1").json["answers"][0]["code"] == whole["code"]
    part = client.post(place, picture, k=3, crop="0,0,0.4,0.5").json["answers"][0]
    assert part["code"] != whole["code"]
    assert client.get(place, id=7, crop="0.1,0.1,0.5,0.5").status == 200
    for bad in ("0,0,2,1", "a,b", "0.5,0,0.6,1", "0,0,0,1", "nan,0,1,1"):
        assert client.post(place, picture, crop=bad).status == 400, bad
    assert client.get(ONE.format("docs"), id=0, crop="0,0,1,1").status == 422


def test_codes_are_those_of_the_collection(client: Client, store: Store) -> None:
    item = client.get("/v1/collections/pictures/items/7").json
    found = client.post("/v1/collections/pictures/encode", {"queries": [{"id": 7}, {"code": "00"}]}).json
    assert found["codes"] == [item["code"], None]
    assert found["errors"][0] is None
    assert "16 hex characters" in found["errors"][1]


def test_an_answer_that_has_not_changed_is_not_sent_again(client: Client) -> None:
    first = client.get(ONE.format("pictures"), id=3)
    again = client.get(ONE.format("pictures"), {"If-None-Match": first.headers["etag"]}, id=3)
    assert (again.status, again.body) == (304, b"")


def test_forms_bring_several_files(client: Client, store: Store) -> None:
    files = sorted(pictures_of(store).rglob("*.png"))[:2]
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n'
        % (file.name.encode(), file.read_bytes())
        for file in files
    ]
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    found = client.post(ONE.format("pictures"), b"".join(parts) + b"--x--\r\n", form, k=1)
    assert [one["query"] for one in found.json["answers"]] == [file.name for file in files]
    assert all(one["hits"][0]["distance"] == 0 for one in found.json["answers"])

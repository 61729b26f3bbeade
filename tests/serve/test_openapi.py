"""Requests that the OpenAPI document allows, and some that it does not: each is answered as the document says."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aepipe.serve.routes import ENDPOINTS, Endpoint
from aepipe.store.artifacts import Store
from tests.serve.conftest import Client

CASES = 400 if "AEPIPE_SOAK" in os.environ else 8
"""Requests for each endpoint."""
CHECKS = ("not_a_server_error", "content_type_conformance", "response_schema_conformance")
KNOWN = {
    "name": {"enum": ["pictures", "docs", "people", "vectors", "none"]},
    "id": {"type": "integer", "minimum": 0, "maximum": 70},
}
"""What is in a path: most collections and rows are there, so that requests get beyond it."""


def operations(client: Client) -> dict[str, Any]:
    """Return the operations of the document, by method and path."""
    schemathesis = pytest.importorskip("schemathesis")
    document = client.get("/openapi.json").json
    for path in document["paths"].values():
        for one in path.values():
            for parameter in one["parameters"]:
                if parameter["in"] == "path":
                    parameter["schema"] = KNOWN[parameter["name"]]
    schema = schemathesis.openapi.from_dict(document)
    found = [one.ok() for one in schema.get_all_operations()]
    return {f"{one.method.upper()} {one.path}": one for one in found}


@pytest.mark.parametrize("endpoint", [f"{one.method} {one.path}" for one in ENDPOINTS])
def test_requests_are_answered_as_the_document_says(client: Client, store: Store, endpoint: str) -> None:
    from schemathesis import GenerationMode, checks

    checks.load_all_checks()
    operation = operations(client)[endpoint]
    wanted = [checks.CHECKS.get_one(name) for name in CHECKS]
    documented = {int(code) for code in operation.definition.raw["responses"]}
    allowed, wrong = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

    @settings(
        max_examples=CASES,
        phases=[Phase.generate],
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(allowed, wrong))
    def ask(case: Any) -> None:
        answer = case.call(base_url=f"http://127.0.0.1:{client.port}")
        case.validate_response(answer, checks=wanted)
        assert answer.status_code in documented, answer.content[:500]
        assert str(store.root).encode() not in answer.content

    ask()


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.path.startswith("/v1/coll") and not one.raw])
def test_a_parameter_that_is_not_read_is_refused(client: Client, endpoint: Endpoint) -> None:
    path = endpoint.path.format(name="pictures", id=3)
    found = client.ask(endpoint.method, f"{path}?releas=1")
    assert found.status in {400, 403}, found.body  # nobody may remove rows here, whatever the parameters
    assert found.status == 403 or "releas" in found.json["detail"]

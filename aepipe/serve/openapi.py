"""The OpenAPI document of the service, made of its table of endpoints and of their types."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec

from aepipe.serve.problems import MEDIA_TYPE, Problem
from aepipe.serve.requests import REPEATED
from aepipe.serve.routes import ENDPOINTS, Endpoint

REF = "#/components/schemas/{name}"
RAW = ("image/*", "audio/*", "video/*", "text/plain", "application/octet-stream")

TOLD = {
    202: "the work has begun; ask again",
    204: "done",
    206: "a part of the file",
    304: "what you have is still right",
}
"""What the statuses of answers mean that are not the usual one."""


@cache
def document() -> bytes:
    """Return the document as JSON."""
    types = {
        kind
        for endpoint in ENDPOINTS
        for kind in (endpoint.answer, endpoint.body, endpoint.parameters)
        if kind is not None
    }
    ordered = sorted(types, key=str)
    _, components = msgspec.json.schema_components([*ordered, Problem], ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, components)
    about = {
        "openapi": "3.1.0",
        "info": {
            "title": "aepipe",
            "version": "1",
            "description": "Collections of an aepipe store: search by Hamming distance, rows, releases.",
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }
    return msgspec.json.encode(about)


def _operation(endpoint: Endpoint, components: dict[str, Any]) -> dict[str, Any]:
    summary = (endpoint.handler.__doc__ or "").strip().partition("\n")[0]
    found: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": summary,
        "parameters": [*_in_path(endpoint.path), *_in_query(endpoint, components)],
        "responses": {
            **{str(status): _answer(endpoint, status) for status in endpoint.statuses},
            **{str(code): _error() for code in (400, *endpoint.errors, 401, 421, 429, 431)},
        },
    }
    if endpoint.body is not None:
        found["requestBody"] = _body(endpoint)
    return found


def _in_path(path: str) -> list[dict[str, Any]]:
    kinds = {"id": {"type": "integer", "minimum": 0}}
    return [
        {"name": name, "in": "path", "required": True, "schema": kinds.get(name, {"type": "string"})}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _in_query(endpoint: Endpoint, components: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters of an address, with the schemas of their fields."""
    found = []
    if endpoint.parameters is not None:
        schema = components[endpoint.parameters.__name__]
        required = schema.get("required", ())
        told = _told(endpoint.parameters)
        for name, one in schema["properties"].items():
            found.append(
                {
                    "name": name,
                    "in": "query",
                    "required": name in required,
                    "schema": one,
                    "description": told.get(name, ""),
                }
            )
    for name, text in endpoint.more:
        one = {"type": "array", "items": {"type": "string"}} if name in REPEATED else {"type": "string"}
        found.append({"name": name, "in": "query", "required": False, "schema": one, "description": text})
    return found


def _told(kind: type) -> dict[str, str]:
    """Return what the docstring of a type says of its fields."""
    lines = re.split(r"\n {8}(?=\w[\w, ]*: )", (kind.__doc__ or "").partition("Attributes:")[2])
    pairs = (line.strip().partition(": ") for line in lines if ": " in line)
    return {name.strip(): " ".join(text.split()) for names, _, text in pairs for name in names.split(",")}


def _answer(endpoint: Endpoint, status: int) -> dict[str, Any]:
    told = TOLD.get(status, "the answer")
    if status == 202:
        return {"description": told, "content": {"application/json": {"schema": {"type": "object"}}}}
    if endpoint.answer is None or status in {204, 304}:
        return {"description": told}
    schema = msgspec.json.schema_components([endpoint.answer], ref_template=REF)[0][0]
    return {"description": told, "content": {"application/json": {"schema": schema}}}


def _error() -> dict[str, Any]:
    return {"description": "an error", "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(name="Problem")}}}}


def _body(endpoint: Endpoint) -> dict[str, Any]:
    schema = {"$ref": REF.format(name=endpoint.body.__name__)}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if endpoint.raw:
        content |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in RAW}
        form = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        content["multipart/form-data"] = {"schema": form}
    return {"required": True, "content": content}

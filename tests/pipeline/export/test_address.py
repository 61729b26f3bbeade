"""Addresses of systems, of which no password is ever shown."""

from __future__ import annotations

import pytest

from aepipe.errors import QueryError, ServiceError
from aepipe.pipeline.export.address import Address

SECRET = "s3cret"


def test_an_address_is_read() -> None:
    read = Address.of("postgresql://me:p%40ss@db.example.org:5433/shop?sslmode=require")
    assert (read.scheme, read.host, read.user, read.password) == ("postgresql", "db.example.org:5433", "me", "p@ss")
    assert (read.path, read.shown) == ("shop", "postgresql://db.example.org:5433/shop")
    assert Address.of("qdrant+https://[::1]:6333").host_and_port(1) == ("[::1]", 6333)
    assert Address.of("qdrant://[::1]").host_and_port(1) == ("[::1]", 1)
    assert Address.of("qdrant://here").host_and_port(1) == ("here", 1)
    assert Address.of("postgresql://a:1,b:2/x").host == "a:1,b:2"
    assert Address.of("postgresql:///x?host=/run").shown == "postgresql:///x"


@pytest.mark.parametrize(
    ("text", "scheme", "rest"), [("a b.duckdb", "duckdb", "a b.duckdb"), ("chdb:/x", "chdb", "/x")]
)
def test_a_file_or_a_folder_is_read(text: str, scheme: str, rest: str) -> None:
    read = Address.of(text)
    assert (read.scheme, read.rest, read.shown) == (scheme, rest, text)


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://me:{SECRET}@x@host/db",
        f"postgresql://me:{SECRET}/x@host/db",
        f"postgresql://me:{SECRET}?x@host/db",
        f"postgresql://me:{SECRET}#x@host/db",
        f"postgresql://me:{SECRET}",
        f"postgresql://me:{SECRET}:x@host:db",
        f"{SECRET}",
        f"{SECRET}@host",
    ],
)
def test_nothing_of_a_malformed_address_is_shown(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        Address.of(text)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://{SECRET}@host/db",
        f"postgresql://me:{SECRET}@host/db?connect_timeout=3",
        f"postgresql://host/db?password={SECRET}",
        f"lancedb:s3://me:{SECRET}@bucket/folder",
        f"qdrant://:{SECRET}@host",
    ],
)
def test_passwords_are_hidden(text: str) -> None:
    read = Address.of(text)
    assert SECRET not in read.shown + repr(read)
    with pytest.raises(ServiceError) as caught, read.refusals_named(ValueError):
        raise ValueError(f"no way to {text},\n password {read.password or 'none'}")
    assert SECRET not in str(caught.value)

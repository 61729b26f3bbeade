"""Optional packages, and the extra of aepipe that brings each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FunctionType
from typing import ParamSpec, TypeVar

from aepipe import sources
from aepipe.errors import ExtraError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

EXTRAS = {
    **dict.fromkeys(("onnx", "onnxscript", "pandas", "pyarrow", "pydantic", "rich", "safetensors", "torch"), "train"),
    "sklearn": "train",
    "scipy": "train",
    **dict.fromkeys(("optuna", "tomlkit"), "tune"),
    "charset_normalizer": "train",
    "python_calamine": "tables",
    "matplotlib": "report",
    **dict.fromkeys(("prefect", "prometheus_client"), "flows"),
    "duckdb": "sql",
    "psycopg": "postgresql",
    "lancedb": "lancedb",
    **dict.fromkeys(("clickhouse_connect", "chdb"), "clickhouse"),
    "qdrant_client": "qdrant",
    "fsspec": "remote",
}
"""Packages that rooms need; those of a kind of source stand in its ``decode.EXTRAS``."""


def missing_extra(error: ModuleNotFoundError) -> ExtraError | None:
    """Return the error that names the extra of a missing package; None where no extra brings it."""
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package) or sources.extras().get(package)
    return ExtraError(package, extra) if extra else None


@contextmanager
def extras_named() -> Iterator[None]:
    """Name the extra that brings a package which the block lacks.

    Raises:
        ExtraError: an optional package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        known = missing_extra(error)
        if known is None:
            raise
        raise known from None


def naming_extras(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that names the extra of a package it lacks; see :func:`extras_named`."""

    @wraps(function)
    def named(*args: P.args, **options: P.kwargs) -> R:
        with extras_named():
            return function(*args, **options)

    return named


def methods_naming_extras(kind: type[T]) -> type[T]:
    """Return a class whose public methods name the extra which brings a package that they lack."""
    for name, member in list(vars(kind).items()):
        if isinstance(member, FunctionType) and not name.startswith("_"):
            setattr(kind, name, naming_extras(member))
    return kind

"""Columns of any type become columns of a few types."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from aepipe.pipeline.export.plain import JSON, jsonable, plain, plain_schema


def test_every_type_becomes_a_plain_one() -> None:
    given = pa.table(
        {
            "half": pa.array(np.array([0.5], np.float16), pa.float16()),
            "words": pa.array(["a"]).dictionary_encode(),
            "large": pa.array(["a"], pa.large_string()),
            "view": pa.array(["a"], pa.string_view()),
            "octets": pa.array([b"a"], pa.large_binary()),
            "nanos": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")),
            "day": pa.array([86_400_000], pa.date64()),
            "clock": pa.array([1], pa.time64("us")),
            "nothing": pa.nulls(1),
            "deep": pa.array([[[1]]]),
            "map": pa.array([[("a", 1.5)]], pa.map_(pa.string(), pa.float64())),
            "lasting": pa.array([timedelta(seconds=2)], pa.duration("s")),
            "numbers": pa.array([[1, None]], pa.large_list(pa.int8())),
            "huge": pa.array([1], pa.decimal256(50, 2)),
        }
    )
    schema = plain_schema(given.schema)
    found = plain(given, schema)
    assert found.schema.equals(schema)
    assert found.to_pylist() == [
        {
            "half": 0.5,
            "words": "a",
            "large": "a",
            "view": "a",
            "octets": b"a",
            "nanos": datetime(2023, 11, 14, 22, 13, 20, 123456),
            "day": datetime(1970, 1, 2).date(),
            "clock": "00:00:00.000001",
            "nothing": None,
            "deep": "[[1]]",
            "map": '[["a", 1.5]]',
            "lasting": "2.0",
            "numbers": [1, None],
            "huge": "1.00",
        }
    ]
    assert {one.name for one in schema if one.metadata == JSON} == {"deep", "map", "lasting"}


def test_json_has_no_numbers_that_are_not_finite() -> None:
    assert jsonable({"a": [float("nan"), float("inf"), 1.5, b"\x01", None, True]}) == {
        "a": [None, None, 1.5, "01", None, True]
    }

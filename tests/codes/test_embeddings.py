"""Embeddings as bytes: angles survive, for vectors of any length."""

from __future__ import annotations

import numpy as np

from aepipe.codes.encoder import cosines, quantize


def test_angles_survive_the_rounding() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((50, 300)) * rng.lognormal(0, 3, (50, 1))).astype(np.float32)
    exact = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    packed = quantize(rows)
    assert packed.dtype == np.int8
    assert (np.abs(packed).max(1) == 127).all()
    for query in range(50):
        np.testing.assert_allclose(cosines(packed[query], packed), exact @ exact[query], atol=0.01)
        np.testing.assert_allclose(cosines(rows[query], packed), exact @ exact[query], atol=0.01)


def test_zeros_have_no_angle() -> None:
    rows = quantize(np.array([[0, 0], [1, 2]], np.float32))
    assert rows.tolist() == [[0, 0], [64, 127]]
    assert cosines(rows[0], rows).tolist() == [0, 0]
    assert quantize(np.empty((0, 3), np.float32)).shape == (0, 3)
    assert quantize(np.empty((3, 0), np.float32)).shape == (3, 0)


def test_a_zero_vector_has_no_angle_whatever_the_memory_held() -> None:
    rows = np.zeros((64, 2), np.float32)
    used = [np.full(len(rows), np.nan, np.float32) for _ in range(7)]
    del used
    found = cosines(np.ones(2, np.int8), rows)
    assert found.tolist() == [0.0] * 64
    assert found.dtype == np.float32, "also for int8"
    assert cosines(np.ones(2, np.float16), np.ones((3, 2), np.int8)).dtype == np.float32

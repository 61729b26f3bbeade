"""Other methods for two modalities: on pairs with a common part they find it, and chance does not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.cross_modal import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_pairs_have_nearer_codes_than_others(name: str) -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=(300, 12))
    pictures, texts = (common + 0.2 * rng.normal(size=common.shape) + shift for shift in (0.0, 1.0))
    sides = METHODS[name](pictures[:200], texts[:200], 8)
    values = [
        np.sign((rows - rows[:200].mean(axis=0)) @ side) for rows, side in zip((pictures, texts), sides, strict=True)
    ]
    assert sides[0].shape == sides[1].shape == (12, 8)
    agree = values[1][200:] @ values[0][200:].T
    assert np.diag(agree).mean() > agree.mean() + 2

"""Re-ranking: the number of hits it needs, against sorted lists."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from aepipe.codes.bitcodes import BitCodes
from aepipe.codes.encoder import quantize
from aepipe.evaluate import reranking
from aepipe.evaluate.reranking import Reranking

N, Q, H = 500, 40, 24


def made(n_bits: int) -> tuple[tuple[BitCodes, BitCodes], tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return embeddings around four centres, with codes by random projection, and labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, N), rng.integers(0, 4, Q)
    centres, axes = rng.standard_normal((4, H)), rng.standard_normal((H, n_bits))
    floats = [(centres[own] + rng.standard_normal((len(own), H))).astype(np.float32) for own in labels]
    codes = [BitCodes.from_bits(one @ axes > 0) for one in floats]
    return (codes[0], codes[1]), (quantize(floats[0]), quantize(floats[1])), labels


def by_hand(
    factor: int, codes: tuple[BitCodes, BitCodes], embeddings: tuple[np.ndarray, np.ndarray]
) -> list[list[int]]:
    """Return the first ten of each query: the nearest by angle of the first rows by (distance, position)."""
    rows, queries = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in embeddings)
    found = []
    for query in range(Q):
        distances = codes[0].distances(codes[1][query : query + 1])[:, 0].tolist()
        among = sorted(range(N), key=lambda row: (distances[row], row))[: 10 * factor]
        angle = rows @ queries[query]
        found.append(sorted(among, key=lambda row: -angle[row])[:10])
    return found


@pytest.mark.parametrize("target", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("block", [64, 8192])
def test_the_smallest_factor_that_reaches_the_target(
    target: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reranking, "BLOCK", block)
    monkeypatch.setattr(reranking, "FEW", 0)
    codes, embeddings, labels = made(32)
    found = reranking.choose(codes, embeddings, labels, target=target)
    nearest = by_hand(50, codes, embeddings)

    def recall(factor: int) -> float:
        pairs = zip(by_hand(factor, codes, embeddings), nearest, strict=True)
        return float(np.mean([len(set(one) & set(other)) / 10 for one, other in pairs]))

    assert found.factor == next(one for one in reranking.FACTORS if recall(one) >= target)
    assert found.recall == pytest.approx(recall(found.factor))
    for factor, precision in ((1, found.precision_codes), (found.factor, found.precision)):
        same = [
            np.mean(labels[0][rows] == own)
            for rows, own in zip(by_hand(factor, codes, embeddings), labels[1], strict=True)
        ]
        assert precision == pytest.approx(np.mean(same))
    assert found.precision is not None
    assert found.precision_codes is not None
    assert found.precision > found.precision_codes
    assert Reranking.from_dict(json.loads(json.dumps(asdict(found)))) == found


def test_without_labels_and_with_random_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reranking, "FACTORS", (1, 2))
    monkeypatch.setattr(reranking, "FEW", 7)
    codes, embeddings, _ = made(32)
    blank = BitCodes.from_bits(np.zeros((N, 8), bool)), BitCodes.from_bits(np.zeros((Q, 8), bool))
    found = reranking.choose(blank, embeddings, None, target=0.9)
    assert (found.factor, found.precision) == (2, None)
    assert found.recall < 0.2, "it is told that the target was not reached"
    few = codes[0][:7], codes[1]
    assert reranking.choose(few, (embeddings[0][:7], embeddings[1]), None, target=0.9).recall == 1


def test_of_few_rows_all_embeddings_are_compared() -> None:
    codes, embeddings, labels = made(32)
    blank = BitCodes.from_bits(np.zeros((N, 8), bool)), BitCodes.from_bits(np.zeros((Q, 8), bool))
    found, blind = (reranking.choose(some, embeddings, labels, target=0.5) for some in (codes, blank))
    assert found.recall == blind.recall == 1
    assert 10 * found.factor == 2 * N
    assert blind.precision == found.precision
